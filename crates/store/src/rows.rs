//! Rows that follow the log, and rows that are read.
//!
//! Every change names its row completely, so it can be written without reading;
//! each row is owned by one stream and changed only in a commit to that stream.

use std::collections::BTreeMap;

use quarterdeck_core::approval::{Level, Phase};
use quarterdeck_core::plan::StepIndex;
use quarterdeck_core::task::State;
use quarterdeck_core::{
    ApprovalId, Digest, ProjectId, SessionId, Span, StreamId, TaskId, Timestamp, WebhookId,
};
use uuid::Uuid;

/// One change of a projection.
#[derive(Clone, Debug, PartialEq)]
pub enum RowChange {
    /// A task has been created. `created_at` is stamped by the commit.
    TaskOpened(TaskOpened),
    /// It has ended. `ended_at` is stamped by the commit.
    TaskEnded {
        task: TaskId,
        state: State,
        stop_code: String,
    },
    ReadyAdded(ReadyKey),
    ReadyRemoved(ReadyKey),
    LeaseAdded(LeaseRow),
    LeaseRemoved(StepRef),
    /// The task's earliest deadline; replaces what was there.
    TimerSet {
        task: TaskId,
        due: Timestamp,
    },
    TimerCleared {
        task: TaskId,
    },
    /// The project as it is now; replaces what was there.
    ProjectPut(ProjectRow),
    /// The key as it is now; replaces what was there.
    KeyPut(KeyRow),
    /// An approval has been asked for. `created_at` is stamped by the commit.
    ApprovalOpened(ApprovalOpened),
    /// Where the approval stands now; replaces what was there.
    ApprovalPut(ApprovalNow),
    /// The step waits at this gate; replaces what was there.
    GatePut {
        step: StepRef,
        /// From 1.
        gate: u32,
        /// Whether it has its yes, and waits for an agent.
        granted: bool,
    },
    GateRemoved(StepRef),
    /// An entry of the audit: JSON without a time, which the commit stamps.
    Audited {
        project: ProjectId,
        body: String,
    },
    /// A webhook is told of what comes after this commit.
    WebhookAdded {
        webhook: WebhookId,
        project: ProjectId,
    },
    WebhookRemoved(WebhookId),
}

/// An approval as it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalOpened {
    pub approval: ApprovalId,
    pub project: ProjectId,
    pub task: TaskId,
    pub agent: String,
    pub level: Level,
}

/// Where an approval stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalNow {
    pub approval: ApprovalId,
    pub project: ProjectId,
    pub level: Level,
    pub phase: Phase,
    pub step: StepRef,
    /// 0 where an agent waits, under the lease with `token`.
    pub gate: u32,
    pub token: u64,
    /// When time alone changes it next.
    pub due: Option<Timestamp>,
}

/// What there is of a project's audit among the entries that were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audited {
    pub project: ProjectId,
    /// Position of the newest.
    pub newest: i64,
    pub entries: u64,
}

/// Where an entry of the audit is: its commit, and its place within that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditPlace {
    pub position: i64,
    pub n: i64,
}

/// One entry of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub place: AuditPlace,
    pub at: Timestamp,
    /// JSON without the time.
    pub body: String,
}

/// A signed head of a project's audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSeal {
    pub size: u64,
    pub root: Digest,
    pub at: Timestamp,
    pub signature: Vec<u8>,
    /// Place of the last entry in the tree.
    pub last: AuditPlace,
    /// Roots of its perfect subtrees.
    pub frontier: Vec<Digest>,
}

/// How far a webhook has been told, and when it is told on. Beside the log: its
/// only truth is its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    pub webhook: WebhookId,
    pub project: ProjectId,
    /// Last entry of the project's audit that it is done with, and when that was written.
    pub passed: AuditPlace,
    pub passed_at: Timestamp,
    /// In a row.
    pub failures: u32,
    /// Nobody tries before. Whoever tries has moved it, so that it names the claim.
    pub due: Timestamp,
    /// Of the last try; empty where that went well.
    pub last_error: String,
    pub delivered_at: Option<Timestamp>,
}

/// Which approvals to list; all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalFilter {
    /// Empty: every phase.
    pub phases: Vec<Phase>,
    pub min_level: Option<Level>,
    pub task: Option<TaskId>,
    pub agent: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskOpened {
    pub task: TaskId,
    pub project: ProjectId,
    pub display_name: String,
    pub labels: BTreeMap<String, String>,
    pub created_by: String,
    pub retry_of: Option<TaskId>,
    pub step_count: u32,
    pub deadline: Timestamp,
}

/// A step of a task: 18 bytes, the task's 16 and the step's two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepRef {
    pub task: TaskId,
    pub step: StepIndex,
}

impl StepRef {
    pub fn to_bytes(self) -> [u8; 18] {
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(self.task.as_uuid().as_bytes());
        bytes[16..].copy_from_slice(&self.step.to_be_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (task, step) = bytes.split_at_checked(16)?;
        Some(Self {
            task: TaskId::from_uuid(Uuid::from_slice(task).ok()?),
            step: StepIndex::from_be_bytes(step.try_into().ok()?),
        })
    }
}

/// Steps of one project that want one capability: the unit of dispatch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    pub project: ProjectId,
    pub capability: String,
}

/// Number of shards that queues are spread over. Fixed: it is part of stored keys.
pub const SHARDS: u8 = 64;

impl QueueKey {
    /// Shard that the queue lives in.
    pub fn shard(&self) -> u8 {
        // FNV-1a: stable across versions, unlike std's hashers.
        let project = self.project.as_uuid();
        let bytes = project.as_bytes().iter().copied().chain(self.capability.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash % u64::from(SHARDS)) as u8
    }

    /// Prefix shared by the encoded keys of this queue and no other.
    pub fn prefix(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(18 + self.capability.len() + 19);
        bytes.push(self.shard());
        bytes.extend_from_slice(self.project.as_uuid().as_bytes());
        bytes.extend_from_slice(self.capability.as_bytes());
        bytes.push(0); // capabilities contain no NUL, so no name is a prefix of another
        bytes
    }
}

/// A step that waits for an agent. Stored as one sortable byte string: shard,
/// project, capability, 0, 9 - priority, task, step. Within a queue higher
/// priority goes first, then the older task, then the earlier step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadyKey {
    pub queue: QueueKey,
    pub priority: u8,
    pub step: StepRef,
}

impl ReadyKey {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.queue.prefix();
        bytes.push(9u8.saturating_sub(self.priority));
        bytes.extend_from_slice(&self.step.to_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let project = ProjectId::from_uuid(Uuid::from_slice(bytes.get(1..17)?).ok()?);
        let rest = bytes.get(17..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        let capability = std::str::from_utf8(&rest[..end]).ok()?.to_owned();
        let tail = rest.get(end + 1..)?;
        let (rank, step) = tail.split_first()?;
        if step.len() != 18 {
            return None;
        }
        Some(Self {
            queue: QueueKey { project, capability },
            priority: 9u8.checked_sub(*rank)?,
            step: StepRef::from_bytes(step)?,
        })
    }
}

/// A step held by a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    pub step: StepRef,
    pub session: SessionId,
    /// Sequence of the assigning event.
    pub token: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectRow {
    pub id: ProjectId,
    pub name: String,
    pub revision: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    pub key: StreamId,
    /// Names of the projects covered; `None` covers all.
    pub projects: Option<Vec<String>>,
    pub revision: u64,
}

/// One commit of one stream, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    pub stream: StreamId,
    /// Sequence of the last event in `body`.
    pub last: u64,
    pub count: u32,
    pub position: i64,
    pub at: Timestamp,
    /// JSON array of the events.
    pub body: String,
}

/// A task as listed: changed only when it opens and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    pub task: TaskId,
    pub project: ProjectId,
    pub display_name: String,
    pub labels: BTreeMap<String, String>,
    pub state: State,
    pub stop_code: Option<String>,
    pub created_by: String,
    pub retry_of: Option<TaskId>,
    pub step_count: u32,
    pub created_at: Timestamp,
    pub deadline: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Head of the stream at the time of reading.
    pub revision: u64,
}

/// Which tasks to list; all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Empty: every state.
    pub states: Vec<State>,
    pub labels: BTreeMap<String, String>,
    /// At or after this.
    pub created_after: Option<Timestamp>,
    /// Before this.
    pub created_before: Option<Timestamp>,
    pub retry_of: Option<TaskId>,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    Open,
    Draining,
    Closed,
    Expired,
}

impl SessionState {
    /// The number under which the state is stored. Never reused.
    pub const fn code(self) -> i16 {
        match self {
            Self::Open => 1,
            Self::Draining => 2,
            Self::Closed => 3,
            Self::Expired => 4,
        }
    }

    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            1 => Some(Self::Open),
            2 => Some(Self::Draining),
            3 => Some(Self::Closed),
            4 => Some(Self::Expired),
            _ => None,
        }
    }

    /// Open or draining: its leases count.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Open | Self::Draining)
    }
}

/// A session of an agent. Not a stream: its only truth is its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub session: SessionId,
    pub project: ProjectId,
    pub agent: String,
    pub build: String,
    pub capabilities: Vec<String>,
    pub slots: u32,
    /// Subject of the credential that opened it.
    pub principal: String,
    /// SHA-256 of the resume token.
    pub resume_hash: [u8; 32],
    /// Replica that holds the connection.
    pub replica: Uuid,
    pub state: SessionState,
    pub created_at: Timestamp,
    /// How long it outlives silence.
    pub lease: Span,
    /// The lease runs out here unless renewed.
    pub expires_at: Timestamp,
}

/// What became of a session that a replica wanted to renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    pub session: SessionId,
    pub expires_at: Timestamp,
    /// True where an operator asked it to finish.
    pub draining: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_core::Ctx;

    #[test]
    fn ready_keys_come_back_and_sort_by_priority_then_age() {
        let task = |micros: i64| TaskId::new(&Ctx::new(Timestamp::from_micros(micros * 1_000), [9; 32]), 0);
        let queue = QueueKey { project: ProjectId::of("default"), capability: "read".into() };
        let key = |priority, at, step| ReadyKey {
            queue: queue.clone(),
            priority,
            step: StepRef { task: task(at), step },
        };
        let in_order = [key(9, 5, 0), key(1, 1, 3), key(1, 2, 0), key(0, 1, 0), key(0, 1, 1)];
        for pair in in_order.windows(2) {
            assert!(pair[0].encode() < pair[1].encode(), "{pair:?}");
        }
        for key in in_order {
            assert_eq!(ReadyKey::decode(&key.encode()), Some(key));
        }
    }

    #[test]
    fn no_queue_is_within_another() {
        let queue = |name: &str| QueueKey { project: ProjectId::of("p"), capability: name.into() };
        assert!(!queue("ab").prefix().starts_with(&queue("a").prefix()));
    }
}
