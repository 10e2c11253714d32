//! The listening socket and its loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quarterdeck_engine::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bucket::Bucket;
use super::connection::{Server, refused};
use super::peers::{Denied, Peers, Place};
use crate::serve::StartError;

/// Pause after an error of accepting, which is mostly a lack of file handles.
const PAUSE: Duration = Duration::from_millis(50);

/// How far the stop has come.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    /// No new connections; GOAWAY on the others, which may finish.
    pub graceful: CancellationToken,
    /// What is still there is cut off.
    pub abort: CancellationToken,
}

/// Binds, with errors that say how to mend it.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortTaken { address },
        _ => StartError::CannotListen { address, source },
    })
}

/// Accepts connections until told to stop.
pub struct Acceptor {
    pub listener: TcpListener,
    pub tls: Option<TlsAcceptor>,
    pub server: Arc<Server>,
    pub stages: Stages,
    pub tracker: TaskTracker,
    pub max_connections: u32,
    pub peers: Arc<Peers>,
    pub clock: Arc<dyn Clock>,
    /// Connections that had to be cut off.
    pub aborted: Arc<AtomicUsize>,
}

impl Acceptor {
    pub async fn run(self) {
        let places = Arc::new(Semaphore::new(self.max_connections as usize));
        let mut complaints = Bucket::full(1, 1, self.clock.now());
        loop {
            // A place first: while there is none, clients wait in the kernel's queue.
            let place = tokio::select! {
                biased;
                () = self.stages.graceful.cancelled() => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let Ok(place) = place else { break };
            let (stream, peer) = tokio::select! {
                biased;
                () = self.stages.graceful.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            let own = match self.peers.enter(peer.ip()) {
                Ok(own) => own,
                Err(denied) => {
                    self.deny(denied, peer, &mut complaints);
                    continue;
                }
            };
            let connection = self.connection(stream, peer, own);
            self.tracker.spawn(async move {
                connection.await;
                drop(place);
            });
        }
    }

    /// Counts who gets no connection; the log hears of one a second.
    fn deny(&self, denied: Denied, peer: SocketAddr, complaints: &mut Bucket) {
        let (reason, text) = match denied {
            Denied::TooMany => (
                "address_limit",
                "an address has as many connections as it may (--max-connections-per-address)",
            ),
            Denied::Suspect => ("suspect", "an address that has misbehaved asks for too many connections"),
        };
        refused(reason);
        if complaints.take(1, self.clock.now()) {
            tracing::warn!(%peer, "{text}");
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (server, tls) = (Arc::clone(&self.server), self.tls.clone());
        let (stages, aborted) = (self.stages.clone(), Arc::clone(&self.aborted));
        async move {
            if server.serve(stream, peer, place, tls, &stages).await.is_err() {
                aborted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
