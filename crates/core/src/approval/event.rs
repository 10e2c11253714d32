//! What can happen to an approval. These types are the log's format: a field is
//! added with a default or not at all, and nothing is ever renamed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::digest::Digest;
use crate::id::{ApprovalId, GrantId, SessionId, TaskId};
use crate::key::Role;
use crate::plan::StepIndex;
use crate::stream::{Kind, StreamEvent};
use crate::time::{Span, Timestamp};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Always the first.
    Requested(Box<Requested>),
    /// One person's word.
    Voted {
        vote: Vote,
        subject: String,
        person: String,
        role: Option<Role>,
        /// Whose right it was, where that was delegated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delegated_by: Option<String>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        comment: String,
    },
    Delegated {
        from: String,
        to: String,
        until: Timestamp,
    },
    /// More roles may decide from now on.
    Escalated {
        level: u32,
    },
    /// It may be started until then.
    Granted {
        by: Grantor,
        until: Timestamp,
    },
    Denied {
        /// False where policy did.
        by_people: bool,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Nobody decided, or nobody started it, in time.
    Expired,
    Withdrawn {
        by: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        comment: String,
    },
    /// Its action was edited.
    Superseded {
        by: ApprovalId,
        editor: String,
    },
    /// What it was granted under holds no more.
    Invalidated {
        why: Invalid,
    },
    Revoked {
        by: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        comment: String,
    },
    /// Its task or lease is over.
    Canceled,
    /// It was started.
    Redeemed {
        session: SessionId,
        /// Sequence of the event that assigned the step.
        token: u64,
        agent: String,
        digest: Digest,
    },
    /// What the agent observed afterwards.
    Reported {
        effects: Vec<Effect>,
        exit_code: i32,
        /// Those that were not approved.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        surplus: Vec<Effect>,
    },
}

impl StreamEvent for Event {
    const KIND: Kind = Kind::Approval;
}

/// All that an approval was asked with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requested {
    pub id: ApprovalId,
    pub project: String,
    pub origin: Origin,
    /// Subject of the credential that asked.
    pub requester: String,
    pub parties: Parties,
    /// Empty while no agent has the step.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// The action with its secrets masked.
    pub shown: Action,
    /// Digest of the action itself.
    pub digest: Digest,
    /// Where the action itself is kept.
    pub content: Digest,
    /// Digest of what people are shown.
    pub preview: Digest,
    pub assessment: Assessment,
    pub terms: Terms,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub environment: String,
    /// Revision of the project's policy that it was assessed under.
    pub policy: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<ApprovalId>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// The step that wants the action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub task: TaskId,
    pub step: StepIndex,
    pub step_key: String,
    pub wait: Wait,
}

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// The step itself, before an agent has it: for the how-many-th time.
    Gate { number: u32 },
    /// An agent within the step, under this lease.
    Lease { session: SessionId, token: u64 },
}

/// People who have a part in the request, and so none in the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parties {
    pub requester: String,
    /// Of the task.
    pub owner: String,
    /// Of the action.
    pub author: String,
}

/// What was found out about the action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    pub level: Level,
    pub verdict: Verdict,
    /// False where something could not be resolved.
    pub complete: bool,
    pub findings: Vec<Finding>,
    pub reasons: Vec<Reason>,
    pub analyser: String,
    /// What policy was asked about, as JSON, so that it can be asked again.
    pub facts: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub rule: String,
    pub why: String,
    /// Bytes of the action's text.
    pub span: (u32, u32),
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub effect: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub undo: String,
    #[serde(default)]
    pub possible: bool,
}

/// A rule of the policy that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub policy: String,
    pub why: String,
}

/// How much is at stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Low,
    Medium,
    High,
}

/// What policy makes of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Auto,
    Ask,
    Deny,
}

/// What people are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Distinct people who must say yes; at least 1.
    pub approvals: u32,
    /// Distinct people whose no ends it; at least 1.
    pub denials: u32,
    pub roles: BTreeSet<Role>,
    /// How long the request waits.
    pub pending: Span,
    /// How long the yes is good for.
    pub grant: Span,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalation: Vec<Escalation>,
}

/// Roles that may decide in addition, from a time after the request on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    pub after: Span,
    pub roles: BTreeSet<Role>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    Approve,
    Deny,
}

/// Whose yes it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grantor {
    Policy,
    People,
    /// A yes that was given for good.
    Standing {
        grant: GrantId,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalid {
    PolicyChanged,
    EnvironmentChanged,
    AgentSuspended,
}

/// One thing that an agent saw happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    pub kind: String,
    pub target: String,
}
