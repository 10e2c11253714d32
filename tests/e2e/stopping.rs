//! Stopping in order, and callers that do not wait.

use std::time::{Duration, Instant};

use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::{GoAwayCause, TaskState};
use quarterdeck_client::{Code, Error, Health, Payload, request_id};

use crate::agent::Agent;
use crate::expect::{refused, until, within};
use crate::plans::{StepWords, plan, step};
use crate::stack::{Pace, Stack};
use crate::world::{World, new_key};

/// What `serve` and `dev` give themselves to drain, unless told otherwise.
const DRAIN: Duration = Duration::from_secs(25);

#[tokio::test]
async fn a_server_that_is_asked_to_stop_lets_agents_finish() {
    let mut stack = Stack::sqlite(Pace::Usual).await;
    let world = World::on(&stack).await;
    let task = world.create(plan([step("a", "work"), step("b", "work").after(&["a"])])).await;
    let mut agent = world.agent("agent", "work", 2).await;
    let assign = agent.assigned().await;
    let mut watch = world
        .admin
        .task_stub()
        .watch_task(quarterdeck_client::api::orchestration::v1::WatchTaskRequest {
            task_id: task.id.clone(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    within("a snapshot", watch.message()).await.unwrap().unwrap();

    stack.replicas[0].ask_to_stop().unwrap();
    let asked = Instant::now();
    assert_eq!(agent.sent_away().await, GoAwayCause::Rotate);
    let ended = async {
        loop {
            if let Err(status) = watch.message().await {
                return status;
            }
        }
    };
    refused(
        "a watch of a stopping server",
        Err::<(), _>(within("the end of a watch", ended).await),
        Reason::Draining,
    );
    // The connection that stands still answers: what it holds is finished there.
    agent.finish(&assign, Payload::text("in time")).await;
    assert!(agent.heard_no_assignment(), "no assignment comes after GoAway");
    drop(agent);
    let status = within("the server's end", stack.replicas[0].wait()).await.unwrap();
    assert!(status.success(), "{status}");
    assert!(asked.elapsed() < DRAIN + Duration::from_secs(5), "took {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_session_moves_on_when_its_replica_stops() {
    let mut stack = Stack::without_redis(Pace::Usual).await;
    let world = World::on(&stack).await;
    let task = world.create(plan([step("a", "work"), step("b", "work").after(&["a"])])).await;
    let mut agent = world.agent("agent", "work", 1).await;
    let assign = agent.assigned().await;
    stack.replicas[0].ask_to_stop().unwrap();
    assert_eq!(agent.sent_away().await, GoAwayCause::Rotate);
    let mut moved = Agent::open(&world.other, agent.back(&[&assign])).await.unwrap();
    drop(agent);
    assert!(moved.welcome.resumed);
    moved.finish(&assign, Payload::empty()).await;
    let next = moved.assigned_step("b").await;
    moved.finish(&next, Payload::empty()).await;
    let ended = within("the end of the task", world.other.wait_for_task(&task.id)).await.unwrap();
    assert_eq!(ended.state(), TaskState::Succeeded);
    assert!(within("the replica's end", stack.replicas[0].wait()).await.unwrap().success());
    let refused = world.admin.without_retries().get_task(&task.id).await.unwrap_err();
    assert_eq!(refused.code, Code::Unavailable, "{refused:?}");
}

#[tokio::test]
async fn an_idle_server_stops_at_once_and_keeps_everything() {
    let mut stack = Stack::sqlite(Pace::Usual).await;
    let secret = new_key(&stack.admin(0), &[Role::Admin], &[]).await;
    let client = stack.client(0, &secret);
    let world = World { project: "default".to_owned(), admin: client.clone(), other: client };
    let task = world.create(plan([step("a", "work")])).await;
    let before = world.task(&task.id).await;
    let asked = Instant::now();
    stack.replicas[0].stop().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "an idle connection held it for {:?}", asked.elapsed());
    stack.replicas[0].start_again().await.unwrap();
    assert_eq!(world.task(&task.id).await, before);
    assert!(stack.directory().join("quarterdeck.db").exists());
    assert_eq!(world.admin.health("ready").await.unwrap(), Health::Serving);
}

#[tokio::test]
async fn a_call_that_outlives_its_deadline_is_repeated_safely() {
    let stack = Stack::without_redis(Pace::Usual).await;
    let world = World::on(&stack).await;
    world.create(plan([step("a", "work")])).await;
    let database = stack.database.as_ref().unwrap();
    // Nothing is written while somebody else holds every table.
    let tables = database
        .query("select string_agg(quote_ident(tablename), ', ') from pg_tables where schemaname = 'public'")
        .await
        .unwrap();
    let lock =
        format!("begin; lock table {} in access exclusive mode; select pg_sleep(4); rollback", tables[0]);
    let mut request = world.request(plan([step("a", "work")]));
    request.request_id = request_id();
    let hurried = world.other.with_deadline(Duration::from_millis(500)).without_retries();
    let calling = async {
        until("the lock", || async {
            let held = "select 1 from pg_locks where mode = 'AccessExclusiveLock' and granted limit 1";
            (!database.query(held).await.unwrap().is_empty()).then_some(())
        })
        .await;
        let called = Instant::now();
        let error: Error = hurried.create_task(request.clone()).await.unwrap_err();
        assert_eq!(error.code, Code::DeadlineExceeded, "{error:?}");
        assert!(called.elapsed() < Duration::from_secs(2), "answered after {:?}", called.elapsed());
        assert_eq!(world.other.health("live").await.unwrap(), Health::Serving, "live depends on no database");
    };
    let (locked, ()) = tokio::join!(database.query(&lock), calling);
    locked.unwrap();
    let task = world.admin.create_task(request.clone()).await.unwrap();
    let again = world.other.create_task(request).await.unwrap();
    assert_eq!(task.id, again.id);
    assert_eq!(world.tasks().await.len(), 2);
}
