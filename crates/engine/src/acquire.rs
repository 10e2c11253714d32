//! Steps for agents that call instead of keeping a stream open.
//!
//! A call is a connection for as long as it waits: it resumes the session's row,
//! joins the dispatcher, gathers what comes and leaves. Everything else, leases,
//! slots, redelivery, expiry, is what streams have.
//!
//! Invariants: the call that opens a session carries no steps, so that no step is
//! given to an agent that may never hear of its session; a call is given at most
//! what it asks for; dropped in the middle, it leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::{Either, select};
use quarterdeck_core::{SessionId, Span, Timestamp};
use quarterdeck_store::rows::{QueueKey, SessionState, StepRef};
use tokio::sync::mpsc;

use crate::auth::Principal;
use crate::engine::{Engine, Shared};
use crate::error::{Error, Result};
use crate::session::{Acquired, Assignment, Down, GoAwayCause, Poll, RevokeCause};
use crate::sessions::{Entered, queues};

/// Content of one answer at most, in bytes, unless its only step has more. With
/// names and frames that stays below the 4 MiB that clients accept.
const ANSWER_MAX: usize = 3 * 1024 * 1024;
/// How long an answer waits for commits that are under way, at most.
const GATHER: Span = Span::from_millis(500);
/// Between two looks at what is under way.
const GATHER_TICK: Span = Span::from_millis(5);
/// How long the look at the queues may hold up an answer that is not to wait.
const LOOK: Span = Span::from_secs(1);
/// Leases that are over and looked up for why, in one call; more are just lost.
const CAUSES_MAX: usize = 64;
/// What is kept of the lease when an answer has to be sent at last.
const MARGIN: Span = Span::from_secs(5);

impl Engine {
    /// Renews the session, or opens one, and waits for steps to give to it.
    pub async fn acquire_steps(&self, caller: &Principal, poll: Poll) -> Result<Acquired> {
        let shared = &self.0;
        let Poll { mut hello, wait, lease } = poll;
        let began = shared.time.local();
        let wanted = hello.slots;
        hello.slots = wanted.saturating_add(hello.held.len() as u32);
        let entered = shared.enter(caller, &hello, lease).await?;
        if !entered.resumed {
            return Ok(nothing(&entered));
        }
        let (session, project, queues) = (entered.row.session, entered.row.project, queues(&entered.row));
        // Joined first, without slots: what was on its way to a call before this one
        // is either handed over to this one or in the table when it is read.
        let mut call = Call::join(shared, entered, &hello.held);
        let held = shared.leases(session).await?;
        let (unknown, unlisted) = shared.compare(&held, &hello.held);
        // What the agent does not know of yet is among what it asks for.
        let slots = ((held.len() - unlisted.len()) as u32).saturating_add(wanted);
        for (place, token) in unknown.into_iter().enumerate() {
            let cause = match place < CAUSES_MAX {
                true => shared.cause_of(session, project, &token).await?,
                false => Some(RevokeCause::Lost),
            };
            call.answer.revoked.extend(cause.map(|cause| (token, cause)));
        }
        call.send_again(unlisted).await;
        let told = !call.answer.steps.is_empty() || !call.answer.revoked.is_empty();
        let idle = call.answer.draining && wanted > 0;
        if !told && !idle {
            shared.dispatcher.admit(session, call.connection, held, slots);
            call.wait(wait.min(longest_wait(lease)), queues).await?;
        }
        if !call.replaced {
            call.gather().await?;
        }
        call.finish(began).await
    }

    /// Ends a session; its steps go to others at once.
    pub async fn release_session(&self, caller: &Principal, session_token: &str) -> Result<()> {
        self.0.release(caller, session_token).await
    }
}

fn nothing(entered: &Entered) -> Acquired {
    Acquired {
        session: entered.row.session,
        session_token: entered.resume_token.clone(),
        steps: Vec::new(),
        revoked: Vec::new(),
        draining: entered.row.state == SessionState::Draining,
        lease: entered.row.lease,
    }
}

/// How long a call may wait, so that its answer still finds the session alive.
fn longest_wait(lease: Span) -> Span {
    let margin = MARGIN.as_micros().min(lease.as_micros() / 3);
    Span::from_micros(lease.as_micros() - margin)
}

/// A call that waits.
struct Call {
    shared: Arc<Shared>,
    session: SessionId,
    connection: u64,
    outbound: mpsc::Receiver<Down>,
    /// Leases that the agent has listed.
    claimed: BTreeSet<String>,
    /// Leases in the answer.
    given: BTreeSet<String>,
    answer: Acquired,
    /// Bytes in the answer.
    size: usize,
    /// Nothing more goes into it.
    full: bool,
    /// A newer call of the session has taken its place.
    replaced: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.shared.dispatcher.retire(self.session, self.connection);
    }
}

impl Call {
    fn join(shared: &Arc<Shared>, entered: Entered, claimed: &[String]) -> Self {
        let (answer, session) = (nothing(&entered), entered.row.session);
        let (outbound, receiver) = mpsc::channel(shared.options.outbound_max);
        let connection = shared.join(entered.row, BTreeMap::new(), 0, true, outbound);
        Self {
            shared: Arc::clone(shared),
            session,
            connection,
            outbound: receiver,
            claimed: claimed.iter().cloned().collect(),
            given: BTreeSet::new(),
            answer,
            size: 0,
            full: false,
            replaced: false,
        }
    }

    /// Answers the assignments that the agent does not have.
    async fn send_again(&mut self, unlisted: Vec<(StepRef, u64)>) {
        for (at, token) in unlisted {
            if self.full {
                return;
            }
            match self.shared.assignment_again(at, token).await {
                Ok(Some(assignment)) => self.add(assignment),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(task = %at.task, step = at.step, %error, "an assignment cannot be sent again yet");
                }
            }
        }
    }

    /// Waits until there is something to tell, or for as long as the agent wants
    /// to; at least until the queues have been looked at.
    async fn wait(&mut self, wait: Span, queues: Vec<QueueKey>) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let (told, looked) = tokio::sync::oneshot::channel::<()>();
        let looking = Arc::clone(&self.shared);
        // Apart from this call: who is dropped while giving would keep a slot.
        self.shared.time.spawn(async move {
            looking.look(queues).await;
            drop(told);
        });
        let end = async {
            let looked = select(looked, Box::pin(shared.time.sleep(LOOK)));
            match select(Box::pin(shared.time.sleep(wait)), looked).await {
                Either::Left(((), looked)) => drop(looked.await),
                Either::Right((_, waited)) => waited.await,
            }
        };
        tokio::pin!(end);
        loop {
            let told = tokio::select! {
                biased;
                () = shared.draining.cancelled() => true,
                message = self.outbound.recv() => self.take(message)?,
                () = &mut end => true,
            };
            if told {
                return Ok(());
            }
        }
    }

    /// Takes what else is there or about to be: a step that is being committed to
    /// this session would wait for the next call.
    async fn gather(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        shared.dispatcher.close(self.session, self.connection);
        let end = shared.time.local().plus(GATHER);
        while !self.full && !self.replaced {
            match self.outbound.try_recv() {
                Ok(message) => drop(self.take(Some(message))?),
                Err(_) if !self.is_expecting() || shared.time.local() >= end => return Ok(()),
                Err(_) => tokio::select! {
                    biased;
                    message = self.outbound.recv() => drop(self.take(message)?),
                    () = shared.time.sleep(GATHER_TICK) => {}
                },
            }
        }
        Ok(())
    }

    /// Whether steps are on their way to this call.
    fn is_expecting(&self) -> bool {
        let Some((reserved, held)) = self.shared.dispatcher.pending(self.session, self.connection) else {
            return false;
        };
        let token = |(at, token)| self.shared.token(at, token).to_string();
        reserved > 0 || !held.into_iter().map(token).all(|token| self.knows(&token))
    }

    fn knows(&self, token: &str) -> bool {
        self.claimed.contains(token) || self.given.contains(token)
    }

    /// Takes one message; true if there is something to tell now.
    fn take(&mut self, message: Option<Down>) -> Result<bool> {
        match message {
            Some(Down::Assign(assignment)) => {
                self.add(*assignment);
                Ok(true)
            }
            Some(Down::Revoke { token, cause }) => {
                // What the agent has not heard of cannot be taken from it.
                self.answer.steps.retain(|step| step.token != token);
                let news = self.claimed.contains(&token)
                    && !self.answer.revoked.iter().any(|(known, _)| *known == token);
                if news {
                    self.answer.revoked.push((token, cause));
                }
                Ok(news)
            }
            Some(Down::GoAway { cause, .. }) => {
                self.replaced |= cause == GoAwayCause::Replaced;
                self.answer.draining |= cause == GoAwayCause::Drain;
                Ok(true)
            }
            Some(Down::Over(error)) => Err(error),
            // The last is told to those that keep a stream alone.
            Some(
                Down::Welcome { .. }
                | Down::Ack { .. }
                | Down::Reject { .. }
                | Down::Pong
                | Down::ApprovalDecided { .. },
            ) => Ok(false),
            None => Ok(true),
        }
    }

    fn add(&mut self, assignment: Assignment) {
        if self.knows(&assignment.token) {
            return;
        }
        let size = assignment.size();
        if !self.answer.steps.is_empty() && self.size + size > ANSWER_MAX {
            // It stays leased, and the next call finds it not listed.
            self.full = true;
            return;
        }
        self.size += size;
        self.given.insert(assignment.token.clone());
        self.answer.steps.push(assignment);
    }

    /// The answer, after which the agent has the whole lease again.
    async fn finish(mut self, began: Timestamp) -> Result<Acquired> {
        let shared = Arc::clone(&self.shared);
        let took = shared.time.local().since(began).as_micros();
        if !self.replaced && took >= self.answer.lease.as_micros() / 20 {
            let renewed =
                shared.store.renew_sessions(&[self.session], shared.replica, self.answer.lease).await?;
            match renewed.first() {
                Some(renewed) => self.answer.draining |= renewed.draining,
                None => {
                    let row = shared.store.session(self.session).await?;
                    self.replaced =
                        row.is_some_and(|row| row.state.is_live() && row.replica != shared.replica);
                    if !self.replaced {
                        return Err(Error::SessionExpired);
                    }
                }
            }
        }
        let mut answer = self.answer.clone();
        if self.replaced {
            // The call that took this one's place finds them, too.
            answer.steps.clear();
            answer.revoked.clear();
        }
        Ok(answer)
    }
}
