use super::*;
use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use quarterdeck_engine::ports::Wait;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// A clock that stands still unless the test moves it.
struct Hand(watch::Sender<Timestamp>);

impl Hand {
    fn forward(&self, span: Span) {
        self.0.send_modify(|now| *now = now.plus(span));
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep(&self, span: Span) -> Wait {
        let (mut now, end) = (self.0.subscribe(), self.now().plus(span));
        Box::pin(async move {
            let _ = now.wait_for(|now| *now >= end).await;
        })
    }
}

/// An issuer: what it answers, and how often it was asked.
struct Issuer {
    uri: Uri,
    answer: Arc<Mutex<(StatusCode, String)>>,
    asked: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl Issuer {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let uri = format!("{scheme}://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
        let answer = Arc::new(Mutex::new((StatusCode::SERVICE_UNAVAILABLE, String::new())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shown, count) = (Arc::clone(&answer), Arc::clone(&asked));
        let serving = TaskTracker::new().spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let service = service_fn(|_| {
                    count.fetch_add(1, Ordering::SeqCst);
                    let (status, text) = shown.lock().unwrap().clone();
                    let answer = Response::builder().status(status);
                    let answer = answer.header("location", "/elsewhere").body(Full::new(Bytes::from(text)));
                    std::future::ready(Ok::<_, Infallible>(answer.unwrap()))
                });
                let serving = hyper::server::conn::http1::Builder::new();
                match &tls {
                    None => drop(serving.serve_connection(TokioIo::new(socket), service).await),
                    Some(tls) => match tls.accept(socket).await {
                        Ok(socket) => drop(serving.serve_connection(TokioIo::new(socket), service).await),
                        Err(_distrusted) => {}
                    },
                }
            }
        });
        Self { uri, answer, asked, _serving: AbortOnDropHandle::new(serving) }
    }

    fn answers(&self, status: StatusCode, text: impl ToString) {
        *self.answer.lock().unwrap() = (status, text.to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn keys(ids: &[&str]) -> Value {
    // RFC 8037, appendix A.2.
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let key = |id: &&str| json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": x});
    json!({ "keys": ids.iter().map(key).collect::<Vec<_>>() })
}

struct Given {
    issuer: Issuer,
    clock: Arc<Hand>,
    set: Arc<JwksUrl>,
    _keeping: AbortOnDropHandle<()>,
}

impl Given {
    async fn set(status: StatusCode, text: impl ToString) -> Self {
        crate::install_crypto();
        let issuer = Issuer::start(None).await;
        issuer.answers(status, text);
        let clock = Arc::new(Hand(watch::Sender::new(Timestamp::from_micros(1_000_000_000))));
        let set = JwksUrl::new(issuer.uri.clone(), Arc::<Hand>::clone(&clock)).unwrap();
        let keeping = AbortOnDropHandle::new(TaskTracker::new().spawn(Arc::clone(&set).keep()));
        let given = Self { issuer, clock, set, _keeping: keeping };
        given.fetches(1).await;
        given
    }

    /// Waits until so many fetches have ended.
    async fn fetches(&self, count: u64) {
        let mut latest = self.set.latest.subscribe();
        let fetched = latest.wait_for(|latest| latest.fetches >= count);
        let latest = tokio::time::timeout(Duration::from_secs(30), fetched).await.unwrap().unwrap();
        assert_eq!(latest.fetches, count);
    }

    async fn knows(&self, id: &str) -> bool {
        !self.set.named(id).await.is_empty()
    }
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_after_a_while() {
    let given = Given::set(StatusCode::OK, keys(&["one"])).await;
    for _ in 0..100 {
        assert!(given.knows("one").await);
    }
    assert_eq!(given.issuer.asked(), 1);
    given.issuer.answers(StatusCode::OK, keys(&["two"]));
    given.clock.forward(PAUSE);
    given.clock.forward(REFRESH_EVERY);
    given.fetches(2).await;
    assert!(given.knows("two").await);
    assert!(!given.knows("one").await, "a key that is withdrawn is believed no longer");
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it() {
    let given = Given::set(StatusCode::OK, keys(&["old"])).await;
    given.issuer.answers(StatusCode::OK, keys(&["old", "new"]));
    given.clock.forward(PAUSE);
    assert!(given.knows("new").await, "without waiting for the next look");
    assert_eq!(given.issuer.asked(), 2);
}

#[tokio::test]
async fn made_up_key_ids_cost_one_fetch_in_a_while() {
    let given = Given::set(StatusCode::OK, keys(&["one"])).await;
    given.clock.forward(PAUSE);
    let made_up: Vec<String> = (0..200).map(|number| format!("made-up-{number}")).collect();
    let found = futures::future::join_all(made_up.iter().map(|id| given.knows(id))).await;
    assert!(found.iter().all(|found| !found));
    assert_eq!(given.issuer.asked(), 2);
    assert!(!given.knows("another").await, "nor does one that comes right after");
    assert_eq!(given.issuer.asked(), 2);
}

#[tokio::test]
async fn known_keys_stay_while_the_issuer_is_down() {
    let given = Given::set(StatusCode::OK, keys(&["one"])).await;
    let large = "x".repeat(ANSWER_MAX + 1);
    let bad = [
        (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        (StatusCode::OK, "broken".to_owned()),
        (StatusCode::OK, json!({"keys": []}).to_string()),
        (StatusCode::OK, large),
        (StatusCode::FOUND, keys(&["elsewhere"]).to_string()),
    ];
    for (index, (status, text)) in (2..).zip(bad) {
        given.issuer.answers(status, &text);
        given.clock.forward(PAUSE);
        given.clock.forward(REFRESH_EVERY);
        given.fetches(index).await;
        assert!(given.set.latest.borrow().failing, "{status} {text:.20}");
        assert!(given.knows("one").await, "{status} {text:.20}");
        assert!(!given.knows("elsewhere").await, "redirects are not followed");
    }
    given.issuer.answers(StatusCode::OK, keys(&["one", "two"]));
    given.clock.forward(PAUSE);
    given.fetches(7).await;
    assert!(given.knows("two").await, "it is asked again soon, not only at the usual time");
}

#[tokio::test]
async fn a_set_that_is_down_at_first_is_found_later() {
    let given = Given::set(StatusCode::BAD_GATEWAY, "").await;
    assert!(!given.knows("one").await);
    given.issuer.answers(StatusCode::OK, keys(&["one"]));
    given.clock.forward(PAUSE);
    given.fetches(2).await;
    assert!(given.knows("one").await);
}

#[tokio::test]
async fn nobody_waits_long_for_an_issuer_that_does_not_answer() {
    crate::install_crypto();
    // Accepts nothing: the connection waits in the kernel's queue for ever.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri: Uri = format!("http://{}/keys", silent.local_addr().unwrap()).parse().unwrap();
    let clock = Arc::new(Hand(watch::Sender::new(Timestamp::from_micros(1_000_000_000))));
    let set = JwksUrl::new(uri, clock).unwrap();
    let over = CancellationToken::new();
    let keeping = TaskTracker::new().spawn(over.clone().run_until_cancelled_owned(Arc::clone(&set).keep()));
    let waited = tokio::time::timeout(FETCH_WITHIN, set.named("one")).await;
    assert!(waited.expect("no longer than the patience").is_empty());
    over.cancel();
    assert!(keeping.await.unwrap().is_none(), "the fetch under way ends with the server");
}

#[tokio::test]
async fn an_issuer_must_have_a_trusted_certificate() {
    crate::install_crypto();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let issuer = Issuer::start(Some(TlsAcceptor::from(Arc::new(config)))).await;
    issuer.answers(StatusCode::OK, keys(&["one"]));
    let clock = || Arc::new(Hand(watch::Sender::new(Timestamp::from_micros(1_000_000_000))));

    let distrusting = JwksUrl::new(issuer.uri.clone(), clock()).unwrap();
    let refused = distrusting.fetch().await.err().unwrap();
    assert!(refused.contains("certificate"), "{refused}");

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let builder = HttpsConnectorBuilder::new().with_tls_config(client);
    let trusting = JwksUrl::connecting(issuer.uri.clone(), clock(), builder);
    assert_eq!(trusting.fetch().await.unwrap().len(), 1);
}
