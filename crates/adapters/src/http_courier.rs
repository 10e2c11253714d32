//! The engine's courier over HTTP.
//!
//! Invariants: one try takes [`WITHIN`] at most; no redirect is followed, no proxy
//! used; of an answer only the status is read. What is connected to was looked at after
//! the name was resolved, so a name that changes its mind leads nowhere else.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_rustls::builderstates::WantsSchemes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use quarterdeck_engine::notifications::{AllowList, Courier, Parcel};
use rustls::ClientConfig;
use tower_service::Service;

/// One try, from resolving the name to the status.
const WITHIN: Duration = Duration::from_secs(10);
/// Longest head of an answer, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// Sends notices by POST.
pub struct HttpCourier {
    allow: Arc<AllowList>,
    client: Client<HttpsConnector<HttpConnector<Vetted>>, Full<Bytes>>,
    within: Duration,
}

impl HttpCourier {
    /// Trusts the certificates that this machine trusts.
    ///
    /// # Errors
    /// Where it has none that can be read.
    pub fn new(allow: AllowList) -> io::Result<Self> {
        Ok(Self::connecting(allow, HttpsConnectorBuilder::new().with_native_roots()?))
    }

    /// Trusts what `tls` trusts.
    pub fn trusting(allow: AllowList, tls: ClientConfig) -> Self {
        Self::connecting(allow, HttpsConnectorBuilder::new().with_tls_config(tls))
    }

    fn connecting(allow: AllowList, builder: HttpsConnectorBuilder<WantsSchemes>) -> Self {
        let allow = Arc::new(allow);
        let mut connector = HttpConnector::new_with_resolver(Vetted(Arc::clone(&allow)));
        // Whether `http` is allowed is the allow list's to say.
        connector.enforce_http(false);
        let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(HEAD_MAX)
            .build(connector);
        Self { allow, client, within: WITHIN }
    }

    async fn post(&self, parcel: &Parcel) -> Result<StatusCode, String> {
        // An address that is written as such is not resolved.
        if parcel.address.ip().is_some_and(|ip| !self.allow.permits_ip(ip)) {
            return Err(CLOSED.to_owned());
        }
        let mut request = Request::post(parcel.address.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("quarterdeck/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &parcel.headers {
            request = request.header(*name, value);
        }
        let body = Full::new(Bytes::from(parcel.body.clone()));
        let request = request.body(body).map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| in_full(&error))?;
        Ok(answer.status())
    }
}

#[async_trait]
impl Courier for HttpCourier {
    async fn deliver(&self, parcel: &Parcel) -> Result<(), String> {
        let status = tokio::time::timeout(self.within, self.post(parcel))
            .await
            .map_err(|_| format!("no answer within {:?}", self.within))??;
        match status {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => {
                Err(format!("it answers {status}, and redirects are not followed"))
            }
            StatusCode::GONE => Err(format!("it answers {status}: delete the webhook if that is for good")),
            status => Err(format!("it answers {status}")),
        }
    }
}

const CLOSED: &str = "it leads into a closed network; an operator allows that by the address itself";

/// Resolves names, and keeps back what may not be connected to.
#[derive(Clone)]
struct Vetted(Arc<AllowList>);

impl Service<Name> for Vetted {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allow = Arc::clone(&self.0);
        Box::pin(async move {
            // The port is the connector's to fill in.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept: Vec<SocketAddr> = found.filter(|found| allow.permits_ip(found.ip())).collect();
            match kept.is_empty() {
                true => Err(io::Error::other(CLOSED)),
                false => Ok(kept.into_iter()),
            }
        })
    }
}

/// The error with its causes: the outermost alone says little.
pub fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
#[path = "http_courier_tests.rs"]
mod tests;
