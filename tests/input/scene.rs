//! Two projects with everything in them that a request can name: the caller's and
//! one that is none of its business.

use std::sync::atomic::{AtomicU32, Ordering};

use prost_reflect::prost::Message as _;
use quarterdeck_client::api::operations::v1::{
    CreateKeyRequest, CreateProjectRequest, ListKeysRequest, ListProjectsRequest, Project,
};
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::session_request::Message as Up;
use quarterdeck_client::api::orchestration::v1::{
    AcquireStepsRequest, Bye, CancelTaskRequest, CreateTaskRequest, ListAgentsRequest, ListSessionsRequest,
    ListTaskEventsRequest, ListTasksRequest, PlanStep, SessionRequest, WatchTaskRequest, WatchTasksRequest,
};
use quarterdeck_client::{Client, Payload};

use crate::agent::Agent;
use crate::contract::Method;
use crate::expect::within;
use crate::plans::{StepWords as _, plan, step};
use crate::server::Server;
use crate::wishes;
use crate::words::{Known, Words, gather};

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// In everything of the other project that is content and not a name: no answer to
/// the caller may have it.
pub const MARKER: &str = "NOBODY-ELSES-BUSINESS";

/// All roles.
pub const ROLES: [Role; 6] =
    [Role::Viewer, Role::User, Role::Approver, Role::Admin, Role::Agent, Role::Service];

/// What a volley is fired at.
pub struct Scene {
    pub own: Tenant,
    pub foreign: Tenant,
    pub words: Words,
}

/// One project.
pub struct Tenant {
    pub project: String,
    /// A key with all roles in this project.
    pub secret: String,
    /// One of a person who decides, and asks for nothing.
    decider: String,
    agents: Vec<Agent>,
}

impl Scene {
    /// Two new projects.
    pub async fn new(server: &Server) -> Self {
        let mut words = Words::default();
        let own = Tenant::new(server, "own", "no marker", &mut words.own);
        let foreign = Tenant::new(server, MARKER, MARKER, &mut words.foreign);
        let (own, foreign) = futures::join!(own, foreign);
        // What nobody owns may be asked for by name too.
        let services: Vec<String> = Method::all().iter().map(|method| method.service().to_owned()).collect();
        for field in ["service", "file_containing_symbol"] {
            words.own.insert(field.to_owned(), services.clone());
        }
        let file = "quarterdeck/orchestration/v1/task.proto".to_owned();
        words.own.insert("file_by_filename".to_owned(), vec![file]);
        Self { own, foreign, words }
    }

    /// The first and the last message of a stream of this method, where without
    /// them nothing in between would be looked at.
    pub fn frame(&self, method: &Method) -> Option<(Vec<u8>, Vec<u8>)> {
        let hello = Agent::hello(&self.own.project, "visitor", &["visit"], 1);
        let say = |message| SessionRequest { message: Some(message) }.encode_to_vec();
        let session = method.path.ends_with("WorkerService/Session");
        session.then(|| (say(Up::Hello(hello)), say(Up::Bye(Bye {}))))
    }
}

impl Tenant {
    async fn new(server: &Server, content: &str, marker: &str, known: &mut Known) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (project, capability) = (format!("project-{number}"), format!("work-{number}"));
        let admin = server.admin();
        let new = Project { name: project.clone(), display_name: content.to_owned(), ..Project::default() };
        let new = CreateProjectRequest { project: Some(new), ..CreateProjectRequest::default() };
        gather(known, &admin.create_project(new).await.unwrap(), marker);
        let secret = key(&admin, &ROLES, &project, content).await;
        let client = server.client(&secret);
        for _ in 0..3 {
            key(&client, &[Role::Viewer], &project, content).await;
        }
        let agents = agents(&client, &project, &capability, number, content, marker, known).await;
        for state in 0..6 {
            let request = task(&project, content, [step("a", "nobodys").input(Payload::text(content))]);
            let task = client.create_task(request).await.unwrap();
            if state % 2 == 0 {
                let cancel = CancelTaskRequest { task_id: task.id.clone(), ..CancelTaskRequest::default() };
                client.cancel_task(cancel).await.unwrap();
            }
            gather(known, &task, marker);
        }
        lists(&client, &project, marker, known).await;
        let decider = decider(&admin, &project, content).await;
        let lease = known.get("lease_token").and_then(|leases| leases.first()).cloned().unwrap();
        let (whose, deciding) = ((project.as_str(), content), server.client(&decider));
        wishes::make(&client, &deciding, whose, &lease, marker, known).await;
        Self { project, secret, decider, agents }
    }

    /// A credential that may call this method: programs decide on nothing.
    pub fn credential(&self, method: &Method) -> &str {
        let may = |role| method.access.is_some_and(|access| access.roles.contains(&role));
        match may(Role::Approver) && !may(Role::Agent) {
            true => &self.decider,
            false => &self.secret,
        }
    }

    /// Everything of the project that can be read, as text.
    pub async fn content(&self, server: &Server) -> String {
        let (admin, project) = (server.admin(), self.project.clone());
        let mut told = format!("{:?}\n", admin.get_project(&project).await.unwrap());
        let list = ListTasksRequest { project: project.clone(), ..ListTasksRequest::default() };
        for task in admin.list_tasks(list).collect_all().await.unwrap() {
            told += &format!("{:?}\n", admin.get_task(&task.id).await.unwrap());
            told += &format!("{:?}\n", admin.task_events(&task.id).collect_all().await.unwrap());
        }
        let list = ListSessionsRequest { project: project.clone(), ..ListSessionsRequest::default() };
        told += &format!("{:?}\n", admin.list_sessions(list).collect_all().await.unwrap());
        let keys = admin.list_keys().collect_all().await.unwrap();
        let keys = keys.into_iter().filter(|key| key.projects.contains(&project));
        told + &format!("{:?}\n", keys.collect::<Vec<_>>())
    }

    /// Agents that hold something.
    pub fn at_work(&self) -> usize {
        self.agents.len()
    }
}

fn task(project: &str, content: &str, steps: impl IntoIterator<Item = PlanStep>) -> CreateTaskRequest {
    CreateTaskRequest {
        project: project.to_owned(),
        display_name: content.to_owned(),
        labels: [("team".to_owned(), content.to_owned())].into(),
        plan: Some(plan(steps)),
        ..CreateTaskRequest::default()
    }
}

/// The secret of somebody who decides: a person of its own, or it would be who made it.
async fn decider(admin: &Client, project: &str, name: &str) -> String {
    let request = CreateKeyRequest {
        display_name: name.to_owned(),
        roles: [Role::Approver, Role::Admin].map(i32::from).to_vec(),
        projects: vec![project.to_owned()],
        person: format!("decider-of-{project}"),
        ..CreateKeyRequest::default()
    };
    admin.create_key(request).await.unwrap().secret
}

/// The secret of a new key.
pub async fn key(admin: &Client, roles: &[Role], project: &str, name: &str) -> String {
    let request = CreateKeyRequest {
        display_name: name.to_owned(),
        roles: roles.iter().map(|&role| role.into()).collect(),
        projects: vec![project.to_owned()],
        ..CreateKeyRequest::default()
    };
    admin.create_key(request).await.unwrap().secret
}

/// One agent that holds the second of two steps, one that holds nothing, and the
/// session of one that calls.
async fn agents(
    client: &Client,
    project: &str,
    capability: &str,
    number: u32,
    content: &str,
    marker: &str,
    known: &mut Known,
) -> Vec<Agent> {
    let name = format!("agent-{number}");
    let mut busy = Agent::open(client, Agent::hello(project, &name, &[capability], 1)).await.unwrap();
    let idle =
        Agent::open(client, Agent::hello(project, &format!("{name}-idle"), &["idle"], 0)).await.unwrap();
    let steps = [step("first", capability), step("second", capability).after(&["first"])];
    client.create_task(task(project, content, steps)).await.unwrap();
    let first = busy.assigned_step("first").await;
    busy.finish(&first, Payload::text(content)).await;
    let second = busy.assigned_step("second").await;
    // The lease that is held, and a step whose output may be read by it, come first.
    gather(known, &second.dependencies[0], marker);
    for assign in [&second, &first] {
        gather(known, assign, marker);
    }
    let call = AcquireStepsRequest {
        agent: format!("{name}-calling"),
        capabilities: vec!["calls".to_owned()],
        project: project.to_owned(),
        lease: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
        ..AcquireStepsRequest::default()
    };
    gather(known, &client.worker_stub().acquire_steps(call).await.unwrap().into_inner(), marker);
    gather(known, &busy.welcome, marker);
    gather(known, &idle.welcome, marker);
    vec![busy, idle]
}

/// What lists and watches tell: ids, page tokens, cursors.
async fn lists(client: &Client, project: &str, marker: &str, known: &mut Known) {
    let project = project.to_owned();
    let tasks = ListTasksRequest { project: project.clone(), page_size: 3, ..ListTasksRequest::default() };
    let tasks = client.list_tasks_page(tasks).await.unwrap();
    let task_id = tasks.tasks[0].id.clone();
    gather(known, &tasks, marker);
    let events = ListTaskEventsRequest { task_id: task_id.clone(), page_size: 1, page_token: String::new() };
    gather(known, &client.task_stub().list_task_events(events).await.unwrap().into_inner(), marker);
    let keys = ListKeysRequest { page_size: 4, ..ListKeysRequest::default() };
    let mut keys = client.list_keys_page(keys).await.unwrap();
    // Not the key of the caller itself: it is the oldest.
    keys.keys.truncate(3);
    gather(known, &keys, marker);
    let sessions = ListSessionsRequest { project: project.clone(), page_size: 1, ..Default::default() };
    gather(known, &client.list_sessions_page(sessions).await.unwrap(), marker);
    let agents = ListAgentsRequest { project: project.clone(), page_size: 1, ..Default::default() };
    gather(known, &client.agent_stub().list_agents(agents).await.unwrap().into_inner(), marker);
    let projects = ListProjectsRequest::default();
    gather(known, &client.list_projects_page(projects).await.unwrap(), marker);
    let watch = WatchTaskRequest { task_id, resume_after: String::new() };
    let mut frames = client.task_stub().watch_task(watch).await.unwrap().into_inner();
    gather(known, &within("a frame", frames.message()).await.unwrap().unwrap(), marker);
    let watch = WatchTasksRequest { project, ..WatchTasksRequest::default() };
    let mut frames = client.task_stub().watch_tasks(watch).await.unwrap().into_inner();
    gather(known, &within("a frame", frames.message()).await.unwrap().unwrap(), marker);
}
