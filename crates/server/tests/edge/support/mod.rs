//! A server for tests of the edge, and clients for it.

pub mod paper;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quarterdeck_engine::LocalBus;
use quarterdeck_server::{AuthSettings, Running, SecretSource, Settings, StartError, serve};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// Longest wait for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);
pub const SECRET: &str = "9f86d081884c7d659a2feaa0c55ad015";

/// Settings for a server on free ports that a test may change.
pub fn settings() -> Settings {
    Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        metrics_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        auth: AuthSettings {
            bootstrap: Some(SecretSource::Given(SECRET.to_owned().into())),
            ..AuthSettings::default()
        },
        ..Settings::default()
    }
}

pub async fn start(settings: Settings) -> Result<Running, StartError> {
    start_on(Arc::default(), settings).await
}

pub async fn start_on(store: Arc<paper::Paper>, settings: Settings) -> Result<Running, StartError> {
    let config = settings.validate()?;
    serve(config, store, Arc::new(LocalBus::default()), CancellationToken::new()).await
}

pub fn bearer() -> String {
    format!("Bearer qd_bootstrap_{SECRET}")
}

/// The message as an authenticated request.
pub fn request<T>(message: T) -> tonic::Request<T> {
    with_credential(message, &bearer())
}

pub fn with_credential<T>(message: T, authorization: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    request
}

pub async fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Bounds a wait of a test.
pub async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, wait).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}
