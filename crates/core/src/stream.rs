//! Streams: every aggregate is a sequence of events.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::time::Timestamp;

/// What an aggregate is; stored beside its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Task,
    Project,
    Key,
    Approval,
    Policy,
}

impl Kind {
    /// The number under which the kind is stored. Never reused.
    pub const fn code(self) -> i16 {
        match self {
            Self::Task => 1,
            Self::Project => 2,
            Self::Key => 3,
            Self::Approval => 4,
            Self::Policy => 5,
        }
    }

    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            1 => Some(Self::Task),
            2 => Some(Self::Project),
            3 => Some(Self::Key),
            4 => Some(Self::Approval),
            5 => Some(Self::Policy),
            _ => None,
        }
    }
}

/// Events of one kind of aggregate. They are stored as JSON; an event that this
/// version does not know refuses to load.
pub trait StreamEvent: Serialize + DeserializeOwned + Send + Sync + 'static {
    const KIND: Kind;
}

/// An event with its place in the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded<E> {
    /// Dense from 1.
    pub sequence: u64,
    /// Commit time by the database's clock; provisional before the commit.
    pub at: Timestamp,
    pub event: E,
}
