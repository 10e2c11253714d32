//! The same request id is the same request: it happens once and has one answer.

use std::collections::BTreeSet;

use futures::future::join_all;
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::operations::v1::{
    CreateKeyRequest, CreateProjectRequest, Project, ProjectState, RevokeKeyRequest, UpdateProjectRequest,
};
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::{CancelTaskRequest, RetryTaskRequest, TaskState};
use quarterdeck_client::{Payload, request_id};

use crate::expect::refused;
use crate::plans::{StepWords, plan, step};
use crate::stack::both;
use crate::world::World;

both!(Usual:
    the_same_request_id_gives_one_task,
    the_same_request_id_at_the_same_time_gives_one_task,
    another_body_under_the_same_request_id_is_refused,
    without_a_request_id_every_call_counts,
    a_retry_happens_once,
    a_cancel_is_remembered,
    a_project_is_created_once,
    a_change_of_a_project_is_remembered,
    a_key_is_created_once_and_its_secret_shown_once,
    a_refused_request_leaves_its_id_free,
);

async fn the_same_request_id_gives_one_task(world: World) {
    let mut request = world.request(plan([step("a", "work").input(Payload::text("x"))]));
    request.request_id = request_id();
    request.labels.insert("b".to_owned(), "2".to_owned());
    let first = world.admin.create_task(request.clone()).await.unwrap();
    let again = world.other.create_task(request.clone()).await.unwrap();
    assert_eq!(again.id, first.id);
    // Also long after, when the task has moved on.
    let _agent = world.work(&world.admin, "agent", &["work"], 1, |_| async { Ok(Payload::empty()) });
    world.ended(&first.id).await;
    assert_eq!(world.other.create_task(request).await.unwrap().id, first.id);
    assert_eq!(world.tasks().await.len(), 1);
    assert_eq!(world.ended(&first.id).await.revision, 4);
}

async fn the_same_request_id_at_the_same_time_gives_one_task(world: World) {
    for _ in 0..4 {
        let before = world.tasks().await.len();
        let mut request = world.request(plan([step("a", "work")]));
        request.request_id = request_id();
        let calls = (0..16).map(|at| world.replica(at).create_task(request.clone()));
        let ids: BTreeSet<String> = join_all(calls).await.into_iter().map(|task| task.unwrap().id).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert_eq!(world.tasks().await.len(), before + 1);
    }
}

async fn another_body_under_the_same_request_id_is_refused(world: World) {
    let mut request = world.request(plan([step("a", "work")]));
    request.request_id = request_id();
    let first = world.admin.create_task(request.clone()).await.unwrap();
    let base = request.clone();
    let changed = |change: fn(&mut quarterdeck_client::api::orchestration::v1::CreateTaskRequest)| {
        let mut other = base.clone();
        change(&mut other);
        other
    };
    for (what, other) in [
        ("name", changed(|request| request.display_name = "other".to_owned())),
        ("label", changed(|request| drop(request.labels.insert("a".to_owned(), "b".to_owned())))),
        ("priority", changed(|request| request.plan.as_mut().unwrap().steps[0].priority = 1)),
        (
            "input",
            changed(|request| {
                request.plan.as_mut().unwrap().steps[0].input = Some(Payload::text("y").into_proto())
            }),
        ),
        ("step", changed(|request| request.plan.as_mut().unwrap().steps.push(step("b", "work")))),
    ] {
        refused(what, world.other.create_task(other).await, Reason::RequestIdReused);
    }
    assert_eq!(world.tasks().await.len(), 1);
    assert_eq!(world.admin.create_task(request).await.unwrap().id, first.id, "the first stays what it was");
}

async fn without_a_request_id_every_call_counts(world: World) {
    let request = world.request(plan([step("a", "work")]));
    assert!(request.request_id.is_empty());
    // The client library fills it in; this is the bare call.
    for _ in 0..2 {
        world.admin.task_stub().create_task(request.clone()).await.unwrap();
    }
    assert_eq!(world.tasks().await.len(), 2);
}

async fn a_retry_happens_once(world: World) {
    let task = world.create(plan([step("a", "work")])).await;
    let mut request = RetryTaskRequest { task_id: task.id.clone(), request_id: request_id() };
    refused("a running task", world.admin.retry_task(request.clone()).await, Reason::TaskNotRetryable);
    world.cancel(&world.admin, &task.id).await.unwrap();
    request.request_id = request_id();
    let calls = (0..8).map(|at| world.replica(at).retry_task(request.clone()));
    let ids: BTreeSet<String> = join_all(calls).await.into_iter().map(|task| task.unwrap().id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(world.tasks().await.len(), 2);
    let retry = ids.first().unwrap();
    world.cancel(&world.admin, retry).await.unwrap();
    let other = RetryTaskRequest { task_id: retry.clone(), ..request.clone() };
    refused("another task", world.other.retry_task(other).await, Reason::RequestIdReused);
    let another = RetryTaskRequest { request_id: request_id(), ..request };
    assert_ne!(world.other.retry_task(another).await.unwrap().id, *retry, "another id is another retry");
}

async fn a_cancel_is_remembered(world: World) {
    let (one, two) =
        (world.create(plan([step("a", "work")])).await, world.create(plan([step("a", "work")])).await);
    let request = CancelTaskRequest {
        task_id: one.id.clone(),
        request_id: request_id(),
        comment: "because".to_owned(),
        if_revision_match: Some(one.revision),
    };
    let first = world.admin.cancel_task(request.clone()).await.unwrap();
    // By now the revision is another; the answer is the same.
    let again = world.other.cancel_task(request.clone()).await.unwrap();
    assert_eq!((again.revision, again.state()), (first.revision, TaskState::Canceled));
    let other = CancelTaskRequest { task_id: two.id.clone(), ..request.clone() };
    refused("another task", world.other.cancel_task(other).await, Reason::RequestIdReused);
    let comment = CancelTaskRequest { comment: "or not".to_owned(), ..request };
    refused("another comment", world.other.cancel_task(comment).await, Reason::RequestIdReused);
    assert_eq!(world.task(&two.id).await.state(), TaskState::Running);
}

async fn a_project_is_created_once(world: World) {
    let name = format!("{}-once", world.project);
    let project = Project { name, display_name: "Once".to_owned(), ..Project::default() };
    let request = CreateProjectRequest { request_id: request_id(), project: Some(project.clone()) };
    let calls = (0..8).map(|at| world.replica(at).create_project(request.clone()));
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap().display_name, "Once");
    }
    let mut other = request.clone();
    other.project.as_mut().unwrap().display_name = "Twice".to_owned();
    refused("another body", world.other.create_project(other).await, Reason::RequestIdReused);
    let second = CreateProjectRequest { request_id: request_id(), ..request };
    refused("another id", world.other.create_project(second).await, Reason::ProjectExists);
}

async fn a_change_of_a_project_is_remembered(world: World) {
    let project =
        Project { name: world.project.clone(), display_name: "New".to_owned(), ..Project::default() };
    let request = UpdateProjectRequest {
        request_id: request_id(),
        project: Some(project),
        update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".to_owned()] }),
        if_revision_match: Some(1),
    };
    let first = world.admin.update_project(request.clone()).await.unwrap();
    assert_eq!(
        (first.display_name.as_str(), first.revision, first.state()),
        ("New", 2, ProjectState::Active)
    );
    let again = world.other.update_project(request.clone()).await.unwrap();
    assert_eq!(again.revision, 2);
    let mut other = request;
    other.project.as_mut().unwrap().display_name = "Other".to_owned();
    refused("another body", world.other.update_project(other).await, Reason::RequestIdReused);
}

async fn a_key_is_created_once_and_its_secret_shown_once(world: World) {
    let request = CreateKeyRequest {
        request_id: request_id(),
        display_name: "once".to_owned(),
        roles: vec![Role::Viewer.into()],
        projects: vec![world.project.clone()],
        ..CreateKeyRequest::default()
    };
    let first = world.admin.create_key(request.clone()).await.unwrap();
    assert!(first.secret.starts_with("qd_"));
    let again = world.other.create_key(request.clone()).await.unwrap();
    assert_eq!(
        (again.key.as_ref().unwrap().id.as_str(), again.secret.as_str()),
        (first.key.as_ref().unwrap().id.as_str(), "")
    );
    let other = CreateKeyRequest { display_name: "other".to_owned(), ..request };
    refused("another body", world.other.create_key(other).await, Reason::RequestIdReused);

    let key_id = first.key.unwrap().id;
    let revoke = RevokeKeyRequest { key_id: key_id.clone(), request_id: request_id() };
    let revoked = world.admin.revoke_key(revoke.clone()).await.unwrap();
    assert_eq!(world.other.revoke_key(revoke.clone()).await.unwrap().revoke_time, revoked.revoke_time);
    let second = world.admin.create_key(CreateKeyRequest {
        request_id: request_id(),
        display_name: "second".to_owned(),
        roles: vec![Role::Viewer.into()],
        projects: vec![world.project.clone()],
        ..CreateKeyRequest::default()
    });
    let other = RevokeKeyRequest { key_id: second.await.unwrap().key.unwrap().id, ..revoke };
    refused("another key", world.admin.revoke_key(other).await, Reason::RequestIdReused);
}

async fn a_refused_request_leaves_its_id_free(world: World) {
    let mut request = world.request(plan([step("a", "work").after(&["none"])]));
    request.request_id = request_id();
    refused("a plan that is none", world.admin.create_task(request.clone()).await, Reason::PlanInvalid);
    request.plan = Some(plan([step("a", "work")]));
    world.other.create_task(request).await.unwrap();
    assert_eq!(world.tasks().await.len(), 1);
}
