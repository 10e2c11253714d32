//! A key set at an address, kept in memory.
//!
//! It is fetched at start, every [`REFRESH_EVERY`], and early when a token names
//! a key that is not in it. Invariants: keys change only when a fetch succeeds,
//! so an issuer that is down locks nobody out whose key is known; there is one
//! fetch at a time, at most one in [`PAUSE`] however many tokens are made up;
//! redirects are not followed. A caller waits [`PATIENCE`] at most.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::builderstates::WantsSchemes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use quarterdeck_adapters::http_courier::in_full;
use quarterdeck_core::{Span, Timestamp};
use quarterdeck_engine::Clock;
use tokio::sync::{Notify, watch};

use super::jwks::{TrustedKey, named, parse};
use super::jwt::JwtError;

/// Between two fetches of a set that answers.
const REFRESH_EVERY: Span = Span::from_secs(5 * 60);
/// Between two fetches at least; and at most while the set cannot be had.
const PAUSE: Span = Span::from_secs(10);
/// One fetch, from connecting to the last byte.
const FETCH_WITHIN: Duration = Duration::from_secs(10);
/// How long a token with an unknown key id waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest answer, in bytes.
const ANSWER_MAX: usize = 1024 * 1024;

type Builder = HttpsConnectorBuilder<WantsSchemes>;
type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

pub struct JwksUrl {
    uri: Uri,
    client: HttpClient,
    clock: Arc<dyn Clock>,
    latest: watch::Sender<Latest>,
    wanted: Notify,
}

/// What the fetches so far have led to.
#[derive(Clone, Default)]
struct Latest {
    keys: Arc<[TrustedKey]>,
    fetches: u64,
    /// When the last one ended, well or not.
    at: Timestamp,
    failing: bool,
}

impl JwksUrl {
    /// Trusts the certificates that this machine trusts.
    pub fn new(uri: Uri, clock: Arc<dyn Clock>) -> Result<Arc<Self>, JwtError> {
        let builder = HttpsConnectorBuilder::new().with_native_roots().map_err(JwtError::NoRoots)?;
        Ok(Self::connecting(uri, clock, builder))
    }

    fn connecting(uri: Uri, clock: Arc<dyn Clock>, builder: Builder) -> Arc<Self> {
        // `http` is refused by the settings unless it is loopback.
        let connector = builder.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        let latest = watch::Sender::new(Latest::default());
        Arc::new(Self { uri, client, clock, latest, wanted: Notify::new() })
    }

    /// The keys of this id; fetches the set if it knows none.
    pub async fn named(&self, id: &str) -> Vec<TrustedKey> {
        let mut latest = self.latest.subscribe();
        let before = latest.borrow_and_update().clone();
        let known = named(&before.keys, id);
        let just_asked = before.fetches > 0 && self.clock.now().since(before.at) < PAUSE;
        if !known.is_empty() || just_asked {
            return known;
        }
        self.wanted.notify_one();
        let fetched = latest.wait_for(|now| now.fetches > before.fetches);
        match tokio::time::timeout(PATIENCE, fetched).await {
            Ok(Ok(now)) => named(&now.keys, id),
            _ => Vec::new(),
        }
    }

    /// Fetches for as long as it is polled.
    pub async fn keep(self: Arc<Self>) {
        loop {
            let result = match tokio::time::timeout(FETCH_WITHIN, self.fetch()).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer within {FETCH_WITHIN:?}")),
            };
            let now = self.clock.now();
            self.latest.send_modify(|latest| latest.take(result, now, &self.uri));
            let failing = self.latest.borrow().failing;
            self.clock.sleep(PAUSE).await;
            if !failing {
                let due = now.plus(REFRESH_EVERY);
                tokio::select! {
                    biased;
                    () = self.wanted.notified() => {}
                    () = self.clock.sleep(due.since(self.clock.now())) => {}
                }
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<TrustedKey>, String> {
        let request = Request::get(self.uri.clone())
            .header(http::header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| in_full(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answers {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        parse(&body.map_err(|error| in_full(error.as_ref()))?.to_bytes())
    }
}

impl Latest {
    fn take(&mut self, result: Result<Vec<TrustedKey>, String>, now: Timestamp, uri: &Uri) {
        self.fetches += 1;
        self.at = now;
        match result {
            Ok(keys) => {
                if self.failing || self.fetches == 1 {
                    tracing::info!(%uri, keys = keys.len(), "JWKS fetched");
                }
                self.keys = keys.into();
                self.failing = false;
            }
            Err(problem) => {
                if !self.failing {
                    let kept = self.keys.len();
                    tracing::warn!(%uri, problem, kept, "the JWKS cannot be fetched; the keys that are known stay");
                }
                self.failing = true;
            }
        }
    }
}

#[cfg(test)]
#[path = "jwks_url_tests.rs"]
mod tests;
