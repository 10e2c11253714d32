//! Every limit and interval of the engine, in one place, printed at start.

use quarterdeck_core::Span;

use crate::notifications::AllowList;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a session outlives silence.
    pub session_lease: Span,
    /// How often leases are renewed; a third of the lease or less.
    pub renew_every: Span,
    /// Between heartbeats on a quiet watch.
    pub heartbeat: Span,
    /// Between two looks for due timers, expired sessions and missed hints, at
    /// most. What hints forgot takes two looks: within a second by default.
    pub sweep_every: Span,
    /// Between two signed heads of an audit that grows.
    pub seal_every: Span,
    /// Most commits in one batch.
    pub batch_max: usize,
    /// Batches in flight at a time. A second one only waits for the log's lock, which
    /// the first holds to its end, and would have been larger without.
    pub batches_in_flight: usize,
    /// Most bytes of events and payloads in one batch.
    pub batch_bytes_max: usize,
    /// Commits waiting for a batch; more are refused as overload.
    pub commit_queue_max: usize,
    /// Tasks kept in memory.
    pub tasks_cached_max: usize,
    /// Commands waiting for one task; more are refused as overload.
    pub mailbox_max: usize,
    /// Sessions connected to this replica.
    pub sessions_max: usize,
    /// Messages waiting for one agent; an agent that lets more pile up is cut off
    /// and resumes.
    pub outbound_max: usize,
    /// Agents' messages being worked on at a time, for one session.
    pub inbound_max: usize,
    /// Watches open on this replica.
    pub watches_max: usize,
    /// How long granted request ids are remembered.
    pub requests_kept: Span,
    /// How long ended sessions are listed.
    pub sessions_kept: Span,
    /// How long an answered request is tried again when its outcome is unknown.
    pub resolve_for: Span,
    /// Whom webhooks may tell.
    pub webhook_allow: AllowList,
    /// Webhooks that are told at a time.
    pub notices_in_flight: usize,
    /// What happened longer ago is not told any more.
    pub notice_age_max: Span,
    /// Until a notice that failed is tried again, the first time and at most.
    pub notice_backoff: Span,
    pub notice_backoff_max: Span,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            session_lease: Span::from_secs(15),
            renew_every: Span::from_secs(5),
            heartbeat: Span::from_secs(10),
            sweep_every: Span::from_millis(400),
            seal_every: Span::from_secs(1),
            batch_max: 128,
            batches_in_flight: 1,
            batch_bytes_max: 8 * 1024 * 1024,
            commit_queue_max: 4_096,
            tasks_cached_max: 10_000,
            mailbox_max: 1_024,
            sessions_max: 10_000,
            outbound_max: 2_048,
            inbound_max: 2_048,
            watches_max: 10_000,
            requests_kept: Span::from_secs(7 * 24 * 60 * 60),
            sessions_kept: Span::from_secs(60 * 60),
            resolve_for: Span::from_secs(30),
            webhook_allow: AllowList::default(),
            notices_in_flight: 16,
            notice_age_max: Span::from_secs(24 * 60 * 60),
            notice_backoff: Span::from_secs(1),
            notice_backoff_max: Span::from_secs(10 * 60),
        }
    }
}

impl Options {
    /// Says what is wrong and how to mend it.
    pub fn validate(&self) -> Result<(), String> {
        if self.session_lease < Span::from_millis(100) {
            return Err(format!("the session lease is {}; it must be at least 100ms", self.session_lease));
        }
        if self.renew_every.as_micros() * 3 > self.session_lease.as_micros() {
            return Err(format!(
                "sessions are renewed every {} but their lease is {}; make the lease at least three times as long",
                self.renew_every, self.session_lease
            ));
        }
        let counts = [self.batch_max, self.batches_in_flight, self.commit_queue_max, self.tasks_cached_max];
        let more = [self.mailbox_max, self.outbound_max, self.inbound_max, self.notices_in_flight];
        if counts.contains(&0) || more.contains(&0) {
            return Err("every limit must be at least 1".to_owned());
        }
        Ok(())
    }

    /// How often agents are asked to ping: often enough that one lost ping does
    /// not cost a renewal.
    pub fn ping_interval(&self) -> Span {
        Span::from_micros(self.renew_every.as_micros() / 2)
    }
}
