//! The SQL store without its threads.
//!
//! The driver works on a thread of its own and answers through channels. Here
//! every call is polled to its end before it returns to the executor, so the
//! machine's scheduling decides nothing.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use async_trait::async_trait;
use bytes::Bytes;
use quarterdeck_core::{
    ApprovalId, CommitId, Digest, ProjectId, SessionId, Span, StreamId, TaskId, Timestamp, WebhookId,
};
use quarterdeck_store::port::Result;
use quarterdeck_store::rows::{
    ApprovalFilter, AuditEntry, AuditPlace, AuditSeal, Audited, EventRow, LeaseRow, ProjectRow, QueueKey,
    ReadyKey, Renewed, SessionRow, StepRef, TaskFilter, TaskRow, WebhookRow,
};
use quarterdeck_store::{
    Approvals, AuditLog, Catalog, Commit, Dispatch, Followed, Log, Outcome, RequestKey, RequestRecord,
    Sessions, SqlStore, Webhooks,
};
use uuid::Uuid;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future to its end on this thread.
pub fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Lets a planted mistake, if there is one, have the last word on an answer.
macro_rules! answer {
    ($store:ident, $answer:expr, $planted:ident => $spoiled:expr) => {{
        #[cfg(feature = "canary")]
        if let Some($planted) = &$store.planted {
            return $spoiled;
        }
        $answer
    }};
}

/// The store that all replicas share.
#[derive(Clone)]
pub struct Inline {
    store: Arc<SqlStore>,
    #[cfg(feature = "canary")]
    planted: Option<crate::canary::Planted>,
}

impl Inline {
    pub fn new(store: SqlStore) -> Self {
        Self {
            store: Arc::new(store),
            #[cfg(feature = "canary")]
            planted: None,
        }
    }

    /// The same store, with a mistake in it.
    #[cfg(feature = "canary")]
    #[must_use]
    pub fn with(&self, planted: Option<crate::canary::Planted>) -> Self {
        Self { planted, ..self.clone() }
    }
}

#[async_trait]
impl Log for Inline {
    async fn commit(&self, batch: &[Commit]) -> Result<Vec<Outcome>> {
        answer!(self, finish(self.store.commit(batch)), planted => planted.commit(&self.store, batch))
    }

    async fn load(&self, stream: StreamId, after: u64, limit: u32) -> Result<Vec<EventRow>> {
        let rows = finish(self.store.load(stream, after, limit));
        answer!(self, rows, planted => rows.map(|rows| planted.load(rows, after)))
    }

    async fn heads(&self, streams: &[StreamId]) -> Result<Vec<(StreamId, u64)>> {
        finish(self.store.heads(streams))
    }

    async fn load_short(&self, streams: &[StreamId]) -> Result<Vec<EventRow>> {
        finish(self.store.load_short(streams))
    }

    async fn follow(
        &self,
        project: ProjectId,
        followed: Followed,
        position: i64,
        limit: u32,
    ) -> Result<Vec<EventRow>> {
        let rows = finish(self.store.follow(project, followed, position, limit));
        answer!(self, rows, planted => rows.map(|rows| planted.follow(rows)))
    }

    async fn position(&self) -> Result<i64> {
        finish(self.store.position())
    }

    async fn payload(&self, digest: Digest) -> Result<Option<Bytes>> {
        let bytes = finish(self.store.payload(digest));
        answer!(self, bytes, planted => bytes.map(|bytes| planted.payload(bytes)))
    }

    async fn request(&self, key: &RequestKey) -> Result<Option<RequestRecord>> {
        finish(self.store.request(key))
    }

    async fn forget_requests(&self, before: Timestamp, limit: u32) -> Result<u64> {
        finish(self.store.forget_requests(before, limit))
    }

    async fn find_commit(
        &self,
        id: CommitId,
        stream: StreamId,
        expected: u64,
    ) -> Result<Option<(Timestamp, i64)>> {
        finish(self.store.find_commit(id, stream, expected))
    }

    async fn now(&self) -> Result<Timestamp> {
        finish(Log::now(&*self.store))
    }

    fn epoch(&self) -> u32 {
        self.store.epoch()
    }
}

#[async_trait]
impl Dispatch for Inline {
    async fn peek_ready(
        &self,
        queue: &QueueKey,
        after: Option<&ReadyKey>,
        limit: u32,
    ) -> Result<Vec<ReadyKey>> {
        finish(self.store.peek_ready(queue, after, limit))
    }

    async fn due_timers(&self, now: Timestamp, limit: u32) -> Result<Vec<(TaskId, Timestamp)>> {
        finish(self.store.due_timers(now, limit))
    }

    async fn leases_of(&self, sessions: &[SessionId]) -> Result<Vec<LeaseRow>> {
        finish(self.store.leases_of(sessions))
    }

    async fn orphaned_leases(&self, limit: u32) -> Result<Vec<LeaseRow>> {
        let leases = finish(self.store.orphaned_leases(limit));
        answer!(self, leases, planted => leases.map(|leases| planted.orphans(leases)))
    }
}

#[async_trait]
impl Sessions for Inline {
    async fn open_session(&self, session: &SessionRow, lease: Span) -> Result<SessionRow> {
        let row = finish(self.store.open_session(session, lease));
        answer!(self, row, planted => row.map(|row| planted.opened(row)))
    }

    async fn resume_session(&self, session: &SessionRow, lease: Span) -> Result<Option<SessionRow>> {
        let resume = || finish(self.store.resume_session(session, lease));
        answer!(self, resume(), planted => planted.resume(&self.store, session, lease))
    }

    async fn renew_sessions(
        &self,
        sessions: &[SessionId],
        replica: Uuid,
        lease: Span,
    ) -> Result<Vec<Renewed>> {
        finish(self.store.renew_sessions(sessions, replica, lease))
    }

    async fn close_session(&self, session: SessionId, replica: Uuid) -> Result<bool> {
        finish(self.store.close_session(session, replica))
    }

    async fn expire_sessions(&self, limit: u32) -> Result<Vec<SessionId>> {
        finish(self.store.expire_sessions(limit))
    }

    async fn drain_sessions(
        &self,
        project: ProjectId,
        session: Option<SessionId>,
        agent: Option<&str>,
    ) -> Result<Vec<SessionRow>> {
        finish(self.store.drain_sessions(project, session, agent))
    }

    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>> {
        finish(self.store.session(session))
    }

    async fn list_sessions(
        &self,
        project: ProjectId,
        agent: Option<&str>,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<(SessionRow, u32)>> {
        finish(self.store.list_sessions(project, agent, before, limit))
    }

    async fn forget_sessions(&self, before: Timestamp, limit: u32) -> Result<u64> {
        finish(self.store.forget_sessions(before, limit))
    }
}

#[async_trait]
impl Catalog for Inline {
    async fn list_tasks(
        &self,
        project: ProjectId,
        filter: &TaskFilter,
        before: Option<TaskId>,
        limit: u32,
    ) -> Result<(Vec<TaskRow>, Option<TaskId>)> {
        finish(self.store.list_tasks(project, filter, before, limit))
    }

    async fn list_projects(&self, after: Option<&str>, limit: u32) -> Result<Vec<ProjectRow>> {
        finish(self.store.list_projects(after, limit))
    }

    async fn list_keys(
        &self,
        within: Option<&[String]>,
        before: Option<StreamId>,
        limit: u32,
    ) -> Result<Vec<StreamId>> {
        finish(self.store.list_keys(within, before, limit))
    }
}

#[async_trait]
impl Approvals for Inline {
    async fn list_approvals(
        &self,
        project: ProjectId,
        filter: &ApprovalFilter,
        before: Option<ApprovalId>,
        limit: u32,
    ) -> Result<(Vec<ApprovalId>, Option<ApprovalId>)> {
        finish(self.store.list_approvals(project, filter, before, limit))
    }

    async fn count_pending(&self, project: ProjectId) -> Result<[u64; 3]> {
        finish(self.store.count_pending(project))
    }

    async fn pending_approvals(&self, project: ProjectId, limit: u32) -> Result<Vec<ApprovalId>> {
        finish(self.store.pending_approvals(project, limit))
    }

    async fn due_approvals(&self, now: Timestamp, limit: u32) -> Result<Vec<(ApprovalId, Timestamp)>> {
        finish(self.store.due_approvals(now, limit))
    }

    async fn unsettled_gates(&self, after: Option<StepRef>, limit: u32) -> Result<Vec<StepRef>> {
        finish(self.store.unsettled_gates(after, limit))
    }

    async fn orphaned_approvals(&self, after: Option<ApprovalId>, limit: u32) -> Result<Vec<ApprovalId>> {
        finish(self.store.orphaned_approvals(after, limit))
    }
}

#[async_trait]
impl AuditLog for Inline {
    async fn audited_after(&self, position: i64, limit: u32) -> Result<Vec<Audited>> {
        finish(self.store.audited_after(position, limit))
    }

    async fn audit_entries(
        &self,
        project: ProjectId,
        after: AuditPlace,
        limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        finish(self.store.audit_entries(project, after, limit))
    }

    async fn count_audited(&self, project: ProjectId, after: AuditPlace, limit: u32) -> Result<u64> {
        finish(self.store.count_audited(project, after, limit))
    }

    async fn audit_seal(&self, project: ProjectId, at_most: u64) -> Result<Option<AuditSeal>> {
        finish(self.store.audit_seal(project, at_most))
    }

    async fn seal_audit(&self, project: ProjectId, seal: &AuditSeal) -> Result<()> {
        finish(self.store.seal_audit(project, seal))
    }
}

#[async_trait]
impl Webhooks for Inline {
    async fn webhooks_of(&self, project: ProjectId, limit: u32) -> Result<Vec<WebhookRow>> {
        finish(self.store.webhooks_of(project, limit))
    }

    async fn due_webhooks(&self, limit: u32) -> Result<Vec<WebhookRow>> {
        finish(self.store.due_webhooks(limit))
    }

    async fn claim_webhook(
        &self,
        webhook: WebhookId,
        seen: Timestamp,
        lease: Span,
    ) -> Result<Option<WebhookRow>> {
        finish(self.store.claim_webhook(webhook, seen, lease))
    }

    async fn settle_webhook(&self, row: &WebhookRow, after: Span) -> Result<Option<Timestamp>> {
        finish(self.store.settle_webhook(row, after))
    }
}
