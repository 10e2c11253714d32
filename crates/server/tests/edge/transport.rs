//! Connections from outside: TLS, clients that speak something else, draining.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{channel, settings, start, within};
use quarterdeck_server::{StartError, TlsFiles};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

struct Pem {
    dir: tempfile::TempDir,
    certificate: String,
}

fn pem() -> Pem {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(dir.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
    Pem { dir, certificate: cert.pem() }
}

impl Pem {
    fn files(&self) -> Option<TlsFiles> {
        Some(TlsFiles { certificate: self.dir.path().join("cert.pem"), key: self.dir.path().join("key.pem") })
    }
}

/// What a server answers to these first bytes, up to its hanging up.
async fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = within("the answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_served_from_files() {
    let pem = pem();
    let mut settings = settings();
    settings.tls = pem.files();
    let server = start(settings).await.unwrap();
    assert!(server.tls());
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&pem.certificate))
        .domain_name("localhost");
    let endpoint =
        Endpoint::from_shared(format!("https://{}", server.grpc_addr)).unwrap().tls_config(tls).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let answer = health.check(HealthCheckRequest { service: "live".into() }).await.unwrap();
    assert_eq!(answer.into_inner().status, ServingStatus::Serving as i32);

    let hint = say(server.grpc_addr, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(hint.starts_with("HTTP/1.1 400") && hint.contains("https://"), "{hint}");
    assert_eq!(say(server.grpc_addr, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_certificate_stop_the_start_by_name() {
    let pem = pem();
    let files = pem.files().unwrap();
    let with = async |certificate: &str, key: &str| {
        let mut settings = settings();
        let dir = pem.dir.path();
        settings.tls = Some(TlsFiles { certificate: dir.join(certificate), key: dir.join(key) });
        start(settings).await.err().unwrap()
    };
    let missing = with("absent.pem", "key.pem").await;
    assert!(matches!(&missing, StartError::TlsUnreadable { .. }), "{missing}");
    assert!(missing.to_string().contains("absent.pem"), "{missing}");
    for (certificate, key) in [("key.pem", "key.pem"), ("cert.pem", "cert.pem")] {
        let wrong = with(certificate, key).await;
        assert!(matches!(wrong, StartError::BadCertificate { .. }), "{wrong}");
    }
    assert!(files.certificate.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let server = start(settings()).await.unwrap();
    let mut second = settings();
    second.listen = server.grpc_addr;
    let error = start(second).await.err().unwrap();
    assert!(matches!(&error, StartError::PortTaken { address } if *address == server.grpc_addr), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_speak_something_else_are_told() {
    let server = start(settings()).await.unwrap();
    let http1 = say(server.grpc_addr, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(http1.starts_with("HTTP/1.1 426") && http1.contains("gRPC over HTTP/2"), "{http1}");
    // A TLS client hello on a plaintext port: the connection ends at once.
    assert_eq!(say(server.grpc_addr, b"\x16\x03\x01\x00\x05hello").await, "");
    let metrics = say(server.metrics_addr.unwrap(), b"GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(
        metrics.contains("quarterdeck_connections_refused_total{reason=\"tls_on_plain_port\"}"),
        "{metrics}"
    );
    for (path, code) in [("/livez", "200"), ("/readyz", "200"), ("/other", "404")] {
        let answer =
            say(server.metrics_addr.unwrap(), format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.0 {code}")), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_says_anything_is_let_go() {
    let mut settings = settings();
    settings.limits.handshake_timeout = Duration::from_millis(100);
    settings.limits.header_timeout = Duration::from_millis(100);
    let server = start(settings).await.unwrap();
    assert_eq!(say(server.grpc_addr, b"").await, "");
    // Half a preface is as good as none.
    assert_eq!(say(server.grpc_addr, b"PRI * HT").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_client_does_not_hold_the_stop() {
    let server = start(settings()).await.unwrap();
    let mut health = HealthClient::new(channel(server.grpc_addr).await);
    health.check(HealthCheckRequest { service: String::new() }).await.unwrap();
    server.shutdown().cancel();
    let stopped = within("the stop", server.wait()).await;
    assert!(stopped.drained && stopped.aborted_connections == 0, "{stopped:?}");
    drop(health);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_leave_is_cut_off_at_the_deadline() {
    let mut settings = settings();
    settings.limits.drain_deadline = Duration::from_millis(300);
    let server = start(settings).await.unwrap();
    // It opens a stream's headers and never ends nor reads anything.
    let mut stuck = TcpStream::connect(server.grpc_addr).await.unwrap();
    stuck.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
    let mut settings_frame = [0; 9];
    within("the server's settings", stuck.read_exact(&mut settings_frame)).await.unwrap();
    // HEADERS of `POST /quarterdeck...`: indexed :method POST, :scheme http, literal :path, no END_STREAM.
    let path = b"/grpc.health.v1.Health/Check";
    let mut block = vec![0x83, 0x86, 0x04, path.len() as u8];
    block.extend_from_slice(path);
    block.extend_from_slice(&[0x41, 1, b'x']);
    block.extend_from_slice(&[0x0f, 0x10, 16]);
    block.extend_from_slice(b"application/grpc");
    let mut frame = vec![0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1];
    frame.extend_from_slice(&block);
    stuck.write_all(&frame).await.unwrap();
    let in_flight = async {
        loop {
            let metrics = say(server.metrics_addr.unwrap(), b"GET /metrics HTTP/1.0\r\n\r\n").await;
            let line = metrics
                .lines()
                .find(|line| line.contains("requests_in_flight{method=\"/grpc.health.v1.Health/Check\"}"));
            if line.is_some_and(|line| line.ends_with(" 1")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the call is in flight", in_flight).await;
    server.shutdown().cancel();
    let stopped = within("the stop", server.wait()).await;
    assert!(!stopped.drained && stopped.aborted_connections == 1, "{stopped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_hear_that_the_server_is_stopping() {
    let server = start(settings()).await.unwrap();
    let mut health = HealthClient::new(channel(server.grpc_addr).await);
    let watch = health.watch(HealthCheckRequest { service: "live".into() }).await.unwrap();
    let mut watch = watch.into_inner();
    let first = within("the state", watch.message()).await.unwrap().unwrap();
    assert_eq!(first.status, ServingStatus::Serving as i32);
    server.shutdown().cancel();
    let second = within("the change", watch.message()).await.unwrap().unwrap();
    assert_eq!(second.status, ServingStatus::NotServing as i32, "health turns before the connection ends");
    let end = within("the end", watch.message()).await.unwrap_err();
    let details = end.get_error_details();
    assert_eq!(end.code(), Code::Unavailable);
    assert_eq!(details.error_info().unwrap().reason, "DRAINING");
    assert!(details.retry_info().is_some());
    assert!(within("the stop", server.wait()).await.drained);
}
