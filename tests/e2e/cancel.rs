//! After a cancel is acknowledged nothing more is given out, and whoever works hears it.

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::orchestration::v1::{
    CancelTaskRequest, RevokeCause, StepState, StopCode, TaskState,
};
use quarterdeck_client::{Client, Payload};

use crate::agent::Agent;
use crate::expect::{refused, within};
use crate::plans::{StepWords, plan, step};
use crate::stack::{Pace, Stack, both};
use crate::world::{World, stopped};

both!(Usual:
    no_assignment_is_committed_after_an_acknowledged_cancel,
    the_agent_running_hears_a_cancel_within_a_second,
    a_late_answer_after_a_cancel_does_not_count,
    cancelling_again_answers_the_task,
    a_cancel_may_require_a_revision,
);

/// Tasks that are cancelled while agents on both replicas tear at them.
const TASKS: usize = 48;

async fn no_assignment_is_committed_after_an_acknowledged_cancel(world: World) {
    let answer = |_| async { Ok(Payload::empty()) };
    let _first = world.work(&world.admin, "first", &["work"], 8, answer);
    let _second = world.work(&world.other, "second", &["work"], 8, answer);
    let steps = || {
        let wide = (0..4).map(|at| step(&format!("wide-{at}"), "work"));
        let deep = (1..6).map(|at| {
            step(&format!("deep-{at}"), "work").after(&[if at == 1 { "wide-0" } else { DEEP[at - 2] }])
        });
        plan(wide.chain(deep))
    };
    let race = |number: usize| {
        let (world, plan) = (&world, steps());
        async move {
            let task = world.replica(number / 2).create_task(world.request(plan)).await.unwrap();
            // Every other task gets a head start of some events.
            let mut watch = world.replica(number).watch_task(&task.id);
            for _ in 0..number % 7 {
                let _ = within("an event", watch.next_frame()).await;
            }
            match world.cancel(world.replica(number), &task.id).await {
                Ok(canceled) => {
                    let revision = canceled.revision;
                    let seen = world.events(&task.id).await;
                    assert_eq!(seen.len() as i64, revision, "an acknowledged cancel is the last event");
                    Some((task.id, revision))
                }
                Err(error) => {
                    refused("a task that was faster", Err::<(), _>(error), Reason::TaskEnded);
                    None
                }
            }
        }
    };
    let canceled: Vec<(String, i64)> =
        stream::iter(0..TASKS).map(race).buffer_unordered(16).filter_map(|one| async { one }).collect().await;
    assert!(canceled.len() >= TASKS / 4, "only {} of {TASKS} cancels won", canceled.len());

    // Tasks that are made and finished now come after all that could still be done.
    let marker = world.create(plan([step("last", "work")])).await;
    world.ended(&marker.id).await;
    let mut assigned = 0;
    for (task, revision) in canceled {
        let task = world.ended(&task).await;
        assert_eq!((task.revision, stopped(&task)), (revision, StopCode::Canceled));
        let history = world.history(&task.id).await;
        assigned += history.steps.values().map(|step| step.assigned.len()).sum::<usize>();
        let unfinished = task.steps.iter().filter(|step| step.state() != StepState::Succeeded);
        assert!(
            unfinished.clone().count() > 0
                && unfinished.clone().all(|step| step.state() == StepState::Canceled)
        );
    }
    assert!(assigned > 0, "no cancel met a task at work; this raced nothing");
}

const DEEP: [&str; 5] = ["deep-1", "deep-2", "deep-3", "deep-4", "deep-5"];

/// Cancels through `there` what an agent of `here` has; answers how long that agent
/// was left in the dark after the cancel was acknowledged.
pub async fn time_to_hear(world: &World, here: &Client, there: &Client) -> Duration {
    let task = world.create(plan([step("a", "heard")])).await;
    let mut agent: Agent = world.agent_at(here, "agent", "heard", 1).await;
    let assign = agent.assigned().await;
    assert_eq!(assign.task_id, task.id);
    world.cancel(there, &task.id).await.unwrap();
    let acknowledged = Instant::now();
    assert_eq!(agent.revoked(&assign).await, RevokeCause::TaskCanceled);
    let heard = acknowledged.elapsed();
    agent.bye().await;
    heard
}

#[track_caller]
fn within_a_second(what: &str, heard: Duration) {
    assert!(heard <= Duration::from_secs(1), "{what}: heard after {heard:?}");
}

async fn the_agent_running_hears_a_cancel_within_a_second(world: World) {
    within_a_second("same replica", time_to_hear(&world, &world.admin, &world.admin).await);
    within_a_second("other replica", time_to_hear(&world, &world.admin, &world.other).await);
}

#[tokio::test]
async fn the_agent_running_hears_a_cancel_within_a_second_without_redis() {
    let stack = Stack::without_redis(Pace::Usual).await;
    let world = World::on(&stack).await;
    for _ in 0..3 {
        within_a_second("no Redis", time_to_hear(&world, &world.admin, &world.other).await);
        within_a_second("no Redis", time_to_hear(&world, &world.other, &world.admin).await);
    }
}

async fn a_late_answer_after_a_cancel_does_not_count(world: World) {
    let task = world.create(plan([step("a", "work"), step("b", "work").after(&["a"])])).await;
    let mut agent = world.agent("agent", "work", 2).await;
    let assign = agent.assigned().await;
    world.cancel(&world.other, &task.id).await.unwrap();
    agent.complete(&assign, Payload::text("late")).await;
    assert_eq!(agent.rejected(&assign).await.reason, "LEASE_STALE");
    let task = world.ended(&task.id).await;
    assert_eq!(task.state(), TaskState::Canceled);
    assert!(task.steps.iter().all(|step| step.state() == StepState::Canceled && step.output.is_none()));
    // Its slot is free again.
    world.create(plan([step("next", "work")])).await;
    agent.assigned_step("next").await;
}

async fn cancelling_again_answers_the_task(world: World) {
    let task = world.create(plan([step("a", "nobody")])).await;
    let comment = "not needed any more".to_owned();
    let request = CancelTaskRequest {
        task_id: task.id.clone(),
        comment: comment.clone(),
        ..CancelTaskRequest::default()
    };
    let first = world.admin.cancel_task(request).await.unwrap();
    assert_eq!((first.state(), first.stop_reason.clone().unwrap().message), (TaskState::Canceled, comment));
    let second = world.cancel(&world.other, &task.id).await.unwrap();
    assert_eq!((second.revision, second.stop_reason), (first.revision, first.stop_reason));

    let _agent = world.work(&world.admin, "agent", &["work"], 1, |_| async { Ok(Payload::empty()) });
    let done = world.create(plan([step("a", "work")])).await;
    world.ended(&done.id).await;
    refused("a finished task", world.cancel(&world.admin, &done.id).await, Reason::TaskEnded);
    refused("no task", world.cancel(&world.admin, "tsk_none").await, Reason::TaskNotFound);
}

async fn a_cancel_may_require_a_revision(world: World) {
    let task = world.create(plan([step("a", "nobody")])).await;
    let cancel = |revision| CancelTaskRequest {
        task_id: task.id.clone(),
        if_revision_match: Some(revision),
        ..CancelTaskRequest::default()
    };
    let wrong = world.other.cancel_task(cancel(task.revision + 1)).await;
    refused("another revision", wrong, Reason::RevisionMismatch);
    assert_eq!(world.task(&task.id).await.state(), TaskState::Running);
    let right = world.other.cancel_task(cancel(task.revision)).await.unwrap();
    assert_eq!(right.state(), TaskState::Canceled);
}
