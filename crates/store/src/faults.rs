//! A store that fails on purpose.
//!
//! [`Faulty`] asks a [`FaultPlan`] before every call whether it is done, and
//! whether its answer arrives. It has no clock and no randomness of its own: a
//! seeded plan gives the same faults twice.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use quarterdeck_core::{
    ApprovalId, CommitId, Digest, ProjectId, SessionId, Span, StreamId, TaskId, Timestamp, WebhookId,
};
use uuid::Uuid;

use crate::commit::{Commit, Outcome, RequestKey, RequestRecord};
use crate::error::StoreError;
use crate::port::{Approvals, AuditLog, Catalog, Dispatch, Followed, Log, Result, Sessions, Webhooks};
use crate::rows::{
    ApprovalFilter, AuditEntry, AuditPlace, AuditSeal, Audited, EventRow, LeaseRow, ProjectRow, QueueKey,
    ReadyKey, Renewed, SessionRow, StepRef, TaskFilter, TaskRow, WebhookRow,
};

/// What happens to one call. A call that reads has no effect to be in doubt of:
/// each of the failures is `Unavailable` there.
pub enum Fault {
    /// Nothing.
    Pass,
    /// Not done, and reported so: `Unavailable`.
    Refuse,
    /// Not done, but nobody can tell: `Unknown`.
    LoseRequest,
    /// Done, but nobody can tell: `Unknown`.
    LoseAnswer,
    /// Done once this has come to pass.
    Before(BoxFuture<'static, ()>),
    /// Done at once, but answered only once this has come to pass.
    After(BoxFuture<'static, ()>),
}

/// Decides what happens to each call, by the method's name.
pub trait FaultPlan: Send + Sync {
    fn next(&self, method: &'static str) -> Fault;
}

impl<F: Fn(&'static str) -> Fault + Send + Sync> FaultPlan for F {
    fn next(&self, method: &'static str) -> Fault {
        self(method)
    }
}

/// Faults in order, each for the next call of a method; all other calls pass.
#[derive(Default)]
pub struct Script(Mutex<VecDeque<(&'static str, Fault)>>);

impl Script {
    /// Adds a fault behind those that are waiting.
    pub fn push(&self, method: &'static str, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back((method, fault));
    }

    /// Number of faults that have not happened yet.
    pub fn waiting(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl FaultPlan for Script {
    fn next(&self, method: &'static str) -> Fault {
        let mut script = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = script.iter().position(|(wanted, _)| *wanted == method);
        place.and_then(|place| script.remove(place)).map_or(Fault::Pass, |(_, fault)| fault)
    }
}

impl<P: FaultPlan + ?Sized> FaultPlan for std::sync::Arc<P> {
    fn next(&self, method: &'static str) -> Fault {
        (**self).next(method)
    }
}

/// A store with faults.
pub struct Faulty<S, P> {
    inner: S,
    plan: P,
}

impl<S, P: FaultPlan> Faulty<S, P> {
    pub const fn new(inner: S, plan: P) -> Self {
        Self { inner, plan }
    }

    /// The store without the faults.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    async fn write<T>(
        &self,
        method: &'static str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match self.plan.next(method) {
            Fault::Pass => work.await,
            Fault::Refuse => Err(StoreError::Unavailable(format!("{method}: refused on purpose"))),
            Fault::LoseRequest => Err(lost(method)),
            Fault::LoseAnswer => {
                let _ = work.await;
                Err(lost(method))
            }
            Fault::Before(wait) => {
                wait.await;
                work.await
            }
            Fault::After(wait) => {
                let answer = work.await;
                wait.await;
                answer
            }
        }
    }

    async fn read<T>(&self, method: &'static str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.write(method, work).await.map_err(|error| match error {
            StoreError::Unknown(why) => StoreError::Unavailable(why),
            error => error,
        })
    }
}

fn lost(method: &'static str) -> StoreError {
    StoreError::Unknown(format!("{method}: answer lost on purpose"))
}

#[async_trait]
impl<S: Log, P: FaultPlan> Log for Faulty<S, P> {
    async fn commit(&self, batch: &[Commit]) -> Result<Vec<Outcome>> {
        self.write("commit", self.inner.commit(batch)).await
    }

    async fn load(&self, stream: StreamId, after: u64, limit: u32) -> Result<Vec<EventRow>> {
        self.read("load", self.inner.load(stream, after, limit)).await
    }

    async fn heads(&self, streams: &[StreamId]) -> Result<Vec<(StreamId, u64)>> {
        self.read("heads", self.inner.heads(streams)).await
    }

    async fn load_short(&self, streams: &[StreamId]) -> Result<Vec<EventRow>> {
        self.read("load_short", self.inner.load_short(streams)).await
    }

    async fn follow(
        &self,
        project: ProjectId,
        followed: Followed,
        position: i64,
        limit: u32,
    ) -> Result<Vec<EventRow>> {
        self.read("follow", self.inner.follow(project, followed, position, limit)).await
    }

    async fn position(&self) -> Result<i64> {
        self.read("position", self.inner.position()).await
    }

    async fn payload(&self, digest: Digest) -> Result<Option<Bytes>> {
        self.read("payload", self.inner.payload(digest)).await
    }

    async fn request(&self, key: &RequestKey) -> Result<Option<RequestRecord>> {
        self.read("request", self.inner.request(key)).await
    }

    async fn forget_requests(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.write("forget_requests", self.inner.forget_requests(before, limit)).await
    }

    async fn find_commit(
        &self,
        id: CommitId,
        stream: StreamId,
        expected: u64,
    ) -> Result<Option<(Timestamp, i64)>> {
        self.read("find_commit", self.inner.find_commit(id, stream, expected)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.read("now", self.inner.now()).await
    }

    fn epoch(&self) -> u32 {
        self.inner.epoch()
    }
}

#[async_trait]
impl<S: Dispatch, P: FaultPlan> Dispatch for Faulty<S, P> {
    async fn peek_ready(
        &self,
        queue: &QueueKey,
        after: Option<&ReadyKey>,
        limit: u32,
    ) -> Result<Vec<ReadyKey>> {
        self.read("peek_ready", self.inner.peek_ready(queue, after, limit)).await
    }

    async fn due_timers(&self, now: Timestamp, limit: u32) -> Result<Vec<(TaskId, Timestamp)>> {
        self.read("due_timers", self.inner.due_timers(now, limit)).await
    }

    async fn leases_of(&self, sessions: &[SessionId]) -> Result<Vec<LeaseRow>> {
        self.read("leases_of", self.inner.leases_of(sessions)).await
    }

    async fn orphaned_leases(&self, limit: u32) -> Result<Vec<LeaseRow>> {
        self.read("orphaned_leases", self.inner.orphaned_leases(limit)).await
    }
}

#[async_trait]
impl<S: Sessions, P: FaultPlan> Sessions for Faulty<S, P> {
    async fn open_session(&self, session: &SessionRow, lease: Span) -> Result<SessionRow> {
        self.write("open_session", self.inner.open_session(session, lease)).await
    }

    async fn resume_session(&self, session: &SessionRow, lease: Span) -> Result<Option<SessionRow>> {
        self.write("resume_session", self.inner.resume_session(session, lease)).await
    }

    async fn renew_sessions(
        &self,
        sessions: &[SessionId],
        replica: Uuid,
        lease: Span,
    ) -> Result<Vec<Renewed>> {
        self.write("renew_sessions", self.inner.renew_sessions(sessions, replica, lease)).await
    }

    async fn close_session(&self, session: SessionId, replica: Uuid) -> Result<bool> {
        self.write("close_session", self.inner.close_session(session, replica)).await
    }

    async fn expire_sessions(&self, limit: u32) -> Result<Vec<SessionId>> {
        self.write("expire_sessions", self.inner.expire_sessions(limit)).await
    }

    async fn drain_sessions(
        &self,
        project: ProjectId,
        session: Option<SessionId>,
        agent: Option<&str>,
    ) -> Result<Vec<SessionRow>> {
        self.write("drain_sessions", self.inner.drain_sessions(project, session, agent)).await
    }

    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>> {
        self.read("session", self.inner.session(session)).await
    }

    async fn list_sessions(
        &self,
        project: ProjectId,
        agent: Option<&str>,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<(SessionRow, u32)>> {
        self.read("list_sessions", self.inner.list_sessions(project, agent, before, limit)).await
    }

    async fn forget_sessions(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.write("forget_sessions", self.inner.forget_sessions(before, limit)).await
    }
}

#[async_trait]
impl<S: Approvals, P: FaultPlan> Approvals for Faulty<S, P> {
    async fn list_approvals(
        &self,
        project: ProjectId,
        filter: &ApprovalFilter,
        before: Option<ApprovalId>,
        limit: u32,
    ) -> Result<(Vec<ApprovalId>, Option<ApprovalId>)> {
        self.read("list_approvals", self.inner.list_approvals(project, filter, before, limit)).await
    }

    async fn count_pending(&self, project: ProjectId) -> Result<[u64; 3]> {
        self.read("count_pending", self.inner.count_pending(project)).await
    }

    async fn pending_approvals(&self, project: ProjectId, limit: u32) -> Result<Vec<ApprovalId>> {
        self.read("pending_approvals", self.inner.pending_approvals(project, limit)).await
    }

    async fn due_approvals(&self, now: Timestamp, limit: u32) -> Result<Vec<(ApprovalId, Timestamp)>> {
        self.read("due_approvals", self.inner.due_approvals(now, limit)).await
    }

    async fn unsettled_gates(&self, after: Option<StepRef>, limit: u32) -> Result<Vec<StepRef>> {
        self.read("unsettled_gates", self.inner.unsettled_gates(after, limit)).await
    }

    async fn orphaned_approvals(&self, after: Option<ApprovalId>, limit: u32) -> Result<Vec<ApprovalId>> {
        self.read("orphaned_approvals", self.inner.orphaned_approvals(after, limit)).await
    }
}

#[async_trait]
impl<S: AuditLog, P: FaultPlan> AuditLog for Faulty<S, P> {
    async fn audited_after(&self, position: i64, limit: u32) -> Result<Vec<Audited>> {
        self.read("audited_after", self.inner.audited_after(position, limit)).await
    }

    async fn audit_entries(
        &self,
        project: ProjectId,
        after: AuditPlace,
        limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        self.read("audit_entries", self.inner.audit_entries(project, after, limit)).await
    }

    async fn count_audited(&self, project: ProjectId, after: AuditPlace, limit: u32) -> Result<u64> {
        self.read("count_audited", self.inner.count_audited(project, after, limit)).await
    }

    async fn audit_seal(&self, project: ProjectId, at_most: u64) -> Result<Option<AuditSeal>> {
        self.read("audit_seal", self.inner.audit_seal(project, at_most)).await
    }

    async fn seal_audit(&self, project: ProjectId, seal: &AuditSeal) -> Result<()> {
        self.write("seal_audit", self.inner.seal_audit(project, seal)).await
    }
}

#[async_trait]
impl<S: Catalog, P: FaultPlan> Catalog for Faulty<S, P> {
    async fn list_tasks(
        &self,
        project: ProjectId,
        filter: &TaskFilter,
        before: Option<TaskId>,
        limit: u32,
    ) -> Result<(Vec<TaskRow>, Option<TaskId>)> {
        self.read("list_tasks", self.inner.list_tasks(project, filter, before, limit)).await
    }

    async fn list_projects(&self, after: Option<&str>, limit: u32) -> Result<Vec<ProjectRow>> {
        self.read("list_projects", self.inner.list_projects(after, limit)).await
    }

    async fn list_keys(
        &self,
        within: Option<&[String]>,
        before: Option<StreamId>,
        limit: u32,
    ) -> Result<Vec<StreamId>> {
        self.read("list_keys", self.inner.list_keys(within, before, limit)).await
    }
}

#[async_trait]
impl<S: Webhooks, P: FaultPlan> Webhooks for Faulty<S, P> {
    async fn webhooks_of(&self, project: ProjectId, limit: u32) -> Result<Vec<WebhookRow>> {
        self.read("webhooks_of", self.inner.webhooks_of(project, limit)).await
    }

    async fn due_webhooks(&self, limit: u32) -> Result<Vec<WebhookRow>> {
        self.read("due_webhooks", self.inner.due_webhooks(limit)).await
    }

    async fn claim_webhook(
        &self,
        webhook: WebhookId,
        seen: Timestamp,
        lease: Span,
    ) -> Result<Option<WebhookRow>> {
        self.write("claim_webhook", self.inner.claim_webhook(webhook, seen, lease)).await
    }

    async fn settle_webhook(&self, row: &WebhookRow, after: Span) -> Result<Option<Timestamp>> {
        self.write("settle_webhook", self.inner.settle_webhook(row, after)).await
    }
}
