//! What agents that call say and ask about their leases, at any replica.
//!
//! Invariants: the lease token names the session, and only who opened that
//! session is heard; whether a word counts, or repeats one that did, is decided
//! in the task's own round and not before.

use std::sync::Arc;

use bytes::Bytes;
use quarterdeck_core::task::command::LeaseRef;
use quarterdeck_core::task::{Command, LeaseToken, PROGRESS_EVERY, Report, Task};
use quarterdeck_core::{Digest, Payload, ProjectId, Refusal, SessionId, Span, TaskId};
use quarterdeck_risk::redact;

use crate::aggregate::{Op, Said};
use crate::auth::Principal;
use crate::engine::{Engine, Shared};
use crate::error::{Error, Noun, Result};
use crate::payloads::{self, detach};
use crate::session::Word;

impl Engine {
    /// Takes an agent's word about a lease. Answered once it is durable.
    pub async fn say(&self, caller: &Principal, token: &str, word: Word) -> Result<()> {
        let heard = self.0.take_word(caller, token, word).await;
        if heard == Err(stale()) {
            crate::metrics::stale();
        }
        heard
    }

    /// The output of a step that the leased one comes after, with its content.
    pub async fn dependency_output(
        &self,
        caller: &Principal,
        token: &str,
        step_key: &str,
    ) -> Result<Option<Payload>> {
        let (token, session) = self.0.speaker(caller, token).await?;
        let task = self.0.current(token.task).await?;
        let lease = task.step(token.step).and_then(|step| step.lease()).ok_or_else(stale)?;
        if (lease.token, lease.session) != (token.sequence, session) {
            return Err(stale());
        }
        let index =
            task.plan.index_of(step_key).filter(|index| task.plan.dependencies(token.step).contains(index));
        let step = index.and_then(|index| task.step(index)).ok_or(Error::NotFound(Noun::Step))?;
        match &step.output {
            Some(output) => Ok(Some(self.0.content(output).await?)),
            None => Ok(None),
        }
    }
}

impl Shared {
    async fn take_word(self: &Arc<Self>, caller: &Principal, token: &str, word: Word) -> Result<()> {
        let (token, session) = self.speaker(caller, token).await?;
        let lease = LeaseRef { step: token.step, session, token: token.sequence, number: None };
        let mut apart = Vec::new();
        let word = match word {
            Word::Progress(report) => Word::Progress(payloads::report(report)),
            word => word,
        };
        let command = match word {
            Word::Progress(report) if report.is_news_only() => {
                return self.take_news(token.task, lease, report).await;
            }
            Word::Progress(report) => {
                let checkpoint = detach(report.checkpoint, &mut apart);
                Command::Progress { lease, report: Report { checkpoint, ..report } }
            }
            Word::Complete { output } => {
                let output = detach(output, &mut apart);
                self.contents.remember(&apart);
                Command::Complete { lease, output }
            }
            Word::Fail { reason, message, not_retryable, retry_after } => {
                let message = redact::text(&message);
                Command::Fail { lease, reason, message, not_retryable, retry_after }
            }
        };
        self.take_command(token.task, command, apart).await.map(drop)
    }

    /// Records progress now, or a little later: an agent that says too much waits.
    async fn take_news(self: &Arc<Self>, task: TaskId, lease: LeaseRef, report: Report) -> Result<()> {
        let command = Command::Progress { lease, report: report.clone() };
        let after = self.take_command(task, command.clone(), Vec::new()).await?;
        let held = after.as_ref().and_then(|task| task.step(lease.step)).and_then(|step| step.lease());
        let recorded = held.and_then(|held| held.progress.as_ref());
        let said = (report.fraction, &report.message);
        let Some(last) = recorded.filter(|last| (last.fraction, &last.message) != said) else {
            return Ok(());
        };
        let since = self.time.now().since(last.at).min(PROGRESS_EVERY);
        self.time.sleep(Span::from_micros(PROGRESS_EVERY.as_micros() - since.as_micros() + 1_000)).await;
        // Where another was faster again, that one tells how far the step is.
        self.take_command(task, command, Vec::new()).await.map(drop)
    }

    /// The task after the command.
    async fn take_command(
        self: &Arc<Self>,
        task: TaskId,
        command: Command,
        apart: Vec<(Digest, Bytes)>,
    ) -> Result<Option<Arc<Task>>> {
        match self.ask(task, Op::Do(command), apart, None).await {
            Ok(Said::Task(task)) => Ok(Some(task)),
            Ok(Said::Duplicate) => Ok(None),
            Err(Error::Refused(why)) if why.is_of_the_word() => Err(why.into()),
            Err(Error::Refused(_) | Error::NotFound(_)) => Err(stale()),
            Err(error) => Err(error),
        }
    }

    /// Whose lease this is: a session that the caller has opened, which is renewed.
    pub(crate) async fn speaker(
        self: &Arc<Self>,
        caller: &Principal,
        token: &str,
    ) -> Result<(LeaseToken, SessionId)> {
        let token: LeaseToken = token.parse().map_err(|_| stale())?;
        if token.epoch != self.store.epoch() {
            return Err(stale());
        }
        let none = |error| if matches!(error, Error::NotFound(_)) { stale() } else { error };
        // Whom a lease was given to never changes: any version that knows of it will do.
        let mut task = self.some_version(token.task).await.map_err(none)?;
        let mut session = holder(&task, token);
        if session.is_none() {
            task = self.current(token.task).await.map_err(none)?;
            session = holder(&task, token);
        }
        let session = session.filter(|_| caller.scope.covers(&task.project)).ok_or_else(stale)?;
        let row = self.store.session(session).await?.ok_or_else(stale)?;
        if row.principal != caller.subject || row.project != ProjectId::of(&task.project) {
            return Err(stale());
        }
        if self.keep_alive(&row).await? {
            return Ok((token, session));
        }
        // With the session its leases are over, though not all are taken back yet. Only
        // the word that ended one before may still be repeated.
        let task = self.current(token.task).await.map_err(none)?;
        let closed = task.step(token.step).and_then(|step| step.closed);
        match closed.is_some_and(|closed| closed.token == token.sequence) {
            true => Ok((token, session)),
            false => Err(stale()),
        }
    }
}

/// The session that holds the lease, or that ended it.
fn holder(task: &Task, token: LeaseToken) -> Option<SessionId> {
    let step = task.step(token.step)?;
    let held = step.lease().filter(|lease| lease.token == token.sequence).map(|lease| lease.session);
    held.or_else(|| Some(step.closed.filter(|closed| closed.token == token.sequence)?.session))
}

pub(crate) fn stale() -> Error {
    Error::Refused(Refusal::LeaseStale)
}
