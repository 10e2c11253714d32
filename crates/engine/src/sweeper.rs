//! Everything that hints forgot, found in the tables.
//!
//! Loops of a replica, all of which may run on any number of replicas at once:
//! the sweep (timers, expired sessions, leases, queues, tails), the renewal of
//! sessions connected here, and the reading of hints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quarterdeck_core::task::Command;
use quarterdeck_core::{ApprovalId, ProjectId, SessionId, Span, StreamId, TaskId, Timestamp};
use quarterdeck_store::rows::{QueueKey, StepRef};
use tokio::sync::broadcast::error::RecvError;

use crate::aggregate::Op;
use crate::bus::{Hint, Letter};
use crate::dispatcher::Held;
use crate::engine::{CLOCK_TRIP, Shared};
use crate::error::{Error, Result};
use crate::round::task_of;
use crate::session::{Down, GoAwayCause};

/// Rows taken up in one look.
const LOOK_MAX: u32 = 256;
/// Between two looks at the tails and at served queues.
const SLOW: Span = Span::from_secs(1);
/// Between two clean-ups of what is kept for a while.
const HOUSEKEEPING: Span = Span::from_secs(60);
/// Rows deleted in one clean-up.
const FORGET_MAX: u32 = 10_000;

/// A lease that this replica and the lease table do not agree on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Held here, not in the table.
    Gone((SessionId, StepRef, u64)),
    /// In the table, not held here.
    Unknown((SessionId, StepRef, u64)),
}

impl Shared {
    pub(crate) async fn sweep(self: Arc<Self>) {
        let (mut slow_at, mut kept_at) = (Timestamp::default(), Timestamp::default());
        let (mut failing, mut seen) = (false, BTreeSet::new());
        loop {
            let now = self.time.local();
            let slow = now.since(slow_at) >= SLOW;
            let house = now.since(kept_at) >= HOUSEKEEPING;
            let result = self.sweep_once(slow, house, &mut seen).await;
            if slow {
                slow_at = now;
            }
            if house {
                kept_at = now;
            }
            match (&result, failing) {
                (Err(error), false) => tracing::warn!(%error, "sweeping fails; trying on"),
                (Ok(()), true) => tracing::info!("sweeping works again"),
                _ => {}
            }
            failing = result.is_err();
            if self.rest().await {
                return;
            }
        }
    }

    /// Waits for the next look: the interval with jitter, or an earlier deadline.
    /// True when the engine stops.
    async fn rest(&self) -> bool {
        let every = self.options.sweep_every;
        let half = Span::from_micros(every.as_micros() / 2);
        let end = self.time.local().plus(half).plus(self.time.jitter(half));
        loop {
            let due = Timestamp::from_micros(self.next_due.load(Ordering::Relaxed));
            let until_due = due.since(self.time.now()).max(Span::from_millis(1));
            let left = end.since(self.time.local()).min(until_due);
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return true,
                () = self.time.sleep(left) => return false,
                () = self.sooner.notified() => {}
            }
        }
    }

    /// `seen`: the differences of the last look, for this one to compare with.
    async fn sweep_once(
        self: &Arc<Self>,
        slow: bool,
        house: bool,
        seen: &mut BTreeSet<Difference>,
    ) -> Result<()> {
        self.fire_timers().await?;
        let expired = self.store.expire_sessions(LOOK_MAX).await?;
        for &session in &expired {
            tracing::info!(%session, "a session expired");
            self.drop_session(session);
        }
        if slow || !expired.is_empty() {
            for lease in self.store.orphaned_leases(LOOK_MAX).await? {
                self.take_back(lease.session, [lease.step]);
            }
        }
        self.reconcile(seen).await?;
        self.sweep_approvals(slow, LOOK_MAX).await?;
        if slow {
            self.catch_up_waits().await?;
            self.learn_time().await?;
            self.catch_up_tails().await?;
            self.dispatcher.wake(self.dispatcher.idle_queues());
        }
        if house {
            let now = self.time.now();
            let before =
                |kept: Span| Timestamp::from_micros(now.as_micros().saturating_sub(kept.as_micros()));
            self.store.forget_requests(before(self.options.requests_kept), FORGET_MAX).await?;
            self.store.forget_sessions(before(self.options.sessions_kept), FORGET_MAX).await?;
        }
        Ok(())
    }

    /// Ticks the tasks whose timer is due, and remembers when the next one is.
    async fn fire_timers(self: &Arc<Self>) -> Result<()> {
        // Reset before reading: what is committed after this counts itself in.
        self.next_due.store(i64::MAX, Ordering::Relaxed);
        let now = self.time.now();
        let soon = self.store.due_timers(now.plus(SLOW), LOOK_MAX).await?;
        let (due, later): (Vec<_>, Vec<_>) = soon.into_iter().partition(|(_, at)| *at <= now);
        if let Some(&(_, next)) = later.first() {
            self.next_due(next);
        }
        let ticks = due.into_iter().map(|(task, _)| self.ask(task, Op::Do(Command::Tick), Vec::new(), None));
        for result in futures::future::join_all(ticks).await {
            match result {
                // Ended by somebody else in between.
                Ok(_) | Err(Error::Refused(_) | Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Measures this replica's clock against the database's.
    async fn learn_time(&self) -> Result<()> {
        let before = self.time.local();
        let database = self.store.now().await?;
        let trip = self.time.local().since(before);
        // A slow answer says little about when it was written.
        if trip < CLOCK_TRIP {
            let middle = before.plus(Span::from_micros(trip.as_micros() / 2));
            self.time.learn(database, middle);
        }
        Ok(())
    }

    /// A session that this replica may not renew: over, or resumed elsewhere.
    async fn lost_session(&self, session: SessionId) -> Result<()> {
        let row = self.store.session(session).await?.filter(|row| row.state.is_live());
        if row.as_ref().is_some_and(|row| row.replica == self.replica && row.expires_at > self.time.now()) {
            return Ok(()); // It has been elsewhere and is back.
        }
        if row.is_some_and(|row| row.replica != self.replica) {
            if let Some((Some(outbound), _)) = self.dispatcher.leave(session) {
                let _ = outbound.try_send(Down::GoAway { cause: GoAwayCause::Replaced, deadline: None });
            }
        } else {
            self.drop_session(session);
        }
        Ok(())
    }

    /// Ends the connection of a session that is over.
    pub(crate) fn drop_session(&self, session: SessionId) {
        if let Some((Some(outbound), _)) = self.dispatcher.leave(session) {
            let _ = outbound.try_send(Down::Over(Error::SessionExpired));
        }
    }

    /// Compares what sessions here hold with the lease table, both ways: a lease
    /// that is gone is revoked, one that is not known here is delivered, once the
    /// agent has a slot: a replica that takes a session for its own still, and
    /// gives it something, knows nothing of what it was given elsewhere. A
    /// difference counts when it is seen twice: commits are told a moment after
    /// they are written.
    async fn reconcile(self: &Arc<Self>, seen: &mut BTreeSet<Difference>) -> Result<()> {
        let before = self.dispatcher.held();
        let sessions: Vec<SessionId> = before.keys().copied().collect();
        let mut differences = BTreeSet::new();
        for chunk in sessions.chunks(1_000) {
            let rows: BTreeSet<(SessionId, StepRef, u64)> = self
                .store
                .leases_of(chunk)
                .await?
                .into_iter()
                .map(|row| (row.session, row.step, row.token))
                .collect();
            let here: BTreeSet<(SessionId, StepRef, u64)> = chunk
                .iter()
                .filter_map(|session| Some((session, before.get(session)?)))
                .flat_map(|(&session, held)| held.iter().map(move |(&at, &token)| (session, at, token)))
                .collect();
            differences.extend(here.difference(&rows).map(|&lease| Difference::Gone(lease)));
            differences.extend(rows.difference(&here).map(|&lease| Difference::Unknown(lease)));
        }
        let confirmed = differences.intersection(seen);
        self.dispatcher.owe(confirmed.filter_map(|difference| match *difference {
            Difference::Unknown(lease) => Some(lease),
            Difference::Gone(_) => None,
        }));
        for difference in differences.intersection(seen) {
            match *difference {
                Difference::Gone((session, at, token)) => self.revoke(session, at, token).await,
                Difference::Unknown((session, at, token)) => self.adopt_if_current(session, at, token).await,
            }
        }
        *seen = differences;
        Ok(())
    }

    /// A lease row that this replica did not know of: its commit's answer was
    /// lost, or another replica wrote it.
    async fn adopt_if_current(self: &Arc<Self>, session: SessionId, at: StepRef, token: u64) {
        let Ok(task) = self.current(at.task).await else {
            return;
        };
        let lease = task.step(at.step).and_then(|step| step.lease());
        let current = lease.is_some_and(|lease| lease.session == session && lease.token == token);
        if !current {
            return;
        }
        if let Some(before) = self.dispatcher.adopt(session, at, token).filter(|before| *before != Held::Same)
        {
            self.forget_earlier(session, at, before);
            self.deliver(&task, at.step, session, token);
        }
    }

    /// Finds events of watched tasks that no hint told of.
    async fn catch_up_tails(self: &Arc<Self>) -> Result<()> {
        let tails = self.hub.tails();
        for chunk in tails.chunks(1_000) {
            let streams: Vec<StreamId> = chunk.iter().map(|(task, _)| task.stream()).collect();
            let heads = self.store.heads(&streams).await?;
            for (task, tail) in chunk {
                let head =
                    heads.iter().find(|(stream, _)| *stream == task.stream()).map_or(0, |(_, head)| *head);
                if head > tail.head() {
                    self.fill_tail(*task, tail).await?;
                }
            }
        }
        Ok(())
    }

    async fn fill_tail(self: &Arc<Self>, task: TaskId, tail: &crate::hub::Tail) -> Result<()> {
        let events = self.load_events(task.stream(), tail.head(), 10_000).await?;
        tail.push(events);
        Ok(())
    }

    /// Renews the leases of sessions whose agents were heard since the last round.
    pub(crate) async fn renew(self: Arc<Self>) {
        let mut since = self.time.local();
        loop {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                () = self.time.sleep(self.options.renew_every) => {}
            }
            let now = self.time.local();
            let alive = self.dispatcher.lively(since);
            match self.renew_once(&alive).await {
                Ok(()) => since = now,
                // Who was heard counts for the next round too.
                Err(error) => tracing::warn!(%error, "sessions cannot be renewed; trying on"),
            }
            // Not heard for so long, they cannot have been renewed: whichever
            // replica expired them, here they are over as well.
            let more = Span::from_micros(2 * self.options.renew_every.as_micros());
            for session in self.dispatcher.silent(now, more) {
                self.drop_session(session);
            }
        }
    }

    async fn renew_once(self: &Arc<Self>, alive: &BTreeMap<Span, Vec<SessionId>>) -> Result<()> {
        for (&lease, alive) in alive {
            for chunk in alive.chunks(1_000) {
                self.renew_chunk(chunk, lease).await?;
            }
        }
        Ok(())
    }

    async fn renew_chunk(self: &Arc<Self>, chunk: &[SessionId], lease: Span) -> Result<()> {
        let renewed = self.store.renew_sessions(chunk, self.replica, lease).await?;
        for session in chunk {
            match renewed.iter().find(|renewed| renewed.session == *session) {
                Some(renewed) if renewed.draining => self.ask_to_finish(*session),
                Some(renewed) => self.dispatcher.renewed(*session, renewed.expires_at),
                None => self.lost_session(*session).await?,
            }
        }
        Ok(())
    }

    /// Reads hints of other replicas.
    pub(crate) async fn listen(self: Arc<Self>) {
        let mut letters = self.bus.subscribe();
        loop {
            let letter = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                letter = letters.recv() => letter,
            };
            match letter {
                Ok(Letter { from, .. }) if from == self.replica => {}
                Ok(letter) => self.hear(letter.hint).await,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn hear(self: &Arc<Self>, hint: Hint) {
        match hint {
            Hint::Ready { project, capability } => {
                self.dispatcher.wake([QueueKey { project: ProjectId::from_uuid(project), capability }]);
            }
            Hint::Advanced { stream, project, head } => {
                let task = task_of(StreamId::from_uuid(stream));
                let Some(tail) = self.hub.watched(task, ProjectId::from_uuid(project)) else {
                    return;
                };
                if head > tail.head() {
                    let shared = Arc::clone(self);
                    self.time.spawn(async move {
                        // The sweeper would find it a little later.
                        let _ = shared.fill_tail(task, &tail).await;
                    });
                }
            }
            Hint::Revoked { session, task, step, token } => {
                let session = SessionId::from_uuid(session);
                let at = StepRef { task: TaskId::from_uuid(task), step };
                self.revoke(session, at, token).await;
            }
            Hint::Approval { id, project } => {
                self.approval_moved(ApprovalId::from_uuid(id), ProjectId::from_uuid(project));
            }
            Hint::Draining { session } => self.ask_to_finish(SessionId::from_uuid(session)),
        }
    }
}
