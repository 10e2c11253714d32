//! Clients: they create, cancel, retry, look and watch, make and revoke keys, send
//! agents home, and repeat themselves on purpose.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use quarterdeck_core::Refusal;
use quarterdeck_core::key::{Key, Role, Scope};
use quarterdeck_core::task::Task;
use quarterdeck_engine::agents::DrainTarget;
use quarterdeck_engine::keys::NewKey;
use quarterdeck_engine::{Engine, Error};
use quarterdeck_store::StoreError;

use crate::dice::Dice;
use crate::history::{Answer, Call, Fact};
use crate::watcher::Watchers;
use crate::workload;
use crate::world::{self, World};

/// Times that a client asks again for the same thing.
const TRIES: u32 = 4;

/// What all clients share.
#[derive(Clone, Default)]
pub struct Crowd(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    tasks: Vec<String>,
    /// Keys and their texts.
    keys: Vec<(String, String)>,
    next: u64,
    left: usize,
}

impl Crowd {
    fn with<T>(&self, change: impl FnOnce(&mut Shared) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn number(&self) -> u64 {
        self.with(|shared| {
            shared.next += 1;
            shared.next
        })
    }

    /// Some task that somebody created, the younger the likelier.
    fn some_task(&self, dice: &Dice) -> Option<String> {
        self.with(|shared| {
            let count = shared.tasks.len();
            let back = if dice.chance(0.7) { dice.below(count.min(20)) } else { dice.below(count) };
            shared.tasks.get(count.checked_sub(back + 1)?).cloned()
        })
    }

    fn some_key(&self, dice: &Dice) -> Option<(String, String)> {
        self.with(|shared| shared.keys.get(dice.below(shared.keys.len())).cloned())
    }

    /// Clients that are still at it.
    pub fn left(&self) -> usize {
        self.with(|shared| shared.left)
    }
}

/// One client.
pub struct Client {
    pub world: World,
    pub crowd: Crowd,
    pub watchers: Watchers,
    pub index: usize,
    pub dice: Dice,
}

/// How long clients go on.
#[derive(Clone, Copy)]
pub struct Zeal {
    /// Until so many things were asked of replicas, by whomever.
    pub operations: usize,
    /// Longest pause of a client, in milliseconds.
    pub pause: i64,
    pub agents: usize,
}

impl Client {
    pub fn send_off(self, zeal: Zeal) {
        self.crowd.with(|shared| shared.left += 1);
        let (executor, group) = (self.world.executor.clone(), self.world.people);
        executor.spawn(
            group,
            Box::pin(async move {
                while self.world.history.operations() < zeal.operations {
                    self.world.executor.sleep(self.dice.millis(1, zeal.pause)).await;
                    self.one_thing(zeal).await;
                }
                self.crowd.with(|shared| shared.left -= 1);
            }),
        );
    }

    async fn one_thing(&self, zeal: Zeal) {
        let known = self.crowd.some_task(&self.dice);
        match (self.dice.below(100), known) {
            (0..46, _) | (_, None) => self.create().await,
            (46..57, Some(task)) => {
                let request = self.request_id();
                self.insist(Call::Cancel { request, task }).await;
            }
            (57..64, Some(task)) => {
                let request = self.request_id();
                if let Answer::Task { task, .. } = self.insist(Call::Retry { request, task }).await {
                    self.remember(task);
                }
            }
            (64..77, Some(task)) => drop(self.ask(Call::Get { task }).await),
            (77..79, _) => {
                let agent = world::agent_name(self.dice.below(zeal.agents));
                self.insist(Call::Drain { agent }).await;
            }
            (79..86, _) => self.keys().await,
            (_, Some(task)) => self.watchers.follow(&self.world, task, self.dice.fork()),
        }
    }

    fn request_id(&self) -> String {
        format!("c{}-{}", self.index, self.crowd.number())
    }

    fn remember(&self, task: String) {
        self.crowd.with(|shared| {
            if !shared.tasks.contains(&task) {
                shared.tasks.push(task);
            }
        });
    }

    async fn create(&self) {
        let (request, body) = (self.request_id(), self.dice.seed());
        let created = self.insist(Call::Create { request: request.clone(), body }).await;
        let Answer::Task { task, .. } = created else { return };
        self.remember(task.clone());
        if self.dice.chance(0.2) {
            self.ask(Call::Create { request: request.clone(), body }).await;
        }
        if self.dice.chance(0.05) {
            self.ask(Call::Create { request, body: self.dice.seed() }).await;
        }
        if self.dice.chance(0.2) {
            self.watchers.follow(&self.world, task, self.dice.fork());
        }
    }

    /// Makes a key, shows one, or revokes one and perhaps shows it a little later.
    async fn keys(&self) {
        let known = self.crowd.some_key(&self.dice);
        match (self.dice.below(4), known) {
            (0, _) | (_, None) => {
                let request = self.request_id();
                let made = self.insist(Call::CreateKey { request }).await;
                if let Answer::Key { key, text: Some(text) } = made {
                    self.crowd.with(|shared| shared.keys.push((key, text)));
                }
            }
            (1, Some((key, text))) => {
                let request = self.request_id();
                self.insist(Call::RevokeKey { request, key: key.clone() }).await;
                self.world.executor.sleep(self.dice.millis(0, 2_000)).await;
                self.insist(Call::ShowKey { key, text }).await;
            }
            (_, Some((key, text))) => drop(self.insist(Call::ShowKey { key, text }).await),
        }
    }

    /// Asks until there is an answer, or enough of it.
    async fn insist(&self, call: Call) -> Answer {
        let mut answer = Answer::Silence;
        for tries in 1..=TRIES {
            answer = self.ask(call.clone()).await;
            if !answer.is_open() {
                break;
            }
            self.world.executor.sleep(self.dice.millis(20, 400 * i64::from(tries))).await;
        }
        answer
    }

    async fn ask(&self, call: Call) -> Answer {
        let replica = self.dice.below(self.world.replicas());
        let op = self.crowd.number();
        let invoked = Fact::Invoked { op, client: self.index, replica, call: call.clone() };
        self.world.history.record(invoked);
        let result = self.world.call(replica, &self.dice, move |engine, _| make(engine, call)).await;
        let answer = result.map_or(Answer::Silence, |result| result.unwrap_or_else(refusal));
        self.world.history.record(Fact::Answered { op, answer: answer.clone() });
        answer
    }
}

fn make(engine: Engine, call: Call) -> BoxFuture<'static, Result<Answer, Error>> {
    Box::pin(async move {
        let caller = world::client();
        match call {
            Call::Create { request, body } => {
                let new = workload::request(&request, body)
                    .map_err(|error| Error::Internal(format!("the workload is wrong: {error}")))?;
                Ok(task(&*engine.create_task(&caller, "", &request, new).await?))
            }
            Call::Cancel { request, task: id } => {
                Ok(task(&*engine.cancel_task(&caller, &id, &request, String::new(), None).await?))
            }
            Call::Retry { request, task: id } => Ok(task(&*engine.retry_task(&caller, &id, &request).await?)),
            Call::Get { task: id } => Ok(task(&*engine.get_task(&caller, &id).await?)),
            Call::Drain { agent } => match engine.drain_agent(&caller, "", DrainTarget::Agent(agent)).await {
                Ok(_) => Ok(Answer::Done),
                Err(Error::NotFound(_)) => Ok(Answer::Refused("it has no session".to_owned())),
                Err(error) => Err(error),
            },
            Call::CreateKey { request } => {
                let roles = std::iter::once(Role::Viewer).collect();
                let new = NewKey {
                    display_name: request.clone(),
                    roles,
                    scope: Scope::All,
                    lifetime: None,
                    person: String::new(),
                };
                let (made, text) = engine.create_key(&caller, &request, new).await?;
                Ok(key(&made, text))
            }
            Call::RevokeKey { request, key: id } => {
                Ok(key(&engine.revoke_key(&caller, &id, &request).await?, None))
            }
            Call::ShowKey { text, .. } => engine.authenticate_key(&text).await.map(|_| Answer::Done),
        }
    })
}

fn task(task: &Task) -> Answer {
    Answer::Task { task: task.id.to_string(), revision: task.revision, state: format!("{:?}", task.state) }
}

fn key(key: &Key, text: Option<String>) -> Answer {
    Answer::Key { key: key.id.to_string(), text }
}

fn refusal(error: Error) -> Answer {
    match error {
        Error::RequestIdReused => Answer::Reused,
        Error::CredentialRevoked => Answer::Revoked,
        Error::Refused(refusal @ (Refusal::TaskEnded | Refusal::TaskNotRetryable)) => {
            Answer::Refused(format!("{refusal:?}"))
        }
        Error::Store(StoreError::Unavailable(why)) => Answer::NotDone(why),
        error if transient(&error) => Answer::Failed(error.to_string()),
        error => Answer::Defect(format!("{error:?}")),
    }
}

/// Errors that a caller has to live with.
pub fn transient(error: &Error) -> bool {
    matches!(
        error,
        Error::Contention
            | Error::Overloaded { .. }
            | Error::LimitReached { .. }
            | Error::Draining
            | Error::Store(StoreError::Unavailable(_) | StoreError::Unknown(_))
    )
}
