//! Two replicas, one task: commands that race never fork its log.

use futures::future::join_all;
use quarterdeck_client::Payload;
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::orchestration::v1::session_response::Message as Down;
use quarterdeck_client::api::orchestration::v1::{Assign, TaskState};

use crate::agent::Agent;
use crate::expect::refused;
use crate::history;
use crate::plans::{StepWords, plan, step};
use crate::stack::{Pace, Stack};
use crate::world::World;

/// Rounds of each race; each starts in another order.
const ROUNDS: usize = 12;

/// The same history from both replicas, checked.
async fn one_history(world: &World, task: &str) -> history::History {
    let (here, there) = (
        world.admin.task_events(task).collect_all().await.unwrap(),
        world.other.task_events(task).collect_all().await.unwrap(),
    );
    assert_eq!(here, there, "both replicas tell the same");
    history::check(&here)
}

/// What an agent hears about its completion: true where it counts.
async fn counts(agent: &mut Agent, assign: &Assign) -> bool {
    let token = &assign.lease_token;
    let pick = |message: &Down| match message {
        Down::Ack(ack) if ack.lease_token == *token => Some(true),
        Down::Reject(reject) if reject.lease_token == *token => {
            assert_eq!(reject.reason, "LEASE_STALE");
            Some(false)
        }
        _ => None,
    };
    agent.wait("an answer to a completion", pick).await
}

#[tokio::test]
async fn completions_and_a_cancel_that_race_never_fork_the_log() {
    let world = World::on_postgres(Pace::Usual).await;
    let mut here = world.agent("here", "left", 1).await;
    let mut there = world.agent_at(&world.other, "there", "right", 1).await;
    let mut canceled = 0;
    for round in 0..ROUNDS {
        let steps = [step("a", "left"), step("b", "right"), step("c", "nobody").after(&["a"])];
        let task = world.create(plan(steps)).await;
        let (left, right) = (here.assigned().await, there.assigned().await);
        let cancel = async {
            // Sometimes the completions get a head start.
            for _ in 0..round % 4 {
                world.task(&task.id).await;
            }
            world.cancel(world.replica(round), &task.id).await
        };
        let race = async {
            here.complete(&left, Payload::text("a")).await;
            there.complete(&right, Payload::text("b")).await;
        };
        let (cancel, ()) = tokio::join!(cancel, race);
        let (left, right) = (counts(&mut here, &left).await, counts(&mut there, &right).await);
        cancel.expect("a task that cannot finish can be cancelled");
        canceled += usize::from(!left || !right);
        let history = one_history(&world, &task.id).await;
        assert_eq!(history.steps["a"].succeeded.is_some(), left, "acknowledged is stored, rejected is not");
        assert_eq!(history.steps["b"].succeeded.is_some(), right);
        assert_eq!(history.ended.unwrap().state(), TaskState::Canceled);
    }
    println!("the cancel was first in {canceled} of {ROUNDS} rounds");
}

#[tokio::test]
async fn cancels_on_both_replicas_end_a_task_once() {
    let world = World::on_postgres(Pace::Usual).await;
    for _ in 0..ROUNDS {
        let task = world.create(plan([step("a", "nobody")])).await;
        let cancels = (0..6).map(|at| world.cancel(world.replica(at), &task.id));
        for answer in join_all(cancels).await {
            assert_eq!(answer.unwrap().revision, 2);
        }
        one_history(&world, &task.id).await;
    }
}

#[tokio::test]
async fn agents_on_both_replicas_never_get_the_same_step() {
    let stack = Stack::without_redis(Pace::Usual).await;
    let world = World::on(&stack).await;
    let answer = |_| async { Ok(Payload::empty()) };
    let _here = world.work(&world.admin, "here", &["work"], 4, answer);
    let _there = world.work(&world.other, "there", &["work"], 4, answer);
    let create = |at: usize| {
        let steps = (0..8).map(|at| step(&format!("s{at}"), "work"));
        world.replica(at).create_task(world.request(plan(steps)))
    };
    let mut agents = std::collections::BTreeSet::new();
    for task in join_all((0..ROUNDS).map(create)).await {
        let task = world.ended(&task.unwrap().id).await;
        assert_eq!(task.state(), TaskState::Succeeded);
        let history = one_history(&world, &task.id).await;
        assert!(history.steps.values().all(|step| step.assigned.len() == 1), "each step is given out once");
        agents.extend(task.steps.into_iter().map(|step| step.agent));
    }
    assert_eq!(agents.len(), 2, "agents of both replicas get work: {agents:?}");
}

#[tokio::test]
async fn a_completion_repeated_at_both_replicas_counts_once() {
    let world = World::on_postgres(Pace::Usual).await;
    for _ in 0..ROUNDS {
        let task = world.create(plan([step("a", "work"), step("b", "nobody").after(&["a"])])).await;
        let mut first = world.agent("agent", "work", 1).await;
        let assign = first.assigned().await;
        first.complete(&assign, Payload::text("once")).await;
        // The session moves while its completion is under way.
        let mut second = Agent::open(&world.other, first.back(&[&assign])).await.unwrap();
        second.complete_as(&assign, 1, Payload::text("once")).await;
        second.acked(&assign, 1).await;
        let history = one_history(&world, &task.id).await;
        assert!(history.steps["a"].succeeded.is_some());
        second.bye().await;
        drop(first);
        let late = world.cancel(&world.admin, &task.id).await;
        assert_eq!(late.unwrap().state(), TaskState::Canceled);
        refused(
            "no completion of a cancelled task",
            world.other.get_task("tsk_none").await,
            Reason::TaskNotFound,
        );
    }
}
