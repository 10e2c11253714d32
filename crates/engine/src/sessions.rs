//! Agents' connections: opening, resuming, listening, ending.
//!
//! A session is a row with a lease; the connection is only how its agent is
//! heard (see [`crate::inbound`]). Invariant: dropping the handle starts the
//! reconnect grace, which is what is left of the lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quarterdeck_core::task::Command;
use quarterdeck_core::{Digest, ProjectId, SessionId, Span};
use quarterdeck_risk::redact;
use quarterdeck_store::rows::{QueueKey, SessionRow, SessionState, StepRef};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::aggregate::Op;
use crate::approvals::Told;
use crate::auth::Principal;
use crate::dispatcher::Joining;
use crate::engine::{Engine, Shared};
use crate::error::{Error, Result};
use crate::inbound::SessionSender;
use crate::session::{Down, GoAwayCause, Hello, RevokeCause};

/// How often a session that moves is followed to be released.
const RELEASE_TRIES: u32 = 3;

/// One connection of a session.
pub struct SessionHandle {
    shared: Arc<Shared>,
    session: SessionId,
    connection: u64,
    outbound: mpsc::Receiver<Down>,
    inbound: SessionSender,
    /// Ends what only this connection waits for.
    over: CancellationToken,
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        self.over.cancel();
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
        let entered = self.0.enter(caller, &hello, self.0.options.session_lease).await?;
        self.0.attach(caller, entered, &hello).await
    }
}

/// A session whose row is open here; nothing is given to it yet.
pub(crate) struct Entered {
    pub row: SessionRow,
    pub resume_token: String,
    /// True where an earlier session goes on.
    pub resumed: bool,
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

/// The queues that a session serves.
pub(crate) fn queues(row: &SessionRow) -> Vec<QueueKey> {
    let queue = |capability: &String| QueueKey { project: row.project, capability: capability.clone() };
    row.capabilities.iter().map(queue).collect()
}

impl Shared {
    /// Opens a session's row, or takes it over for this replica.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        caller: &Principal,
        hello: &Hello,
        lease: Span,
    ) -> Result<Entered> {
        if self.draining.is_cancelled() {
            return Err(Error::Draining);
        }
        if self.dispatcher.len() >= self.options.sessions_max {
            let limit = self.options.sessions_max as u64;
            return Err(Error::LimitReached { what: "sessions on this replica", limit });
        }
        let project = caller.project(&hello.project)?;
        self.project(&project).await?;
        let resuming = match hello.resume_token.as_str() {
            "" => None,
            token => Some(parse_resume(token)?),
        };
        let ctx = self.time.ctx();
        let (session, secret) = resuming.unwrap_or_else(|| (SessionId::new(&ctx, 0), ctx.draw("resume", 0)));
        let row = SessionRow {
            session,
            project: ProjectId::of(&project),
            agent: hello.agent.clone(),
            build: redact::secrets(&hello.build),
            capabilities: hello.capabilities.clone(),
            slots: hello.slots,
            principal: caller.subject.clone(),
            resume_hash: *Digest::of_content(&secret).as_bytes(),
            replica: self.replica,
            state: SessionState::Open,
            created_at: ctx.now,
            lease,
            expires_at: ctx.now,
        };
        let row = match resuming {
            None => self.store.open_session(&row, lease).await?,
            Some(_) => {
                let known = self.store.session(session).await?.ok_or(Error::SessionExpired)?;
                if known.principal != caller.subject || known.project != row.project {
                    return Err(Error::SessionExpired);
                }
                self.store.resume_session(&row, lease).await?.ok_or(Error::SessionExpired)?
            }
        };
        Ok(Entered { row, resume_token: resume_text(session, &secret), resumed: resuming.is_some() })
    }

    async fn attach(
        self: &Arc<Self>,
        caller: &Principal,
        entered: Entered,
        hello: &Hello,
    ) -> Result<SessionHandle> {
        let Entered { row, resume_token, resumed } = entered;
        let session = row.session;
        let leases = if resumed { self.leases(session).await? } else { BTreeMap::new() };
        let held = self.within_slots(leases, hello);
        // What is said at once has room of its own: a connection that is cut for it would be
        // made and cut for ever.
        let at_once = 2 + held.len() + hello.held.len();
        let (outbound, receiver) = mpsc::channel(self.options.outbound_max + at_once);
        let welcome = Down::Welcome {
            session,
            resume_token,
            resumed,
            lease: row.lease,
            ping_interval: self.options.ping_interval(),
        };
        let _ = outbound.try_send(welcome);
        let draining = row.state == SessionState::Draining;
        let slots = row.slots;
        let connection = self.join(row, held.clone(), slots, false, outbound);
        if draining {
            self.dispatcher.send(session, Down::GoAway { cause: GoAwayCause::Drain, deadline: None });
        }
        self.reconcile_hello(session, &held, &hello.held);
        let over = CancellationToken::new();
        let inbound = SessionSender::new(self, session, Told::new(caller, over.clone()));
        Ok(SessionHandle { shared: Arc::clone(self), session, connection, outbound: receiver, inbound, over })
    }

    /// What the lease table has of a session.
    pub(crate) async fn leases(&self, session: SessionId) -> Result<BTreeMap<StepRef, u64>> {
        let leases = self.store.leases_of(&[session]).await?;
        Ok(leases.into_iter().map(|lease| (lease.step, lease.token)).collect())
    }

    /// Makes steps go to the session here; its former connection is told to end.
    pub(crate) fn join(
        &self,
        row: SessionRow,
        held: BTreeMap<StepRef, u64>,
        slots: u32,
        calls: bool,
        outbound: mpsc::Sender<Down>,
    ) -> u64 {
        let (connection, previous) = self.dispatcher.join(Joining {
            session: row.session,
            queues: queues(&row),
            agent: row.agent,
            slots,
            held,
            draining: row.state == SessionState::Draining,
            calls,
            lease: row.lease,
            good_until: row.expires_at,
            outbound,
            now: self.time.local(),
        });
        if let Some(previous) = previous {
            let _ = previous.try_send(Down::GoAway { cause: GoAwayCause::Replaced, deadline: None });
        }
        connection
    }

    /// What the agent works on, and as much else as it has slots for. The rest stays
    /// in the table, where the sweeper finds it.
    fn within_slots(&self, leases: BTreeMap<StepRef, u64>, hello: &Hello) -> BTreeMap<StepRef, u64> {
        let claims: BTreeSet<&str> = hello.held.iter().map(String::as_str).collect();
        let is_claimed =
            |(at, token): &(StepRef, u64)| claims.contains(self.token(*at, *token).to_string().as_str());
        let (claimed, other): (Vec<_>, Vec<_>) = leases.into_iter().partition(is_claimed);
        let room = (hello.slots as usize).saturating_sub(claimed.len());
        claimed.into_iter().chain(other.into_iter().take(room)).collect()
    }

    /// Sends assignments again that the agent does not have, and takes back those
    /// that it should not have.
    fn reconcile_hello(
        self: &Arc<Self>,
        session: SessionId,
        held: &BTreeMap<StepRef, u64>,
        claimed: &[String],
    ) {
        let (unknown, unlisted) = self.compare(held, claimed);
        for token in unknown {
            self.dispatcher.send(session, Down::Revoke { token, cause: RevokeCause::Lost });
        }
        for (at, token) in unlisted {
            self.redeliver(session, at, token);
        }
    }

    /// The leases that an agent lists and the table does not have, and those that
    /// the table has and the agent does not list.
    pub(crate) fn compare(
        &self,
        held: &BTreeMap<StepRef, u64>,
        claimed: &[String],
    ) -> (Vec<String>, Vec<(StepRef, u64)>) {
        let claimed: BTreeSet<&String> = claimed.iter().collect();
        let known: BTreeMap<String, (StepRef, u64)> =
            held.iter().map(|(&at, &token)| (self.token(at, token).to_string(), (at, token))).collect();
        let unknown = claimed.iter().filter(|&&token| !known.contains_key(token));
        let unknown = unknown.map(|&token| token.clone()).collect();
        let unlisted = known.iter().filter(|(token, _)| !claimed.contains(token));
        (unknown, unlisted.map(|(_, &lease)| lease).collect())
    }

    /// Renews a session whose agent called here, whoever holds it. False if it is
    /// over. A renewal that would add less than a twentieth of its lease is left out.
    pub(crate) async fn keep_alive(&self, row: &SessionRow) -> Result<bool> {
        self.dispatcher.heard(row.session, self.time.local());
        if !row.state.is_live() {
            return Ok(false);
        }
        let left = row.expires_at.since(self.time.now()).as_micros();
        if left >= row.lease.as_micros() / 20 * 19 {
            return Ok(true);
        }
        if let [renewed] = &self.store.renew_sessions(&[row.session], row.replica, row.lease).await?[..] {
            self.dispatcher.renewed(row.session, renewed.expires_at);
            return Ok(true);
        }
        // Over, or resumed at another replica in this moment, which renewed it.
        let now = self.store.session(row.session).await?;
        Ok(now.is_some_and(|now| now.state.is_live() && now.replica != row.replica))
    }

    /// Ends a session by its agent's wish, whoever holds it.
    pub(crate) async fn release(self: &Arc<Self>, caller: &Principal, token: &str) -> Result<()> {
        let (session, secret) = parse_resume(token)?;
        let hash = *Digest::of_content(&secret).as_bytes();
        for _ in 0..RELEASE_TRIES {
            let row = self.store.session(session).await?.ok_or(Error::SessionExpired)?;
            let mine = row.resume_hash == hash && row.principal == caller.subject;
            if !mine || row.state == SessionState::Expired {
                return Err(Error::SessionExpired);
            }
            // One that is closed already may have been closed by this very call.
            if row.state == SessionState::Closed || self.store.close_session(session, row.replica).await? {
                self.drop_session(session);
                self.take_back(session, self.leases(session).await?.into_keys());
                return Ok(());
            }
        }
        // It kept moving between replicas.
        Err(Error::Contention)
    }

    /// Sends the assignment of a lease that the table has to its session here.
    pub(crate) fn redeliver(self: &Arc<Self>, session: SessionId, at: StepRef, token: u64) {
        let shared = Arc::clone(self);
        self.time.spawn(async move {
            if let Some(task) = shared.while_held(session, at, token, || shared.current(at.task)).await {
                shared.deliver(&task, at.step, session, token);
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
