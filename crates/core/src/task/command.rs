//! What can be asked of a task.

use std::collections::BTreeMap;

use crate::id::SessionId;
use crate::payload::Payload;
use crate::plan::{Plan, StepIndex};
use crate::time::Span;

/// A task to create.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    pub project: String,
    pub display_name: String,
    pub labels: BTreeMap<String, String>,
    pub plan: Plan,
    pub created_by: String,
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
        fraction: f64,
        message: String,
        checkpoint: Option<Payload>,
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
    /// Do what the time asks for.
    Tick,
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
