//! Hints between replicas: wake-ups and live tails.
//!
//! Invariant: nothing depends on a hint arriving. Whatever a lost, doubled or
//! late hint would have started is found in the tables by the sweeper.

use quarterdeck_core::{ApprovalId, ProjectId, SessionId, StreamId};
use quarterdeck_store::rows::{QueueKey, StepRef};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use uuid::Uuid;

/// Something that another replica may want to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// Steps became ready in this queue.
    Ready { project: Uuid, capability: String },
    /// A stream of this project has this head now.
    Advanced { stream: Uuid, project: Uuid, head: u64 },
    /// The lease that this session held on this step has ended.
    Revoked { session: Uuid, task: Uuid, step: u16, token: u64 },
    /// This session was asked to finish.
    Draining { session: Uuid },
    /// This approval has changed.
    Approval { id: Uuid, project: Uuid },
}

impl Hint {
    pub fn ready(queue: &QueueKey) -> Self {
        Self::Ready { project: queue.project.as_uuid(), capability: queue.capability.clone() }
    }

    pub fn approval(id: ApprovalId, project: ProjectId) -> Self {
        Self::Approval { id: id.as_uuid(), project: project.as_uuid() }
    }

    pub fn advanced(stream: StreamId, project: ProjectId, head: u64) -> Self {
        Self::Advanced { stream: stream.as_uuid(), project: project.as_uuid(), head }
    }

    pub fn revoked(session: SessionId, step: StepRef, token: u64) -> Self {
        Self::Revoked { session: session.as_uuid(), task: step.task.as_uuid(), step: step.step, token }
    }
}

/// A hint and the replica it is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub from: Uuid,
    pub hint: Hint,
}

/// Carries letters to all replicas, the sender included, with no promise.
pub trait Bus: Send + Sync + 'static {
    /// Never waits for the network: drops where its queue is full.
    fn publish(&self, letters: Vec<Letter>);

    /// Letters published from now on. A slow reader loses some.
    fn subscribe(&self) -> broadcast::Receiver<Letter>;

    /// False while letters are known to be lost.
    fn healthy(&self) -> bool;
}

/// The bus of replicas within one process.
pub struct LocalBus(broadcast::Sender<Letter>);

/// Letters a slow reader may lag behind before it loses some.
const LAG_MAX: usize = 4_096;

impl Default for LocalBus {
    fn default() -> Self {
        Self(broadcast::Sender::new(LAG_MAX))
    }
}

impl Bus for LocalBus {
    fn publish(&self, letters: Vec<Letter>) {
        for letter in letters {
            // Nobody listening is as good as delivered.
            let _ = self.0.send(letter);
        }
    }

    fn subscribe(&self) -> broadcast::Receiver<Letter> {
        self.0.subscribe()
    }

    fn healthy(&self) -> bool {
        true
    }
}
