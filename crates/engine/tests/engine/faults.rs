//! Nothing is lost and nothing happens twice, whatever the store says.

use futures::future::join_all;
use quarterdeck_core::Span;
use quarterdeck_core::task::{Event, State};
use quarterdeck_engine::session::Down;
use quarterdeck_store::faults::{Fault, Script};

use crate::world::*;

#[tokio::test]
async fn a_lost_answer_at_commit_happens_once() {
    let world = World::new();
    let replica = world.replica().await;
    for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::LoseAnswer] {
        replica.script.push("commit", fault);
    }
    let task = replica.engine.create_task(&caller(), "", "one", plan(&[("a", &[])])).await.unwrap();
    assert_eq!(replica.script.waiting(), 0, "all faults have happened");
    let again = replica.engine.create_task(&caller(), "", "one", plan(&[("a", &[])])).await.unwrap();
    assert_eq!(again.id, task.id);

    let mut agent = replica.engine.open_session(&caller(), hello(1)).await.unwrap();
    replica.script.push("commit", Fault::LoseAnswer);
    let assignment = assigned(&mut agent).await;
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        replica.script.push("commit", fault);
    }
    agent.sender().say(complete(&assignment)).await;
    until(&mut agent, "the ack", |down| matches!(down, Down::Ack { up_to: 1, .. }).then_some(())).await;
    assert_eq!(replica.script.waiting(), 0, "all faults have happened");

    let events = history(&replica.engine, &task).await;
    let assigned = events.iter().filter(|event| matches!(event.event, Event::Assigned { .. })).count();
    assert_eq!((assigned, events.len()), (1, 4), "created, assigned, succeeded, ended: {events:?}");
}

#[tokio::test]
async fn a_completion_outlives_an_unreachable_store() {
    let world = World::new();
    let replica = world.replica().await;
    let task = replica.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let mut agent = replica.engine.open_session(&caller(), hello(1)).await.unwrap();
    let assignment = assigned(&mut agent).await;
    for _ in 0..4 {
        replica.script.push("commit", Fault::Refuse);
    }
    agent.sender().say(complete(&assignment)).await;
    until(&mut agent, "the ack", |down| matches!(down, Down::Ack { .. }).then_some(())).await;
    assert_eq!(ended(&replica.engine, &task).await.state, State::Succeeded);
}

#[tokio::test]
async fn a_task_that_could_not_be_stored_does_not_exist() {
    let world = World::new();
    let replica = world.replica().await;
    replica.script.push("commit", Fault::Refuse);
    let refused = replica.engine.create_task(&caller(), "", "r", plan(&[("a", &[])])).await;
    assert!(refused.as_ref().is_err_and(|error| error.is_transient()), "{refused:?}");
    let (_, page) = replica.engine.list_tasks(&caller(), "", Default::default(), 10, "").await.unwrap();
    assert!(page.items.is_empty());
    replica.engine.create_task(&caller(), "", "r", plan(&[("a", &[])])).await.unwrap();
}

#[tokio::test]
async fn everything_finishes_while_answers_are_lost_again_and_again() {
    let world = World::new();
    let replica = world.replica().await;
    let caller = caller();
    let agents = join_all((0..3).map(|_| replica.engine.open_session(&caller, hello(2)))).await;
    let agents: Vec<_> = agents.into_iter().map(|agent| diligent(agent.unwrap())).collect();
    for round in 0..60 {
        let fault = match round % 3 {
            0 => Fault::LoseAnswer,
            1 => Fault::LoseRequest,
            _ => Fault::Pass,
        };
        replica.script.push("commit", fault);
    }
    let steps: [(&str, &[&str]); 3] = [("a", &[]), ("b", &["a"]), ("c", &["b"])];
    let tasks = join_all((0..20).map(|_| replica.engine.create_task(&caller, "", "", plan(&steps)))).await;
    for task in tasks {
        let task = task.unwrap();
        assert_eq!(ended(&replica.engine, &task).await.state, State::Succeeded);
        history(&replica.engine, &task).await;
    }
    assert_eq!(replica.script.waiting(), 0, "all faults have happened");
    agents.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_slow_answer_at_the_start_does_not_put_the_clock_forward() {
    let world = World::new();
    let script = Script::default();
    let late = std::time::Duration::from_secs(2);
    script.push("now", Fault::Before(Box::pin(tokio::time::sleep(late))));
    let slow = world.replica_with(deaf(), script).await;
    // At once: the sweeper sets the clock as well.
    let said = slow.engine.now();
    assert_eq!(slow.script.waiting(), 0, "the fault has happened");
    let prompt = world.replica_on(deaf()).await;
    let ahead = said.since(prompt.engine.now());
    assert!(ahead < Span::from_millis(900), "it is {ahead} ahead");
}
