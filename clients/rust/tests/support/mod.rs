//! A server that keeps the contract and nothing else: tests play its part by hand.
//!
//! Sessions and watches arrive as peers that a test talks through; unary calls answer
//! from scripts. Every wait has a deadline, so a broken promise fails and does not hang.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quarterdeck_client::api::orchestration::v1 as pb;
use quarterdeck_client::api::orchestration::v1::session_request::Message as Up;
use quarterdeck_client::api::orchestration::v1::session_response::Message as Down;
use quarterdeck_client::api::orchestration::v1::task_service_server::{TaskService, TaskServiceServer};
use quarterdeck_client::api::orchestration::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use quarterdeck_client::{Client, Config, Payload};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

pub type Answer<T> = Result<T, Status>;

/// Longest wait of any test for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: waited in vain"))
}

/// A status as the server makes them.
pub fn refusal(code: Code, reason: &str, retry_after: Option<Duration>) -> Status {
    let mut details =
        ErrorDetails::with_error_info(reason, "quarterdeck.dev", std::collections::HashMap::new());
    details.set_retry_info(retry_after);
    Status::with_error_details(code, reason.to_lowercase(), details)
}

/// What the fake saw and shall answer.
#[derive(Default)]
pub struct Script {
    /// Answers to CreateTask, in order; then the default task.
    pub create: VecDeque<Answer<pb::CreateTaskResponse>>,
    pub created: Vec<pb::CreateTaskRequest>,
    /// Authorization and user agent of each CreateTask.
    pub headers: Vec<(String, String)>,
    /// Ids that ListTasks pages through.
    pub tasks: Vec<String>,
    pub pages: Vec<pb::ListTasksRequest>,
    /// Answer of GetTask.
    pub task: pb::Task,
}

pub struct Fake {
    pub client: Client,
    pub endpoint: String,
    pub script: Arc<Mutex<Script>>,
    pub sessions: mpsc::Receiver<Peer>,
    pub watches: mpsc::Receiver<Watcher>,
    _stop: DropGuard,
}

impl Fake {
    pub async fn start() -> Self {
        Self::start_with(|_| {}, None).await
    }

    pub async fn start_with(adjust: impl FnOnce(&mut Config), identity: Option<Identity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if identity.is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(Script::default()));
        let (session, sessions) = mpsc::channel(16);
        let (watch, watches) = mpsc::channel(16);
        let service = Service { script: Arc::clone(&script), session, watch };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let mut builder = Server::builder();
        if let Some(identity) = identity {
            builder = builder.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let server = builder
            .add_service(TaskServiceServer::new(service.clone()))
            .add_service(WorkerServiceServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        #[allow(clippy::disallowed_methods, reason = "tests have no simulator")]
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                result = server => result.unwrap(),
            }
        });
        let mut config = Config::new(&endpoint).with_credential("qd_test");
        adjust(&mut config);
        Self {
            client: Client::connect(config).await.unwrap(),
            endpoint,
            script,
            sessions,
            watches,
            _stop: stop.drop_guard(),
        }
    }

    pub async fn session(&mut self) -> Peer {
        within("a session", self.sessions.recv()).await.unwrap()
    }

    pub async fn watch(&mut self) -> Watcher {
        within("a watch", self.watches.recv()).await.unwrap()
    }

    pub fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

/// The server's end of one session stream.
pub struct Peer {
    pub hello: pb::Hello,
    incoming: Streaming<pb::SessionRequest>,
    outgoing: mpsc::Sender<Answer<pb::SessionResponse>>,
    /// False: pings get no answer.
    pub answers_pings: bool,
}

impl Peer {
    pub async fn send(&self, message: Down) {
        let message = pb::SessionResponse { message: Some(message) };
        self.outgoing.send(Ok(message)).await.unwrap();
    }

    pub async fn welcome(&self, resume_token: &str, resumed: bool) {
        self.welcome_with(resume_token, resumed, Duration::from_secs(5)).await;
    }

    pub async fn welcome_with(&self, resume_token: &str, resumed: bool, ping: Duration) {
        self.send(Down::Welcome(pb::Welcome {
            session_id: format!("ses_{resume_token}"),
            resume_token: resume_token.to_owned(),
            resumed,
            lease: Duration::from_secs(15).try_into().ok(),
            ping_interval: ping.try_into().ok(),
        }))
        .await;
    }

    pub async fn assign(&self, token: &str) {
        self.assign_with(token, |_| {}).await;
    }

    pub async fn assign_with(&self, token: &str, adjust: impl FnOnce(&mut pb::Assign)) {
        let mut assign = pb::Assign {
            lease_token: token.to_owned(),
            project: "default".to_owned(),
            task_id: "tsk_1".to_owned(),
            step_key: format!("step-{token}"),
            capability: "echo".to_owned(),
            attempt: 1,
            input: Payload::text("hello").into(),
            idempotency_key: "idem".to_owned(),
            ..pb::Assign::default()
        };
        adjust(&mut assign);
        self.send(Down::Assign(assign)).await;
    }

    pub async fn ack(&self, token: &str, up_to: i64) {
        self.send(Down::Ack(pb::Ack { lease_token: token.to_owned(), up_to })).await;
    }

    pub async fn revoke(&self, token: &str) {
        self.send(Down::Revoke(pb::Revoke {
            lease_token: token.to_owned(),
            cause: pb::RevokeCause::TaskCanceled.into(),
        }))
        .await;
    }

    pub async fn go_away(&self, cause: pb::GoAwayCause) {
        self.send(Down::GoAway(pb::GoAway { cause: cause.into(), deadline: None })).await;
    }

    /// The next message but pings, which are answered; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Up> {
        within("a message of the agent", async {
            loop {
                match self.incoming.message().await {
                    Ok(Some(pb::SessionRequest { message: Some(Up::Ping(_)) })) => {
                        if self.answers_pings {
                            self.send(Down::Pong(pb::Pong {})).await;
                        }
                    }
                    Ok(Some(request)) => return request.message,
                    Ok(None) | Err(_) => return None,
                }
            }
        })
        .await
    }

    pub async fn complete(&mut self) -> pb::Complete {
        match self.next().await {
            Some(Up::Complete(complete)) => complete,
            other => panic!("not a completion: {other:?}"),
        }
    }

    pub async fn fail(&mut self) -> pb::Fail {
        match self.next().await {
            Some(Up::Fail(fail)) => fail,
            other => panic!("not a failure: {other:?}"),
        }
    }

    /// Ends the stream as a dying replica does.
    pub async fn break_off(self, status: Status) {
        let _ = self.outgoing.send(Err(status)).await;
    }
}

/// The server's end of one watch.
pub struct Watcher {
    pub request: pb::WatchTaskRequest,
    outgoing: mpsc::Sender<Answer<pb::WatchTaskResponse>>,
}

impl Watcher {
    pub async fn frame(&self, cursor: &str, frame: Option<pb::watch_task_response::Frame>) {
        let response = pb::WatchTaskResponse { cursor: cursor.to_owned(), frame };
        self.outgoing.send(Ok(response)).await.unwrap();
    }

    pub async fn snapshot(&self, cursor: &str, state: pb::TaskState) {
        let task = pb::Task { id: self.request.task_id.clone(), state: state.into(), ..pb::Task::default() };
        self.frame(cursor, Some(pb::watch_task_response::Frame::Snapshot(task))).await;
    }

    pub async fn event(&self, cursor: &str, sequence: i64, kind: pb::task_event::Kind) {
        let event =
            pb::TaskEvent { task_id: self.request.task_id.clone(), sequence, time: None, kind: Some(kind) };
        self.frame(cursor, Some(pb::watch_task_response::Frame::Event(event))).await;
    }

    pub async fn break_off(self, status: Status) {
        let _ = self.outgoing.send(Err(status)).await;
    }
}

#[derive(Clone)]
struct Service {
    script: Arc<Mutex<Script>>,
    session: mpsc::Sender<Peer>,
    watch: mpsc::Sender<Watcher>,
}

#[tonic::async_trait]
impl WorkerService for Service {
    type SessionStream = ReceiverStream<Answer<pb::SessionResponse>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::SessionRequest>>,
    ) -> Answer<Response<Self::SessionStream>> {
        let mut incoming = request.into_inner();
        let Some(pb::SessionRequest { message: Some(Up::Hello(hello)) }) = incoming.message().await? else {
            return Err(refusal(Code::FailedPrecondition, "SESSION_PROTOCOL", None));
        };
        let (outgoing, responses) = mpsc::channel(64);
        let peer = Peer { hello, incoming, outgoing, answers_pings: true };
        self.session.send(peer).await.map_err(|_| Status::unavailable("stopped"))?;
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn acquire_steps(
        &self,
        _: Request<pb::AcquireStepsRequest>,
    ) -> Answer<Response<pb::AcquireStepsResponse>> {
        Err(Status::unimplemented("agents of this client keep a stream open"))
    }

    async fn report_progress(
        &self,
        _: Request<pb::ReportProgressRequest>,
    ) -> Answer<Response<pb::ReportProgressResponse>> {
        Err(Status::unimplemented("agents of this client keep a stream open"))
    }

    async fn complete_step(
        &self,
        _: Request<pb::CompleteStepRequest>,
    ) -> Answer<Response<pb::CompleteStepResponse>> {
        Err(Status::unimplemented("agents of this client keep a stream open"))
    }

    async fn fail_step(&self, _: Request<pb::FailStepRequest>) -> Answer<Response<pb::FailStepResponse>> {
        Err(Status::unimplemented("agents of this client keep a stream open"))
    }

    async fn release_session(
        &self,
        _: Request<pb::ReleaseSessionRequest>,
    ) -> Answer<Response<pb::ReleaseSessionResponse>> {
        Err(Status::unimplemented("agents of this client keep a stream open"))
    }

    async fn get_dependency_output(
        &self,
        request: Request<pb::GetDependencyOutputRequest>,
    ) -> Answer<Response<pb::GetDependencyOutputResponse>> {
        let request = request.into_inner();
        let text = format!("{} for {}", request.step_key, request.lease_token);
        Ok(Response::new(pb::GetDependencyOutputResponse { output: Payload::text(text).into() }))
    }
}

#[tonic::async_trait]
impl TaskService for Service {
    type WatchTaskStream = ReceiverStream<Answer<pb::WatchTaskResponse>>;
    type WatchTasksStream = ReceiverStream<Answer<pb::WatchTasksResponse>>;

    async fn create_task(
        &self,
        request: Request<pb::CreateTaskRequest>,
    ) -> Answer<Response<pb::CreateTaskResponse>> {
        let header = |name: &str| {
            let value = request.metadata().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let headers = (header("authorization"), header("user-agent"));
        let mut script = self.script.lock().unwrap();
        script.headers.push(headers);
        script.created.push(request.into_inner());
        let default = || Ok(pb::CreateTaskResponse { task: Some(pb::Task::default()) });
        script.create.pop_front().unwrap_or_else(default).map(Response::new)
    }

    async fn get_task(&self, request: Request<pb::GetTaskRequest>) -> Answer<Response<pb::GetTaskResponse>> {
        let task = pb::Task { id: request.into_inner().task_id, ..self.script.lock().unwrap().task.clone() };
        Ok(Response::new(pb::GetTaskResponse { task: Some(task) }))
    }

    async fn list_tasks(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Answer<Response<pb::ListTasksResponse>> {
        let request = request.into_inner();
        let mut script = self.script.lock().unwrap();
        let size = request.page_size.max(1) as usize;
        let from: usize = request.page_token.parse().unwrap_or(0);
        let task = |id: &String| pb::Task { id: id.clone(), ..pb::Task::default() };
        let tasks: Vec<_> = script.tasks.iter().skip(from).take(size).map(task).collect();
        let next = from + size;
        let next_page_token = if next < script.tasks.len() { next.to_string() } else { String::new() };
        script.pages.push(request);
        Ok(Response::new(pb::ListTasksResponse { tasks, next_page_token }))
    }

    async fn watch_task(
        &self,
        request: Request<pb::WatchTaskRequest>,
    ) -> Answer<Response<Self::WatchTaskStream>> {
        let (outgoing, responses) = mpsc::channel(64);
        let watcher = Watcher { request: request.into_inner(), outgoing };
        self.watch.send(watcher).await.map_err(|_| Status::unavailable("stopped"))?;
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn watch_tasks(
        &self,
        _: Request<pb::WatchTasksRequest>,
    ) -> Answer<Response<Self::WatchTasksStream>> {
        Err(refusal(Code::NotFound, "PROJECT_NOT_FOUND", None))
    }

    async fn cancel_task(
        &self,
        _: Request<pb::CancelTaskRequest>,
    ) -> Answer<Response<pb::CancelTaskResponse>> {
        Err(refusal(Code::FailedPrecondition, "TASK_ENDED", None))
    }

    async fn retry_task(&self, _: Request<pb::RetryTaskRequest>) -> Answer<Response<pb::RetryTaskResponse>> {
        Err(refusal(Code::FailedPrecondition, "TASK_NOT_RETRYABLE", None))
    }

    async fn list_task_events(
        &self,
        _: Request<pb::ListTaskEventsRequest>,
    ) -> Answer<Response<pb::ListTaskEventsResponse>> {
        Err(refusal(Code::NotFound, "TASK_NOT_FOUND", None))
    }
}
