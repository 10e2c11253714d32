//! The port for operators: `/metrics`, `/livez`, `/readyz` over HTTP/1.
//!
//! It needs no credential, which is why it listens on loopback unless somebody
//! allows more explicitly.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use quarterdeck_engine::Engine;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry;

/// Scrapers at a time.
const CONNECTIONS_MAX: usize = 32;
/// Longest life of a connection.
const LIFE_MAX: Duration = Duration::from_secs(60);

pub async fn run(
    listener: TcpListener,
    engine: Engine,
    draining: CancellationToken,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Too many scrapers: the newest is turned away.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (engine, draining, stop) = (engine.clone(), draining.clone(), stop.clone());
        tracker.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                _ = tokio::time::timeout(LIFE_MAX, serve(stream, engine, draining)) => {}
            }
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, engine: Engine, draining: CancellationToken) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (engine, draining) = (engine.clone(), draining.clone());
        async move {
            let answered = answer(request.method(), request.uri().path(), &engine, &draining).await;
            Ok::<_, Infallible>(answered)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a scrape failed");
    }
}

async fn answer(
    method: &Method,
    path: &str,
    engine: &Engine,
    draining: &CancellationToken,
) -> Response<Full<Bytes>> {
    if method != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match path {
        "/metrics" => match telemetry::recorder() {
            Some(recorder) => text(StatusCode::OK, recorder.render()),
            None => text(StatusCode::SERVICE_UNAVAILABLE, "this process records its metrics elsewhere\n"),
        },
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" if draining.is_cancelled() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/readyz" => match engine.ready().await {
            Ok(()) => text(StatusCode::OK, "ok\n"),
            // The reason is in the log; it may name hosts.
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "try /metrics, /livez or /readyz\n"),
    }
}

fn text(code: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
