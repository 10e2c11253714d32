//! Calls with bytes that no generated client would send: the body of the request
//! is whatever a test says, framing included, and what comes back is told as it is.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quarterdeck_client::{Client, Config};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::body::Body;

/// Path of CreateTask.
pub const CREATE_TASK: &str = "/quarterdeck.orchestration.v1.TaskService/CreateTask";

/// Longest wait for a call that is not told otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// One call.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Path of the method.
    pub path: String,
    /// Headers besides those that make it a gRPC call.
    pub headers: HeaderMap,
    /// What the body is said to be.
    pub content_type: &'static str,
    /// The body, in the pieces in which it is sent.
    pub body: Vec<Bytes>,
    /// The connection's stream is reset behind the body, instead of ended.
    pub broken_off: bool,
    /// Stop listening after so many messages.
    pub messages: usize,
    /// Longest wait for the answer to begin.
    pub time: Duration,
    /// From then on, stop listening after this time.
    pub listen: Duration,
}

impl Ask {
    /// A call of this method with this body.
    pub fn new(path: &str, body: Vec<Bytes>) -> Self {
        let (path, headers) = (path.to_owned(), HeaderMap::new());
        let (content_type, broken_off) = ("application/grpc", false);
        Self {
            path,
            headers,
            content_type,
            body,
            broken_off,
            messages: usize::MAX,
            time: PATIENCE,
            listen: PATIENCE,
        }
    }

    /// Adds a header, or another value of it.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).expect("a header's value"));
        self
    }

    /// Shows this credential.
    #[must_use]
    pub fn bearer(self, credential: &str) -> Self {
        self.header("authorization", format!("Bearer {credential}"))
    }
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status at the end. `None`: we stopped listening before.
    pub status: Option<Status>,
    /// The messages, as they are.
    pub messages: Vec<Bytes>,
}

/// Why there is no answer in the sense of gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The connection or the stream broke.
    Broken(String),
    /// An answer in plain HTTP.
    Http(StatusCode),
}

/// A connection: one, which is never made again. Unlike that of a gRPC library it
/// has no opinion of what is sent, deadlines included.
#[derive(Clone)]
pub struct Line {
    endpoint: String,
    sender: SendRequest<Body>,
}

impl Line {
    /// Connects to the server at `http://host:port`.
    pub async fn connect(endpoint: &str) -> Self {
        let address = endpoint.strip_prefix("http://").expect("an address without TLS");
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let (sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        // Its end shows in the calls.
        tokio::spawn(connection);
        Self { endpoint: endpoint.to_owned(), sender }
    }
}

/// A message with its prefix.
pub fn framed(message: &[u8]) -> Bytes {
    framed_as(0, message.len() as u32, message)
}

/// A message with this prefix, be it right or wrong.
pub fn framed_as(flag: u8, length: u32, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(flag);
    frame.put_u32(length);
    frame.put_slice(message);
    frame.freeze()
}

/// Makes the call and listens.
pub async fn exchange(line: &Line, ask: Ask) -> Result<Answer, NoAnswer> {
    let (time, listen, messages) = (ask.time, ask.listen, ask.messages);
    let response = match tokio::time::timeout(time, begin(line, ask)).await {
        Ok(response) => response?,
        Err(_) => return Err(NoAnswer::Broken(format!("nothing came within {time:?}"))),
    };
    let mut answer = Answer::default();
    if let Some(status) = Status::from_header_map(response.headers()) {
        answer.status = Some(status);
        return Ok(answer);
    }
    let hearing = hear(response.into_body(), messages, &mut answer);
    match tokio::time::timeout(listen, hearing).await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) | Err(_) => Ok(answer),
    }
}

async fn begin(line: &Line, ask: Ask) -> Result<http::Response<Body>, NoAnswer> {
    let pieces = ask.body.into_iter().map(|piece| Ok(Frame::data(piece)));
    let end = ask.broken_off.then(|| Err(Status::cancelled("broken off on purpose")));
    let body = Body::new(StreamBody::new(futures::stream::iter(pieces.chain(end))));
    let mut request = Request::post(format!("{}{}", line.endpoint, ask.path)).body(body).expect("a path");
    request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    request.headers_mut().insert("content-type", HeaderValue::from_static(ask.content_type));
    request.headers_mut().extend(ask.headers);
    let mut sender = line.sender.clone();
    sender.ready().await.map_err(|error| broken(&error))?;
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let response = response.map(Body::new);
    match response.status() {
        StatusCode::OK => Ok(response),
        other => Err(NoAnswer::Http(other)),
    }
}

async fn hear(mut body: Body, messages: usize, answer: &mut Answer) -> Result<(), NoAnswer> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| broken(&error))?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => answer.status = frame.trailers_ref().and_then(Status::from_header_map),
        }
        while let Some(message) = next_message(&mut bytes) {
            answer.messages.push(message);
        }
        if answer.messages.len() >= messages {
            return Ok(());
        }
    }
    match answer.status {
        Some(_) => Ok(()),
        None => Err(NoAnswer::Broken("the answer ended without a status".to_owned())),
    }
}

fn next_message(bytes: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?) as usize;
    if bytes.len() < 5 + length {
        return None;
    }
    bytes.advance(5);
    Some(bytes.split_to(length).freeze())
}

fn broken(error: &dyn std::error::Error) -> NoAnswer {
    let causes = std::iter::successors(Some(error), |error| error.source());
    NoAnswer::Broken(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

/// Calls `path` with these bytes as the message.
pub async fn call(config: &Config, path: &str, message: impl Into<Bytes>) -> Result<Bytes, Status> {
    let mut ask = Ask::new(path, vec![framed(&message.into())]);
    if let Some(credential) = &config.credential {
        ask = ask.bearer(credential);
    }
    let answer = exchange(&Line::connect(&config.endpoint).await, ask).await.expect("an answer in gRPC");
    let status = answer.status.expect("an answer in time");
    match status.code() {
        tonic::Code::Ok => Ok(answer.messages.first().cloned().unwrap_or_default()),
        _ => Err(status),
    }
}

/// As [`call`], with the settings of a client.
pub async fn call_as(client: &Client, path: &str, message: impl Into<Bytes>) -> Result<Bytes, Status> {
    call(client.config(), path, message).await
}
