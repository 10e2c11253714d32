//! A store that holds one project and nothing else: enough for tests of the edge.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use quarterdeck_core::{
    ApprovalId, CommitId, Digest, ProjectId, SessionId, Span, StreamId, TaskId, Timestamp, WebhookId,
};
use quarterdeck_engine::ports::{Clock, SystemClock};
use quarterdeck_store::port::Result;
use quarterdeck_store::rows::*;
use quarterdeck_store::*;
use uuid::Uuid;

#[derive(Default)]
pub struct Paper {
    rows: Mutex<Vec<EventRow>>,
    /// While set, reading a stream takes for ever.
    pub stuck: AtomicBool,
}

#[async_trait]
impl Log for Paper {
    async fn commit(&self, batch: &[Commit]) -> Result<Vec<Outcome>> {
        let mut rows = self.rows.lock().unwrap();
        let at = SystemClock.now();
        for append in batch.iter().flat_map(|commit| &commit.appends) {
            let position = rows.len() as i64 + 1;
            let (stream, last, count, body) =
                (append.stream, append.last(), append.count, append.body.clone());
            rows.push(EventRow { stream, last, count, position, at, body });
        }
        Ok(batch.iter().map(|_| Outcome::Done { at, position: rows.len() as i64 }).collect())
    }
    async fn load(&self, stream: StreamId, after: u64, _limit: u32) -> Result<Vec<EventRow>> {
        if self.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let rows = self.rows.lock().unwrap();
        Ok(rows.iter().filter(|row| row.stream == stream && row.last > after).cloned().collect())
    }
    async fn heads(&self, streams: &[StreamId]) -> Result<Vec<(StreamId, u64)>> {
        let rows = self.rows.lock().unwrap();
        let head =
            |stream: &StreamId| rows.iter().filter(|row| row.stream == *stream).map(|row| row.last).max();
        Ok(streams.iter().filter_map(|stream| Some((*stream, head(stream)?))).collect())
    }
    async fn load_short(&self, _streams: &[StreamId]) -> Result<Vec<EventRow>> {
        Ok(Vec::new())
    }
    async fn follow(
        &self,
        _project: ProjectId,
        _followed: Followed,
        _position: i64,
        _limit: u32,
    ) -> Result<Vec<EventRow>> {
        Ok(Vec::new())
    }
    async fn position(&self) -> Result<i64> {
        Ok(self.rows.lock().unwrap().len() as i64)
    }
    async fn payload(&self, _digest: Digest) -> Result<Option<Bytes>> {
        Ok(None)
    }
    async fn request(&self, _key: &RequestKey) -> Result<Option<RequestRecord>> {
        Ok(None)
    }
    async fn forget_requests(&self, _before: Timestamp, _limit: u32) -> Result<u64> {
        Ok(0)
    }
    async fn find_commit(&self, _: CommitId, _: StreamId, _: u64) -> Result<Option<(Timestamp, i64)>> {
        Ok(None)
    }
    async fn now(&self) -> Result<Timestamp> {
        Ok(SystemClock.now())
    }
    fn epoch(&self) -> u32 {
        1
    }
}

#[async_trait]
impl Dispatch for Paper {
    async fn peek_ready(&self, _: &QueueKey, _: Option<&ReadyKey>, _: u32) -> Result<Vec<ReadyKey>> {
        Ok(Vec::new())
    }
    async fn due_timers(&self, _: Timestamp, _: u32) -> Result<Vec<(TaskId, Timestamp)>> {
        Ok(Vec::new())
    }
    async fn leases_of(&self, _: &[SessionId]) -> Result<Vec<LeaseRow>> {
        Ok(Vec::new())
    }
    async fn orphaned_leases(&self, _: u32) -> Result<Vec<LeaseRow>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Sessions for Paper {
    async fn open_session(&self, session: &SessionRow, _lease: Span) -> Result<SessionRow> {
        Ok(session.clone())
    }
    async fn resume_session(&self, _: &SessionRow, _: Span) -> Result<Option<SessionRow>> {
        Ok(None)
    }
    async fn renew_sessions(&self, sessions: &[SessionId], _: Uuid, lease: Span) -> Result<Vec<Renewed>> {
        let expires_at = SystemClock.now().plus(lease);
        Ok(sessions.iter().map(|&session| Renewed { session, expires_at, draining: false }).collect())
    }
    async fn close_session(&self, _: SessionId, _: Uuid) -> Result<bool> {
        Ok(true)
    }
    async fn expire_sessions(&self, _: u32) -> Result<Vec<SessionId>> {
        Ok(Vec::new())
    }
    async fn drain_sessions(
        &self,
        _: ProjectId,
        _: Option<SessionId>,
        _: Option<&str>,
    ) -> Result<Vec<SessionRow>> {
        Ok(Vec::new())
    }
    async fn session(&self, _: SessionId) -> Result<Option<SessionRow>> {
        Ok(None)
    }
    async fn list_sessions(
        &self,
        _: ProjectId,
        _: Option<&str>,
        _: Option<SessionId>,
        _: u32,
    ) -> Result<Vec<(SessionRow, u32)>> {
        Ok(Vec::new())
    }
    async fn forget_sessions(&self, _: Timestamp, _: u32) -> Result<u64> {
        Ok(0)
    }
}

#[async_trait]
impl Catalog for Paper {
    async fn list_tasks(
        &self,
        _: ProjectId,
        _: &TaskFilter,
        _: Option<TaskId>,
        _: u32,
    ) -> Result<(Vec<TaskRow>, Option<TaskId>)> {
        Ok((Vec::new(), None))
    }
    async fn list_projects(&self, _: Option<&str>, _: u32) -> Result<Vec<ProjectRow>> {
        Ok(Vec::new())
    }
    async fn list_keys(&self, _: Option<&[String]>, _: Option<StreamId>, _: u32) -> Result<Vec<StreamId>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Approvals for Paper {
    async fn list_approvals(
        &self,
        _project: ProjectId,
        _filter: &ApprovalFilter,
        _before: Option<ApprovalId>,
        _limit: u32,
    ) -> Result<(Vec<ApprovalId>, Option<ApprovalId>)> {
        Ok((Vec::new(), None))
    }

    async fn count_pending(&self, _project: ProjectId) -> Result<[u64; 3]> {
        Ok([0; 3])
    }

    async fn pending_approvals(&self, _project: ProjectId, _limit: u32) -> Result<Vec<ApprovalId>> {
        Ok(Vec::new())
    }

    async fn due_approvals(&self, _now: Timestamp, _limit: u32) -> Result<Vec<(ApprovalId, Timestamp)>> {
        Ok(Vec::new())
    }

    async fn unsettled_gates(&self, _after: Option<StepRef>, _limit: u32) -> Result<Vec<StepRef>> {
        Ok(Vec::new())
    }

    async fn orphaned_approvals(&self, _after: Option<ApprovalId>, _limit: u32) -> Result<Vec<ApprovalId>> {
        Ok(Vec::new())
    }
}
#[async_trait]
impl AuditLog for Paper {
    async fn audited_after(&self, _position: i64, _limit: u32) -> Result<Vec<Audited>> {
        Ok(Vec::new())
    }

    async fn audit_entries(
        &self,
        _project: ProjectId,
        _after: AuditPlace,
        _limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        Ok(Vec::new())
    }

    async fn count_audited(&self, _project: ProjectId, _after: AuditPlace, _limit: u32) -> Result<u64> {
        Ok(0)
    }

    async fn audit_seal(&self, _project: ProjectId, _at_most: u64) -> Result<Option<AuditSeal>> {
        Ok(None)
    }

    async fn seal_audit(&self, _project: ProjectId, _seal: &AuditSeal) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Webhooks for Paper {
    async fn webhooks_of(&self, _project: ProjectId, _limit: u32) -> Result<Vec<WebhookRow>> {
        Ok(Vec::new())
    }

    async fn due_webhooks(&self, _limit: u32) -> Result<Vec<WebhookRow>> {
        Ok(Vec::new())
    }

    async fn claim_webhook(
        &self,
        _webhook: WebhookId,
        _seen: Timestamp,
        _lease: Span,
    ) -> Result<Option<WebhookRow>> {
        Ok(None)
    }

    async fn settle_webhook(&self, _row: &WebhookRow, _after: Span) -> Result<Option<Timestamp>> {
        Ok(None)
    }
}
