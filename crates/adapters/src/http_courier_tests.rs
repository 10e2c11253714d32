use super::*;
use std::sync::Mutex;

use quarterdeck_engine::notifications::Address;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// A receiver that answers every request with the same bytes, and goes on with the
/// last of them for ever where it is told to.
struct Receiver {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Receiver {
    async fn start(answer: &'static str, endless: bool, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let writing = Arc::clone(&heard);
        let serving = TaskTracker::new().spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                match &tls {
                    None => serve(socket, answer, endless, &writing).await,
                    Some(tls) => match tls.accept(socket).await {
                        Ok(socket) => serve(socket, answer, endless, &writing).await,
                        Err(_distrusted) => {}
                    },
                }
            }
        });
        Self { port, heard, _serving: AbortOnDropHandle::new(serving) }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn serve(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    answer: &str,
    endless: bool,
    heard: &Mutex<Vec<String>>,
) {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    // The body is the last that a courier sends.
    while !request.ends_with(b"}") {
        match socket.read(&mut piece).await {
            Ok(count) if count > 0 => request.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    heard.lock().unwrap().push(String::from_utf8(request).unwrap());
    if socket.write_all(answer.as_bytes()).await.is_err() || !endless {
        return;
    }
    while socket.write_all(&[b'x'; 4096]).await.is_ok() {}
}

fn allow(rules: &[&str]) -> AllowList {
    AllowList(rules.iter().map(|rule| rule.parse().unwrap()).collect())
}

fn parcel(url: &str) -> Parcel {
    let headers = [
        ("webhook-id", "ntc_1".to_owned()),
        ("webhook-timestamp", "7".to_owned()),
        ("webhook-signature", "v1,eA==".to_owned()),
    ];
    Parcel { address: Address::parse(url).unwrap(), headers, body: "{\"id\":\"ntc_1\"}".to_owned() }
}

fn crypto() {
    // An error means that a provider is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn nothing_trusted() -> ClientConfig {
    crypto();
    ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

/// A courier to loopback, where this answer is given.
async fn answered(answer: &'static str, endless: bool) -> (Receiver, Result<(), String>) {
    let receiver = Receiver::start(answer, endless, None).await;
    let url = format!("http://127.0.0.1:{}", receiver.port);
    let mut courier = HttpCourier::trusting(allow(&[&url]), nothing_trusted());
    courier.within = Duration::from_millis(700);
    let result = courier.deliver(&parcel(&format!("{url}/in?a=b"))).await;
    (receiver, result)
}

#[tokio::test]
async fn a_notice_is_posted_with_its_headers() {
    let (receiver, result) = answered("HTTP/1.1 204 No Content\r\n\r\n", false).await;
    assert_eq!(result, Ok(()));
    let heard = receiver.heard().remove(0);
    assert!(heard.starts_with("POST /in?a=b HTTP/1.1\r\n"), "{heard}");
    for line in [
        "content-type: application/json",
        "webhook-id: ntc_1",
        "webhook-timestamp: 7",
        "webhook-signature: v1,eA==",
    ] {
        assert!(heard.contains(&format!("{line}\r\n")), "{line} in {heard}");
    }
    assert!(heard.ends_with("\r\n\r\n{\"id\":\"ntc_1\"}"), "{heard}");
}

#[tokio::test]
async fn only_success_is_a_delivery_and_no_redirect_is_followed() {
    for (answer, why) in [
        ("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "500"),
        ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", "delete the webhook"),
        ("HTTP/1.1 307 T\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n", "not followed"),
        ("not HTTP at all\r\n\r\n", ""),
        ("", ""),
    ] {
        let (receiver, result) = answered(answer, false).await;
        assert!(result.as_ref().is_err_and(|error| error.contains(why)), "{answer}: {result:?}");
        assert_eq!(receiver.heard().len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn an_answer_that_has_no_end_is_not_waited_for() {
    let (_receiver, result) = answered("HTTP/1.1 200 OK\r\n\r\n", true).await;
    assert_eq!(result, Ok(()), "of an answer only the status is read");
    let (_receiver, result) = answered("HTTP/1.1 200 OK\r\nx: ", true).await;
    assert!(result.is_err(), "a head without end: {result:?}");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut courier = HttpCourier::trusting(allow(&[&url]), nothing_trusted());
    courier.within = Duration::from_millis(200);
    let result = courier.deliver(&parcel(&url)).await;
    assert!(result.as_ref().is_err_and(|error| error.contains("no answer within")), "{result:?}");
}

#[tokio::test]
async fn a_name_that_leads_into_a_closed_network_is_not_connected_to() {
    crypto();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(tls));
    let receiver = Receiver::start("HTTP/1.1 200 OK\r\n\r\n", false, Some(tls)).await;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let trusted = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let url = format!("https://localhost:{}/in", receiver.port);
    let host = format!("localhost:{}", receiver.port);
    let courier = HttpCourier::trusting(allow(&[&host]), trusted.clone());
    let refused = courier.deliver(&parcel(&url)).await;
    assert!(refused.as_ref().is_err_and(|error| error.contains("closed network")), "{refused:?}");
    // Written as a number, it is the same.
    let number = format!("https://127.0.0.1:{}/in", receiver.port);
    let refused = courier.deliver(&parcel(&number)).await;
    assert!(refused.as_ref().is_err_and(|error| error.contains("closed network")), "{refused:?}");
    assert_eq!(receiver.heard().len(), 0);
    // Named by the operator, it is.
    let named = allow(&[&host, "127.0.0.1", "[::1]"]);
    let courier = HttpCourier::trusting(named.clone(), trusted);
    assert_eq!(courier.deliver(&parcel(&url)).await, Ok(()));
    assert_eq!(receiver.heard().len(), 1);
    let distrusting = HttpCourier::trusting(named, nothing_trusted());
    let refused = distrusting.deliver(&parcel(&url)).await;
    assert!(refused.as_ref().is_err_and(|error| error.contains("certificate")), "{refused:?}");
}
