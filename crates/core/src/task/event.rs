//! What can happen to a task. These types are the log's format: a field is
//! added with a default or not at all, and nothing is ever renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{SessionId, TaskId};
use crate::payload::Payload;
use crate::plan::{Plan, StepIndex};
use crate::stream::{Kind, StreamEvent};
use crate::time::Timestamp;

use super::partial::Partial;
use super::state::{State, StepGrant};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Always the first.
    Created(Box<Created>),
    /// Starts an attempt; its sequence is the lease's fencing token.
    Assigned { step: StepIndex, attempt: u32, session: SessionId, agent: String },
    /// The agent's word on how far it is.
    Progressed {
        step: StepIndex,
        number: i64,
        fraction: f64,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Payload>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partial: Option<Partial>,
    },
    /// The agent gave the step back untouched.
    Refused { step: StepIndex, number: i64, agent: String, message: String },
    /// The step is finished.
    Succeeded { step: StepIndex, attempt: u32, number: i64, output: Option<Payload> },
    /// An attempt ended without success. `number` is 0 where no agent said so.
    Failed { step: StepIndex, number: i64, failure: Failure, next: Next },
    /// A backoff is over.
    Readied { step: StepIndex },
    /// What the step's grant was given under has changed: it waits for a new one.
    Gated { step: StepIndex, message: String },
    /// The step's action is granted.
    Approved { step: StepIndex, grant: Box<StepGrant> },
    /// Always the last.
    Ended { state: State, stop: StopReason },
}

impl StreamEvent for Event {
    const KIND: Kind = Kind::Task;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Created {
    pub id: TaskId,
    pub project: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub plan: Plan,
    pub created_by: String,
    /// Person behind `created_by`. Empty in tasks from before there were approvals.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    pub deadline: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<TaskId>,
    /// Outputs taken over from `retry_of`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "pairs")]
    pub reused: BTreeMap<StepIndex, Option<Payload>>,
}

/// A map as a list of pairs: keys that are numbers do not survive JSON inside a
/// tagged enum.
mod pairs {
    use super::*;

    type Map = BTreeMap<StepIndex, Option<Payload>>;

    pub fn serialize<S: serde::Serializer>(map: &Map, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: FailureCode,
    /// The agent's own word where `code` is `Reported`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    pub attempt: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    Reported,
    AttemptTimeout,
    ProgressTimeout,
    AgentLost,
    ApprovalDenied,
    ApprovalTimeout,
    ApprovalWithdrawn,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// Ready again at once.
    Ready,
    /// Ready again later.
    Backoff { until: Timestamp },
    /// Nothing; the task ends in the same commit.
    Final,
}

/// Why a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopReason {
    pub code: StopCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepIndex>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCode {
    Completed,
    AttemptsExhausted,
    NotRetryable,
    NoAgent,
    AgentLost,
    Timeout,
    Canceled,
    ApprovalDenied,
    ApprovalTimeout,
    ApprovalWithdrawn,
}

impl StopReason {
    pub fn plain(code: StopCode) -> Self {
        Self { code, step: None, reason: String::new(), message: String::new() }
    }
}
