//! What an approval is after some of its events.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::ApprovalId;
use crate::key::Role;
use crate::time::Timestamp;

use super::command::Redeemer;
use super::event::{Effect, Grantor, Requested, Vote};

#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    pub asked: Arc<Requested>,
    pub phase: Phase,
    pub created_at: Timestamp,
    /// When it entered its phase.
    pub since: Timestamp,
    /// When the request, or the grant, is over.
    pub expires_at: Timestamp,
    pub votes: Vec<Voted>,
    pub delegations: Vec<Delegation>,
    /// Escalations so far.
    pub level: u32,
    pub granted_by: Option<Grantor>,
    pub redeemed_by: Option<Redeemer>,
    pub superseded_by: Option<ApprovalId>,
    /// How it came to its phase, for people.
    pub reason: String,
    pub report: Option<Report>,
    /// Sequence of the last event applied.
    pub revision: u64,
}

/// Where an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Pending,
    Granted,
    Redeemed,
    Denied,
    Expired,
    Withdrawn,
    Superseded,
    Invalidated,
    Revoked,
    Canceled,
}

impl Phase {
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Granted,
        Self::Redeemed,
        Self::Denied,
        Self::Expired,
        Self::Withdrawn,
        Self::Superseded,
        Self::Invalidated,
        Self::Revoked,
        Self::Canceled,
    ];

    /// The number under which the phase is stored. Never reused.
    pub const fn code(self) -> i16 {
        match self {
            Self::Pending => 1,
            Self::Granted => 2,
            Self::Redeemed => 3,
            Self::Denied => 4,
            Self::Expired => 5,
            Self::Withdrawn => 6,
            Self::Superseded => 7,
            Self::Invalidated => 8,
            Self::Revoked => 9,
            Self::Canceled => 10,
        }
    }

    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.code() == code)
    }

    /// True where nothing can change the outcome any more.
    pub const fn ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Granted)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Redeemed => "redeemed",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Superseded => "superseded",
            Self::Invalidated => "invalidated",
            Self::Revoked => "revoked",
            Self::Canceled => "canceled",
        }
    }
}

/// One person's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voted {
    pub vote: Vote,
    pub subject: String,
    pub person: String,
    pub role: Option<Role>,
    pub delegated_by: Option<String>,
    pub comment: String,
    pub at: Timestamp,
}

/// A right to decide that was lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    pub from: String,
    pub to: String,
    pub until: Timestamp,
}

/// What the agent observed afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub effects: Vec<Effect>,
    pub exit_code: i32,
    pub surplus: Vec<Effect>,
    pub at: Timestamp,
}

impl Approval {
    pub fn id(&self) -> ApprovalId {
        self.asked.id
    }

    /// When time alone will change it next; `None` once it has ended.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Pending => {
                let next = self.asked.terms.escalation.get(self.level as usize);
                let escalates = next.map(|level| self.created_at.plus(level.after));
                Some(escalates.map_or(self.expires_at, |at| at.min(self.expires_at)))
            }
            Phase::Granted => Some(self.expires_at),
            _ => None,
        }
    }

    /// Yes or no of distinct people so far.
    pub fn count(&self, vote: Vote) -> u32 {
        self.votes.iter().filter(|voted| voted.vote == vote).count() as u32
    }
}
