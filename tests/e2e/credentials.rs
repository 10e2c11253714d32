//! Who may do what: each lack has its own error, and "not yours" looks like "not there".
//! Every RPC with every kind of bad credential is in `../input/credentials.rs`; this
//! is what takes more than one call to see.

use std::time::Duration;

use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::operations::v1::{
    CreateKeyRequest, CreateProjectRequest, ListProjectsRequest, Project, RevokeKeyRequest,
};
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::{
    CancelTaskRequest, ListSessionsRequest, ListTasksRequest, RetryTaskRequest,
};
use quarterdeck_client::{Client, Error, Payload};
use quarterdeck_harness::eventually;

use crate::agent::Agent;
use crate::expect::{refused, refused_field, until, within};
use crate::plans::{plan, step};
use crate::stack::both;
use crate::world::{World, new_key, new_project};

both!(Usual:
    an_expired_key_says_so,
    a_revoked_key_works_nowhere_within_two_seconds,
    another_projects_task_looks_like_none,
    another_project_looks_like_none,
    a_key_never_grows_beyond_its_maker,
    keys_are_listed_without_their_secrets,
    a_key_of_one_project_needs_no_name_for_it,
);

/// A client of the first or the last replica with this credential, or none.
fn with(like: &Client, credential: Option<&str>) -> Client {
    let mut config = like.config().clone();
    config.credential = credential.map(str::to_owned);
    Client::lazy(config).unwrap()
}

fn list(project: &str) -> ListTasksRequest {
    ListTasksRequest { project: project.to_owned(), ..ListTasksRequest::default() }
}

async fn an_expired_key_says_so(world: World) {
    let request = CreateKeyRequest {
        display_name: "brief".to_owned(),
        roles: vec![Role::Viewer.into()],
        projects: vec![world.project.clone()],
        lifetime: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..CreateKeyRequest::default()
    };
    let made = world.admin.create_key(request).await.unwrap();
    assert!(made.key.unwrap().expire_time.is_some());
    for like in [&world.admin, &world.other] {
        let client = with(like, Some(&made.secret));
        let error =
            until("the key to expire", || async { client.list_tasks_page(list(&world.project)).await.err() });
        refused("an expired key", Err::<(), Error>(error.await), Reason::CredentialExpired);
    }
}

async fn a_revoked_key_works_nowhere_within_two_seconds(world: World) {
    let secret = world.key(Role::User).await;
    let clients = [with(&world.admin, Some(&secret)), with(&world.other, Some(&secret))];
    for client in &clients {
        client.list_tasks_page(list(&world.project)).await.unwrap();
    }
    let keys = world.admin.list_keys().collect_all().await.unwrap();
    let key =
        keys.into_iter().find(|key| key.projects == [world.project.clone()]).expect("the key is listed");
    let revoke = RevokeKeyRequest { key_id: key.id.clone(), ..RevokeKeyRequest::default() };
    let revoked = world.admin.revoke_key(revoke.clone()).await.unwrap();
    assert!(revoked.revoke_time.is_some() && revoked.revision > key.revision);
    for client in &clients {
        let probe = || async { client.list_tasks_page(list(&world.project)).await.err() };
        let error = eventually("the revocation to hold", Duration::from_secs(2), probe).await.unwrap();
        refused("a revoked key", Err::<(), Error>(error), Reason::CredentialRevoked);
    }
    assert_eq!(world.other.revoke_key(revoke).await.unwrap().revoke_time, revoked.revoke_time, "again");
    let unknown = RevokeKeyRequest {
        key_id: "key_00000000000000000000000000".to_owned(),
        ..RevokeKeyRequest::default()
    };
    refused("no key", world.admin.revoke_key(unknown).await, Reason::KeyNotFound);
}

async fn another_projects_task_looks_like_none(world: World) {
    let task = world.create(plan([step("a", "work")])).await;
    let mut agent = world.agent("agent", "work", 1).await;
    let assign = agent.assigned().await;
    let elsewhere = new_project(&world.admin).await;
    let secret = new_key(&world.admin, &[Role::Admin, Role::Agent], &[&elsewhere]).await;
    let stranger = with(&world.other, Some(&secret));
    let missing = "tsk_00000000000000000000000000";
    for id in [task.id.as_str(), missing] {
        let cancel = CancelTaskRequest { task_id: id.to_owned(), ..CancelTaskRequest::default() };
        let retry = RetryTaskRequest { task_id: id.to_owned(), ..RetryTaskRequest::default() };
        refused("read", stranger.get_task(id).await, Reason::TaskNotFound);
        refused("history", stranger.task_events(id).collect_all().await, Reason::TaskNotFound);
        refused("cancel", stranger.cancel_task(cancel).await, Reason::TaskNotFound);
        refused("retry", stranger.retry_task(retry).await, Reason::TaskNotFound);
        let watched = within("an answer", stranger.watch_task(id).next_frame()).await.unwrap();
        refused("watch", watched, Reason::TaskNotFound);
    }
    // Nor does knowing a lease help.
    let mut thief = Agent::open(&stranger, Agent::hello(&elsewhere, "thief", &["work"], 1)).await.unwrap();
    thief.complete(&assign, Payload::text("stolen")).await;
    assert_eq!(thief.rejected(&assign).await.reason, "LEASE_STALE");
    agent.finish(&assign, Payload::text("mine")).await;
    let task = world.ended(&task.id).await;
    assert_eq!(Payload::from(task.steps[0].output.clone()).to_text().unwrap(), "mine");
}

async fn another_project_looks_like_none(world: World) {
    let elsewhere = new_project(&world.admin).await;
    let secret = new_key(&world.admin, &[Role::Admin, Role::Agent], &[&elsewhere]).await;
    let stranger = with(&world.other, Some(&secret));
    for project in [world.project.as_str(), "no-such-project"] {
        let mut request = world.request(plan([step("a", "work")]));
        request.project = project.to_owned();
        refused("create", stranger.create_task(request).await, Reason::ProjectNotFound);
        refused("list", stranger.list_tasks_page(list(project)).await, Reason::ProjectNotFound);
        refused("read", stranger.get_project(project).await, Reason::ProjectNotFound);
        let sessions = ListSessionsRequest { project: project.to_owned(), ..ListSessionsRequest::default() };
        refused("sessions", stranger.list_sessions_page(sessions).await, Reason::ProjectNotFound);
        let opened = Agent::open(&stranger, Agent::hello(project, "agent", &["work"], 1)).await;
        refused("session", opened.map(|agent| agent.welcome.clone()), Reason::ProjectNotFound);
    }
    let names = stranger.list_projects_page(ListProjectsRequest::default()).await.unwrap().projects;
    assert_eq!(names.iter().map(|project| project.name.as_str()).collect::<Vec<_>>(), [elsewhere.as_str()]);
    assert_eq!(world.tasks().await, []);
}

async fn a_key_never_grows_beyond_its_maker(world: World) {
    let secret = world.key(Role::Admin).await;
    let admin = with(&world.other, Some(&secret));
    let elsewhere = new_project(&world.admin).await;
    let key = |roles: &[Role], projects: &[&str]| CreateKeyRequest {
        display_name: "grown".to_owned(),
        roles: roles.iter().map(|&role| role.into()).collect(),
        projects: projects.iter().map(|&project| project.to_owned()).collect(),
        all_projects: projects.is_empty(),
        ..CreateKeyRequest::default()
    };
    let own = world.project.as_str();
    let grown = admin.create_key(key(&[Role::Admin], &[])).await;
    refused("all projects", grown, Reason::ProjectNotCovered);
    let error: Error = admin.create_key(key(&[Role::Admin], &[own, &elsewhere])).await.unwrap_err();
    assert!(
        error.is(Reason::ProjectNotFound) || error.is(Reason::ProjectNotCovered),
        "a project of somebody else: {error:?}"
    );
    for role in [Role::Admin, Role::Agent, Role::User] {
        admin.create_key(key(&[role], &[own])).await.expect("an admin holds everything in its project");
    }
    let project = Project { name: format!("{own}-more"), ..Project::default() };
    let create = CreateProjectRequest { project: Some(project), ..CreateProjectRequest::default() };
    refused(
        "projects are for those who cover all",
        admin.create_project(create).await,
        Reason::ProjectNotCovered,
    );
}

async fn keys_are_listed_without_their_secrets(world: World) {
    let first = world.key(Role::Viewer).await;
    let second = world.key(Role::Admin).await;
    let wide = new_key(&world.admin, &[Role::Viewer], &[]).await;
    let admin = with(&world.other, Some(&second));
    let keys = admin.list_keys().collect_all().await.unwrap();
    let roles: Vec<Vec<i32>> = keys.iter().map(|key| key.roles.clone()).collect();
    assert_eq!(
        roles,
        [vec![i32::from(Role::Admin)], vec![Role::Viewer.into()]],
        "newest first, its project only"
    );
    let shown = format!("{keys:?}");
    for secret in [&first, &second, &wide] {
        let hidden = secret.rsplit('_').next().unwrap();
        assert!(!shown.contains(hidden));
    }
    assert!(keys.iter().all(|key| key.id.starts_with("key_") && !key.created_by.is_empty()));
    // A key for all projects is not this admin's to see or to end.
    let all = world.admin.list_keys().collect_all().await.unwrap();
    let foreign = all.iter().find(|key| key.all_projects && key.revoke_time.is_none()).expect("a wide key");
    let revoke = RevokeKeyRequest { key_id: foreign.id.clone(), ..RevokeKeyRequest::default() };
    refused("a wider key", admin.revoke_key(revoke).await, Reason::KeyNotFound);
}

async fn a_key_of_one_project_needs_no_name_for_it(world: World) {
    let secret = new_key(&world.admin, &[Role::User, Role::Agent], &[&world.project]).await;
    let client = with(&world.other, Some(&secret));
    let mut request = world.request(plan([step("a", "work")]));
    request.project.clear();
    let task = client.create_task(request.clone()).await.unwrap();
    assert_eq!((task.project.as_str(), task.created_by.as_str()), (world.project.as_str(), "key:a test"));
    let mut agent = Agent::open(&client, Agent::hello("", "agent", &["work"], 1)).await.unwrap();
    agent.assigned_step("a").await;
    let elsewhere = new_project(&world.admin).await;
    let two = new_key(&world.admin, &[Role::User], &[&world.project, &elsewhere]).await;
    let error = with(&world.other, Some(&two)).create_task(request).await;
    refused_field("one of two projects has to be named", error, Reason::FieldsInvalid, "project");
}
