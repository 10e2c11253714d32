//! The agents: sessions that complete each step the moment it comes, or hold it
//! until they are told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::session_request::Message as Up;
use quarterdeck_api::orchestration::v1::session_response::Message as Down;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::clock;
use crate::connect::Connections;
use crate::flights::Flights;
use crate::load::Job;
use crate::problems::Problems;

/// What the agents can do.
pub const CAPABILITY: &str = "bench";
const WELCOME_TIMEOUT: Duration = Duration::from_secs(30);
const BYE_TIMEOUT: Duration = Duration::from_secs(15);
const DEFAULT_PING: Duration = Duration::from_secs(2);
/// Sessions opened at a time.
const OPENING: usize = 32;
/// Most steps of one session, by the contract.
pub const SLOTS_MAX: u32 = 1_000;

/// What agents and submitters share. All counts are since the beginning of the run.
#[derive(Debug, Default)]
pub struct Board {
    pub flights: Flights,
    pub problems: Problems,
    /// Tasks whose creation was answered.
    pub created: AtomicU64,
    /// Assignments received.
    pub assigned: AtomicU64,
    /// Completions acknowledged.
    pub steps: AtomicU64,
    /// Tasks whose last completion was acknowledged.
    pub finished: AtomicU64,
    /// Answers to pings.
    pub pongs: AtomicU64,
}

/// What agents to have.
#[derive(Clone, Debug)]
pub struct Crew {
    pub sessions: usize,
    /// Of each session.
    pub slots: u32,
    /// Steps of each task that will come.
    pub steps: u32,
    /// Until this is cancelled, what was given is held.
    pub begin: CancellationToken,
}

impl Crew {
    /// One session a connection, with twice as many slots in all as steps can be
    /// ready at a time, so that a free one is always found.
    pub fn of(job: &Job, connections: &Connections) -> Self {
        let sessions = connections.len();
        let ready = u64::from(job.concurrency) * u64::from(job.width());
        let slots = (2 * ready).div_ceil(sessions as u64).clamp(2, u64::from(SLOTS_MAX)) as u32;
        let begin = CancellationToken::new();
        begin.cancel();
        Self { sessions, slots, steps: job.steps, begin }
    }
}

/// The running agents.
pub struct Agents {
    sessions: JoinSet<()>,
    stop: CancellationToken,
}

impl Agents {
    /// Opens the sessions, spread over the connections.
    ///
    /// # Errors
    /// When the server does not welcome one.
    pub async fn start(connections: &Arc<Connections>, board: &Arc<Board>, crew: &Crew) -> Result<Self> {
        let stop = CancellationToken::new();
        let (mut opening, mut sessions) = (JoinSet::new(), JoinSet::new());
        for index in 0..crew.sessions {
            if opening.len() == OPENING {
                welcomed(&mut opening, &mut sessions, &stop).await?;
            }
            let (connections, board, crew) = (Arc::clone(connections), Arc::clone(board), crew.clone());
            opening.spawn(async move {
                let line = Line::open(&connections, index, crew.slots).await?;
                Ok(Session { line, held: HashMap::new(), waiting: Vec::new(), board, crew })
            });
        }
        while !opening.is_empty() {
            welcomed(&mut opening, &mut sessions, &stop).await?;
        }
        Ok(Self { sessions, stop })
    }

    /// Says goodbye and ends. Those that have not ended in time are a problem and
    /// are cut off.
    pub async fn stop(mut self, board: &Board) {
        self.stop.cancel();
        let ended = async { while self.sessions.join_next().await.is_some() {} };
        if timeout(BYE_TIMEOUT, ended).await.is_err() {
            board.problems.add_many(self.sessions.len() as u64, "a session did not end after Bye");
        }
    }
}

async fn welcomed(
    opening: &mut JoinSet<Result<Session>>,
    sessions: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> Result<()> {
    if let Some(session) = opening.join_next().await {
        sessions.spawn(session??.run(stop.clone()));
    }
    Ok(())
}

/// An open session that was welcomed.
pub struct Line {
    pub incoming: Streaming<pb::SessionResponse>,
    outgoing: mpsc::Sender<pb::SessionRequest>,
    pub ping: Interval,
}

impl Line {
    /// On connection `index`, counted round and round.
    ///
    /// # Errors
    /// When the server says anything but Welcome, or nothing in time.
    pub async fn open(connections: &Connections, index: usize, slots: u32) -> Result<Self> {
        let opening = Box::pin(Self::hello(connections, index, slots));
        timeout(WELCOME_TIMEOUT, opening).await.context("an agent was not welcomed in time")?
    }

    async fn hello(connections: &Connections, index: usize, slots: u32) -> Result<Self> {
        // A completion for each slot, and pings: sending never waits for long.
        let (outgoing, requests) = mpsc::channel(slots as usize + 16);
        let hello = pb::Hello {
            agent: "bench".to_owned(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: vec![CAPABILITY.to_owned()],
            slots: i32::try_from(slots)?,
            ..pb::Hello::default()
        };
        // Before the call: the server may answer only after Hello.
        outgoing.send(request(Up::Hello(hello))).await?;
        let mut stub = connections.worker(index);
        let mut incoming = stub.session(ReceiverStream::new(requests)).await?.into_inner();
        let first = incoming.message().await?.and_then(|response| response.message);
        let Some(Down::Welcome(welcome)) = first else {
            bail!("an agent was not welcomed but told {first:?}")
        };
        let every = welcome.ping_interval.and_then(|every| Duration::try_from(every).ok());
        let every = every.filter(|every| !every.is_zero()).unwrap_or(DEFAULT_PING);
        let mut ping = interval(every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { incoming, outgoing, ping })
    }

    /// False when the connection is gone.
    pub async fn send(&self, message: Up) -> bool {
        self.outgoing.send(request(message)).await.is_ok()
    }

    /// Says goodbye and waits until the server has closed.
    pub async fn bye(mut self) {
        self.send(Up::Bye(pb::Bye {})).await;
        drop(self.outgoing);
        while let Ok(Some(_)) = self.incoming.message().await {}
    }
}

struct Session {
    line: Line,
    /// Task of each lease that waits for its acknowledgement.
    held: HashMap<String, String>,
    /// Leases that are not to be completed yet.
    waiting: Vec<String>,
    board: Arc<Board>,
    crew: Crew,
}

impl Session {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let holding = !self.waiting.is_empty();
            let sent = tokio::select! {
                biased;
                message = self.line.incoming.message() => match message {
                    Ok(Some(pb::SessionResponse { message: Some(message) })) => self.on_message(message).await,
                    Ok(Some(pb::SessionResponse { message: None })) => true,
                    Ok(None) => return self.board.problems.add("the server ended a session"),
                    Err(status) => return self.board.problems.add(format!("a session broke: {status}")),
                },
                _ = self.line.ping.tick() => self.line.send(Up::Ping(pb::Ping {})).await,
                () = self.crew.begin.cancelled(), if holding => self.complete_waiting().await,
                () = stop.cancelled() => break,
            };
            if !sent {
                return self.board.problems.add("a session's connection is gone");
            }
        }
        self.line.bye().await;
    }

    /// False when the connection is gone.
    async fn on_message(&mut self, message: Down) -> bool {
        match message {
            Down::Assign(assign) => return self.assigned(assign).await,
            Down::Ack(ack) => self.acknowledged(&ack.lease_token),
            Down::Reject(reject) => {
                self.held.remove(&reject.lease_token);
                self.board.problems.add(format!("a completion was rejected: {}", reject.reason));
            }
            Down::Revoke(revoke) => {
                self.held.remove(&revoke.lease_token);
                let words = format!("a step was taken away: {}", revoke.cause().as_str_name());
                self.board.problems.add(words);
            }
            Down::GoAway(away) => {
                self.board.problems.add(format!("an agent was sent away: {}", away.cause().as_str_name()));
            }
            Down::Pong(_) => drop(self.board.pongs.fetch_add(1, Ordering::Relaxed)),
            Down::Welcome(_) | Down::ApprovalDecided(_) => {}
        }
        true
    }

    async fn assigned(&mut self, assign: pb::Assign) -> bool {
        self.board.flights.assigned(&assign.task_id, clock::now());
        self.board.assigned.fetch_add(1, Ordering::Relaxed);
        self.held.insert(assign.lease_token.clone(), assign.task_id);
        if self.crew.begin.is_cancelled() {
            return self.complete(assign.lease_token).await;
        }
        self.waiting.push(assign.lease_token);
        true
    }

    async fn complete_waiting(&mut self) -> bool {
        for lease_token in std::mem::take(&mut self.waiting) {
            if !self.complete(lease_token).await {
                return false;
            }
        }
        true
    }

    async fn complete(&self, lease_token: String) -> bool {
        self.line.send(Up::Complete(pb::Complete { lease_token, number: 1, output: None })).await
    }

    fn acknowledged(&mut self, lease_token: &str) {
        let at = clock::now();
        let Some(task) = self.held.remove(lease_token) else {
            return self.board.problems.add("an unknown lease was acknowledged");
        };
        self.board.steps.fetch_add(1, Ordering::Relaxed);
        if self.board.flights.acknowledged(&task, at, self.crew.steps) {
            self.board.finished.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn request(message: Up) -> pb::SessionRequest {
    pb::SessionRequest { message: Some(message) }
}
