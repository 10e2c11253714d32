//! Somebody with a connection, an agent and a watch of their own, who must notice
//! nothing of what others send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quarterdeck_client::api::operations::v1::{CreateProjectRequest, Project};
use quarterdeck_client::api::orchestration::v1::CreateTaskRequest;
use quarterdeck_client::{Client, FrameKind, Payload};
use tokio::task::JoinHandle;

use crate::agent::Agent;
use crate::expect::within;
use crate::plans::{plan, step};
use crate::server::Server;

const PROJECT: &str = "neighbour";
const EVERY: Duration = Duration::from_millis(100);

/// At home until [`Neighbour::noticed_nothing`].
pub struct Neighbour {
    client: Client,
    agent: Agent,
    task: String,
    over: Arc<AtomicBool>,
    reading: JoinHandle<u64>,
}

impl Neighbour {
    pub async fn new(server: &Server) -> Self {
        // No call is repeated: each one has to succeed.
        let client = server.admin().without_retries();
        let project = Project { name: PROJECT.to_owned(), ..Project::default() };
        let project = CreateProjectRequest { project: Some(project), ..CreateProjectRequest::default() };
        client.create_project(project).await.unwrap();
        let agent =
            Agent::open(&client, Agent::hello(PROJECT, "neighbour", &["neighbourly"], 1)).await.unwrap();
        let task = create(&client, "nobodys").await;
        let over = Arc::new(AtomicBool::new(false));
        let reading = tokio::spawn(read(client.clone(), task.clone(), Arc::clone(&over)));
        Self { client, agent, task, over, reading }
    }

    /// Everything was answered, and the session and the connection are the same.
    pub async fn noticed_nothing(mut self) {
        self.over.store(true, Ordering::Relaxed);
        let answers =
            within("the neighbour's last answer", self.reading).await.expect("all answers are good");
        assert!(answers > 0, "the neighbour has asked");
        let mut watch = self.client.watch_task(&self.task);
        let frame = within("the neighbour's watch", watch.next_frame()).await.unwrap().unwrap();
        assert!(matches!(frame.kind, FrameKind::Snapshot(_)), "{frame:?}");
        let task = create(&self.client, "neighbourly").await;
        let assign = self.agent.assigned().await;
        assert_eq!(assign.task_id, task);
        self.agent.finish(&assign, Payload::text("done")).await;
        self.agent.bye().await;
    }
}

async fn read(client: Client, task: String, over: Arc<AtomicBool>) -> u64 {
    let mut turns = tokio::time::interval(EVERY);
    let mut answers = 0;
    while !over.load(Ordering::Relaxed) {
        turns.tick().await;
        let known = within("an answer for the neighbour", client.get_task(&task)).await;
        assert_eq!(known.expect("an answer for the neighbour").id, task);
        answers += 1;
    }
    answers
}

async fn create(client: &Client, capability: &str) -> String {
    let plan = Some(plan([step("a", capability)]));
    let request = CreateTaskRequest { project: PROJECT.to_owned(), plan, ..CreateTaskRequest::default() };
    client.create_task(request).await.unwrap().id
}
