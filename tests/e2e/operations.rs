//! Projects, agents, health, reflection, metrics: what operators live by.

use std::collections::BTreeSet;

use futures::stream;
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::operations::v1::{
    CreateProjectRequest, ListProjectsRequest, Project, ProjectState, UpdateProjectRequest,
};
use quarterdeck_client::api::orchestration::v1::{
    DrainAgentRequest, GoAwayCause, ListAgentsRequest, ListSessionsRequest, SessionState, TaskState,
    drain_agent_request,
};
use quarterdeck_client::{Client, Code, Ended, Health, Payload};
use tonic::transport::Endpoint;
use tonic_reflection::pb::{v1, v1alpha};

use crate::agent::Agent;
use crate::expect::{refused, refused_field, until, within};
use crate::plans::{plan, step};
use crate::stack::{Pace, Stack, both};
use crate::world::World;

both!(Usual:
    a_project_is_read_and_changed_by_its_mask,
    an_archived_project_takes_no_new_tasks,
    projects_are_listed_by_name,
    agents_and_sessions_are_listed,
    a_drained_agent_finishes_and_gets_nothing_new,
    a_worker_of_the_client_library_ends_when_it_is_drained,
    everything_reports_its_health_without_a_credential,
    reflection_lists_everything_without_a_credential,
);

/// Every service of the contract.
const SERVICES: [&str; 5] = [
    "quarterdeck.orchestration.v1.TaskService",
    "quarterdeck.orchestration.v1.WorkerService",
    "quarterdeck.orchestration.v1.AgentService",
    "quarterdeck.operations.v1.ProjectService",
    "quarterdeck.operations.v1.KeyService",
];

fn change(project: Project, mask: &[&str], revision: Option<i64>) -> UpdateProjectRequest {
    let paths = mask.iter().map(|&path| path.to_owned()).collect();
    UpdateProjectRequest {
        project: Some(project),
        update_mask: Some(prost_types::FieldMask { paths }),
        if_revision_match: revision,
        ..UpdateProjectRequest::default()
    }
}

async fn a_project_is_read_and_changed_by_its_mask(world: World) {
    let project = world.admin.get_project(&world.project).await.unwrap();
    assert_eq!(
        (project.state(), project.revision, project.display_name.as_str()),
        (ProjectState::Active, 1, "")
    );
    assert!(project.create_time.is_some());
    let mut wanted =
        Project { name: project.name.clone(), display_name: "Fleet".to_owned(), ..Project::default() };
    wanted.set_state(ProjectState::Archived);
    let changed =
        world.other.update_project(change(wanted.clone(), &["display_name"], Some(1))).await.unwrap();
    assert_eq!(
        (changed.state(), changed.revision, changed.display_name.as_str()),
        (ProjectState::Active, 2, "Fleet")
    );
    let late = world.admin.update_project(change(wanted.clone(), &["state"], Some(1))).await;
    refused("another revision", late, Reason::RevisionMismatch);
    let unknown = world.admin.update_project(change(wanted.clone(), &["name"], None)).await;
    refused_field("a field that never changes", unknown, Reason::FieldsInvalid, "update_mask");
    wanted.name = "no-such-project".to_owned();
    refused(
        "no project",
        world.admin.update_project(change(wanted, &["state"], None)).await,
        Reason::ProjectNotFound,
    );
    assert_eq!(world.other.get_project(&world.project).await.unwrap(), changed);

    let again = Project { name: world.project.clone(), ..Project::default() };
    let again = CreateProjectRequest { project: Some(again), ..CreateProjectRequest::default() };
    refused("a name that is taken", world.other.create_project(again).await, Reason::ProjectExists);
    let bad = Project { name: "A".to_owned(), ..Project::default() };
    let bad = CreateProjectRequest { project: Some(bad), ..CreateProjectRequest::default() };
    refused_field("a bad name", world.admin.create_project(bad).await, Reason::FieldsInvalid, "project.name");
}

async fn an_archived_project_takes_no_new_tasks(world: World) {
    let running = world.create(plan([step("a", "work")])).await;
    let over = world.create(plan([step("a", "work")])).await;
    world.cancel(&world.admin, &over.id).await.unwrap();
    let mut project = Project { name: world.project.clone(), ..Project::default() };
    project.set_state(ProjectState::Archived);
    let archived = world.admin.update_project(change(project.clone(), &["state"], None)).await.unwrap();
    assert_eq!(archived.state(), ProjectState::Archived);
    for client in [&world.admin, &world.other] {
        // The other replica may hold the project in memory for a moment.
        let error = until("the archive to hold", || async {
            client.create_task(world.request(plan([step("a", "none")]))).await.err()
        });
        refused("create", Err::<(), _>(error.await), Reason::ProjectArchived);
    }
    let again = quarterdeck_client::api::orchestration::v1::RetryTaskRequest {
        task_id: over.id,
        ..Default::default()
    };
    refused("retry", world.admin.retry_task(again).await, Reason::ProjectArchived);
    // What runs goes on.
    let _agent = world.work(&world.other, "agent", &["work"], 1, |_| async { Ok(Payload::empty()) });
    assert_eq!(world.ended(&running.id).await.state(), TaskState::Succeeded);
    project.set_state(ProjectState::Active);
    world.admin.update_project(change(project, &["state"], None)).await.unwrap();
    until("the project to be open again", || async {
        world.other.create_task(world.request(plan([step("a", "none")]))).await.ok()
    })
    .await;
}

async fn projects_are_listed_by_name(world: World) {
    let mut request = ListProjectsRequest { page_size: 2, ..ListProjectsRequest::default() };
    let mut names = Vec::new();
    loop {
        let page = world.other.list_projects_page(request.clone()).await.unwrap();
        assert!(page.projects.len() <= 2);
        names.extend(page.projects.into_iter().map(|project| project.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert!(
        names.is_sorted() && names.contains(&"default".to_owned()) && names.contains(&world.project),
        "{names:?}"
    );
    request.page_token = "garbage".to_owned();
    refused("garbage", world.admin.list_projects_page(request).await, Reason::CursorInvalid);
}

fn sessions_of(world: &World, agent: &str) -> ListSessionsRequest {
    ListSessionsRequest {
        project: world.project.clone(),
        agent: agent.to_owned(),
        ..ListSessionsRequest::default()
    }
}

async fn agents_and_sessions_are_listed(world: World) {
    let mut first = world.agent("reader", "read", 2).await;
    let second = world.agent_at(&world.other, "reader", "digest", 3).await;
    let gone = world.agent("writer", "write", 1).await;
    let gone_id = gone.welcome.session_id.clone();
    gone.bye().await;
    world.create(plan([step("a", "read")])).await;
    first.assigned().await;

    let request = ListAgentsRequest { project: world.project.clone(), ..ListAgentsRequest::default() };
    let agents = world.other.list_agents(request.clone()).collect_all().await.unwrap();
    let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, ["reader", "writer"], "by name, those of the last hour too");
    let reader = &agents[0];
    assert_eq!((reader.open_sessions, reader.slots, reader.held_steps), (2, 5, 1));
    assert_eq!(reader.capabilities.iter().collect::<BTreeSet<_>>().len(), 2);
    assert_eq!((agents[1].open_sessions, agents[1].held_steps), (0, 0));

    let sessions = world.admin.list_sessions(sessions_of(&world, "")).collect_all().await.unwrap();
    // By id: sessions opened on two replicas within a millisecond are in no other order.
    assert!(sessions.is_sorted_by(|one, next| one.id > next.id), "newest first");
    let found: BTreeSet<(&str, SessionState, i32)> =
        sessions.iter().map(|session| (session.id.as_str(), session.state(), session.held_steps)).collect();
    let expected = BTreeSet::from([
        (first.welcome.session_id.as_str(), SessionState::Open, 1),
        (second.welcome.session_id.as_str(), SessionState::Open, 0),
        (gone_id.as_str(), SessionState::Closed, 0),
    ]);
    assert_eq!(found, expected);
    assert!(sessions.iter().all(|session| !session.replica.is_empty() && !session.principal.is_empty()));
    let readers = world.admin.list_sessions(sessions_of(&world, "reader")).collect_all().await.unwrap();
    assert_eq!(readers.len(), 2);
    let paged = ListSessionsRequest { page_size: 1, ..sessions_of(&world, "") };
    let ids = |sessions: &[quarterdeck_client::api::orchestration::v1::Session]| -> Vec<String> {
        sessions.iter().map(|session| session.id.clone()).collect()
    };
    assert_eq!(ids(&world.other.list_sessions(paged).collect_all().await.unwrap()), ids(&sessions));
    let garbage = ListAgentsRequest { page_token: "garbage".to_owned(), ..request };
    refused("garbage", world.admin.list_agents_page(garbage).await, Reason::CursorInvalid);
}

fn drain(world: &World, target: drain_agent_request::Target) -> DrainAgentRequest {
    DrainAgentRequest { project: world.project.clone(), target: Some(target), ..DrainAgentRequest::default() }
}

async fn a_drained_agent_finishes_and_gets_nothing_new(world: World) {
    let mut old = world.agent("old", "work", 3).await;
    let task = world.create(plan([step("a", "work")])).await;
    let assign = old.assigned().await;
    let by_name = || drain(&world, drain_agent_request::Target::Agent("old".to_owned()));
    let drained = world.other.drain_agent(by_name()).await.unwrap();
    assert_eq!(drained.len(), 1);
    assert_eq!((&drained[0].id, drained[0].state()), (&old.welcome.session_id, SessionState::Draining));
    assert_eq!(old.sent_away().await, GoAwayCause::Drain);
    assert_eq!(world.admin.drain_agent(by_name()).await.unwrap().len(), 1, "again changes nothing");

    // It has two slots free, and yet what is new goes to another.
    let second = world.create(plan([step("b", "work"), step("c", "work")])).await;
    let mut new = world.agent("new", "work", 1).await;
    for _ in 0..2 {
        let assign = new.assigned().await;
        new.finish(&assign, Payload::empty()).await;
    }
    assert!(old.heard_no_assignment());
    old.finish(&assign, Payload::text("to the end")).await;
    for id in [&task.id, &second.id] {
        assert_eq!(world.ended(id).await.state(), TaskState::Succeeded);
    }
    old.bye().await;
    let by_id = drain_agent_request::Target::SessionId(new.welcome.session_id.clone());
    assert_eq!(world.other.drain_agent(drain(&world, by_id)).await.unwrap().len(), 1);
    assert_eq!(new.sent_away().await, GoAwayCause::Drain);
    for nobody in [
        drain_agent_request::Target::Agent("nobody".to_owned()),
        drain_agent_request::Target::SessionId("ses_00000000000000000000000000".to_owned()),
    ] {
        refused("nobody", world.admin.drain_agent(drain(&world, nobody)).await, Reason::SessionNotFound);
    }
}

async fn a_worker_of_the_client_library_ends_when_it_is_drained(world: World) {
    let worker = world.work(&world.admin, "worker", &["work"], 2, |_| async { Ok(Payload::empty()) });
    let task = world.create(plan([step("a", "work")])).await;
    world.ended(&task.id).await;
    let target = drain_agent_request::Target::Agent("worker".to_owned());
    world.other.drain_agent(drain(&world, target)).await.unwrap();
    assert_eq!(worker.ended().await, Ended::Drained);
    let sessions = world.admin.list_sessions(sessions_of(&world, "worker")).collect_all().await.unwrap();
    assert_eq!(sessions[0].state(), SessionState::Closed);
}

async fn everything_reports_its_health_without_a_credential(world: World) {
    let mut config = world.other.config().clone();
    config.credential = None;
    let client = Client::lazy(config).unwrap();
    for name in SERVICES.into_iter().chain(["", "live", "ready"]) {
        assert_eq!(client.health(name).await.unwrap(), Health::Serving, "{name:?}");
    }
    let unknown = client.health("no.such.Service").await.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound, "as grpc.health.v1 has it: {unknown:?}");
}

async fn reflection_lists_everything_without_a_credential(world: World) {
    let channel =
        Endpoint::from_shared(world.other.config().endpoint.clone()).unwrap().connect().await.unwrap();
    let ask = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(stream::iter([ask])).await.unwrap().into_inner();
    let answer = within("reflection", answers.message()).await.unwrap().unwrap().message_response;
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("{answer:?}");
    };
    let listed = list.service.into_iter().map(|service| service.name);
    all_services("v1", listed.collect());

    let ask = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(stream::iter([ask])).await.unwrap().into_inner();
    let answer = within("reflection", answers.message()).await.unwrap().unwrap().message_response;
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer
    else {
        panic!("{answer:?}");
    };
    let listed = list.service.into_iter().map(|service| service.name);
    all_services("v1alpha", listed.collect());
}

#[track_caller]
fn all_services(version: &str, listed: BTreeSet<String>) {
    for name in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
        assert!(listed.contains(name), "{version} does not list {name}: {listed:?}");
    }
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    for stack in [Stack::shared_sqlite(Pace::Usual).await, Stack::shared_postgres(Pace::Usual).await] {
        let world = World::on(stack).await;
        let mut agent: Agent = world.agent("agent", "work", 1).await;
        let task = world.create(plan([step("a", "work")])).await;
        let assign = agent.assigned().await;
        agent.finish(&assign, Payload::empty()).await;
        world.ended(&task.id).await;
        let metrics = stack.replicas[0].metrics().await.unwrap();
        for name in [
            "quarterdeck_commits_total",
            "quarterdeck_commit_batches_total",
            "quarterdeck_commit_batch_size",
            "quarterdeck_steps_assigned_total",
            "quarterdeck_steps_finished_total",
            "quarterdeck_tasks_created_total",
            "quarterdeck_tasks_ended_total",
            "quarterdeck_sessions_attached",
            "quarterdeck_grpc_requests_total",
            "quarterdeck_grpc_request_seconds",
            "quarterdeck_connections",
            "quarterdeck_ready",
        ] {
            let sample = |line: &str| line.starts_with(name) && !line.starts_with('#');
            assert!(metrics.lines().any(sample), "{name} is missing from\n{metrics}");
        }
        let value = |name: &str| -> f64 {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        assert!(value("quarterdeck_tasks_created_total") >= 1.0);
        assert!(value("quarterdeck_steps_finished_total") >= 1.0);
        assert_eq!(value("quarterdeck_ready"), 1.0);
        assert!(!metrics.contains(world.admin.config().credential.as_deref().unwrap()));
    }
}
