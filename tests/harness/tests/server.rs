//! The runner of the server, with a stand-in for the binary.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use quarterdeck_harness::{Database, DevOptions, Quarterdeck, Redis, Secrets, ServeOptions};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

fn stand_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_server.py")
}

/// What the stand-in says to a new connection; `None` if it says nothing soon.
async fn greeting(server: &Quarterdeck) -> Option<String> {
    let endpoint = server.endpoint();
    let mut connection = TcpStream::connect(endpoint.strip_prefix("http://")?).await.ok()?;
    let mut text = String::new();
    let reading = connection.read_to_string(&mut text);
    tokio::time::timeout(Duration::from_millis(500), reading).await.ok()?.ok()?;
    Some(text)
}

#[tokio::test]
async fn a_server_is_stopped_killed_and_started_again_at_the_same_address() {
    let data = tempfile::tempdir().unwrap();
    let options = DevOptions::new(data.path()).program(stand_in());
    let mut server = Quarterdeck::dev_with(options).await.unwrap();
    let (endpoint, first) = (server.endpoint(), server.credential().to_owned());
    assert!(first.starts_with("qd_bootstrap_"), "{first}");
    assert_eq!(greeting(&server).await.as_deref(), Some("hello"));
    assert_eq!(server.metrics().await.unwrap(), "fake_starts_total 1\n");

    server.stop().await.unwrap();
    assert!(server.log().unwrap().contains("drained"));
    assert_eq!(greeting(&server).await, None);
    assert!(server.kill9().await.is_err(), "ended twice");

    server.start_again().await.unwrap();
    assert!(server.start_again().await.is_err(), "started twice");
    assert_eq!(server.endpoint(), endpoint);
    assert_ne!(server.credential(), first, "the credential is that of the last start");

    server.kill9().await.unwrap();
    assert!(!server.log().unwrap().contains("drained"));
    server.start_again().await.unwrap();
    assert_eq!(greeting(&server).await.as_deref(), Some("hello"));
}

#[tokio::test]
async fn a_frozen_server_says_nothing_until_it_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let server = Quarterdeck::dev_with(DevOptions::new(data.path()).program(stand_in())).await.unwrap();
    server.sigstop().unwrap();
    assert_eq!(greeting(&server).await, None);
    server.sigcont().unwrap();
    assert_eq!(greeting(&server).await.as_deref(), Some("hello"));
}

#[tokio::test]
async fn replicas_share_the_credential_and_have_ports_of_their_own() {
    let (database, redis) = (Database::fresh().await.unwrap(), Redis::start().await.unwrap());
    let secrets = Secrets::new().unwrap();
    let options = ServeOptions::new(&database, &secrets).redis(&redis).program(stand_in());
    let one = Quarterdeck::serve(options.clone()).await.unwrap();
    let other = Quarterdeck::serve(options).await.unwrap();
    assert_ne!(one.endpoint(), other.endpoint());
    assert_eq!(one.credential(), secrets.credential());
    assert_eq!(one.credential(), other.credential());
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let data = tempfile::tempdir().unwrap();
    let options = DevOptions::new(data.path()).program(stand_in()).arg("--fail");
    let error = Quarterdeck::dev_with(options).await.err().unwrap().to_string();
    for part in ["--listen 127.0.0.1:", "exit status: 1", "no such thing as --fail"] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let data = tempfile::tempdir().unwrap();
    let server = Quarterdeck::dev_with(DevOptions::new(data.path()).program(stand_in())).await.unwrap();
    let endpoint = server.endpoint();
    drop(server);
    assert!(TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).await.is_err());
}
