//! What the harness breaks, and that it is whole again afterwards.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use quarterdeck_harness::{Cut, Postgres, Proxy, Redis, Stop, Way, Ways};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_secs(20);
/// How long nothing has to come, where nothing must.
const QUIET: Duration = Duration::from_millis(150);

/// A connection through a proxy: the near end, the far end, and the proxy.
async fn through() -> (TcpStream, TcpStream, Proxy, TcpListener) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap().port()).await.unwrap();
    let (near, far) = pair(&proxy, &server).await;
    (near, far, proxy, server)
}

async fn pair(proxy: &Proxy, server: &TcpListener) -> (TcpStream, TcpStream) {
    let near = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (far, _) = tokio::time::timeout(SOON, server.accept()).await.unwrap().unwrap();
    (near, far)
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream, word: &[u8; 4]) {
    from.write_all(word).await.unwrap();
    assert_eq!(&heard(to).await, word);
}

async fn heard(end: &mut TcpStream) -> [u8; 4] {
    let mut word = [0; 4];
    tokio::time::timeout(SOON, end.read_exact(&mut word)).await.unwrap().unwrap();
    word
}

async fn is_quiet(end: &mut TcpStream) -> bool {
    tokio::time::timeout(QUIET, end.read_u8()).await.is_err()
}

async fn is_reset(end: &mut TcpStream) -> bool {
    let end = tokio::time::timeout(SOON, end.read_u8()).await.unwrap();
    end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn a_held_direction_delivers_later_and_the_other_goes_on() {
    let (mut near, mut far, proxy, _server) = through().await;
    passes(&mut near, &mut far, b"ping").await;
    passes(&mut far, &mut near, b"pong").await;
    proxy.set(Ways { up: Way::Held, down: Way::Open });
    near.write_all(b"wait").await.unwrap();
    passes(&mut far, &mut near, b"pass").await;
    assert!(is_quiet(&mut far).await);
    proxy.set(Ways::default());
    assert_eq!(&heard(&mut far).await, b"wait");
}

#[tokio::test]
async fn that_an_end_is_closed_is_held_too() {
    let (near, mut far, proxy, _server) = through().await;
    proxy.set(Ways { up: Way::Held, down: Way::Held });
    drop(near);
    assert!(is_quiet(&mut far).await);
    proxy.set(Ways::default());
    let end = tokio::time::timeout(SOON, far.read(&mut [0])).await.unwrap();
    assert_eq!(end.unwrap(), 0);
}

#[tokio::test]
async fn what_is_slow_arrives_whole() {
    let (mut near, mut far, proxy, _server) = through().await;
    proxy.set(Ways { up: Way::Slow(Duration::from_millis(50)), down: Way::Open });
    for word in [b"here", b"then", b"last"] {
        passes(&mut near, &mut far, word).await;
    }
}

#[tokio::test]
async fn each_cut_is_seen_where_it_should_be_and_spares_what_comes_later() {
    for (cut, near_sees, far_sees) in
        [(Cut::Reset, true, true), (Cut::HalfOpen, true, false), (Cut::Silence, false, false)]
    {
        let (mut near, mut far, proxy, server) = through().await;
        passes(&mut near, &mut far, b"ping").await;
        proxy.cut(cut);
        for (end, sees) in [(&mut near, near_sees), (&mut far, far_sees)] {
            match sees {
                true => assert!(is_reset(end).await, "{cut:?}"),
                false => assert!(is_quiet(end).await, "{cut:?}"),
            }
        }
        let (mut other_near, mut other_far) = pair(&proxy, &server).await;
        passes(&mut other_near, &mut other_far, b"ping").await;
        passes(&mut other_far, &mut other_near, b"pong").await;
        proxy.cut(Cut::Reset);
        assert!(far_sees || is_reset(&mut far).await, "{cut:?} ends with the next");
        assert!(is_reset(&mut other_near).await, "{cut:?}");
    }
}

#[tokio::test]
async fn who_connects_to_a_shut_proxy_is_reset() {
    let (mut near, mut far, proxy, server) = through().await;
    proxy.shut(true);
    assert!(is_reset(&mut near).await && is_reset(&mut far).await);
    let mut refused = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert!(is_reset(&mut refused).await);
    proxy.shut(false);
    let (mut near, mut far) = pair(&proxy, &server).await;
    passes(&mut near, &mut far, b"ping").await;
}

#[tokio::test]
async fn postgres_comes_back_with_what_was_committed() {
    let mut cluster = Postgres::start().await.unwrap();
    let database = cluster.fresh_database().await.unwrap();
    database.query("create table here (n int)").await.unwrap();
    for (place, how) in [Stop::Fast, Stop::Crash].into_iter().enumerate() {
        database.query(&format!("insert into here values ({place})")).await.unwrap();
        cluster.halt(how).await.unwrap();
        assert!(cluster.halt(how).await.is_err(), "halted twice");
        assert!(database.query("select 1").await.is_err());
        cluster.start_again().await.unwrap();
        assert!(cluster.start_again().await.is_err(), "started twice");
        let count = database.query("select count(*) from here").await.unwrap();
        assert_eq!(count, [(place + 1).to_string()], "{how:?}");
    }
    drop(database);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_flushed_redis_knows_nothing_and_keeps_its_connections() {
    let redis = Redis::start().await.unwrap();
    let mut connection = TcpStream::connect(("127.0.0.1", redis.port())).await.unwrap();
    connection.write_all(b"SET key value\r\n").await.unwrap();
    let mut answer = [0; 5];
    connection.read_exact(&mut answer).await.unwrap();
    redis.flush().await.unwrap();
    connection.write_all(b"EXISTS key\r\n").await.unwrap();
    let mut answer = [0; 4];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b":0\r\n");
}
