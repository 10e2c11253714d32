//! What a change is made of: events for streams at expected sequences, streams
//! that must not have moved, and the rows that follow, all or nothing.

use bytes::Bytes;
use quarterdeck_core::stream::{Kind, StreamEvent};
use quarterdeck_core::{CommitId, Digest, ProjectId, StreamId, Timestamp};

use crate::error::StoreError;
use crate::rows::RowChange;

/// One change, applied whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The same when the commit is submitted again after [`StoreError::Unknown`];
    /// found at the expected place, it means that the first try was done.
    pub id: CommitId,
    /// Each for another stream. Empty where a commit corrects rows of streams that have
    /// not moved (`unchanged`), or only adds to the audit.
    pub appends: Vec<Append>,
    /// Streams that were read and must not have moved. Never one of `appends`.
    pub unchanged: Vec<Guard>,
    /// Time, by the database's clock read under the locks, from which on the
    /// commit must not apply.
    pub valid_until: Option<Timestamp>,
    /// Makes the request that caused this commit happen once.
    pub request: Option<RequestRecord>,
    /// Content too large for events.
    pub payloads: Vec<(Digest, Bytes)>,
    /// Rows of the streams in `appends`, in order.
    pub rows: Vec<RowChange>,
}

/// Events for the end of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub stream: StreamId,
    pub kind: Kind,
    pub project: ProjectId,
    /// Head that the stream must have; 0 opens it.
    pub expected: u64,
    /// Number of events in `body`, at least 1.
    pub count: u32,
    /// JSON array of the events.
    pub body: String,
}

/// A stream that must still be at `head` when the commit applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    pub stream: StreamId,
    pub head: u64,
}

/// Identity of a request, unique within project and method.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKey {
    pub project: ProjectId,
    /// RPC name such as `CreateTask`.
    pub method: &'static str,
    pub request_id: String,
}

/// A request that was granted, to be found when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    pub key: RequestKey,
    /// Digest of the request; another under the same key is a mistake.
    pub digest: Digest,
    /// Stream that the answer is read from.
    pub stream: StreamId,
}

/// What became of one commit of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Durable. `position` is its place in the order of all commits.
    Done { at: Timestamp, position: i64 },
    /// A stream, or a guard, was not where it was expected. Nothing was done.
    Conflict,
    /// `valid_until` had passed. Nothing was done.
    Stale,
    /// The request was granted before; see [`crate::Log::request`]. Nothing was done.
    Duplicate,
    /// This commit alone failed; the rest of its batch did not suffer.
    Failed(StoreError),
}

impl Append {
    /// Fails only if an event cannot be written as JSON, which is a defect.
    pub fn new<E: StreamEvent>(
        stream: StreamId,
        project: ProjectId,
        expected: u64,
        events: &[E],
    ) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_string(events)?;
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        Ok(Self { stream, kind: E::KIND, project, expected, count, body })
    }

    /// Sequence of the last event.
    pub const fn last(&self) -> u64 {
        self.expected + self.count as u64
    }
}
