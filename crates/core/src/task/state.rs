//! What a task is after some of its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::approval::Level;
use crate::digest::Digest;
use crate::id::{ApprovalId, SessionId, TaskId};
use crate::payload::Payload;
use crate::plan::{Plan, StepIndex, StepSpec};
use crate::time::Timestamp;

use super::event::{Failure, StopReason};

#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub id: TaskId,
    pub project: String,
    pub display_name: String,
    pub labels: BTreeMap<String, String>,
    pub plan: Arc<Plan>,
    pub created_by: String,
    /// Person behind `created_by`.
    pub owner: String,
    pub retry_of: Option<TaskId>,
    pub created_at: Timestamp,
    pub deadline: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub state: State,
    pub stop: Option<StopReason>,
    pub steps: Vec<Step>,
    /// Sequence of the last event applied.
    pub revision: u64,
    /// Steps that have not succeeded.
    pub unfinished: usize,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Running,
    Succeeded,
    Failed,
    Canceled,
}

impl State {
    pub const ALL: [Self; 4] = [Self::Running, Self::Succeeded, Self::Failed, Self::Canceled];

    /// The number under which the state is stored. Never reused.
    pub const fn code(self) -> i16 {
        match self {
            Self::Running => 1,
            Self::Succeeded => 2,
            Self::Failed => 3,
            Self::Canceled => 4,
        }
    }

    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// One step of a running or ended task.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub phase: Phase,
    /// When it entered its phase.
    pub since: Timestamp,
    /// Attempts started.
    pub attempt: u32,
    /// Attempts that count against the retry policy.
    pub failures: u32,
    /// Attempts that ended because the agent vanished.
    pub losses: u32,
    /// Dependencies that have not succeeded.
    pub waiting_for: u16,
    pub agent: Option<String>,
    pub output: Option<Payload>,
    pub checkpoint: Option<Payload>,
    pub last_failure: Option<Failure>,
    /// Session that gave the step back untouched: another gets it next.
    pub refused_by: Option<SessionId>,
    /// The lease that ended last by its agent's word, so that the word repeated is
    /// recognised instead of called stale.
    pub closed: Option<Closed>,
    /// Output taken over from the task that this one retries.
    pub reused: bool,
    /// Gates that the step has come to: each attempt at a declared action has its own.
    pub gates: u32,
    /// The yes that the step may be, or was last, given out under.
    pub grant: Option<StepGrant>,
}

/// A yes to a step's action, as the task knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepGrant {
    pub approval: ApprovalId,
    /// Head of the approval's stream while the grant stands.
    pub head: u64,
    pub until: Timestamp,
    /// What was granted: the declared action, or an edited one.
    pub digest: Digest,
    pub content: Digest,
    /// Revision of the policy, and environment, that it was granted under.
    pub policy: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub environment: String,
    pub level: Level,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Waits for other steps.
    Blocked,
    /// Waits for a yes to its action.
    Gated,
    /// Waits for an agent.
    Ready,
    /// Waits for its next attempt.
    Backoff {
        until: Timestamp,
    },
    /// Held by an agent.
    Running(Lease),
    Succeeded,
    Failed,
    Canceled,
}

/// One attempt in the hands of one session.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// Sequence of the assigning event.
    pub token: u64,
    pub session: SessionId,
    pub started_at: Timestamp,
    /// When the agent was last heard about this step.
    pub heard_at: Timestamp,
    /// Number of the agent's last recorded message about this lease.
    pub number: i64,
    pub progress: Option<Progress>,
    /// Bytes of its partial output so far.
    pub partial: u64,
}

/// A lease that its agent has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    pub token: u64,
    pub session: SessionId,
    /// Number of the message that ended it.
    pub number: i64,
    pub word: LastWord,
}

/// How an agent ends a lease by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWord {
    Complete,
    Fail,
    Refuse,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub fraction: f64,
    pub message: String,
    pub at: Timestamp,
}

impl Task {
    pub fn step(&self, index: StepIndex) -> Option<&Step> {
        self.steps.get(usize::from(index))
    }

    pub fn spec(&self, index: StepIndex) -> Option<&StepSpec> {
        self.plan.step(index)
    }

    pub fn ended(&self) -> bool {
        self.state != State::Running
    }

    /// Steps with their index and plan entry.
    pub fn numbered(&self) -> impl Iterator<Item = (StepIndex, &StepSpec, &Step)> {
        (0..).zip(self.plan.steps()).zip(&self.steps).map(|((index, spec), step)| (index, spec, step))
    }

    /// The leases that are held now.
    pub fn leases(&self) -> impl Iterator<Item = (StepIndex, &Lease)> {
        self.numbered().filter_map(|(index, _, step)| match &step.phase {
            Phase::Running(lease) => Some((index, lease)),
            _ => None,
        })
    }
}

impl Step {
    /// The approval that a step waits for, or may be given out under.
    pub fn gate(&self, task: TaskId, index: StepIndex) -> Option<ApprovalId> {
        match (&self.phase, &self.grant) {
            (Phase::Gated, _) => Some(ApprovalId::of_gate(task, index, self.gates, self.since)),
            (_, grant) => grant.as_ref().map(|grant| grant.approval),
        }
    }

    pub fn lease(&self) -> Option<&Lease> {
        match &self.phase {
            Phase::Running(lease) => Some(lease),
            _ => None,
        }
    }
}
