//! Clients: they create, cancel, retry, look and watch at all replicas, and
//! repeat themselves on purpose, half of them through the library's own retries.

use std::sync::{Arc, Mutex, PoisonError};

use quarterdeck_client::api::orchestration::v1::{
    CancelTaskRequest, GetTaskRequest, RetryTaskRequest, TaskView,
};
use quarterdeck_sim::dice::Dice;
use quarterdeck_sim::history::{Answer, Call, Fact};
use tokio::time::sleep;

use crate::watcher;
use crate::wire;
use crate::world::World;

/// Times that a client asks again for the same thing.
const TRIES: u32 = 4;
/// Longest rest between two things, in milliseconds.
const REST: i64 = 200;
/// Tasks that are talked about: old ones have ended long ago.
const KNOWN_MAX: usize = 2_000;

/// The tasks that clients know of.
#[derive(Clone, Default)]
pub struct Crowd(Arc<Mutex<Vec<String>>>);

impl Crowd {
    fn with<T>(&self, change: impl FnOnce(&mut Vec<String>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn remember(&self, task: String) {
        self.with(|tasks| {
            if tasks.len() >= KNOWN_MAX {
                tasks.drain(..KNOWN_MAX / 2);
            }
            if !tasks.contains(&task) {
                tasks.push(task);
            }
        });
    }

    /// Some task that somebody created, the younger the likelier.
    fn some_task(&self, dice: &Dice) -> Option<String> {
        self.with(|tasks| {
            let count = tasks.len();
            let back = if dice.chance(0.7) { dice.below(count.min(20)) } else { dice.below(count) };
            tasks.get(count.checked_sub(back + 1)?).cloned()
        })
    }
}

/// One client.
pub struct Client {
    world: World,
    crowd: Crowd,
    index: usize,
    dice: Dice,
    /// One connection a replica, replaced now and then when nothing comes back.
    connections: Vec<Option<quarterdeck_client::Client>>,
}

impl Client {
    pub fn new(world: World, crowd: Crowd, index: usize, dice: Dice) -> Self {
        let connections = vec![None; world.replicas()];
        Self { world, crowd, index, dice, connections }
    }

    /// Does things until there is enough.
    pub async fn live(mut self) {
        while !self.world.enough.is_cancelled() {
            sleep(self.dice.millis(1, REST).as_std()).await;
            self.one_thing().await;
        }
    }

    async fn one_thing(&mut self) {
        let known = self.crowd.some_task(&self.dice);
        match (self.dice.below(100), known) {
            (0..50, _) | (_, None) => self.create().await,
            (50..60, Some(task)) => {
                let request = self.request_id();
                self.insist(Call::Cancel { request, task }).await;
            }
            (60..68, Some(task)) => {
                let request = self.request_id();
                if let Some(created) = self.insist(Call::Retry { request, task }).await {
                    self.crowd.remember(created);
                }
            }
            (68..84, Some(task)) => drop(self.ask(Call::Get { task }).await),
            (_, Some(task)) => watcher::follow(&self.world, task, self.dice.fork()),
        }
    }

    fn request_id(&self) -> String {
        format!("c{}-{}", self.index, self.world.number())
    }

    /// Creates a task, and perhaps more than asks for it.
    pub async fn create(&mut self) {
        let (request, body) = (self.request_id(), self.dice.seed());
        let created = self.insist(Call::Create { request: request.clone(), body }).await;
        let Some(task) = created else { return };
        self.crowd.remember(task.clone());
        if self.dice.chance(0.2) {
            self.ask(Call::Create { request: request.clone(), body }).await;
        }
        if self.dice.chance(0.05) {
            let body = self.dice.seed();
            self.ask(Call::Create { request, body }).await;
        }
        if self.dice.chance(0.2) {
            watcher::follow(&self.world, task, self.dice.fork());
        }
    }

    /// Asks until there is an answer, or enough of it; the task in the answer.
    async fn insist(&mut self, call: Call) -> Option<String> {
        for tries in 1..=TRIES {
            match self.ask(call.clone()).await {
                Answer::Task { task, .. } => return Some(task),
                Answer::Failed(_) | Answer::Silence => {
                    sleep(self.dice.millis(20, 300 * i64::from(tries)).as_std()).await;
                }
                _ => return None,
            }
        }
        None
    }

    async fn ask(&mut self, call: Call) -> Answer {
        let replica = self.dice.below(self.world.replicas());
        let (op, client) = (self.world.number(), self.index);
        let Some(connection) = self.connection(replica) else {
            return Answer::Silence;
        };
        self.world.record.add(Fact::Invoked { op, client, replica, call: call.clone() });
        let answer = match call_through(&connection, call).await {
            Ok(answer) => answer,
            Err(error) => Answer::Defect(format!("the workload is wrong: {error}")),
        };
        self.world.record.add(Fact::Answered { op, answer: answer.clone() });
        if answer == Answer::Silence
            && self.dice.chance(0.5)
            && let Some(connection) = self.connections.get_mut(replica)
        {
            *connection = None;
        }
        answer
    }

    fn connection(&mut self, replica: usize) -> Option<quarterdeck_client::Client> {
        let connection = self.connections.get_mut(replica)?;
        if connection.is_none() {
            *connection = self.world.client(replica).ok();
        }
        let client = connection.clone()?;
        Some(if self.index.is_multiple_of(2) { client } else { client.without_retries() })
    }
}

async fn call_through(client: &quarterdeck_client::Client, call: Call) -> anyhow::Result<Answer> {
    let result = match call {
        Call::Create { request, body } => client.create_task(wire::create(&request, body)?).await,
        Call::Cancel { request: request_id, task: task_id } => {
            client.cancel_task(CancelTaskRequest { task_id, request_id, ..Default::default() }).await
        }
        Call::Retry { request: request_id, task: task_id } => {
            client.retry_task(RetryTaskRequest { task_id, request_id }).await
        }
        Call::Get { task: task_id } => {
            let view = TaskView::Basic.into();
            client.get_task_with(GetTaskRequest { task_id, view, step_keys: Vec::new() }).await
        }
        Call::Drain { .. } | Call::CreateKey { .. } | Call::RevokeKey { .. } | Call::ShowKey { .. } => {
            anyhow::bail!("chaos asks for tasks alone")
        }
    };
    Ok(wire::answer(result))
}
