//! The whole server in one process: a task from creation to its end, keys, and
//! what outlives a restart.

use std::collections::VecDeque;
use std::path::Path;

use quarterdeck_api::operations::v1 as ops;
use quarterdeck_api::operations::v1::key_service_client::KeyServiceClient;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::session_request::Message as Up;
use quarterdeck_api::orchestration::v1::session_response::Message as Down;
use quarterdeck_api::orchestration::v1::task_service_client::TaskServiceClient;
use quarterdeck_api::orchestration::v1::worker_service_client::WorkerServiceClient;
use quarterdeck_api::r#type::v1::Payload;
use quarterdeck_api::r#type::v1::payload::Content;
use quarterdeck_server::{Embedded, EmbeddedOptions, Storage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

use crate::support::{channel, with_credential, within};

struct World {
    server: Embedded,
    channel: Channel,
    bearer: String,
}

impl World {
    async fn start(storage: Storage) -> Self {
        let server = Embedded::start(EmbeddedOptions { storage, ..Default::default() }).await.unwrap();
        let bearer = format!("Bearer {}", server.credential());
        Self { channel: channel(server.grpc_addr()).await, server, bearer }
    }

    fn on(file: &Path) -> Storage {
        Storage::File(file.to_owned())
    }

    fn ask<T>(&self, message: T) -> tonic::Request<T> {
        with_credential(message, &self.bearer)
    }

    fn tasks(&self) -> TaskServiceClient<Channel> {
        TaskServiceClient::new(self.channel.clone())
    }

    fn keys(&self) -> KeyServiceClient<Channel> {
        KeyServiceClient::new(self.channel.clone())
    }

    async fn create(&self, steps: &[(&str, &[&str])]) -> pb::Task {
        let step = |(key, after): &(&str, &[&str])| pb::PlanStep {
            key: (*key).to_owned(),
            capability: "work".into(),
            input: Some(text("in")),
            after: after.iter().map(|&name| name.into()).collect(),
            ..Default::default()
        };
        let plan = Some(pb::Plan { steps: steps.iter().map(step).collect(), timeout: None });
        let request = self.ask(pb::CreateTaskRequest { plan, ..Default::default() });
        self.tasks().create_task(request).await.unwrap().into_inner().task.unwrap()
    }

    async fn key(&self, roles: &[i32]) -> (String, String) {
        let request = ops::CreateKeyRequest {
            display_name: "test".into(),
            roles: roles.to_vec(),
            projects: vec!["default".into()],
            ..Default::default()
        };
        let answer = self.keys().create_key(self.ask(request)).await.unwrap().into_inner();
        (answer.key.unwrap().id, answer.secret)
    }
}

fn text(text: &str) -> Payload {
    Payload { media_type: "text/plain".into(), content: Some(Content::Data(text.to_owned().into())) }
}

/// An agent that says what the test says.
struct Agent {
    up: mpsc::Sender<pb::SessionRequest>,
    down: Streaming<pb::SessionResponse>,
    /// Assignments that came while something else was waited for.
    given: VecDeque<pb::Assign>,
}

impl Agent {
    async fn connect(world: &World) -> Self {
        let (up, words) = mpsc::channel(16);
        let request = world.ask(ReceiverStream::new(words));
        let mut worker = WorkerServiceClient::new(world.channel.clone());
        let session = worker.session(request).await.unwrap();
        let mut agent = Self { up, down: session.into_inner(), given: VecDeque::new() };
        let hello = pb::Hello {
            agent: "tester".into(),
            capabilities: vec!["work".into()],
            slots: 4,
            ..Default::default()
        };
        agent.say(Up::Hello(hello)).await;
        let welcome = agent.hear().await;
        assert!(matches!(welcome, Down::Welcome(_)), "{welcome:?}");
        agent
    }

    async fn say(&self, message: Up) {
        self.up.send(pb::SessionRequest { message: Some(message) }).await.unwrap();
    }

    async fn hear(&mut self) -> Down {
        within("a message down", self.down.message()).await.unwrap().unwrap().message.unwrap()
    }

    /// Takes the next assignment and completes it.
    async fn work(&mut self) -> pb::Assign {
        while self.given.is_empty() {
            if let Down::Assign(assign) = self.hear().await {
                self.given.push_back(assign);
            }
        }
        let assign = self.given.pop_front().unwrap();
        let output = Some(text(&format!("out of {}", assign.step_key)));
        let token = assign.lease_token.clone();
        self.say(Up::Complete(pb::Complete { lease_token: token.clone(), number: 1, output })).await;
        loop {
            match self.hear().await {
                Down::Ack(ack) => {
                    assert_eq!((ack.lease_token, ack.up_to), (token, 1));
                    return assign;
                }
                Down::Assign(next) => self.given.push_back(next),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_to_its_end_and_its_watch_tells_all_of_it() {
    let world = World::start(Storage::Memory).await;
    let task = world.create(&[("first", &[]), ("second", &["first"])]).await;
    let follow = pb::WatchTaskRequest { task_id: task.id.clone(), ..Default::default() };
    let mut watch = world.tasks().watch_task(world.ask(follow)).await.unwrap().into_inner();

    let mut agent = Agent::connect(&world).await;
    assert_eq!(agent.work().await.step_key, "first");
    let second = agent.work().await;
    assert_eq!(second.step_key, "second");
    assert_eq!(second.dependencies[0].output, Some(text("out of first")));

    let mut kinds = Vec::new();
    while let Some(frame) = within("a frame", watch.message()).await.unwrap() {
        match frame.frame {
            Some(pb::watch_task_response::Frame::Event(event)) => kinds.push(event.kind.unwrap()),
            Some(pb::watch_task_response::Frame::Snapshot(_)) | None => {}
        }
    }
    use pb::task_event::Kind;
    let attempts: Vec<i32> = kinds
        .iter()
        .filter_map(|kind| match kind {
            Kind::StepSucceeded(step) => Some(step.attempt),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [1, 1]);
    assert!(matches!(kinds.last(), Some(Kind::TaskEnded(_))), "{kinds:?}");

    let full = pb::GetTaskRequest { task_id: task.id, view: pb::TaskView::Full.into(), ..Default::default() };
    let ended = world.tasks().get_task(world.ask(full)).await.unwrap().into_inner().task.unwrap();
    assert_eq!(ended.state(), pb::TaskState::Succeeded);
    assert_eq!(ended.steps[1].output, Some(text("out of second")));
    drop(agent);
    assert!(world.server.stop().await.drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_keys_outlive_a_restart_and_the_credential_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quarterdeck.db");
    let world = World::start(World::on(&file)).await;
    let task = world.create(&[("only", &[])]).await;
    let (_, secret) = world.key(&[1]).await;
    let before = world.bearer.clone();
    world.server.stop().await;

    let world = World::start(World::on(&file)).await;
    let get = || pb::GetTaskRequest { task_id: task.id.clone(), ..Default::default() };
    let by_key = with_credential(get(), &format!("Bearer {secret}"));
    assert!(world.tasks().get_task(by_key).await.is_ok());
    let old = world.tasks().get_task(with_credential(get(), &before)).await.unwrap_err();
    assert_eq!(old.get_error_details().error_info().unwrap().reason, "CREDENTIAL_INVALID");
    Agent::connect(&world).await.work().await;
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_key_ends_its_streams() {
    let world = World::start(Storage::Memory).await;
    let task = world.create(&[("only", &[])]).await;
    let (id, secret) = world.key(&[1]).await;
    let follow = pb::WatchTaskRequest { task_id: task.id, ..Default::default() };
    let request = with_credential(follow, &format!("Bearer {secret}"));
    let mut watch = world.tasks().watch_task(request).await.unwrap().into_inner();
    assert!(within("the snapshot", watch.message()).await.unwrap().is_some());
    let revoke = ops::RevokeKeyRequest { key_id: id, ..Default::default() };
    world.keys().revoke_key(world.ask(revoke)).await.unwrap();
    let end = loop {
        match within("the end", watch.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended well"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.get_error_details().error_info().unwrap().reason, "CREDENTIAL_REVOKED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_sends_agents_home_before_its_deadline() {
    let mut options = EmbeddedOptions::default();
    options.limits.drain_deadline = std::time::Duration::from_secs(1);
    let server = Embedded::start(options).await.unwrap();
    let bearer = format!("Bearer {}", server.credential());
    let world = World { channel: channel(server.grpc_addr()).await, server, bearer };
    let mut agent = Agent::connect(&world).await;
    world.server.shutdown().cancel();
    let away = agent.hear().await;
    let Down::GoAway(away) = away else { panic!("{away:?}") };
    assert_eq!(away.cause(), pb::GoAwayCause::Rotate);
    // This agent does not leave: it is told why its stream ends.
    let end = within("the end", agent.down.message()).await.unwrap_err();
    assert_eq!(end.get_error_details().error_info().unwrap().reason, "DRAINING");
    drop(agent);
    let stopped = within("the stop", world.server.wait()).await;
    assert_eq!(stopped.aborted_connections, 0, "{stopped:?}");
}
