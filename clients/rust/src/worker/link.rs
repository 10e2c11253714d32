//! One connection's session stream: opening it, sending on it, and its sign of life.

use std::collections::VecDeque;
use std::time::Duration;

use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::session_request::Message;
use quarterdeck_api::orchestration::v1::session_response;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::ambient;
use crate::client::Client;
use crate::error::Error;

/// Messages handed to the transport and not yet written.
const HANDED_OVER: usize = 32;
/// Pings that may be without an answer before the connection counts as dead.
const UNANSWERED_PINGS: u32 = 2;
/// For the Welcome after the stream is opened.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// For the server to end the stream after Bye.
const BYE_TIMEOUT: Duration = Duration::from_secs(2);
/// Where a server names no interval.
const DEFAULT_PING: Duration = Duration::from_secs(5);

/// An open session stream.
pub(super) struct Link {
    pub(super) outgoing: mpsc::Sender<pb::SessionRequest>,
    pub(super) incoming: Streaming<pb::SessionResponse>,
    /// When to ping.
    pub(super) ping: Interval,
    /// Not handed over yet. Invariant: holds what the book has unacknowledged,
    /// what handlers wait for, and at most `UNANSWERED_PINGS` pings, one credit and one
    /// bye: bounded by the slots.
    waiting: VecDeque<Message>,
    unanswered: u32,
}

impl Link {
    /// Opens a stream with Hello and waits for Welcome.
    pub(super) async fn open(client: Client, hello: pb::Hello) -> Result<(Self, pb::Welcome), Error> {
        let opening = Self::open_unbounded(client, hello);
        timeout(WELCOME_TIMEOUT, opening).await.unwrap_or_else(|_| {
            let words = format!("no Welcome within {WELCOME_TIMEOUT:?}");
            Err(Error::transport(Code::DeadlineExceeded, words))
        })
    }

    async fn open_unbounded(client: Client, hello: pb::Hello) -> Result<(Self, pb::Welcome), Error> {
        let (outgoing, handed_over) = mpsc::channel(HANDED_OVER);
        // Before the call: a server may answer its headers only after Hello.
        let first = outgoing.send(request(Message::Hello(hello))).await;
        debug_assert!(first.is_ok());
        let mut stub = client.worker_stub();
        let mut incoming = stub.session(ReceiverStream::new(handed_over)).await?.into_inner();
        let welcome = loop {
            match incoming.message().await? {
                Some(pb::SessionResponse { message: Some(session_response::Message::Welcome(welcome)) }) => {
                    break welcome;
                }
                // A message of a newer contract.
                Some(pb::SessionResponse { message: None }) => {}
                Some(_) => {
                    return Err(Error::client(Code::Internal, "the server's first message is no Welcome"));
                }
                None => {
                    return Err(Error::transport(Code::Unavailable, "the stream ended before Welcome"));
                }
            }
        };
        let every = welcome
            .ping_interval
            .and_then(|interval| Duration::try_from(interval).ok())
            .filter(|interval| !interval.is_zero())
            .unwrap_or(DEFAULT_PING);
        let mut ping = interval_at(ambient::now() + every, every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let link = Self { outgoing, incoming, ping, waiting: VecDeque::new(), unanswered: 0 };
        Ok((link, welcome))
    }

    pub(super) fn send(&mut self, messages: impl IntoIterator<Item = Message>) {
        self.waiting.extend(messages);
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() && !self.outgoing.is_closed()
    }

    pub(super) fn take_waiting(&mut self) -> Option<pb::SessionRequest> {
        self.waiting.pop_front().map(request)
    }

    /// Sends the next ping; false where the server owes too many answers.
    pub(super) fn ping(&mut self) -> bool {
        if self.unanswered >= UNANSWERED_PINGS {
            return false;
        }
        self.unanswered += 1;
        self.waiting.push_back(Message::Ping(pb::Ping {}));
        true
    }

    pub(super) fn pong(&mut self) {
        self.unanswered = 0;
    }

    /// Says Bye and waits, for a short while, until the server has heard it.
    pub(super) async fn bye(mut self) {
        self.send([Message::Bye(pb::Bye {})]);
        let closing = async move {
            while let Some(message) = self.take_waiting() {
                if self.outgoing.send(message).await.is_err() {
                    return;
                }
            }
            drop(self.outgoing);
            while let Ok(Some(_)) = self.incoming.message().await {}
        };
        if timeout(BYE_TIMEOUT, closing).await.is_err() {
            tracing::debug!("the server did not end the stream after Bye");
        }
    }
}

fn request(message: Message) -> pb::SessionRequest {
    pb::SessionRequest { message: Some(message) }
}
