//! One connection, from its first byte to its last.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use metrics::{counter, gauge};
use quarterdeck_engine::Clock;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::conduct::Conduct;
use super::guarded::Guarded;
use super::listen::Stages;
use super::peers::Place;
use super::sniff::{Opening, opening};
use crate::config::Limits;
use crate::layers::Edge;
use crate::telemetry::{CONNECTIONS, CONNECTIONS_REFUSED};

const PLAIN_ON_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    This port speaks gRPC over TLS. Use an https:// endpoint.\n";

/// The connection was cut off.
pub struct Aborted;

/// What all connections share.
pub struct Server {
    edge: Edge,
    builder: auto::Builder<Tracked>,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

/// Runs the calls of a connection as tracked tasks.
#[derive(Clone)]
pub struct Tracked(pub TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.0.spawn(future));
    }
}

impl Server {
    pub fn new(edge: Edge, limits: Limits, clock: Arc<dyn Clock>, tracker: TaskTracker) -> Self {
        let mut builder = auto::Builder::new(Tracked(tracker));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.concurrent_streams)
            .initial_stream_window_size(limits.stream_window)
            .initial_connection_window_size(limits.connection_window)
            .adaptive_window(false)
            .max_frame_size(limits.max_frame)
            .max_header_list_size(limits.header_list)
            .max_pending_accept_reset_streams(limits.pending_accept_resets as usize)
            .max_local_error_reset_streams(limits.local_error_resets as usize)
            .max_send_buf_size(limits.stream_window as usize)
            .keep_alive_interval(limits.keepalive_interval)
            .keep_alive_timeout(limits.keepalive_timeout);
        // HTTP/1 is served only to be told to go elsewhere.
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .keep_alive(false)
            .max_buf_size(limits.header_list.max(8_192) as usize);
        Self { edge, builder, limits, clock }
    }

    /// Serves the connection to its end.
    pub async fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        tls: Option<TlsAcceptor>,
        stages: &Stages,
    ) -> Result<(), Aborted> {
        let _counted = Counted::new();
        // Small answers must not wait for more to send (Nagle).
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(self.limits.handshake_timeout, shake(stream, peer, tls));
        let shaken = tokio::select! {
            biased;
            () = stages.graceful.cancelled() => return Ok(()),
            shaken = handshake => shaken,
        };
        let conduct = Conduct::new(place, &self.limits, Arc::clone(&self.clock));
        let ended = match shaken {
            Ok(Some(Shaken::Plain(stream))) => self.drive(stream, &conduct, stages).await,
            Ok(Some(Shaken::Tls(stream))) => self.drive(*stream, &conduct, stages).await,
            Ok(None) => Ok(()),
            Err(_elapsed) => {
                refused("handshake_timeout");
                tracing::debug!(%peer, "closed: no handshake in time");
                Ok(())
            }
        };
        if let Some(reason) = conduct.reason() {
            refused(reason.name());
            tracing::debug!(%peer, reason = reason.name(), "expelled");
            if reason.is_misconduct() {
                conduct.place().misconduct();
            }
        }
        ended
    }

    async fn drive<I>(&self, io: I, conduct: &Arc<Conduct>, stages: &Stages) -> Result<(), Aborted>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(Guarded::new(io, Arc::clone(conduct), self.limits.header_timeout));
        let service = TowerToHyperService::new(self.edge.on(conduct));
        let mut connection = pin!(self.builder.serve_connection(io, service));
        tokio::select! {
            biased;
            () = conduct.expelled() => return Ok(()),
            () = self.dismissed(conduct, stages) => connection.as_mut().graceful_shutdown(),
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    if is_too_much(error.as_ref()) {
                        refused("calm");
                        conduct.place().misconduct();
                    }
                    tracing::debug!(error, "a connection ended badly");
                }
                return Ok(());
            }
        }
        tokio::select! {
            biased;
            () = conduct.expelled() => Ok(()),
            _ = connection.as_mut() => Ok(()),
            () = stages.abort.cancelled() => Err(Aborted),
        }
    }

    /// Ready when the connection should take no more calls: the server stops, or
    /// there has been none for a while.
    async fn dismissed(&self, conduct: &Conduct, stages: &Stages) {
        loop {
            let looked = tokio::time::timeout(self.limits.idle_timeout, stages.graceful.cancelled()).await;
            if looked.is_ok() || conduct.was_idle() {
                return;
            }
        }
    }
}

/// True where HTTP/2 itself has ended the connection for what the client did.
fn is_too_much(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
        }
        next = error.source();
    }
    false
}

enum Shaken {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// Finds out what the client speaks. `None`: nothing that could be served here.
async fn shake(mut stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>) -> Option<Shaken> {
    let opening = match opening(&stream).await {
        Ok(Some(opening)) => opening,
        // A probe that only connects is no incident.
        Ok(None) | Err(_) => return None,
    };
    match (tls, opening) {
        (None, Opening::Tls) => {
            refused("tls_on_plain_port");
            tracing::warn!(
                %peer,
                "a client speaks TLS, but this port is plaintext: use an http:// endpoint, or give the server a certificate and key"
            );
            None
        }
        (None, Opening::Http1 | Opening::Other) => Some(Shaken::Plain(stream)),
        (Some(tls), Opening::Tls) => match tls.accept(stream).await {
            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                Some(Shaken::Tls(Box::new(stream)))
            }
            Ok(_) => {
                refused("no_h2");
                tracing::info!(%peer, "a TLS client did not offer HTTP/2 (ALPN h2), which gRPC needs");
                None
            }
            Err(error) => {
                refused("tls");
                tracing::info!(%peer, %error, "a TLS handshake failed");
                None
            }
        },
        (Some(_), opening) => {
            refused("plain_on_tls_port");
            tracing::warn!(%peer, "a client speaks plaintext, but this port is TLS: use an https:// endpoint");
            if opening == Opening::Http1 {
                let _ = stream.write_all(PLAIN_ON_TLS).await;
            }
            None
        }
    }
}

/// Counts a connection that was ended before or without a call's doing.
pub fn refused(reason: &'static str) {
    counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(1);
}

/// Keeps the gauge right whatever way the connection ends.
struct Counted;

impl Counted {
    fn new() -> Self {
        gauge!(CONNECTIONS).increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1.0);
    }
}
