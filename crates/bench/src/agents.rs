//! The agents: one session a connection, each step completed the moment it comes.

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
use tokio::time::{Interval, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::clock;
use crate::connect::{CONNECTIONS, Connections};
use crate::flights::Flights;
use crate::load::Job;
use crate::problems::Problems;

/// What the agents can do.
pub const CAPABILITY: &str = "bench";
const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);
const BYE_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_PING: Duration = Duration::from_secs(2);
/// Most steps of one session, by the contract.
const SLOTS_MAX: u32 = 1_000;

/// What agents and submitters share.
#[derive(Debug, Default)]
pub struct Board {
    pub flights: Flights,
    pub problems: Problems,
    /// Completions acknowledged so far.
    pub steps: AtomicU64,
}

/// The running agents.
pub struct Agents {
    sessions: JoinSet<()>,
    stop: CancellationToken,
}

impl Agents {
    /// Opens one session on each connection, with twice as many slots in all as
    /// there are tasks under way, so that a free one is always found.
    ///
    /// # Errors
    /// When the server does not welcome one.
    pub async fn start(connections: &Connections, board: &Arc<Board>, job: &Job) -> Result<Self> {
        let slots = (2 * job.concurrency).div_ceil(CONNECTIONS as u32).clamp(2, SLOTS_MAX);
        let stop = CancellationToken::new();
        let mut sessions = JoinSet::new();
        for index in 0..CONNECTIONS {
            let opening = Session::open(connections, index, slots, Arc::clone(board), job);
            let session =
                timeout(WELCOME_TIMEOUT, opening).await.context("an agent was not welcomed in time")??;
            sessions.spawn(session.run(stop.clone()));
        }
        Ok(Self { sessions, stop })
    }

    /// Says goodbye and ends.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.sessions.join_next().await.is_some() {} };
        // Those that have not ended by then are aborted with the set.
        let _ = timeout(BYE_TIMEOUT, ended).await;
    }
}

/// A lease that waits for its acknowledgement.
struct Held {
    task: String,
    is_last: bool,
}

struct Session {
    incoming: Streaming<pb::SessionResponse>,
    outgoing: mpsc::Sender<pb::SessionRequest>,
    ping: Interval,
    held: HashMap<String, Held>,
    board: Arc<Board>,
    /// Keys of the steps that begin and end a task.
    first: String,
    last: String,
}

impl Session {
    async fn open(
        connections: &Connections,
        index: usize,
        slots: u32,
        board: Arc<Board>,
        job: &Job,
    ) -> Result<Self> {
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
        let (first, last) = (job.first_key(), job.last_key());
        Ok(Self { incoming, outgoing, ping: interval(every), held: HashMap::new(), board, first, last })
    }

    async fn run(mut self, stop: CancellationToken) {
        loop {
            let sent = tokio::select! {
                biased;
                message = self.incoming.message() => match message {
                    Ok(Some(pb::SessionResponse { message: Some(message) })) => self.on_message(message).await,
                    Ok(Some(pb::SessionResponse { message: None })) => true,
                    Ok(None) => return self.board.problems.add("the server ended a session"),
                    Err(status) => return self.board.problems.add(format!("a session broke: {status}")),
                },
                _ = self.ping.tick() => self.send(Up::Ping(pb::Ping {})).await,
                () = stop.cancelled() => break,
            };
            if !sent {
                return self.board.problems.add("a session's connection is gone");
            }
        }
        self.send(Up::Bye(pb::Bye {})).await;
        drop(self.outgoing);
        while let Ok(Some(_)) = self.incoming.message().await {}
    }

    /// False when the connection is gone.
    async fn on_message(&mut self, message: Down) -> bool {
        match message {
            Down::Assign(assign) => return self.complete(assign).await,
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
            Down::Pong(_) | Down::Welcome(_) => {}
        }
        true
    }

    async fn complete(&mut self, assign: pb::Assign) -> bool {
        let at = clock::now();
        if assign.step_key == self.first {
            self.board.flights.assigned(&assign.task_id, at);
        }
        let held = Held { is_last: assign.step_key == self.last, task: assign.task_id };
        self.held.insert(assign.lease_token.clone(), held);
        let complete = pb::Complete { lease_token: assign.lease_token, number: 1, output: None };
        self.send(Up::Complete(complete)).await
    }

    fn acknowledged(&mut self, lease_token: &str) {
        let at = clock::now();
        let Some(held) = self.held.remove(lease_token) else {
            return self.board.problems.add("an unknown lease was acknowledged");
        };
        self.board.steps.fetch_add(1, Ordering::Relaxed);
        if held.is_last {
            self.board.flights.landed(&held.task, at);
        }
    }

    async fn send(&self, message: Up) -> bool {
        self.outgoing.send(request(message)).await.is_ok()
    }
}

fn request(message: Up) -> pb::SessionRequest {
    pb::SessionRequest { message: Some(message) }
}
