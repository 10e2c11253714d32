//! What an agent says: taken in order, committed, acknowledged.
//!
//! Invariants: a word is enqueued in the order it came and acknowledged after its
//! commit; one that could not be committed is tried again until it is, or the
//! session is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quarterdeck_core::canary::{Mistake, planted};
use quarterdeck_core::task::command::LeaseRef;
use quarterdeck_core::task::{Command, LeaseToken, PROGRESS_EVERY, Report};
use quarterdeck_core::{Digest, Refusal, SessionId, Span, Timestamp};
use quarterdeck_risk::redact;
use quarterdeck_store::rows::StepRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::aggregate::Op;
use crate::approvals::Told;
use crate::engine::Shared;
use crate::error::{Error, Result};
use crate::payloads::{self, detach};
use crate::session::{Down, RejectReason, Up};

/// Leases that are remembered for their words; beyond it those that are over are forgotten.
const SPOKEN_MAX: usize = 2_000;

/// Where the agent's messages go.
#[derive(Clone)]
pub struct SessionSender {
    shared: Arc<Shared>,
    session: SessionId,
    /// Messages being worked on.
    permits: Arc<Semaphore>,
    progress: Arc<Mutex<BTreeMap<LeaseToken, Spoken>>>,
    told: Told,
}

/// The agent's latest word on its progress with one lease.
#[derive(Default)]
struct Spoken {
    recorded_at: Timestamp,
    waiting: Option<(LeaseRef, Report)>,
    /// Told when the last word that later ones have to wait for is answered; dropped
    /// where it never is.
    before: Option<Turn>,
}

type Turn = oneshot::Receiver<()>;

impl Spoken {
    /// Whether something waits that watchers should see.
    fn shows(&self) -> bool {
        self.waiting.as_ref().is_some_and(|(_, report)| report.partial.is_some())
    }

    /// Puts a word to what waits; answers what is to be recorded at once, in order.
    fn gather(&mut self, lease: LeaseRef, mut report: Report, due: bool) -> Vec<(LeaseRef, Report)> {
        let mut ready = Vec::new();
        if let Some((earlier, mut shown)) = self.waiting.take()
            && let Some(mut piece) = shown.partial.take()
        {
            if report.partial.as_ref().is_none_or(|next| piece.join(next)) {
                report.partial = Some(piece);
            } else {
                ready.push((earlier, Report { partial: Some(piece), ..shown }));
            }
        }
        // A checkpoint is state, not news: it is never dropped for a later word.
        if due || report.checkpoint.is_some() {
            ready.push((lease, report));
        } else {
            self.waiting = Some((lease, report));
        }
        ready
    }
}

impl SessionSender {
    pub(crate) fn new(shared: &Arc<Shared>, session: SessionId, told: Told) -> Self {
        let permits = Arc::new(Semaphore::new(shared.options.inbound_max));
        Self { shared: Arc::clone(shared), session, permits, progress: Arc::default(), told }
    }

    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Takes one message of the agent. Waits only while too many are being worked
    /// on. False when the session is over.
    pub async fn say(&self, up: Up) -> bool {
        self.shared.dispatcher.heard(self.session, self.shared.time.local());
        match up {
            Up::Credit(slots) => self.shared.dispatcher.set_slots(self.session, slots),
            Up::Ping => drop(self.shared.dispatcher.send(self.session, Down::Pong)),
            Up::AwaitApproval(id) => self.told.wait(&self.shared, self.session, id),
            Up::Bye => {
                self.bye().await;
                return false;
            }
            Up::Progress { token, number, report } => {
                if let Some((token, lease)) = self.lease(&token, number) {
                    self.progress(token, lease, payloads::report(report)).await;
                }
            }
            Up::Complete { token, number, output } => {
                let mut apart = Vec::new();
                let output = detach(output, &mut apart);
                self.shared.contents.remember(&apart);
                self.last_word(&token, number, apart, |lease| Command::Complete { lease, output }).await;
            }
            Up::Fail { token, number, reason, message, not_retryable, retry_after } => {
                let message = redact::text(&message);
                let fail = |lease| Command::Fail { lease, reason, message, not_retryable, retry_after };
                self.last_word(&token, number, Vec::new(), fail).await;
            }
            Up::Refuse { token, number, message } => {
                let message = redact::text(&message);
                self.last_word(&token, number, Vec::new(), |lease| Command::Refuse { lease, message }).await;
            }
        }
        true
    }

    /// What the agent speaks of; rejects what is no lease of this store.
    fn lease(&self, text: &str, number: i64) -> Option<(LeaseToken, LeaseRef)> {
        let (reason, message) = match text.parse::<LeaseToken>() {
            Ok(token) if token.epoch == self.shared.store.epoch() => {
                let (step, session) = (token.step, self.session);
                let number = Some(number);
                return Some((token, LeaseRef { step, session, token: token.sequence, number }));
            }
            Ok(_) => (RejectReason::LeaseStale, "the lease is from before the store was restored".to_owned()),
            Err(error) => (RejectReason::TokenInvalid, error.to_string()),
        };
        let reject = Down::Reject { token: text.to_owned(), number, reason, message };
        self.shared.dispatcher.send(self.session, reject);
        None
    }

    /// Records progress now, or a little later together with what comes until then.
    async fn progress(&self, token: LeaseToken, lease: LeaseRef, report: Report) {
        let Some(permit) = self.permit().await else {
            return;
        };
        let now = self.shared.time.local();
        let mut spoken = self.spoken();
        if spoken.len() >= SPOKEN_MAX {
            spoken.retain(|token, _| {
                let at = StepRef { task: token.task, step: token.step };
                self.shared.dispatcher.holds(self.session, at, token.sequence)
            });
        }
        let entry = spoken.entry(token).or_default();
        let since = now.since(entry.recorded_at);
        let is_first = entry.waiting.is_none();
        let ready = entry.gather(lease, report, since >= PROGRESS_EVERY);
        if entry.waiting.is_none() {
            entry.recorded_at = now;
        } else if is_first {
            self.record_later(token, Span::from_micros(PROGRESS_EVERY.as_micros() - since.as_micros()));
        }
        self.record(permit, entry, token, ready);
    }

    /// Records what waits after a while.
    fn record_later(&self, token: LeaseToken, wait: Span) {
        let sender = self.clone();
        self.shared.time.spawn(async move {
            sender.shared.time.sleep(wait).await;
            sender.record_waiting(token).await;
        });
    }

    async fn record_waiting(&self, token: LeaseToken) {
        let Some(permit) = self.permit().await else {
            return;
        };
        // Under the lock, so that no later word of the lease gets ahead.
        let mut spoken = self.spoken();
        if let Some(entry) = spoken.get_mut(&token) {
            entry.recorded_at = self.shared.time.local();
            let waiting = entry.waiting.take().into_iter().collect();
            self.record(permit, entry, token, waiting);
        }
    }

    /// Enqueues these words; the permit is held until the last is answered.
    fn record(
        &self,
        permit: OwnedSemaphorePermit,
        spoken: &mut Spoken,
        token: LeaseToken,
        words: Vec<(LeaseRef, Report)>,
    ) {
        let (mut permit, last) = (Some(permit), words.len().saturating_sub(1));
        for (index, (lease, report)) in words.into_iter().enumerate() {
            let mut apart = Vec::new();
            let report = Report { checkpoint: detach(report.checkpoint, &mut apart), ..report };
            let permit = if index == last { permit.take() } else { None };
            self.enqueue(permit, spoken, token, Command::Progress { lease, report }, apart);
        }
    }

    fn spoken(&self) -> MutexGuard<'_, BTreeMap<LeaseToken, Spoken>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message that ends the lease.
    async fn last_word(
        &self,
        token: &str,
        number: i64,
        apart: Vec<(Digest, Bytes)>,
        command: impl FnOnce(LeaseRef) -> Command,
    ) {
        if let Some((token, lease)) = self.lease(token, number) {
            // The last word covers the news that wait to be recorded, but not what was shown.
            if self.spoken().get(&token).is_some_and(Spoken::shows) {
                self.record_waiting(token).await;
            }
            if let Some(permit) = self.permit().await {
                let mut spoken = self.spoken();
                let entry = spoken.entry(token).or_default();
                entry.waiting = None;
                self.enqueue(Some(permit), entry, token, command(lease), apart);
            }
        }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Enqueues now, so that order is kept, and answers after the commit. What comes
    /// after partial output is enqueued when that is recorded: it may take several
    /// tries, and would be lost if a later word got ahead.
    fn enqueue(
        &self,
        permit: Option<OwnedSemaphorePermit>,
        spoken: &mut Spoken,
        token: LeaseToken,
        command: Command,
        apart: Vec<(Digest, Bytes)>,
    ) {
        let number = number_of(&command);
        let ends = !matches!(&command, Command::Progress { .. });
        let shows = matches!(&command, Command::Progress { report, .. } if report.partial.is_some());
        let before = spoken.before.take().filter(|_| !planted(Mistake::PartialOvertaken));
        let turn = (shows || before.is_some()).then(|| {
            let (turn, next) = oneshot::channel();
            spoken.before = Some(next);
            turn
        });
        let op = Op::Do(command);
        let asked =
            before.is_none().then(|| self.shared.ask_later(token.task, op.clone(), apart.clone(), None));
        let sender = self.clone();
        self.shared.time.spawn(async move {
            // Nobody knows of the word before: the agent will say both again.
            if let Some(before) = before
                && before.await.is_err()
            {
                return;
            }
            let ask = || sender.shared.ask_later(token.task, op.clone(), apart.clone(), None);
            let result = match asked.unwrap_or_else(ask) {
                Ok(answer) => answer.await.unwrap_or(Err(Error::Draining)),
                Err(error) => Err(error),
            };
            let result = sender.insist(token, op, apart, result.map(drop)).await;
            if let Some(turn) = turn
                && !result.as_ref().is_err_and(|error| error.is_transient() || *error == Error::Draining)
            {
                let _ = turn.send(());
            }
            if ends {
                sender.spoken().remove(&token);
            }
            sender.reply(token, number, result);
            drop(permit);
        });
    }

    /// Tries again while the store cannot be reached and the session lives.
    async fn insist(
        &self,
        token: LeaseToken,
        op: Op,
        apart: Vec<(Digest, Bytes)>,
        mut result: Result<()>,
    ) -> Result<()> {
        let mut pause = Span::from_millis(20);
        while result.as_ref().is_err_and(Error::is_transient) && self.shared.dispatcher.is_here(self.session)
        {
            self.shared.time.sleep(self.shared.time.jitter(pause)).await;
            pause = Span::from_micros((pause.as_micros() * 2).min(2_000_000));
            result = self.shared.ask(token.task, op.clone(), apart.clone(), None).await.map(drop);
        }
        result
    }

    fn reply(&self, token: LeaseToken, number: i64, result: Result<()>) {
        let text = token.to_string();
        let reply = match result {
            Ok(()) => Down::Ack { token: text, up_to: number },
            Err(Error::Refused(Refusal::LeaseStale | Refusal::TaskEnded) | Error::NotFound(_)) => {
                crate::metrics::stale();
                let at = StepRef { task: token.task, step: token.step };
                let message = "the lease has ended; stop this work and send nothing more for it".to_owned();
                let word = Down::Reject { token: text, number, reason: RejectReason::LeaseStale, message };
                if self.shared.dispatcher.take_away(self.session, at, token.sequence, word.clone()) {
                    return;
                }
                word
            }
            // Not acknowledged: the agent keeps it and sends it again after a resume.
            Err(Error::Draining) => return,
            Err(error) if error.is_transient() => return,
            Err(Error::Refused(why)) if why.is_of_the_word() => {
                let (reason, message) = (RejectReason::FieldsInvalid, why.to_string());
                Down::Reject { token: text, number, reason, message }
            }
            Err(error) => {
                tracing::warn!(session = %self.session, task = %token.task, %error, "an agent's message is refused");
                let message = "the server cannot take this message; see its log".to_owned();
                Down::Reject { token: text, number, reason: RejectReason::Refused, message }
            }
        };
        self.shared.dispatcher.send(self.session, reply);
    }

    async fn bye(&self) {
        // Let what the agent said before be committed first.
        let all = self.shared.options.inbound_max as u32;
        drop(self.permits.acquire_many(all).await);
        match self.shared.store.close_session(self.session, self.shared.replica).await {
            Ok(_) => {
                if let Some((_, held)) = self.shared.dispatcher.leave(self.session) {
                    self.shared.take_back(self.session, held);
                }
            }
            // Then its lease runs out.
            Err(error) => tracing::warn!(session = %self.session, %error, "a session cannot be closed"),
        }
    }
}

fn number_of(command: &Command) -> i64 {
    match command {
        Command::Progress { lease, .. }
        | Command::Complete { lease, .. }
        | Command::Fail { lease, .. }
        | Command::Refuse { lease, .. } => lease.number.unwrap_or_default(),
        _ => 0,
    }
}
