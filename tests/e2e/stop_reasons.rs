//! Every typed reason for which a task ends.

use quarterdeck_client::api::orchestration::v1::{
    Fail, FailureCode, RevokeCause, StepState, StopCode, TaskState,
};
use quarterdeck_client::{Payload, StepError};

use crate::agent::Agent;
use crate::plans::{StepWords, millis, plan, step};
use crate::stack::both;
use crate::world::{World, stopped};

both!(Usual:
    attempts_exhausted,
    not_retryable_by_policy_and_by_agent,
    no_agent_within_the_waiting_timeout,
    agent_lost_ten_times,
    the_tasks_own_timeout,
    an_attempt_timeout_counts_as_a_failed_attempt,
    the_end_of_a_task_takes_its_other_steps_away,
    a_panic_of_a_handler_fails_its_attempt,
);

async fn attempts_exhausted(world: World) {
    let task = world
        .create(plan([step("a", "work").attempts(2).backoff(10), step("b", "none").after(&["a"])]))
        .await;
    let mut agent = world.agent("agent", "work", 1).await;
    for attempt in 1..=2 {
        let assign = agent.assigned().await;
        assert_eq!(assign.attempt, attempt);
        agent.fail(&assign, "NOPE").await;
    }
    let task = world.ended(&task.id).await;
    let stop = task.stop_reason.clone().unwrap();
    assert_eq!((task.state(), stop.code()), (TaskState::Failed, StopCode::AttemptsExhausted));
    assert_eq!((stop.step_key.as_str(), stop.step_reason.as_str()), ("a", "NOPE"));
    assert_eq!(stop.message, "NOPE happened");
    let states: Vec<StepState> = task.steps.iter().map(|step| step.state()).collect();
    assert_eq!(states, [StepState::Failed, StepState::Canceled]);
    let history = world.history(&task.id).await;
    assert_eq!(
        history.steps["a"].failed.iter().map(|failed| failed.r#final).collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(history.steps["a"].last_failure().code(), FailureCode::Reported);
}

async fn not_retryable_by_policy_and_by_agent(world: World) {
    let by_policy = world.create(plan([step("a", "work").final_reason("BAD_INPUT")])).await;
    let mut agent = world.agent("agent", "work", 1).await;
    let assign = agent.assigned().await;
    agent.fail(&assign, "BAD_INPUT").await;
    let by_agent = world.create(plan([step("a", "work")])).await;
    let assign = agent.assigned().await;
    let fail = Fail { reason: "ANYTHING".to_owned(), not_retryable: true, ..Fail::default() };
    agent.fail_with(&assign, fail).await;
    for (task, reason) in [(by_policy, "BAD_INPUT"), (by_agent, "ANYTHING")] {
        let task = world.ended(&task.id).await;
        let stop = task.stop_reason.clone().unwrap();
        assert_eq!((task.state(), stop.code()), (TaskState::Failed, StopCode::NotRetryable));
        assert_eq!((stop.step_key.as_str(), stop.step_reason.as_str()), ("a", reason));
        assert_eq!(task.steps[0].attempt, 1);
    }
}

async fn no_agent_within_the_waiting_timeout(world: World) {
    let task = world.create(plan([step("a", "nobody").waiting(300), step("b", "work")])).await;
    let task = world.ended(&task.id).await;
    let stop = task.stop_reason.clone().unwrap();
    assert_eq!((task.state(), stop.code()), (TaskState::Failed, StopCode::NoAgent));
    assert_eq!(stop.step_key, "a");
    assert!(world.history(&task.id).await.steps["a"].assigned.is_empty());
}

async fn agent_lost_ten_times(world: World) {
    let task = world.create(plan([step("a", "work").attempts(1)])).await;
    for loss in 1..=10 {
        let mut agent = world.agent(&format!("mayfly-{loss}"), "work", 1).await;
        let assign = agent.assigned().await;
        assert_eq!(assign.attempt, loss, "each assignment is an attempt of its own");
        agent.bye().await;
    }
    let task = world.ended(&task.id).await;
    let stop = task.stop_reason.clone().unwrap();
    assert_eq!(
        (task.state(), stop.code(), stop.step_key.as_str()),
        (TaskState::Failed, StopCode::AgentLost, "a")
    );
    let history = world.history(&task.id).await;
    let lost = history.steps["a"].failed.iter().filter_map(|failed| failed.failure.as_ref());
    assert_eq!(lost.filter(|failure| failure.code() == FailureCode::AgentLost).count(), 10);
}

async fn the_tasks_own_timeout(world: World) {
    let mut agent = world.agent("agent", "work", 1).await;
    let mut limited = plan([step("a", "work"), step("b", "work").after(&["a"])]);
    limited.timeout = Some(millis(500));
    let task = world.create(limited).await;
    let assign = agent.assigned().await;
    assert_eq!(agent.revoked(&assign).await, RevokeCause::TaskEnded);
    let task = world.ended(&task.id).await;
    assert_eq!((task.state(), stopped(&task)), (TaskState::Failed, StopCode::Timeout));
    assert!(task.end_time.unwrap().seconds >= task.deadline.unwrap().seconds);
    agent.complete(&assign, Payload::empty()).await;
    assert_eq!(agent.rejected(&assign).await.reason, "LEASE_STALE");
}

async fn an_attempt_timeout_counts_as_a_failed_attempt(world: World) {
    let task = world.create(plan([step("a", "work").attempts(2).backoff(10).attempt_within(300)])).await;
    let mut agent = world.agent("agent", "work", 1).await;
    for attempt in 1..=2 {
        let assign = agent.assigned().await;
        assert_eq!(assign.attempt, attempt);
        assert!(assign.deadline.is_some());
        // Words of progress do not prolong an attempt.
        agent.progress(&assign, 0.9, None).await;
        let cause = agent.revoked(&assign).await;
        let expected = if attempt == 1 { RevokeCause::Timeout } else { RevokeCause::TaskEnded };
        assert!(cause == RevokeCause::Timeout || cause == expected, "{cause:?}");
    }
    let task = world.ended(&task.id).await;
    assert_eq!((task.state(), stopped(&task)), (TaskState::Failed, StopCode::AttemptsExhausted));
    let failed = world.history(&task.id).await.steps["a"].failed.clone();
    let code = |at: usize| failed[at].failure.as_ref().map(|failure| failure.code());
    assert_eq!([code(0), code(1)], [Some(FailureCode::AttemptTimeout); 2]);
}

async fn the_end_of_a_task_takes_its_other_steps_away(world: World) {
    let task = world.create(plan([step("bad", "work"), step("good", "work")])).await;
    let mut agent: Agent = world.agent("agent", "work", 2).await;
    let (one, two) = (agent.assigned().await, agent.assigned().await);
    let (bad, good) = if one.step_key == "bad" { (one, two) } else { (two, one) };
    agent.fail_with(&bad, Fail { reason: "BAD".to_owned(), not_retryable: true, ..Fail::default() }).await;
    assert_eq!(agent.revoked(&good).await, RevokeCause::TaskEnded);
    agent.complete(&good, Payload::empty()).await;
    assert_eq!(agent.rejected(&good).await.reason, "LEASE_STALE");
    let task = world.ended(&task.id).await;
    assert_eq!(task.steps[1].state(), StepState::Canceled);
}

async fn a_panic_of_a_handler_fails_its_attempt(world: World) {
    let _agent = world.work(&world.admin, "clumsy", &["work"], 1, |context| async move {
        match context.attempt() {
            1 => panic!("a defect of this agent, as planned"),
            2 => Err(StepError::fail("SECOND", "not yet")),
            _ => Ok(Payload::text("at last")),
        }
    });
    let task = world.create(plan([step("a", "work").backoff(10)])).await;
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
    let history = world.history(&task.id).await;
    let reasons: Vec<String> =
        history.steps["a"].failed.iter().map(|failed| failed.failure.clone().unwrap().reason).collect();
    assert_eq!(reasons, ["AGENT_PANIC", "SECOND"]);
}
