//! Clients: they create, cancel, retry, look and watch, and repeat themselves on
//! purpose.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use quarterdeck_core::Refusal;
use quarterdeck_core::task::Task;
use quarterdeck_engine::{Engine, Error};
use quarterdeck_store::StoreError;

use crate::dice::Dice;
use crate::executor::Group;
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

impl Client {
    /// Sends a client off to do so many things.
    pub fn send_off(self, things: usize) {
        self.crowd.with(|shared| shared.left += 1);
        let (executor, group) = (self.world.executor.clone(), self.world.people);
        executor.spawn(
            group,
            Box::pin(async move {
                for _ in 0..things {
                    self.world.executor.sleep(self.dice.millis(1, 120)).await;
                    self.one_thing().await;
                }
                self.crowd.with(|shared| shared.left -= 1);
            }),
        );
    }

    async fn one_thing(&self) {
        let known = self.crowd.some_task(&self.dice);
        match (self.dice.below(100), known) {
            (0..50, _) | (_, None) => self.create().await,
            (50..62, Some(task)) => {
                let request = self.request_id();
                self.insist(Call::Cancel { request, task }).await;
            }
            (62..70, Some(task)) => {
                let request = self.request_id();
                if let Some(created) = self.insist(Call::Retry { request, task }).await {
                    self.remember(created);
                }
            }
            (70..84, Some(task)) => drop(self.ask(Call::Get { task }).await),
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
        let Some(task) = created else { return };
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

    /// Asks until there is an answer, or enough of it; the task in the answer.
    async fn insist(&self, call: Call) -> Option<String> {
        for tries in 1..=TRIES {
            match self.ask(call.clone()).await {
                Answer::Task { task, .. } => return Some(task),
                Answer::Failed(_) | Answer::Silence => {
                    self.world.executor.sleep(self.dice.millis(20, 400 * i64::from(tries))).await;
                }
                _ => return None,
            }
        }
        None
    }

    async fn ask(&self, call: Call) -> Answer {
        let replica = self.dice.below(self.world.replicas());
        let op = self.crowd.number();
        let invoked = Fact::Invoked { op, client: self.index, replica, call: call.clone() };
        self.world.history.record(invoked);
        let result =
            self.world.call(replica, &self.dice, move |engine, group| make(engine, group, call)).await;
        let answer = result.map_or(Answer::Silence, answer);
        self.world.history.record(Fact::Answered { op, answer: answer.clone() });
        answer
    }
}

fn make(engine: Engine, _group: Group, call: Call) -> BoxFuture<'static, Result<Arc<Task>, Error>> {
    Box::pin(async move {
        let caller = world::client();
        match call {
            Call::Create { request, body } => {
                let new = workload::request(&request, body)
                    .map_err(|error| Error::Internal(format!("the workload is wrong: {error}")))?;
                engine.create_task(&caller, "", &request, new).await
            }
            Call::Cancel { request, task } => {
                engine.cancel_task(&caller, &task, &request, String::new(), None).await
            }
            Call::Retry { request, task } => engine.retry_task(&caller, &task, &request).await,
            Call::Get { task } => engine.get_task(&caller, &task).await,
        }
    })
}

fn answer(result: Result<Arc<Task>, Error>) -> Answer {
    match result {
        Ok(task) => Answer::Task {
            task: task.id.to_string(),
            revision: task.revision,
            state: format!("{:?}", task.state),
        },
        Err(Error::RequestIdReused) => Answer::Reused,
        Err(Error::Refused(refusal @ (Refusal::TaskEnded | Refusal::TaskNotRetryable))) => {
            Answer::Refused(format!("{refusal:?}"))
        }
        Err(error) if transient(&error) => Answer::Failed(error.to_string()),
        Err(error) => Answer::Defect(format!("{error:?}")),
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
