//! One worker's session: what the agent says goes up, what the engine says goes
//! down, until either is done.
//!
//! Both directions are bounded and wait for each other's queues only: an agent
//! that does not read is cut off by the engine's own limit, one that talks too
//! much waits for the log. Dropping the handle starts the reconnect grace.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_engine::inbound::SessionSender;
use quarterdeck_engine::sessions::SessionHandle;
use quarterdeck_engine::{Engine, Principal};
use tokio::sync::mpsc::Sender;
use tonic::{Code, Status, Streaming};

use crate::convert::worker;
use crate::status::{Failure, Fault};

/// How long an agent may take to say Hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// How long the last messages may take after the agent has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

type Outbound = Sender<Result<pb::SessionResponse, Status>>;

/// Runs the session to its end; a failure is the last thing the agent hears.
pub async fn run(
    engine: Engine,
    caller: Arc<Principal>,
    inbound: Streaming<pb::SessionRequest>,
    outbound: Outbound,
) {
    let ended = tokio::select! {
        biased;
        // The connection is gone, or the edge has ended the stream.
        () = outbound.closed() => return,
        ended = talk(&engine, &caller, inbound, &outbound) => ended,
    };
    if let Err(failure) = ended {
        // Nobody is left to hear it if this fails.
        let _ = outbound.send(Err(failure.into())).await;
    }
}

async fn talk(
    engine: &Engine,
    caller: &Principal,
    mut inbound: Streaming<pb::SessionRequest>,
    outbound: &Outbound,
) -> Result<(), Failure> {
    let first = tokio::time::timeout(HELLO_WITHIN, hear(&mut inbound)).await;
    let too_late = |_| Fault::SessionProtocol(format!("no Hello within {HELLO_WITHIN:?}"));
    let Some(first) = first.map_err(too_late)?? else {
        return Err(Fault::SessionProtocol("the stream ended before Hello".to_owned()).into());
    };
    let handle = engine.open_session(caller, worker::hello(first)?).await?;
    let sender = handle.sender();
    let down = std::pin::pin!(speak(handle, outbound));
    let up = std::pin::pin!(listen(inbound, sender));
    match select(up, down).await {
        // The agent is done: let what the engine still has to say reach it.
        Either::Left((Ok(()), down)) => tokio::time::timeout(LAST_WORDS, down).await.unwrap_or(Ok(())),
        Either::Left((Err(failure), _)) => Err(failure),
        Either::Right((ended, _)) => ended,
    }
}

/// The agent's next message; `None` when it has ended its side or is gone.
async fn hear(inbound: &mut Streaming<pb::SessionRequest>) -> Result<Option<pb::SessionRequest>, Failure> {
    match inbound.message().await {
        Ok(message) => Ok(message),
        Err(status) if is_gone(&status) => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// True for what tonic makes of a broken connection or a reset stream.
fn is_gone(status: &Status) -> bool {
    match status.code() {
        Code::Cancelled | Code::Unknown | Code::Unavailable => true,
        Code::Internal => status.message().starts_with("h2 protocol error"),
        _ => false,
    }
}

/// Passes the agent's messages up until it says Bye or ends its side.
async fn listen(mut inbound: Streaming<pb::SessionRequest>, sender: SessionSender) -> Result<(), Failure> {
    while let Some(message) = hear(&mut inbound).await? {
        if !sender.say(worker::up(message)?).await {
            break;
        }
    }
    Ok(())
}

/// Passes the engine's messages down until it has none for this connection.
async fn speak(mut handle: SessionHandle, outbound: &Outbound) -> Result<(), Failure> {
    while let Some(message) = handle.next().await {
        if outbound.send(Ok(worker::down(message)?)).await.is_err() {
            break;
        }
    }
    Ok(())
}
