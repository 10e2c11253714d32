//! An agent's session stream, and what its errors mean.

use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::orchestration::v1::session_request::Message as Up;
use quarterdeck_client::api::orchestration::v1::session_response::Message as Down;
use quarterdeck_client::api::orchestration::v1::{Hello, SessionRequest, SessionResponse};
use quarterdeck_client::{Error, Reason as Given};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::world::{PATIENCE, World};

/// Messages on their way up; more mean that the line is dead.
const UP_MAX: usize = 256;

/// One connection of a session.
pub struct Line {
    up: mpsc::Sender<SessionRequest>,
    down: Streaming<SessionResponse>,
}

/// Why there is no line, or no longer.
#[derive(Debug)]
pub enum Broken {
    /// The session is over.
    Expired,
    /// Something that a network or a dying server does.
    Gone(String),
    /// An answer that must never be seen.
    Defect(String),
}

impl Line {
    /// Opens a stream over a connection of its own.
    pub async fn open(world: &World, replica: usize, hello: Hello) -> Result<Self, Broken> {
        let client = world.client(replica).map_err(|error| Broken::Defect(error.to_string()))?;
        let (up, requests) = mpsc::channel(UP_MAX);
        let hello = SessionRequest { message: Some(Up::Hello(hello)) };
        if up.try_send(hello).is_err() {
            return Err(Broken::Gone("no room for Hello".to_owned()));
        }
        let mut stub = client.worker_stub();
        match tokio::time::timeout(PATIENCE, stub.session(ReceiverStream::new(requests))).await {
            Ok(Ok(answer)) => Ok(Self { up, down: answer.into_inner() }),
            Ok(Err(status)) => Err(why(status)),
            Err(_) => Err(Broken::Gone("no answer".to_owned())),
        }
    }

    /// Says one thing; false where the line does not take it.
    pub fn say(&self, message: Up) -> bool {
        self.up.try_send(SessionRequest { message: Some(message) }).is_ok()
    }

    /// The next message. Nothing is lost where this is dropped before it is ready.
    pub async fn hear(&mut self) -> Result<Down, Broken> {
        loop {
            match self.down.message().await {
                Ok(Some(SessionResponse { message: Some(message) })) => return Ok(message),
                Ok(Some(SessionResponse { message: None })) => {}
                Ok(None) => return Err(Broken::Gone("the end".to_owned())),
                Err(status) => return Err(why(status)),
            }
        }
    }
}

fn why(status: Status) -> Broken {
    let error = Error::from(status);
    if error.is(Reason::SessionExpired) {
        Broken::Expired
    } else if passing(&error) {
        Broken::Gone(text(&error))
    } else {
        Broken::Defect(text(&error))
    }
}

/// Errors that everybody has to live with. One without a reason is not the
/// server's word: all of those carry one.
pub fn passing(error: &Error) -> bool {
    error.is_retryable() || error.reason == Given::Absent || error.is(Reason::LimitReached)
}

/// An error with all that is known of it.
pub fn text(error: &Error) -> String {
    format!("{:?} {:?}: {error}", error.origin, error.code)
}
