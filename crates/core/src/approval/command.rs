//! What can be asked of an approval.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::id::{ApprovalId, SessionId, TaskId};
use crate::key::Role;
use crate::plan::StepIndex;
use crate::time::Span;

use super::event::{Effect, Invalid, Vote};

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Vote {
        by: Voter,
        vote: Vote,
        /// The action that was looked at.
        digest: Digest,
        comment: String,
    },
    Delegate {
        by: Voter,
        to: String,
        /// `None`: as long as the request waits.
        lifetime: Option<Span>,
    },
    /// The action was edited; `successor` takes the place of this approval.
    Supersede {
        by: Voter,
        digest: Digest,
        successor: ApprovalId,
    },
    Withdraw {
        by: Voter,
        comment: String,
    },
    Revoke {
        by: Voter,
        comment: String,
    },
    Redeem {
        by: Redeemer,
        digest: Digest,
        policy: u64,
        environment: String,
    },
    Report {
        effects: Vec<Effect>,
        exit_code: i32,
        surplus: Vec<Effect>,
    },
    Invalidate {
        why: Invalid,
    },
    /// Its task or lease is over.
    Cancel,
    /// Do what the time asks for.
    Tick,
}

/// Somebody who says something about an approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    pub subject: String,
    /// Who it is, whatever credential was shown.
    pub person: String,
    pub roles: BTreeSet<Role>,
}

/// Who starts the action, in which step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeemer {
    pub task: TaskId,
    pub step: StepIndex,
    pub session: SessionId,
    /// Of the lease: a number of its task, which other tasks have too.
    pub token: u64,
    pub agent: String,
}
