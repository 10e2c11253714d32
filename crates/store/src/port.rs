//! What the engine may ask of a store.
//!
//! "Not found" is `Ok(None)`. Every list has a limit that the caller gives.
//! Times come from the database's clock only where a method says so; it is the
//! only clock that leases, deadlines and `valid_until` are compared with.

use async_trait::async_trait;
use bytes::Bytes;
use quarterdeck_core::{
    ApprovalId, CommitId, Digest, ProjectId, SessionId, Span, StreamId, TaskId, Timestamp, WebhookId,
};
use uuid::Uuid;

use crate::commit::{Commit, Outcome, RequestKey, RequestRecord};
use crate::error::StoreError;
use crate::rows::{
    ApprovalFilter, AuditEntry, AuditPlace, AuditSeal, Audited, EventRow, LeaseRow, ProjectRow, QueueKey,
    ReadyKey, Renewed, SessionRow, StepRef, TaskFilter, TaskRow, WebhookRow,
};

pub type Result<T> = std::result::Result<T, StoreError>;

/// The whole store.
pub trait Store: Log + Dispatch + Sessions + Catalog + Approvals + AuditLog + Webhooks + 'static {}

impl<T: Log + Dispatch + Sessions + Catalog + Approvals + AuditLog + Webhooks + 'static> Store for T {}

/// The log: the truth.
#[async_trait]
pub trait Log: Send + Sync {
    /// Applies each commit of the batch whole or not at all, in one durable write.
    /// Commits of one batch are disjoint: no two append to one stream, no one
    /// guards what another appends to, no two share a request key. Answers one outcome
    /// a commit, in order. `Err` is for the batch as a whole; after
    /// [`StoreError::Unknown`] submit the same commits again.
    async fn commit(&self, batch: &[Commit]) -> Result<Vec<Outcome>>;

    /// Rows of a stream with events after `sequence`, oldest first, at most
    /// `limit` rows. The first may begin before: rows hold several events.
    async fn load(&self, stream: StreamId, after: u64, limit: u32) -> Result<Vec<EventRow>>;

    /// Heads of those of `streams` that exist, in any order. At most 1,000.
    async fn heads(&self, streams: &[StreamId]) -> Result<Vec<(StreamId, u64)>>;

    /// Rows of all of `streams`, stream by stream, oldest first; at most 10,000. For
    /// streams that stay short.
    async fn load_short(&self, streams: &[StreamId]) -> Result<Vec<EventRow>>;

    /// Events of a project's tasks, or approvals, with a position after `position`, in
    /// commit order. A commit is never cut: rows of the last one may exceed `limit`.
    async fn follow(
        &self,
        project: ProjectId,
        followed: Followed,
        position: i64,
        limit: u32,
    ) -> Result<Vec<EventRow>>;

    /// Position of the last commit; 0 in an empty log.
    async fn position(&self) -> Result<i64>;

    async fn payload(&self, digest: Digest) -> Result<Option<Bytes>>;

    /// The record of a granted request.
    async fn request(&self, key: &RequestKey) -> Result<Option<RequestRecord>>;

    /// Forgets requests granted before `before`, at most `limit`; how many.
    async fn forget_requests(&self, before: Timestamp, limit: u32) -> Result<u64>;

    /// Whether the log holds this very commit as the one that brought `stream`
    /// from `expected` on, and when.
    async fn find_commit(
        &self,
        id: CommitId,
        stream: StreamId,
        expected: u64,
    ) -> Result<Option<(Timestamp, i64)>>;

    /// The database's clock.
    async fn now(&self) -> Result<Timestamp>;

    /// Grows whenever the store is restored; part of cursors and lease tokens.
    fn epoch(&self) -> u32;
}

/// What can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    Tasks,
    Approvals,
}

/// Approvals as listed, and what the sweeper looks for among them.
#[async_trait]
pub trait Approvals: Send + Sync {
    /// Approvals of a project, newest first, before `before` if given; as
    /// [`Catalog::list_tasks`].
    async fn list_approvals(
        &self,
        project: ProjectId,
        filter: &ApprovalFilter,
        before: Option<ApprovalId>,
        limit: u32,
    ) -> Result<(Vec<ApprovalId>, Option<ApprovalId>)>;

    /// Pending approvals of a project: low, medium, high.
    async fn count_pending(&self, project: ProjectId) -> Result<[u64; 3]>;

    /// Pending approvals of a project, oldest first.
    async fn pending_approvals(&self, project: ProjectId, limit: u32) -> Result<Vec<ApprovalId>>;

    /// Approvals that time alone changes at `now`, earliest first.
    async fn due_approvals(&self, now: Timestamp, limit: u32) -> Result<Vec<(ApprovalId, Timestamp)>>;

    /// Steps at a gate whose approval is missing, or has come to something that their
    /// task does not know yet; after `after` if given.
    async fn unsettled_gates(&self, after: Option<StepRef>, limit: u32) -> Result<Vec<StepRef>>;

    /// Live approvals of gates and leases that are over; after `after` if given.
    async fn orphaned_approvals(&self, after: Option<ApprovalId>, limit: u32) -> Result<Vec<ApprovalId>>;
}

/// The audit as it is read and sealed. Entries are written by commits.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Projects with entries among the first `limit` after a position.
    async fn audited_after(&self, position: i64, limit: u32) -> Result<Vec<Audited>>;

    /// Entries of a project after a place, in commit order.
    async fn audit_entries(
        &self,
        project: ProjectId,
        after: AuditPlace,
        limit: u32,
    ) -> Result<Vec<AuditEntry>>;

    /// How many entries there are after a place, `limit` at most.
    async fn count_audited(&self, project: ProjectId, after: AuditPlace, limit: u32) -> Result<u64>;

    /// The newest head with at most so many entries.
    async fn audit_seal(&self, project: ProjectId, at_most: u64) -> Result<Option<AuditSeal>>;

    /// Stores a head; one of this size that is there stays.
    async fn seal_audit(&self, project: ProjectId, seal: &AuditSeal) -> Result<()>;
}

/// How far webhooks have been told: conditional updates by the database's clock,
/// outside the log. Commits add and remove them.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Those of a project, oldest first, at most `limit`.
    async fn webhooks_of(&self, project: ProjectId, limit: u32) -> Result<Vec<WebhookRow>>;

    /// Those that are due and have entries to pass, due longest first.
    async fn due_webhooks(&self, limit: u32) -> Result<Vec<WebhookRow>>;

    /// Takes one for `lease`, if it is due and nobody took it since it was seen to be
    /// due at `seen`. Answers it as it is then.
    async fn claim_webhook(
        &self,
        webhook: WebhookId,
        seen: Timestamp,
        lease: Span,
    ) -> Result<Option<WebhookRow>>;

    /// Writes how far it has come, if nobody took it since `row.due`; it is due again
    /// `after` from now, which is answered.
    async fn settle_webhook(&self, row: &WebhookRow, after: Span) -> Result<Option<Timestamp>>;
}

/// What dispatch peeks at. Nothing here locks: commits decide.
#[async_trait]
pub trait Dispatch: Send + Sync {
    /// The first ready steps of a queue in order, after `after` if given.
    async fn peek_ready(
        &self,
        queue: &QueueKey,
        after: Option<&ReadyKey>,
        limit: u32,
    ) -> Result<Vec<ReadyKey>>;

    /// Tasks whose timer is due at `now`, earliest first.
    async fn due_timers(&self, now: Timestamp, limit: u32) -> Result<Vec<(TaskId, Timestamp)>>;

    /// Leases held by any of the sessions. At most 1,000 sessions.
    async fn leases_of(&self, sessions: &[SessionId]) -> Result<Vec<LeaseRow>>;

    /// Leases whose session has ended or expired.
    async fn orphaned_leases(&self, limit: u32) -> Result<Vec<LeaseRow>>;
}

/// Sessions: conditional updates by the database's clock, outside the log.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Opens a session for `lease` from now; `created_at`, `lease` and `expires_at`
    /// of the argument are ignored. Answers the row as stored.
    async fn open_session(&self, session: &SessionRow, lease: Span) -> Result<SessionRow>;

    /// Takes over a live session for this replica if its lease has not run out and
    /// the hash of its resume token is `resume_hash`, and renews it. `None` if not.
    /// Slots, capabilities, build and `lease` become those given.
    async fn resume_session(&self, session: &SessionRow, lease: Span) -> Result<Option<SessionRow>>;

    /// Renews those sessions that are live, unexpired and held by `replica`, until
    /// `lease` from now; the length in their rows stays. Those missing from the
    /// answer are lost to it.
    async fn renew_sessions(
        &self,
        sessions: &[SessionId],
        replica: Uuid,
        lease: Span,
    ) -> Result<Vec<Renewed>>;

    /// Ends a live session by its agent's wish. False if it was not live, or is
    /// held by another replica.
    async fn close_session(&self, session: SessionId, replica: Uuid) -> Result<bool>;

    /// Marks live sessions whose lease has run out as expired. Final. At most
    /// `limit`; which.
    async fn expire_sessions(&self, limit: u32) -> Result<Vec<SessionId>>;

    /// Asks live sessions of the project to finish: one, or all of an agent.
    /// Answers those that are draining now.
    async fn drain_sessions(
        &self,
        project: ProjectId,
        session: Option<SessionId>,
        agent: Option<&str>,
    ) -> Result<Vec<SessionRow>>;

    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>>;

    /// Sessions of a project, newest first, before `before` if given, with the
    /// number of steps each holds.
    async fn list_sessions(
        &self,
        project: ProjectId,
        agent: Option<&str>,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<(SessionRow, u32)>>;

    /// Deletes ended sessions without leases that ended before `before`; how many.
    async fn forget_sessions(&self, before: Timestamp, limit: u32) -> Result<u64>;
}

/// Lists.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Tasks of a project, newest first, before `before` if given. Looks at a
    /// bounded number of rows: fewer than `limit` with `Some` place to go on from
    /// means that there may be more.
    async fn list_tasks(
        &self,
        project: ProjectId,
        filter: &TaskFilter,
        before: Option<TaskId>,
        limit: u32,
    ) -> Result<(Vec<TaskRow>, Option<TaskId>)>;

    /// Projects by name, after `after` if given.
    async fn list_projects(&self, after: Option<&str>, limit: u32) -> Result<Vec<ProjectRow>>;

    /// Keys, newest first, before `before` if given. `within`: only keys that cover
    /// nothing but these projects.
    async fn list_keys(
        &self,
        within: Option<&[String]>,
        before: Option<StreamId>,
        limit: u32,
    ) -> Result<Vec<StreamId>>;
}
