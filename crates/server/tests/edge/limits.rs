//! What a connection and an address may do, with limits low enough to meet them.
//! `tests/hostile` attacks the defaults.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{channel, settings, start, within};
use quarterdeck_server::{Limits, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

async fn limited(change: impl FnOnce(&mut Limits)) -> Running {
    let mut settings = settings();
    change(&mut settings.limits);
    start(settings).await.unwrap()
}

fn frame(kind: u8, flags: u8, stream: u8, content: &[u8]) -> Vec<u8> {
    let [.., middle, low] = content.len().to_be_bytes();
    let mut frame = vec![0, middle, low, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(content);
    frame
}

/// HEADERS of a call, never ended by its client.
fn call(stream: u8, path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x04, path.len() as u8];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(&[0x41, 1, b'x', 0x0f, 0x10, 16]);
    block.extend_from_slice(b"application/grpc");
    frame(1, 4, stream, &block)
}

/// A connection that says these bytes first.
async fn saying(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Kinds of the frames that come until the server hangs up.
async fn until_hung_up(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = within("the server's hanging up", stream.read_to_end(&mut answer)).await;
    let (mut kinds, mut rest) = (Vec::new(), answer.as_slice());
    while let [a, b, c, kind, _, _, _, _, _, content @ ..] = rest {
        kinds.push(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        rest = content.get(length..).unwrap_or_default();
    }
    kinds
}

/// Reads frames until there is one of this kind.
async fn until_heard(stream: &mut TcpStream, kind: u8) {
    let hear = async {
        loop {
            let mut header = [0; 9];
            stream.read_exact(&mut header).await.unwrap();
            let mut content = vec![0; u16::from_be_bytes([header[1], header[2]]).into()];
            stream.read_exact(&mut content).await.unwrap();
            if header[3] == kind {
                return;
            }
        }
    };
    within("a frame", hear).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_at_a_time() {
    let server = limited(|limits| limits.connections_per_address = 2).await;
    let mut first = saying(server.grpc_addr, PREFACE).await;
    let mut second = saying(server.grpc_addr, PREFACE).await;
    until_heard(&mut first, SETTINGS).await;
    until_heard(&mut second, SETTINGS).await;
    assert!(until_hung_up(saying(server.grpc_addr, PREFACE).await).await.is_empty());
    drop(first);
    let again = async {
        loop {
            let mut next = saying(server.grpc_addr, PREFACE).await;
            let mut byte = [0];
            if next.read(&mut byte).await.is_ok_and(|count| count > 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the first one's place", again).await;
    assert!(second.write_all(&frame(6, 0, 0, b"somebody")).await.is_ok(), "the second one stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn control_frames_beyond_the_limit_end_the_connection() {
    for (kind, content) in [(6, &[0; 8][..]), (8, &[0, 0, 0, 1]), (2, &[0; 5]), (0xfa, b"?"), (4, &[0; 6])] {
        let server = limited(|limits| limits.control_frames = 1_000).await;
        let stream = u8::from(kind == 2);
        let mut flooding = saying(server.grpc_addr, PREFACE).await;
        let mut sent = 0;
        // SETTINGS counts a hundredfold.
        let batch = frame(kind, 0, stream, content).repeat(if kind == 4 { 1 } else { 50 });
        let flood = async {
            while flooding.write_all(&batch).await.is_ok() {
                sent += 1;
                tokio::task::yield_now().await;
            }
        };
        within("the end of a flood", flood).await;
        assert!(sent > 1, "frames of kind {kind} were not forgiven even once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_reset_again_and_again_end_the_connection() {
    let server = limited(|limits| limits.fruitless_calls = 10).await;
    let mut resetting = saying(server.grpc_addr, PREFACE).await;
    let flood = async {
        let mut calls = 0;
        for stream in (1..255).step_by(2) {
            let pair =
                [call(stream, "/grpc.health.v1.Health/Watch"), frame(3, 0, stream, &[0, 0, 0, 8])].concat();
            if resetting.write_all(&pair).await.is_err() {
                break;
            }
            calls += 1;
            // One by one, so that the limit of what is reset before it begins is not what is met.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        calls
    };
    let calls = within("the end of a flood", flood).await;
    assert!((100..127).contains(&calls), "{calls}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_never_end_are_not_waited_for() {
    let server = limited(|limits| limits.header_timeout = Duration::from_millis(100)).await;
    let whole = call(1, "/grpc.health.v1.Health/Check");
    let mut open = whole.clone();
    open[4] = 0;
    for begun in [&whole[..20], &open] {
        let bytes = [PREFACE, begun].concat();
        assert!(!until_hung_up(saying(server.grpc_addr, &bytes).await).await.contains(&1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_calls_is_asked_to_go_and_one_with_a_call_is_not() {
    let server = limited(|limits| limits.idle_timeout = Duration::from_millis(100)).await;
    let mut health = HealthClient::new(channel(server.grpc_addr).await);
    let watch = health.watch(HealthCheckRequest { service: "live".into() }).await.unwrap();
    let mut watch = watch.into_inner();
    watch.message().await.unwrap();
    // Long before a ping would find nobody there.
    let mut idle = saying(server.grpc_addr, PREFACE).await;
    until_heard(&mut idle, GOAWAY).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let silent = tokio::time::timeout(Duration::from_millis(100), watch.message()).await;
    assert!(silent.is_err(), "the watch goes on: {silent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_credential_are_few_at_a_time() {
    let server = limited(|limits| limits.open_calls = 2).await;
    let mut health = HealthClient::new(channel(server.grpc_addr).await);
    let asked = || Request::new(HealthCheckRequest { service: "live".into() });
    let one = health.watch(asked()).await.unwrap();
    let _two = health.watch(asked()).await.unwrap();
    let refused = health.check(asked()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.get_error_details().error_info().unwrap().reason, "LIMIT_REACHED");
    drop(one);
    let free = async {
        while health.check(asked()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the first one's place", free).await;
}

/// Memory for four messages, or for a moment eight.
fn little_memory(limits: &mut Limits) {
    (limits.message_size, limits.held) = (16_384, 65_536);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_more_than_there_is_memory_for_has_to_go() {
    let server = limited(little_memory).await;
    let mut holding = saying(server.grpc_addr, PREFACE).await;
    // Room is made for a message as soon as its length is known.
    for stream in [1, 3, 5, 7, 9, 11, 13, 15, 17] {
        let upload = [call(stream, REFLECTION), frame(DATA, 0, stream, &[0, 0, 0, 0x3f, 0xff])].concat();
        holding.write_all(&upload).await.unwrap();
    }
    until_hung_up(holding).await;
    let mut health = HealthClient::new(channel(server.grpc_addr).await);
    let answer = health.check(HealthCheckRequest { service: "live".into() }).await;
    assert!(answer.is_ok(), "others are served: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_stream_count_only_until_they_are_whole() {
    let server = limited(little_memory).await;
    let mut talking = saying(server.grpc_addr, &[PREFACE, &call(1, REFLECTION)].concat()).await;
    // list_services, and a field that nobody knows, so that the answers are short.
    let mut request = vec![0x3a, 0, 0x7a, 0x90, 0x4e];
    request.resize(5 + 10_000, b'x');
    let message = [&[0, 0, 0, 0x27, 0x15], request.as_slice()].concat();
    for _ in 0..40 {
        for half in message.chunks(6_000) {
            talking.write_all(&frame(DATA, 0, 1, half)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        until_heard(&mut talking, DATA).await;
    }
}
