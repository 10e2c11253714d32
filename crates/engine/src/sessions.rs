//! Agents' connections: opening, resuming, listening, ending.
//!
//! A session is a row with a lease; the connection is only how its agent is
//! heard (see [`crate::inbound`]). Invariant: dropping the handle starts the
//! reconnect grace, which is what is left of the lease.

use std::collections::BTreeMap;
use std::sync::Arc;

use quarterdeck_core::task::{Command, LeaseToken};
use quarterdeck_core::{Digest, Payload, ProjectId, Refusal, SessionId};
use quarterdeck_store::rows::{QueueKey, SessionRow, SessionState, StepRef};
use tokio::sync::mpsc;

use crate::aggregate::Op;
use crate::auth::Principal;
use crate::dispatcher::Joining;
use crate::engine::{Engine, Shared};
use crate::error::{Error, Noun, Result};
use crate::inbound::SessionSender;
use crate::session::{Down, GoAwayCause, Hello, RevokeCause};

/// One connection of a session.
pub struct SessionHandle {
    shared: Arc<Shared>,
    session: SessionId,
    connection: u64,
    outbound: mpsc::Receiver<Down>,
    inbound: SessionSender,
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        self.shared.dispatcher.detach(self.session, self.connection);
    }
}

impl SessionHandle {
    /// The next message to the agent; `None` when the connection is to be closed.
    pub async fn next(&mut self) -> Option<Down> {
        self.outbound.recv().await
    }

    pub fn sender(&self) -> SessionSender {
        self.inbound.clone()
    }
}

impl Engine {
    /// Opens or resumes a session. The first message down is the welcome.
    pub async fn open_session(&self, caller: &Principal, hello: Hello) -> Result<SessionHandle> {
        let shared = &self.0;
        if shared.draining.is_cancelled() {
            return Err(Error::Draining);
        }
        if shared.dispatcher.len() >= shared.options.sessions_max {
            let limit = shared.options.sessions_max as u64;
            return Err(Error::LimitReached { what: "sessions on this replica", limit });
        }
        let project = caller.project(&hello.project)?;
        shared.project(&project).await?;
        let resuming = match hello.resume_token.as_str() {
            "" => None,
            token => Some(parse_resume(token)?),
        };
        let ctx = shared.time.ctx();
        let (session, secret) = resuming.unwrap_or_else(|| (SessionId::new(&ctx, 0), ctx.draw("resume", 0)));
        let row = SessionRow {
            session,
            project: ProjectId::of(&project),
            agent: hello.agent.clone(),
            build: hello.build.clone(),
            capabilities: hello.capabilities.clone(),
            slots: hello.slots,
            principal: caller.subject.clone(),
            resume_hash: *Digest::of_content(&secret).as_bytes(),
            replica: shared.replica,
            state: SessionState::Open,
            created_at: ctx.now,
            expires_at: ctx.now,
        };
        let lease = shared.options.session_lease;
        let row = match resuming {
            None => shared.store.open_session(&row, lease).await?,
            Some(_) => {
                let known = shared.store.session(session).await?.ok_or(Error::SessionExpired)?;
                if known.principal != caller.subject || known.project != row.project {
                    return Err(Error::SessionExpired);
                }
                shared.store.resume_session(&row, lease).await?.ok_or(Error::SessionExpired)?
            }
        };
        shared.attach(row, &hello, &secret, resuming.is_some()).await
    }

    /// The output of a step that the leased one comes after, with its content.
    pub async fn dependency_output(
        &self,
        caller: &Principal,
        token: &str,
        step_key: &str,
    ) -> Result<Option<Payload>> {
        let stale = || Error::Refused(Refusal::LeaseStale);
        let token: LeaseToken = token.parse().map_err(|_| stale())?;
        let task = self.0.current(token.task).await.and_then(|task| crate::tasks::visible(caller, task));
        let task = task.map_err(|error| match error {
            // A lease of a task that is not there, or not the caller's, is no lease.
            Error::NotFound(_) => stale(),
            error => error,
        })?;
        let lease = task.step(token.step).and_then(|step| step.lease()).ok_or_else(stale)?;
        if lease.token != token.sequence || token.epoch != self.0.store.epoch() {
            return Err(stale());
        }
        let known = self.0.store.session(lease.session).await?.ok_or_else(stale)?;
        if known.principal != caller.subject {
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

fn resume_text(session: SessionId, secret: &[u8; 32]) -> String {
    format!("{session}.{}", Digest::from_bytes(*secret))
}

fn parse_resume(text: &str) -> Result<(SessionId, [u8; 32])> {
    let expired = || Error::SessionExpired;
    let (session, secret) = text.split_once('.').ok_or_else(expired)?;
    let quoted = serde_json::Value::String(secret.to_owned());
    let secret: Digest = serde_json::from_value(quoted).map_err(|_| expired())?;
    Ok((session.parse().map_err(|_| expired())?, *secret.as_bytes()))
}

impl Shared {
    async fn attach(
        self: &Arc<Self>,
        row: SessionRow,
        hello: &Hello,
        secret: &[u8; 32],
        resumed: bool,
    ) -> Result<SessionHandle> {
        let session = row.session;
        let leases = if resumed { self.store.leases_of(&[session]).await? } else { Vec::new() };
        let held: BTreeMap<StepRef, u64> = leases.iter().map(|lease| (lease.step, lease.token)).collect();
        let (outbound, receiver) = mpsc::channel(self.options.outbound_max);
        let welcome = Down::Welcome {
            session,
            resume_token: resume_text(session, secret),
            resumed,
            lease: self.options.session_lease,
            ping_interval: self.options.ping_interval(),
        };
        // An empty channel takes the first message.
        let _ = outbound.try_send(welcome);
        let queue = |capability: &String| QueueKey { project: row.project, capability: capability.clone() };
        let draining = row.state == SessionState::Draining;
        let (connection, previous) = self.dispatcher.join(Joining {
            session,
            agent: row.agent,
            queues: row.capabilities.iter().map(queue).collect(),
            slots: row.slots,
            held: held.clone(),
            draining,
            outbound,
            now: self.time.local(),
        });
        if let Some(previous) = previous {
            let _ = previous.try_send(Down::GoAway { cause: GoAwayCause::Replaced, deadline: None });
        }
        if draining {
            self.dispatcher.send(session, Down::GoAway { cause: GoAwayCause::Drain, deadline: None });
        }
        self.reconcile_hello(session, &held, &hello.held);
        let inbound = SessionSender::new(self, session);
        Ok(SessionHandle { shared: Arc::clone(self), session, connection, outbound: receiver, inbound })
    }

    /// Sends assignments again that the agent does not have, and takes back those
    /// that it should not have.
    fn reconcile_hello(
        self: &Arc<Self>,
        session: SessionId,
        held: &BTreeMap<StepRef, u64>,
        claimed: &[String],
    ) {
        let tokens: Vec<(StepRef, u64, String)> =
            held.iter().map(|(&at, &token)| (at, token, self.token(at, token).to_string())).collect();
        for token in claimed.iter().filter(|token| !tokens.iter().any(|(_, _, known)| known == *token)) {
            let revoke = Down::Revoke { token: token.clone(), cause: RevokeCause::Lost };
            self.dispatcher.send(session, revoke);
        }
        for (at, token, text) in tokens {
            if !claimed.contains(&text) {
                self.redeliver(session, at, token);
            }
        }
    }

    /// Sends the assignment of a lease that the table has to its session here.
    pub(crate) fn redeliver(self: &Arc<Self>, session: SessionId, at: StepRef, token: u64) {
        let shared = Arc::clone(self);
        self.time.spawn(async move {
            match shared.current(at.task).await {
                Ok(task) => shared.deliver(&task, at.step, session, token),
                Err(error) => {
                    tracing::warn!(task = %at.task, step = at.step, %error, "an assignment cannot be sent again yet");
                    shared.dispatcher.release(session, at, token);
                }
            }
        });
    }

    /// Takes back whatever a session held that is over.
    pub(crate) fn take_back(self: &Arc<Self>, session: SessionId, tasks: impl IntoIterator<Item = StepRef>) {
        let mut tasks: Vec<_> = tasks.into_iter().map(|at| at.task).collect();
        tasks.sort();
        tasks.dedup();
        for task in tasks {
            let command = Command::SessionLost { session };
            if let Err(error) = self.ask_later(task, Op::Do(command), Vec::new(), None) {
                // The sweeper finds the orphaned lease.
                tracing::debug!(%task, %error, "a lease is taken back later");
            }
        }
    }
}
