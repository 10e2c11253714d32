//! Agents come, vanish, and come back.

use quarterdeck_core::Span;
use quarterdeck_core::task::{Event, FailureCode};
use quarterdeck_engine::Error;
use quarterdeck_engine::agents::DrainTarget;
use quarterdeck_engine::session::{Down, Hello, RejectReason, Up};
use quarterdeck_store::faults::Fault;
use tokio::sync::oneshot;

use crate::world::*;

#[tokio::test]
async fn a_vanished_agents_step_goes_to_another_and_its_late_word_is_refused() {
    let world = World::new();
    let replica = world.replica().await;
    let task = replica.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let mut gone = replica.engine.open_session(&caller(), hello(1)).await.unwrap();
    let first = assigned(&mut gone).await;
    let late = gone.sender();
    drop(gone);

    let mut other = replica.engine.open_session(&caller(), hello(1)).await.unwrap();
    let beat = other.sender();
    let second = {
        let assignment = assigned(&mut other);
        tokio::pin!(assignment);
        loop {
            tokio::select! {
                biased;
                assignment = &mut assignment => break assignment,
                () = tokio::time::sleep(std::time::Duration::from_millis(100)) => drop(beat.say(Up::Ping).await),
            }
        }
    };
    assert_ne!(second.token, first.token);
    late.say(complete(&first)).await;
    other.sender().say(complete(&second)).await;
    until(&mut other, "the ack", |down| matches!(down, Down::Ack { .. }).then_some(())).await;
    ended(&replica.engine, &task).await;
    let events = history(&replica.engine, &task).await;
    let lost = |event: &Event| matches!(event, Event::Failed { failure, .. } if failure.code == FailureCode::AgentLost);
    assert_eq!(events.iter().filter(|event| lost(&event.event)).count(), 1);
}

#[tokio::test]
async fn a_reconnect_within_the_grace_keeps_its_leases_also_on_another_replica() {
    let world = World::new();
    let (one, two) = (world.replica().await, world.replica().await);
    let task = one.engine.create_task(&caller(), "", "", plan(&[("a", &[]), ("b", &[])])).await.unwrap();
    let mut agent = one.engine.open_session(&caller(), hello(2)).await.unwrap();
    let resume_token = welcomed(&mut agent).await;
    let (kept, forgotten) = (assigned(&mut agent).await, assigned(&mut agent).await);
    drop(agent);

    let stranger = "A".repeat(40);
    let held = vec![kept.token.clone(), stranger.clone()];
    let mut agent =
        two.engine.open_session(&caller(), Hello { resume_token, held, ..hello(2) }).await.unwrap();
    let mut revoked = None;
    let again = until(&mut agent, "the assignment again", |down| match down {
        Down::Assign(assignment) => Some(assignment),
        Down::Revoke { token, .. } => {
            revoked = Some(token);
            None
        }
        _ => None,
    })
    .await;
    assert_eq!(again.token, forgotten.token, "what the agent does not have is sent again");
    assert_eq!(revoked, Some(stranger), "what it should not have is taken back");
    for assignment in [&kept, &again] {
        agent.sender().say(complete(assignment)).await;
    }
    ended(&two.engine, &task).await;
    let events = history(&two.engine, &task).await;
    assert_eq!(events.len(), 6, "no attempt was lost: {events:?}");
}

#[tokio::test]
async fn an_agent_that_lost_more_than_its_connection_takes_at_a_time_is_told_of_all() {
    let mut world = World::new();
    world.options.outbound_max = 4;
    let replica = world.replica().await;
    let mut agent = replica.engine.open_session(&caller(), hello(20)).await.unwrap();
    let resume_token = welcomed(&mut agent).await;
    drop(agent);
    let held: Vec<String> = (10..30).map(|number| format!("{number}").repeat(20)).collect();
    let back = Hello { resume_token, held: held.clone(), ..hello(20) };
    let mut agent = replica.engine.open_session(&caller(), back).await.unwrap();
    let mut revoked = Vec::new();
    until(&mut agent, "all that is lost", |down| {
        if let Down::Revoke { token, .. } = down {
            revoked.push(token);
        }
        (revoked.len() == held.len()).then_some(())
    })
    .await;
    assert_eq!(revoked, held);
    replica.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let step = assigned(&mut agent).await;
    agent.sender().say(complete(&step)).await;
    until(&mut agent, "the ack", |down| matches!(down, Down::Ack { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_repeated_word_is_acknowledged_and_a_stale_one_rejected() {
    let world = World::new();
    let replica = world.replica().await;
    replica.engine.create_task(&caller(), "", "", plan(&[("a", &[]), ("b", &["a"])])).await.unwrap();
    let mut agent = replica.engine.open_session(&caller(), hello(1)).await.unwrap();
    let first = assigned(&mut agent).await;
    for _ in 0..2 {
        agent.sender().say(complete(&first)).await;
        until(&mut agent, "an ack", |down| matches!(down, Down::Ack { up_to: 1, .. }).then_some(())).await;
    }
    let mut stranger = replica.engine.open_session(&caller(), hello(0)).await.unwrap();
    stranger.sender().say(complete(&first)).await;
    let reason = until(&mut stranger, "the rejection", |down| match down {
        Down::Reject { reason, .. } => Some(reason),
        _ => None,
    })
    .await;
    assert_eq!(reason, RejectReason::LeaseStale);
}

#[tokio::test]
async fn an_expired_session_is_final() {
    let world = World::new();
    let replica = world.replica().await;
    let mut agent = replica.engine.open_session(&caller(), hello(1)).await.unwrap();
    let resume_token = welcomed(&mut agent).await;
    // Says nothing for longer than its lease.
    until(&mut agent, "the end", |down| matches!(down, Down::Over(Error::SessionExpired)).then_some(()))
        .await;
    let resumed = replica.engine.open_session(&caller(), Hello { resume_token, ..hello(1) }).await;
    assert_eq!(resumed.err(), Some(Error::SessionExpired));
}

#[tokio::test]
async fn bye_gives_unfinished_steps_to_others_at_once() {
    let world = World::new();
    let replica = world.replica().await;
    replica.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let mut first = replica.engine.open_session(&caller(), hello(1)).await.unwrap();
    let token = assigned(&mut first).await.token;
    let mut second = replica.engine.open_session(&caller(), hello(1)).await.unwrap();
    assert!(!first.sender().say(Up::Bye).await);
    let assignment = assigned(&mut second).await;
    assert_ne!(assignment.token, token);
    assert_eq!(assignment.attempt, 2);
}

/// A step is on its way into the log for an agent that is asked to go meanwhile.
#[tokio::test]
async fn nothing_is_assigned_after_a_farewell_and_the_step_goes_to_another() {
    let mut world = World::new();
    // Nobody pings here.
    world.options.session_lease = Span::from_secs(60);
    let replica = world.replica().await;
    let task = replica.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let (wake, woken) = oneshot::channel::<()>();
    let (asleep, sleeping) = oneshot::channel::<()>();
    let slow = async move {
        let _ = asleep.send(());
        let _ = woken.await;
    };
    replica.script.push("commit", Fault::Before(Box::pin(slow)));
    let mut going = replica.engine.open_session(&caller(), hello(1)).await.unwrap();
    welcomed(&mut going).await;
    soon("the assigning commit", sleeping).await.unwrap();
    let target = DrainTarget::Agent("agent".to_owned());
    replica.engine.drain_agent(&caller(), "", target).await.unwrap();
    wake.send(()).unwrap();

    let other = Hello { agent: "other".to_owned(), ..hello(1) };
    let mut other = replica.engine.open_session(&caller(), other).await.unwrap();
    let assignment = assigned(&mut other).await;
    assert_eq!((assignment.task, assignment.attempt), (task.id, 1));
    going.sender().say(Up::Ping).await;
    let mut told = Vec::new();
    until(&mut going, "the pong", |down| {
        let over = matches!(down, Down::Pong);
        told.push(down);
        over.then_some(())
    })
    .await;
    assert!(matches!(told[..], [Down::GoAway { .. }, Down::Pong]), "{told:?}");
}

/// The same, but the agent is only to go to another replica, and is the only one.
#[tokio::test]
async fn what_was_on_its_way_when_a_replica_stops_is_told_at_the_next() {
    let mut world = World::new();
    // Nobody pings here.
    world.options.session_lease = Span::from_secs(60);
    let (one, two) = (world.replica().await, world.replica().await);
    let task = two.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let (wake, woken) = oneshot::channel::<()>();
    let (asleep, sleeping) = oneshot::channel::<()>();
    let slow = async move {
        let _ = asleep.send(());
        let _ = woken.await;
    };
    one.script.push("commit", Fault::Before(Box::pin(slow)));
    let mut agent = one.engine.open_session(&caller(), hello(1)).await.unwrap();
    let resume_token = welcomed(&mut agent).await;
    soon("the assigning commit", sleeping).await.unwrap();
    one.engine.drain(None).await;
    wake.send(()).unwrap();
    until(&mut agent, "the farewell", |down| matches!(down, Down::GoAway { .. }).then_some(())).await;
    let mut agent = two.engine.open_session(&caller(), Hello { resume_token, ..hello(1) }).await.unwrap();
    let assignment = assigned(&mut agent).await;
    assert_eq!((assignment.task, assignment.attempt), (task.id, 1));
}

/// An agent comes back to a replica that cannot read its step at first.
#[tokio::test]
async fn a_step_that_cannot_be_told_yet_keeps_its_slot() {
    let mut world = World::new();
    // Nobody pings here.
    world.options.session_lease = Span::from_secs(60);
    let (one, two) = (world.replica_on(deaf()).await, world.replica_on(deaf()).await);
    one.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let mut agent = one.engine.open_session(&caller(), hello(1)).await.unwrap();
    let resume_token = welcomed(&mut agent).await;
    let first = assigned(&mut agent).await;
    drop(agent);

    let waiting = two.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    for _ in 0..3 {
        two.script.push("load", Fault::Refuse);
    }
    let resume = Hello { resume_token, ..hello(1) };
    let mut agent = two.engine.open_session(&caller(), resume).await.unwrap();
    assert_eq!(assigned(&mut agent).await.token, first.token, "the step that it has comes first");
    agent.sender().say(Up::Ping).await;
    let next =
        until(&mut agent, "the pong", |down| matches!(down, Down::Assign(_) | Down::Pong).then_some(down));
    assert_eq!(next.await, Down::Pong, "it holds as many steps as it has slots");
    agent.sender().say(complete(&first)).await;
    assert_eq!(assigned(&mut agent).await.task, waiting.id);
}
