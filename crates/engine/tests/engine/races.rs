//! Replicas race on the same tasks; the log stays one.

use futures::future::join_all;
use quarterdeck_core::task::{Event, State};
use quarterdeck_engine::session::Down;
use quarterdeck_store::faults::Fault;
use tokio::sync::oneshot;

use crate::world::*;

#[tokio::test]
async fn commands_racing_on_two_replicas_never_fork_the_log() {
    let (world, caller) = (World::new(), caller());
    let (one, two) = (world.replica().await, world.replica().await);
    let agents =
        join_all([one.engine.open_session(&caller, hello(4)), two.engine.open_session(&caller, hello(4))])
            .await;
    let agents: Vec<_> = agents.into_iter().map(|agent| diligent(agent.unwrap())).collect();
    let steps: [(&str, &[&str]); 4] = [("a", &[]), ("b", &[]), ("c", &["a", "b"]), ("d", &[])];
    let tasks = join_all((0..30).map(|_| one.engine.create_task(&caller, "", "", plan(&steps)))).await;
    let tasks: Vec<_> = tasks.into_iter().map(|task| task.unwrap()).collect();
    let cancel = |engine: &quarterdeck_engine::Engine, id: String| {
        let (engine, caller) = (engine.clone(), caller.clone());
        async move { engine.cancel_task(&caller, &id, "", String::new(), None).await }
    };
    // Every other task is cancelled from both sides while agents finish its steps.
    let victims = || tasks.iter().step_by(2).map(|task| task.id.to_string());
    let (left, right) = tokio::join!(
        join_all(victims().map(|id| cancel(&one.engine, id))),
        join_all(victims().map(|id| cancel(&two.engine, id))),
    );
    let acknowledged = left.iter().chain(&right).filter(|answer| answer.is_ok()).count();
    for (place, task) in tasks.iter().enumerate() {
        let end = ended(&two.engine, task).await;
        if place % 2 == 1 {
            assert_eq!(end.state, State::Succeeded);
        }
        let (here, there) = (history(&one.engine, task).await, history(&two.engine, task).await);
        assert_eq!(here, there, "both replicas tell the same story");
    }
    assert!(acknowledged > 0, "some cancels must have won");
    agents.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A replica decides to give a step away, is paused, and wakes after somebody
/// else has acknowledged a cancel.
#[tokio::test]
async fn no_assignment_of_a_paused_replica_follows_a_cancel() {
    let world = World::new();
    let (paused, other) = (world.replica_on(deaf()).await, world.replica_on(deaf()).await);
    let task = other.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let (wake, woken) = oneshot::channel::<()>();
    let (asleep, sleeping) = oneshot::channel::<()>();
    paused.script.push(
        "commit",
        Fault::Before(Box::pin(async move {
            let _ = asleep.send(());
            let _ = woken.await;
        })),
    );
    let mut agent = paused.engine.open_session(&caller(), hello(1)).await.unwrap();
    welcomed(&mut agent).await;
    soon("the pause", sleeping).await.unwrap();
    let id = task.id.to_string();
    other.engine.cancel_task(&caller(), &id, "", "stop".into(), None).await.unwrap();
    wake.send(()).unwrap();

    // The next task shows that the paused replica works again.
    let next = other.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let assignment = assigned(&mut agent).await;
    assert_eq!(assignment.task, next.id);
    let events = history(&other.engine, &task).await;
    assert!(!events.iter().any(|event| matches!(event.event, Event::Assigned { .. })), "{events:?}");
}

#[tokio::test]
async fn the_agent_running_hears_a_cancel_from_another_replica_without_any_bus() {
    let world = World::new();
    let (here, there) = (world.replica_on(deaf()).await, world.replica_on(deaf()).await);
    let task = there.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let mut agent = here.engine.open_session(&caller(), hello(1)).await.unwrap();
    let assignment = assigned(&mut agent).await;
    there.engine.cancel_task(&caller(), &task.id.to_string(), "", String::new(), None).await.unwrap();
    let token = until(&mut agent, "the revoke", |down| match down {
        Down::Revoke { token, .. } => Some(token),
        _ => None,
    })
    .await;
    assert_eq!(token, assignment.token);
}

#[tokio::test]
async fn the_same_request_on_two_replicas_makes_one_task() {
    let world = World::new();
    let (one, two) = (world.replica().await, world.replica().await);
    let create = |engine: &quarterdeck_engine::Engine| {
        let engine = engine.clone();
        async move { engine.create_task(&caller(), "", "same", plan(&[("a", &[])])).await.unwrap().id }
    };
    let ids =
        join_all((0..16).map(|turn| create(if turn % 2 == 0 { &one.engine } else { &two.engine }))).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let other = one.engine.create_task(&caller(), "", "same", plan(&[("b", &[])])).await;
    assert_eq!(other.unwrap_err(), quarterdeck_engine::Error::RequestIdReused);
}
