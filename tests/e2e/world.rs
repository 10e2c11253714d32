//! What one test sees: a project of its own, reached through one or two replicas.

use std::sync::atomic::{AtomicU32, Ordering};

use quarterdeck_client::api::operations::v1::{CreateKeyRequest, CreateProjectRequest, Project};
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::{
    CancelTaskRequest, CreateTaskRequest, GetTaskRequest, ListTasksRequest, Plan, Step, StopCode, Task,
    TaskEvent, TaskView,
};
use quarterdeck_client::{CancellationToken, Client, Ended, Error, Payload, StepContext, StepError, Worker};
use tokio::task::JoinHandle;

use crate::agent::Agent;
use crate::expect::{PATIENCE, within};
use crate::history::{self, History};
use crate::stack::{Pace, Stack};

static PROJECTS: AtomicU32 = AtomicU32::new(1);

/// A project of an installation.
#[derive(Clone)]
pub struct World {
    /// An admin of everything, connected to the first replica.
    pub admin: Client,
    /// The same on the last replica; on SQLite there is but one.
    pub other: Client,
    /// A project that no other test knows.
    pub project: String,
}

impl World {
    /// A project on the shared `quarterdeck dev`.
    pub async fn on_sqlite(pace: Pace) -> Self {
        Self::on(Stack::shared_sqlite(pace).await).await
    }

    /// A project on the shared replicas.
    pub async fn on_postgres(pace: Pace) -> Self {
        Self::on(Stack::shared_postgres(pace).await).await
    }

    /// A new project on this installation.
    pub async fn on(stack: &Stack) -> Self {
        let last = stack.replicas.len() - 1;
        let (admin, other) = (stack.admin(0), stack.admin(last));
        let project = new_project(&admin).await;
        Self { admin, other, project }
    }

    /// The replicas, for calls that shall be spread over them.
    pub fn replica(&self, number: usize) -> &Client {
        if number.is_multiple_of(2) { &self.admin } else { &self.other }
    }

    /// A request to create a task with this plan here.
    pub fn request(&self, plan: Plan) -> CreateTaskRequest {
        CreateTaskRequest { project: self.project.clone(), plan: Some(plan), ..CreateTaskRequest::default() }
    }

    /// Creates a task.
    pub async fn create(&self, plan: Plan) -> Task {
        self.admin.create_task(self.request(plan)).await.unwrap()
    }

    /// The history so far, checked.
    pub async fn history(&self, task: &str) -> History {
        history::check(&self.events(task).await)
    }

    /// The events so far.
    pub async fn events(&self, task: &str) -> Vec<TaskEvent> {
        self.admin.task_events(task).collect_all().await.unwrap()
    }

    /// The task when it has ended, with payloads; its history is checked on the way.
    pub async fn ended(&self, task: &str) -> Task {
        let Ok(ended) = tokio::time::timeout(PATIENCE, self.admin.wait_for_task(task)).await else {
            panic!("{task} did not end within {PATIENCE:?}:\n{}", history::told(&self.events(task).await));
        };
        let task = ended.unwrap();
        let history = self.history(&task.id).await;
        let ended = history.ended.expect("an ended task's history has an end");
        assert_eq!((ended.state, ended.stop_reason), (task.state, task.stop_reason.clone()));
        task
    }

    /// The task now, without payloads.
    pub async fn task(&self, task: &str) -> Task {
        let view = TaskView::Basic.into();
        let request = GetTaskRequest { task_id: task.to_owned(), view, step_keys: Vec::new() };
        self.admin.get_task_with(request).await.unwrap()
    }

    /// One step now, with its payloads.
    pub async fn step(&self, task: &str, key: &str) -> Step {
        let step_keys = vec![key.to_owned()];
        let request = GetTaskRequest { task_id: task.to_owned(), view: TaskView::Full.into(), step_keys };
        let mut task = self.admin.get_task_with(request).await.unwrap();
        assert_eq!(task.steps.len(), 1, "one step was asked for");
        task.steps.remove(0)
    }

    /// Cancels a task through this client.
    pub async fn cancel(&self, client: &Client, task: &str) -> Result<Task, Error> {
        let request = CancelTaskRequest { task_id: task.to_owned(), ..CancelTaskRequest::default() };
        client.cancel_task(request).await
    }

    /// Every task of the project, newest first.
    pub async fn tasks(&self) -> Vec<Task> {
        let request = ListTasksRequest { project: self.project.clone(), ..ListTasksRequest::default() };
        self.admin.list_tasks(request).collect_all().await.unwrap()
    }

    /// Opens a session with the first replica.
    pub async fn agent(&self, name: &str, capability: &str, slots: i32) -> Agent {
        self.agent_at(&self.admin, name, capability, slots).await
    }

    /// Opens a session through this client.
    pub async fn agent_at(&self, client: &Client, name: &str, capability: &str, slots: i32) -> Agent {
        Agent::open(client, Agent::hello(&self.project, name, &[capability], slots)).await.unwrap()
    }

    /// Runs an agent of the client library until it is dropped or stopped.
    pub fn work<F, Fut>(
        &self,
        client: &Client,
        name: &str,
        capabilities: &[&str],
        slots: u32,
        run: F,
    ) -> Working
    where
        F: Fn(StepContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Payload, StepError>> + Send + 'static,
    {
        let mut builder = Worker::builder(client, name).project(&self.project).slots(slots);
        for &capability in capabilities {
            builder = builder.capability(capability);
        }
        let worker = builder.handler(run).build().unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(worker.run(shutdown.clone()));
        Working { shutdown, running }
    }

    /// The secret of a new key for this project.
    pub async fn key(&self, role: Role) -> String {
        new_key(&self.admin, &[role], &[&self.project]).await
    }
}

/// A worker at work.
pub struct Working {
    shutdown: CancellationToken,
    running: JoinHandle<Result<Ended, Error>>,
}

impl Working {
    /// Lets it finish and waits for its end.
    pub async fn stop(mut self) -> Ended {
        self.shutdown.cancel();
        within("the end of a worker", &mut self.running).await.unwrap().unwrap()
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Ended {
        within("the end of a worker", &mut self.running).await.unwrap().unwrap()
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Creates a project that no other test knows.
pub async fn new_project(admin: &Client) -> String {
    let number = PROJECTS.fetch_add(1, Ordering::Relaxed);
    let project = Project { name: format!("test-{number}"), ..Project::default() };
    let request = CreateProjectRequest { project: Some(project), ..CreateProjectRequest::default() };
    within("a project", admin.with_deadline(PATIENCE).create_project(request)).await.unwrap().name
}

/// The secret of a new key.
pub async fn new_key(admin: &Client, roles: &[Role], projects: &[&str]) -> String {
    let request = CreateKeyRequest {
        display_name: "a test".to_owned(),
        roles: roles.iter().map(|&role| role.into()).collect(),
        projects: projects.iter().map(|&project| project.to_owned()).collect(),
        all_projects: projects.is_empty(),
        ..CreateKeyRequest::default()
    };
    admin.create_key(request).await.unwrap().secret
}

/// The code that a task ended with.
#[track_caller]
pub fn stopped(task: &Task) -> StopCode {
    task.stop_reason.as_ref().expect("an ended task has a reason").code()
}
