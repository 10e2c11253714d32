//! What can be asked of a task.

use std::collections::BTreeMap;

use crate::id::SessionId;
use crate::payload::Payload;
use crate::plan::{Plan, StepIndex};
use crate::time::Span;

use super::event::FailureCode;
use super::partial::Partial;
use super::state::StepGrant;

/// A task to create.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    pub project: String,
    pub display_name: String,
    pub labels: BTreeMap<String, String>,
    pub plan: Plan,
    pub created_by: String,
    /// Person behind `created_by`.
    pub owner: String,
}

/// A command to an existing task. Those of agents name the lease by the session
/// and the sequence in the token; the epoch is compared before.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Cancel {
        comment: String,
        if_revision: Option<u64>,
    },
    /// Give a ready step to a session.
    Assign {
        step: StepIndex,
        session: SessionId,
        agent: String,
    },
    Progress {
        lease: LeaseRef,
        report: Report,
    },
    Complete {
        lease: LeaseRef,
        output: Option<Payload>,
    },
    Fail {
        lease: LeaseRef,
        reason: String,
        message: String,
        not_retryable: bool,
        retry_after: Option<Span>,
    },
    Refuse {
        lease: LeaseRef,
        message: String,
    },
    /// The session has expired or ended; whatever it held is free.
    SessionLost {
        session: SessionId,
    },
    /// The action of a gated step is granted.
    OpenGate {
        step: StepIndex,
        /// The gate that the grant is for.
        gate: u32,
        grant: Box<StepGrant>,
    },
    /// The action of a gated step will not be granted: the step fails for good.
    ShutGate {
        step: StepIndex,
        gate: u32,
        code: FailureCode,
        message: String,
    },
    /// What the step was, or would be, granted under has changed: ask anew.
    Regate {
        step: StepIndex,
        gate: u32,
        message: String,
    },
    /// Do what the time asks for.
    Tick,
}

/// An agent's word on how far it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// 0 to 1.
    pub fraction: f64,
    pub message: String,
    /// For the next attempt, should this one fail.
    pub checkpoint: Option<Payload>,
    /// What watchers see meanwhile.
    pub partial: Option<Partial>,
}

impl Report {
    /// Whether a later word makes this one superfluous.
    pub fn is_news_only(&self) -> bool {
        self.checkpoint.is_none() && self.partial.is_none()
    }
}

/// An agent's message about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRef {
    pub step: StepIndex,
    pub session: SessionId,
    /// Sequence of the assigning event.
    pub token: u64,
    /// Place in the lease's sequence of messages, from 1. `None` where the agent
    /// numbers nothing: then the token alone tells a repetition.
    pub number: Option<i64>,
}
