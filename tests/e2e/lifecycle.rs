//! From a plan to its end: order, slots, priorities, retries, refusals, checkpoints.

use std::time::Duration;

use quarterdeck_client::api::orchestration::v1::task_event::Kind;
use quarterdeck_client::api::orchestration::v1::{Fail, RetryTaskRequest, StepState, StopCode, TaskState};
use quarterdeck_client::{Payload, StepError};

use crate::expect::until;
use crate::plans::{StepWords, millis, plan, step};
use crate::stack::both;
use crate::world::{World, stopped};

both!(Usual:
    a_plan_runs_in_the_order_of_its_dependencies,
    higher_priority_goes_first_where_agents_are_short,
    an_agent_holds_no_more_steps_than_its_slots,
    a_step_goes_only_to_an_agent_of_its_capability_and_project,
    a_failed_step_is_tried_again_after_its_backoff,
    an_agent_may_say_when_to_try_again,
    a_refused_step_goes_to_another_and_costs_no_attempt,
    a_checkpoint_is_handed_to_the_next_attempt,
    progress_is_seen_and_recorded,
    bye_gives_unfinished_steps_to_others_at_once,
    a_retry_takes_over_what_had_succeeded,
    every_attempt_has_the_same_idempotency_key,
);

/// Dependencies run first, and the agent of a step sees their outputs in the plan's order.
async fn a_plan_runs_in_the_order_of_its_dependencies(world: World) {
    let _agent = world.work(&world.other, "worker", &["split", "work", "join"], 4, |context| async move {
        let mut saw = Vec::new();
        for (key, output) in context.dependencies().await? {
            saw.push(format!("{key}={}", output.to_text()?));
        }
        Ok(Payload::text(format!("{}({})", context.step_key(), saw.join(","))))
    });
    let steps = [
        step("join", "join").after(&["right", "left"]),
        step("left", "work").after(&["top"]),
        step("right", "work").after(&["top"]),
        step("top", "split"),
    ];
    let task = world.create(plan(steps)).await;
    assert_eq!((task.state(), task.step_count, task.revision), (TaskState::Running, 4, 1));

    let task = world.ended(&task.id).await;
    assert_eq!((task.state(), stopped(&task)), (TaskState::Succeeded, StopCode::Completed));
    let output = |key: &str| {
        let step = task.steps.iter().find(|step| step.key == key).unwrap();
        assert_eq!((step.state(), step.attempt, step.agent.as_str()), (StepState::Succeeded, 1, "worker"));
        Payload::from(step.output.clone()).to_text().unwrap()
    };
    assert_eq!(output("top"), "top()");
    assert_eq!(output("join"), "join(left=left(top=top()),right=right(top=top()))");
    let keys: Vec<&str> = task.steps.iter().map(|step| step.key.as_str()).collect();
    assert_eq!(keys, ["join", "left", "right", "top"], "steps stand in the order of the plan");
    assert!(task.end_time.is_some() && task.deadline.is_some());
}

async fn higher_priority_goes_first_where_agents_are_short(world: World) {
    for priorities in [[0, 5], [9, 3]] {
        let step = |priority: i32| step(&format!("p{priority}"), "work").priority(priority);
        world.create(plan(priorities.map(step))).await;
    }
    let mut agent = world.agent("only", "work", 1).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        let assign = agent.assigned().await;
        order.push(assign.step_key.clone());
        agent.finish(&assign, Payload::empty()).await;
    }
    assert_eq!(order, ["p9", "p5", "p3", "p0"]);
}

async fn an_agent_holds_no_more_steps_than_its_slots(world: World) {
    let mut first = world.agent("first", "work", 2).await;
    let steps = ["a", "b", "c", "d"].map(|key| step(key, "work"));
    let task = world.create(plan(steps)).await;
    let held = first.assigned().await;
    first.assigned().await;
    // Had it been given a third one, this agent could not get both of those left.
    let mut second = world.agent_at(&world.other, "second", "work", 0).await;
    second.slots(1).await;
    let last = second.assigned().await;
    second.finish(&last, Payload::empty()).await;
    second.assigned().await;
    assert!(first.heard_no_assignment());

    first.finish(&held, Payload::empty()).await;
    assert_eq!(
        world.history(&task.id).await.steps.values().filter(|step| step.assigned.len() == 1).count(),
        4
    );
}

async fn a_step_goes_only_to_an_agent_of_its_capability_and_project(world: World) {
    let elsewhere = crate::world::new_project(&world.admin).await;
    let stranger = World { project: elsewhere, ..world.clone() };
    let mut foreign = stranger.agent("foreign", "work", 4).await;
    let mut other = world.agent("other", "talk", 4).await;
    let mut right = world.agent_at(&world.other, "right", "work", 1).await;
    world.create(plan([step("a", "work")])).await;
    let assign = right.assigned_step("a").await;
    assert_eq!((assign.project.as_str(), assign.capability.as_str()), (world.project.as_str(), "work"));
    right.finish(&assign, Payload::empty()).await;
    // What comes next to the others is theirs.
    world.create(plan([step("b", "talk")])).await;
    stranger.create(plan([step("c", "work")])).await;
    other.assigned_step("b").await;
    foreign.assigned_step("c").await;
}

async fn a_failed_step_is_tried_again_after_its_backoff(world: World) {
    let task = world.create(plan([step("flaky", "work").attempts(3).backoff(400)])).await;
    let mut agent = world.agent("agent", "work", 1).await;
    let assign = agent.assigned().await;
    agent.fail(&assign, "HICCUP").await;
    let waiting = world.step(&task.id, "flaky").await;
    assert_eq!(waiting.last_failure.unwrap().reason, "HICCUP");
    let assign = agent.assigned().await;
    assert_eq!(assign.attempt, 2);
    agent.finish(&assign, Payload::text("done")).await;

    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
    let events = world.events(&task.id).await;
    let at = |sequence: usize| std::time::SystemTime::try_from(events[sequence - 1].time.unwrap()).unwrap();
    let Some(Kind::StepFailed(failed)) = &events[2].kind else { panic!("{:?}", events[2]) };
    let wait = Duration::try_from(failed.retry_after.unwrap()).unwrap();
    // Half of 400 ms is fixed, half is drawn; the commit takes a part of either.
    assert!((100..=400).contains(&wait.as_millis()), "{wait:?}");
    assert!(matches!(events[3].kind, Some(Kind::StepReadied(_))), "{:?}", events[3]);
    let waited = at(4).duration_since(at(3)).unwrap();
    // Two clock readings of the database, rounded to its precision.
    assert!(waited + Duration::from_millis(5) >= wait, "waited {waited:?} of {wait:?}");
}

async fn an_agent_may_say_when_to_try_again(world: World) {
    // The policy alone would keep this test for hours.
    let task = world.create(plan([step("a", "work").backoff(80_000_000)])).await;
    let mut agent = world.agent("agent", "work", 1).await;
    let assign = agent.assigned().await;
    let retry_after = Some(millis(30));
    agent.fail_with(&assign, Fail { reason: "BUSY".to_owned(), retry_after, ..Fail::default() }).await;
    let assign = agent.assigned().await;
    assert_eq!(assign.attempt, 2);
    let failed = &world.history(&task.id).await.steps["a"].failed[0];
    let wait = failed.retry_after.and_then(|wait| Duration::try_from(wait).ok()).unwrap();
    // Decided by what the replica takes for the database's time, counted from the commit.
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
}

async fn a_refused_step_goes_to_another_and_costs_no_attempt(world: World) {
    let mut picky = world.agent("picky", "work", 1).await;
    let task = world.create(plan([step("a", "work").attempts(1)])).await;
    let assign = picky.assigned().await;
    let mut willing = world.agent_at(&world.other, "willing", "work", 1).await;
    picky.refuse(&assign).await;
    let assign = willing.assigned().await;
    assert_eq!(assign.attempt, 1, "an untouched attempt is none");
    willing.finish(&assign, Payload::empty()).await;
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
    let history = world.history(&task.id).await;
    assert_eq!(history.steps["a"].agents(), ["picky", "willing"]);
    assert_eq!(history.steps["a"].refused_by, ["picky"]);
    assert!(picky.heard_no_assignment());
}

async fn a_checkpoint_is_handed_to_the_next_attempt(world: World) {
    let task = world.create(plan([step("long", "work").backoff(10)])).await;
    let mut agent = world.agent("agent", "work", 1).await;
    let assign = agent.assigned().await;
    assert_eq!(assign.checkpoint, None);
    let halfway = Payload::from_json(serde_json::json!({ "page": 7 }));
    let number = agent.progress(&assign, 0.5, Some(halfway.clone())).await;
    agent.acked(&assign, number).await;
    agent.fail(&assign, "CRASHED").await;
    let assign = agent.assigned().await;
    assert_eq!(Payload::from(assign.checkpoint.clone()).to_json().unwrap(), halfway.to_json().unwrap());
    agent.finish(&assign, Payload::empty()).await;
    let events = world.events(&task.id).await;
    let marked = |kind: &Kind| matches!(kind, Kind::StepProgressed(word) if word.checkpoint);
    assert_eq!(events.iter().filter_map(|event| event.kind.as_ref()).filter(|kind| marked(kind)).count(), 1);
}

async fn progress_is_seen_and_recorded(world: World) {
    let task = world.create(plan([step("long", "work")])).await;
    let mut agent = world.agent("agent", "work", 1).await;
    let assign = agent.assigned().await;
    let number = agent.progress(&assign, 0.25, None).await;
    agent.acked(&assign, number).await;
    // Of several in a quarter of a second only the last is recorded; all count.
    for part in [0.3, 0.4, 0.5] {
        agent.progress(&assign, part, None).await;
    }
    let number = agent.progress(&assign, 0.75, None).await;
    agent.acked(&assign, number).await;
    let progress = world.other.get_task(&task.id).await.unwrap().steps[0].progress.clone().unwrap();
    assert_eq!((progress.fraction, progress.message.as_str()), (0.75, "at 0.75"));
    let recorded = world.history(&task.id).await.steps["long"].progressed;
    assert!(
        (2..=3).contains(&recorded),
        "{recorded} of five words within a quarter of a second are recorded"
    );
    agent.finish(&assign, Payload::empty()).await;
    assert_eq!(world.ended(&task.id).await.steps[0].progress, None, "only while running");
}

async fn bye_gives_unfinished_steps_to_others_at_once(world: World) {
    let task = world.create(plan([step("a", "work").attempts(1)])).await;
    let mut leaving = world.agent("leaving", "work", 1).await;
    leaving.assigned().await;
    let mut staying = world.agent_at(&world.other, "staying", "work", 1).await;
    leaving.bye().await;
    // The lease of this server would last far longer than this waits.
    let assign = tokio::time::timeout(Duration::from_secs(5), staying.assigned()).await.expect("at once");
    assert_eq!(assign.attempt, 2);
    staying.finish(&assign, Payload::empty()).await;
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded, "a loss costs no attempt");
}

async fn a_retry_takes_over_what_had_succeeded(world: World) {
    let agent = world.work(&world.admin, "worker", &["good", "bad"], 2, |context| async move {
        match context.capability() {
            "bad" => Err(StepError::not_retryable("BROKEN", "as planned")),
            _ => Ok(Payload::text("precious")),
        }
    });
    let mut request = world.request(plan([step("first", "good"), step("second", "bad").after(&["first"])]));
    request.display_name = "twice".to_owned();
    request.labels.insert("team".to_owned(), "red".to_owned());
    let first = world.admin.create_task(request.clone()).await.unwrap();
    assert_eq!(stopped(&world.ended(&first.id).await), StopCode::NotRetryable);
    agent.stop().await;

    let again = RetryTaskRequest { task_id: first.id.clone(), request_id: String::new() };
    let second = world.other.retry_task(again).await.unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(
        (&second.retry_of, &second.display_name, &second.labels),
        (&first.id, &request.display_name, &request.labels)
    );
    let mut agent = world.agent("repairer", "bad", 1).await;
    let assign = agent.assigned_step("second").await;
    assert_eq!((assign.attempt, assign.dependencies.len()), (1, 1));
    let output = Payload::from(assign.dependencies[0].output.clone());
    assert_eq!(output.to_text().unwrap(), "precious");
    agent.finish(&assign, Payload::text("mended")).await;

    let second = world.ended(&second.id).await;
    assert_eq!(second.state(), TaskState::Succeeded);
    assert_eq!(second.steps.iter().map(|step| step.reused).collect::<Vec<_>>(), [true, false]);
    let events = world.events(&second.id).await;
    let Some(Kind::TaskCreated(created)) = &events[0].kind else { panic!("{events:?}") };
    assert_eq!(
        (created.reused_steps.as_slice(), created.retry_of.as_str()),
        (["first".to_owned()].as_slice(), first.id.as_str())
    );
    assert_eq!(stopped(&world.task(&first.id).await), StopCode::NotRetryable, "ended stays ended");
}

async fn every_attempt_has_the_same_idempotency_key(world: World) {
    let steps = [step("a", "work").backoff(10), step("b", "other")];
    let task = world.create(plan(steps)).await;
    let mut agent = world.agent("agent", "work", 1).await;
    let first = agent.assigned().await;
    agent.fail(&first, "HICCUP").await;
    let second = agent.assigned().await;
    assert_ne!(first.lease_token, second.lease_token, "an attempt is a lease of its own");
    assert_eq!(first.idempotency_key, second.idempotency_key);
    let mut other = world.agent("other", "other", 1).await;
    let neighbour = other.assigned().await;
    assert_ne!(neighbour.idempotency_key, first.idempotency_key);
    assert!(!first.idempotency_key.is_empty());
    let running = until("both steps to run", || async {
        let task = world.task(&task.id).await;
        task.steps.iter().all(|step| step.state() == StepState::Running).then_some(task)
    });
    assert_eq!(running.await.state(), TaskState::Running);
}
