//! Agents that call instead of keeping a stream open: the promises of the stream,
//! with calls spread over the replicas.

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};
use prost::Message as _;
use quarterdeck_client::Payload;
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::orchestration::v1::{
    AcquireStepsRequest, Assign, DrainAgentRequest, FailStepRequest, FailureCode, ListSessionsRequest,
    RevokeCause, SessionState, StepState, StopCode, TaskState, drain_agent_request,
};
use tonic::Request;

use crate::expect::{refused, until, within};
use crate::plans::{StepWords, millis, plan, step};
use crate::poller::{Poller, acquire, because, complete, fail, progress};
use crate::stack::{Pace, Stack, both};
use crate::world::{World, stopped};

both!(Usual:
    a_plan_is_worked_off_by_calls_to_any_replica,
    a_waiting_call_is_answered_at_once_when_a_task_comes,
    a_call_is_given_no_more_than_it_asks_for,
    an_answer_that_was_lost_is_given_again,
    steps_too_large_for_one_answer_come_in_several,
    a_failed_step_is_tried_again,
    progress_is_seen_and_its_checkpoint_handed_on,
    a_completion_whose_answer_was_lost_is_taken_once,
    a_stale_token_is_refused,
    a_step_whose_agent_vanishes_is_reassigned_after_its_lease,
    a_released_session_gives_its_steps_to_others_at_once,
    an_agent_that_waits_hears_of_a_cancel_within_a_second,
    no_assignment_is_committed_after_an_acknowledged_cancel,
    what_time_has_ended_is_revoked_as_such,
    a_drained_agent_is_told_and_gets_nothing_new,
    a_newer_call_takes_the_place_of_the_older,
    a_stream_and_calls_share_a_task,
    a_call_is_answered_before_its_deadline,
);

const AT_ONCE: Duration = Duration::ZERO;
/// Longer than any test waits for the answer.
const LONG: Duration = Duration::from_secs(25);

async fn state_of(world: &World, session: &str) -> SessionState {
    let request = ListSessionsRequest { project: world.project.clone(), ..ListSessionsRequest::default() };
    let sessions = world.other.list_sessions(request).collect_all().await.unwrap();
    sessions.iter().find(|one| one.id == session).expect("the session is listed").state()
}

async fn a_plan_is_worked_off_by_calls_to_any_replica(world: World) {
    let steps = [
        step("join", "work").after(&["right", "left"]),
        step("left", "work").after(&["top"]),
        step("right", "work").after(&["top"]),
        step("top", "work"),
    ];
    let task = world.create(plan(steps)).await;
    let agent = world.poller("caller", "work").await;
    for turn in 0..4 {
        let assign = agent.next_step(world.replica(turn), &[]).await;
        assert_eq!((assign.task_id.as_str(), assign.attempt), (task.id.as_str(), 1));
        let saw: Vec<String> = assign
            .dependencies
            .iter()
            .map(|one| format!("{}={}", one.step_key, Payload::from(one.output.clone()).to_text().unwrap()))
            .collect();
        let output = Payload::text(format!("{}({})", assign.step_key, saw.join(",")));
        complete(world.replica(turn + 1), &assign.lease_token, output).await.unwrap();
    }
    let task = world.ended(&task.id).await;
    assert_eq!((task.state(), stopped(&task)), (TaskState::Succeeded, StopCode::Completed));
    let output = Payload::from(task.steps[0].output.clone()).to_text().unwrap();
    assert_eq!(output, "join(left=left(top=top()),right=right(top=top()))");
    assert!(task.steps.iter().all(|step| step.agent == "caller"));
    agent.release(&world.other).await.unwrap();
    assert_eq!(state_of(&world, &agent.session_id).await, SessionState::Closed);
}

async fn a_waiting_call_is_answered_at_once_when_a_task_comes(world: World) {
    let agent = world.poller("waiting", "work").await;
    for from in [&world.admin, &world.other] {
        let waiting = agent.poll(&world.admin, 1, LONG, &[]);
        let coming = async {
            let task = from.create_task(world.request(plan([step("a", "work")]))).await.unwrap();
            (task, Instant::now())
        };
        let (answer, (task, created)) = tokio::join!(waiting, coming);
        assert!(created.elapsed() < Duration::from_secs(5), "after {:?}", created.elapsed());
        assert_eq!(answer.steps[0].task_id, task.id);
        complete(from, &answer.steps[0].lease_token, Payload::empty()).await.unwrap();
    }
}

#[tokio::test]
async fn a_waiting_call_is_answered_soon_without_redis() {
    let stack = Stack::without_redis(Pace::Usual).await;
    a_waiting_call_is_answered_at_once_when_a_task_comes(World::on(&stack).await).await;
}

async fn a_call_is_given_no_more_than_it_asks_for(world: World) {
    let keys = ["a", "b", "c", "d"];
    let task = world.create(plan(keys.map(|key| step(key, "work")))).await;
    let agent = world.poller("caller", "work").await;
    // What is ready comes without waiting, together unless this machine is very slow.
    let mut first: Vec<Assign> = Vec::new();
    while first.len() < 3 {
        let (known, most) = (first.iter().collect::<Vec<_>>(), 3 - first.len());
        let more = agent.poll(&world.admin, most as i32, AT_ONCE, &known).await.steps;
        assert!(more.len() <= most, "it has asked for {most}: {more:?}");
        first.extend(more);
    }
    let all: Vec<&Assign> = first.iter().collect();
    assert!(agent.poll(&world.other, 0, AT_ONCE, &all).await.steps.is_empty());
    let forgetful = agent.poll(&world.other, 1, AT_ONCE, &all[..2]).await.steps;
    assert_eq!(forgetful, first[2..], "what it forgot is among what it asks for");
    // Between its calls the last one goes to somebody who listens.
    let mut listener = world.agent("listener", "work", 1).await;
    let last = listener.assigned().await;
    listener.finish(&last, Payload::empty()).await;
    for assign in all {
        complete(&world.other, &assign.lease_token, Payload::empty()).await.unwrap();
    }
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
    assert!(world.history(&task.id).await.steps.values().all(|step| step.assigned.len() == 1));
}

async fn an_answer_that_was_lost_is_given_again(world: World) {
    let task = world.create(plan([step("a", "work")])).await;
    // Also the answer to the very first call: then its session knows of no step.
    acquire(&world.admin, Poller::request(&world.project, "lost", "work")).await.unwrap();
    let agent = world.poller("caller", "work").await;
    let lost = agent.next_step_named(&world.admin, "a").await;
    for client in [&world.other, &world.admin] {
        let again = agent.next_step_named(client, "a").await;
        assert_eq!(again, lost);
    }
    complete(&world.other, &lost.lease_token, Payload::empty()).await.unwrap();
    assert_eq!(world.ended(&task.id).await.revision, 4, "created, assigned, succeeded, ended");
}

async fn steps_too_large_for_one_answer_come_in_several(world: World) {
    const COUNT: usize = 13;
    let content = |at: usize| Payload::bytes("application/x-test", vec![at as u8; 256 * 1024]);
    for at in 0..COUNT {
        world.create(plan([step(&format!("s{at}"), "work").input(content(at))])).await;
    }
    let agent = world.poller("caller", "work").await;
    let mut held: Vec<Assign> = Vec::new();
    let mut answers = 0;
    while held.len() < COUNT {
        let known: Vec<&Assign> = held.iter().collect();
        let most = (COUNT - held.len()) as i32;
        let answer = agent.poll(world.replica(answers), most, LONG, &known).await;
        assert!(answer.encoded_len() < 4 * 1024 * 1024, "{} bytes", answer.encoded_len());
        assert!(!answer.steps.is_empty());
        held.extend(answer.steps);
        answers += 1;
    }
    assert!(answers > 1);
    for assign in &held {
        let at: usize = assign.step_key[1..].parse().unwrap();
        let input = Payload::from(assign.input.clone());
        assert_eq!(input.to_bytes().unwrap(), content(at).to_bytes().unwrap(), "no input is left out");
    }
}

async fn a_failed_step_is_tried_again(world: World) {
    let task = world.create(plan([step("a", "work").attempts(5).backoff(10)])).await;
    let agent = world.poller("caller", "work").await;
    for (turn, reason) in ["ONE", "TWO"].into_iter().enumerate() {
        let assign = agent.next_step_named(world.replica(turn), "a").await;
        assert_eq!(assign.attempt, turn as i32 + 1);
        for client in [&world.admin, &world.other] {
            // Repeated, as if the answer had been lost.
            fail(client, &assign, because(reason)).await.unwrap();
        }
        let other = complete(&world.other, &assign.lease_token, Payload::empty()).await;
        refused("it has failed", other, Reason::LeaseStale);
    }
    let assign = agent.next_step_named(&world.other, "a").await;
    let last = FailStepRequest { not_retryable: true, retry_after: Some(millis(10)), ..because("THREE") };
    fail(&world.admin, &assign, last.clone()).await.unwrap();
    let task = world.ended(&task.id).await;
    let stop = task.stop_reason.clone().unwrap();
    assert_eq!((stop.code(), stop.step_reason.as_str()), (StopCode::NotRetryable, "THREE"));
    fail(&world.other, &assign, last).await.expect("also after the task has ended");
    let history = world.history(&task.id).await;
    let reasons = history.steps["a"].failed.iter().map(|failed| failed.failure.clone().unwrap().reason);
    assert_eq!(reasons.collect::<Vec<_>>(), ["ONE", "TWO", "THREE"], "each counts once");
}

async fn progress_is_seen_and_its_checkpoint_handed_on(world: World) {
    let task = world.create(plan([step("a", "work").backoff(10).progress_within(8_000)])).await;
    let agent = world.poller("caller", "work").await;
    let assign = agent.next_step_named(&world.admin, "a").await;
    assert_eq!(assign.checkpoint, None);
    // For longer than its progress timeout: words keep the step.
    let mut turns = tokio::time::interval(Duration::from_millis(1_500));
    for turn in 0..=6 {
        turns.tick().await;
        progress(world.replica(turn), &assign, turn as f64 / 10.0, None).await.unwrap();
    }
    let seen = world.step(&task.id, "a").await.progress.unwrap();
    assert_eq!((seen.fraction, seen.message.as_str()), (0.6, "at 0.6"));
    // Right after another word, and yet not dropped.
    let halfway = Payload::from_json(serde_json::json!({ "page": 7 }));
    progress(&world.other, &assign, 0.65, Some(halfway.clone())).await.unwrap();
    fail(&world.admin, &assign, because("CRASHED")).await.unwrap();
    let late = progress(&world.other, &assign, 0.9, None).await;
    refused("a lease that is over", late, Reason::LeaseStale);
    let assign = agent.next_step_named(&world.other, "a").await;
    assert_eq!(Payload::from(assign.checkpoint.clone()).to_json().unwrap(), halfway.to_json().unwrap());
    complete(&world.other, &assign.lease_token, Payload::empty()).await.unwrap();
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
}

async fn a_completion_whose_answer_was_lost_is_taken_once(world: World) {
    let agent = world.poller("caller", "work").await;
    for turn in 0..2 {
        let task = world.create(plan([step("a", "work")])).await;
        let assign = agent.next_step_named(world.replica(turn), "a").await;
        let token = &assign.lease_token;
        let (one, two) = tokio::join!(
            complete(&world.admin, token, Payload::text("once")),
            complete(&world.other, token, Payload::text("once")),
        );
        one.unwrap();
        two.unwrap();
        let ended = world.ended(&task.id).await;
        complete(world.replica(turn), token, Payload::text("other")).await.expect("after the end, too");
        let output = Payload::from(world.step(&task.id, "a").await.output).to_text().unwrap();
        assert_eq!((ended.revision, output.as_str()), (4, "once"), "and nothing else has happened");
        let failed = fail(world.replica(turn), &assign, because("LATE")).await;
        refused("it was completed", failed, Reason::LeaseStale);
    }
    agent.release(&world.admin).await.unwrap();
}

async fn a_stale_token_is_refused(world: World) {
    let task = world.create(plan([step("a", "work").backoff(10)])).await;
    let (first, second) = (world.poller("first", "work").await, world.poller("second", "work").await);
    let old = first.next_step_named(&world.admin, "a").await;
    fail(&world.other, &old, because("GAVE_UP")).await.unwrap();
    let current = second.next_step_named(&world.other, "a").await;
    let unknown = "AZcqJ9mQdvK3l1oTBw4XyQAAAAAAAQAAAAAAAAAC".to_owned();
    let mut bent = current.lease_token.clone();
    bent.push('0');
    for (what, token) in [
        ("its own, which is over", old.lease_token.as_str()),
        ("garbage", "not.a.lease"),
        ("a letter more", &bent),
        ("of no task", &unknown),
        ("a session's", &first.request.session_token),
    ] {
        for client in [&world.admin, &world.other] {
            let token = token.chars().take(128).collect::<String>();
            refused(what, complete(client, &token, Payload::text("wrong")).await, Reason::LeaseStale);
        }
    }
    // A lease that it never had, or not any more, is revoked when it says it has it.
    let mut request = AcquireStepsRequest { max_steps: 0, ..first.request.clone() };
    request.held_leases = vec![old.lease_token.clone(), bent, current.lease_token.clone()];
    let revoked = acquire(&world.other, request).await.unwrap().revoked;
    let mut tokens: Vec<&str> = revoked.iter().map(|revoke| revoke.lease_token.as_str()).collect();
    tokens.retain(|token| *token != current.lease_token);
    assert!(revoked.iter().all(|revoke| revoke.cause() == RevokeCause::Lost), "{revoked:?}");
    assert_eq!((revoked.len(), tokens.len()), (2, 1), "but not what its own word has ended: {revoked:?}");

    complete(&world.admin, &current.lease_token, Payload::text("right")).await.unwrap();
    let ended = world.ended(&task.id).await;
    assert_eq!(Payload::from(ended.steps[0].output.clone()).to_text().unwrap(), "right");
}

async fn a_step_whose_agent_vanishes_is_reassigned_after_its_lease(world: World) {
    let task = world.create(plan([step("a", "work").attempts(1)])).await;
    let lost = Poller::open(&world.admin, &world.project, "lost", "work", 5).await.unwrap();
    let called = Instant::now();
    let stale = lost.next_step_named(&world.other, "a").await;
    let mut heir = world.agent("heir", "work", 1).await;
    let assign = heir.assigned().await;
    let waited = called.elapsed();
    assert!(waited >= Duration::from_secs(5), "given away after {waited:?}, too early");
    assert!(waited <= Duration::from_secs(15), "given away after {waited:?} only");
    assert_eq!(assign.attempt, 2);
    for client in [&world.admin, &world.other] {
        let late = complete(client, &stale.lease_token, Payload::text("late")).await;
        refused("a lease that is over", late, Reason::LeaseStale);
        let call = lost.try_poll(client, 1, AT_ONCE, &[]).await;
        refused("a session that is over", call, Reason::SessionExpired);
    }
    refused("nothing to release", lost.release(&world.admin).await, Reason::SessionExpired);
    heir.finish(&assign, Payload::text("saved")).await;
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded, "a loss costs no attempt");
    let history = world.history(&task.id).await;
    assert_eq!(history.steps["a"].agents(), ["lost", "heir"]);
    assert_eq!(history.steps["a"].last_failure().code(), FailureCode::AgentLost);
    assert_eq!(state_of(&world, &lost.session_id).await, SessionState::Expired);
}

async fn a_released_session_gives_its_steps_to_others_at_once(world: World) {
    let task = world.create(plan([step("a", "work").attempts(1)])).await;
    let leaving = world.poller("leaving", "work").await;
    let left = leaving.next_step_named(&world.admin, "a").await;
    leaving.release(&world.other).await.unwrap();
    leaving.release(&world.admin).await.expect("again is no error");
    let staying = world.poller("staying", "work").await;
    // The lease would last far longer than this waits.
    let assign = staying.next_step_named(&world.admin, "a").await;
    assert_eq!(assign.attempt, 2);
    let late = complete(&world.other, &left.lease_token, Payload::empty()).await;
    refused("its session is over", late, Reason::LeaseStale);
    complete(&world.other, &assign.lease_token, Payload::empty()).await.unwrap();
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
}

async fn an_agent_that_waits_hears_of_a_cancel_within_a_second(world: World) {
    for canceller in [&world.admin, &world.other] {
        let task = world.create(plan([step("a", "work")])).await;
        let agent = world.poller("caller", "work").await;
        let assign = agent.next_step_named(&world.admin, "a").await;
        let hearing = async {
            let cause = agent.revoked(&world.admin, &assign).await;
            (cause, Instant::now())
        };
        let canceling = async {
            world.cancel(canceller, &task.id).await.unwrap();
            Instant::now()
        };
        let ((cause, heard), canceled) = tokio::join!(hearing, canceling);
        assert_eq!(cause, RevokeCause::TaskCanceled);
        let took = heard.saturating_duration_since(canceled);
        assert!(took <= Duration::from_secs(1), "heard after {took:?}");
        let late = complete(&world.other, &assign.lease_token, Payload::text("late")).await;
        refused("a cancelled task's lease", late, Reason::LeaseStale);
        // And one that was busy hears it when it calls the next time.
        assert_eq!(agent.revoked(&world.other, &assign).await, RevokeCause::TaskCanceled);
        let step = world.step(&task.id, "a").await;
        assert_eq!((step.state(), step.output), (StepState::Canceled, None));
        agent.release(&world.admin).await.unwrap();
    }
}

/// Works off whatever comes, with calls spread over the replicas.
async fn diligent(world: World, name: &'static str) {
    let agent = world.poller(name, "work").await;
    for turn in 0.. {
        let answer = agent.poll(world.replica(turn), 4, LONG, &[]).await;
        for assign in answer.steps {
            // Of a cancelled task nothing is taken.
            let _ = complete(world.replica(turn / 2), &assign.lease_token, Payload::empty()).await;
        }
    }
}

async fn no_assignment_is_committed_after_an_acknowledged_cancel(world: World) {
    const TASKS: usize = 24;
    let agents = ["first", "second"].map(|name| tokio::spawn(diligent(world.clone(), name)));
    let race = |number: usize| {
        let world = &world;
        let steps = (0..6).map(|at| match at {
            0 => step("s0", "work"),
            _ => step(&format!("s{at}"), "work").after(&[["s0", "s1", "s2", "s3", "s4"][at - 1]]),
        });
        let plan = plan(steps);
        async move {
            let task = world.replica(number / 2).create_task(world.request(plan)).await.unwrap();
            let mut watch = world.replica(number).watch_task(&task.id);
            for _ in 0..number % 5 {
                let _ = within("an event", watch.next_frame()).await;
            }
            match world.cancel(world.replica(number), &task.id).await {
                Ok(canceled) => Some((task.id, canceled.revision)),
                Err(error) => {
                    refused("a task that was faster", Err::<(), _>(error), Reason::TaskEnded);
                    None
                }
            }
        }
    };
    let canceled: Vec<(String, i64)> =
        stream::iter(0..TASKS).map(race).buffer_unordered(8).filter_map(|one| async { one }).collect().await;
    assert!(canceled.len() >= TASKS / 4, "only {} of {TASKS} cancels won", canceled.len());
    // A task that is made and finished now comes after all that could still be done.
    let marker = world.create(plan([step("last", "work")])).await;
    assert_eq!(world.ended(&marker.id).await.state(), TaskState::Succeeded);
    let mut assigned = 0;
    for (task, revision) in canceled {
        let task = world.ended(&task).await;
        assert_eq!((task.revision, stopped(&task)), (revision, StopCode::Canceled));
        let history = world.history(&task.id).await;
        assigned += history.steps.values().map(|step| step.assigned.len()).sum::<usize>();
    }
    assert!(assigned > 0, "no cancel met a task at work; this raced nothing");
    for agent in agents {
        agent.abort();
        assert!(agent.await.is_err_and(|error| error.is_cancelled()), "an agent has failed");
    }
}

async fn what_time_has_ended_is_revoked_as_such(world: World) {
    let task =
        world.create(plan([step("a", "work").attempts(2).backoff(80_000_000).progress_within(1_000)])).await;
    let agent = world.poller("hung", "work").await;
    let assign = agent.next_step_named(&world.admin, "a").await;
    assert_eq!(assign.progress_timeout, Some(millis(1_000)));
    // Its calls keep the session, not the step.
    assert_eq!(agent.revoked(&world.other, &assign).await, RevokeCause::Timeout);
    let late = complete(&world.admin, &assign.lease_token, Payload::empty()).await;
    refused("its time is up", late, Reason::LeaseStale);
    assert_eq!(world.history(&task.id).await.steps["a"].last_failure().code(), FailureCode::ProgressTimeout);
}

async fn a_drained_agent_is_told_and_gets_nothing_new(world: World) {
    let task = world.create(plan([step("a", "work")])).await;
    let old = world.poller("old", "work").await;
    let assign = old.next_step_named(&world.admin, "a").await;
    let target = Some(drain_agent_request::Target::Agent("old".to_owned()));
    let request =
        DrainAgentRequest { project: world.project.clone(), target, ..DrainAgentRequest::default() };
    let held = [&assign];
    let waiting = old.poll(&world.admin, 1, LONG, &held);
    let (answer, drained) = tokio::join!(waiting, world.other.drain_agent(request));
    assert_eq!(drained.unwrap().len(), 1);
    assert!(answer.draining && answer.steps.is_empty() && answer.revoked.is_empty(), "{answer:?}");

    let second = world.create(plan([step("b", "work")])).await;
    let asked = Instant::now();
    let answer = old.poll(&world.other, 1, LONG, &[&assign]).await;
    assert!(answer.draining && answer.steps.is_empty(), "{answer:?}");
    assert!(asked.elapsed() < LONG, "answered at once: there is nothing to wait for");
    let new = world.poller("new", "work").await;
    let next = new.next_step_named(&world.admin, "b").await;
    complete(&world.other, &next.lease_token, Payload::empty()).await.unwrap();
    complete(&world.other, &assign.lease_token, Payload::text("to the end")).await.unwrap();
    for id in [&task.id, &second.id] {
        assert_eq!(world.ended(id).await.state(), TaskState::Succeeded);
    }
    old.release(&world.admin).await.unwrap();
}

async fn a_newer_call_takes_the_place_of_the_older(world: World) {
    let agent = world.poller("caller", "work").await;
    for newer in [&world.admin, &world.other] {
        let first = Box::pin(agent.poll(&world.admin, 1, LONG, &[]));
        let second = Box::pin(agent.poll(newer, 1, LONG, &[]));
        // Which of them came later is not for this test to say.
        let (replaced, left) = futures::future::select(first, second).await.factor_first();
        assert!(replaced.steps.is_empty() && !replaced.draining, "{replaced:?}");
        world.create(plan([step("a", "work")])).await;
        let answer = within("the other call", left).await;
        complete(newer, &answer.steps[0].lease_token, Payload::empty()).await.unwrap();
    }
}

async fn a_stream_and_calls_share_a_task(world: World) {
    let mut listener = world.agent_at(&world.other, "listener", "left", 1).await;
    let caller = world.poller("caller", "right").await;
    let steps = [
        step("a", "left"),
        step("b", "right").after(&["a"]),
        step("c", "left").after(&["b"]),
        step("d", "right").after(&["c"]),
    ];
    let task = world.create(plan(steps)).await;
    for (mine, theirs) in [("a", "b"), ("c", "d")] {
        let assign = listener.assigned_step(mine).await;
        // A word by a call from whoever opened the session is as good as one on its stream.
        progress(&world.admin, &assign, 0.5, None).await.unwrap();
        listener.finish(&assign, Payload::text(mine)).await;
        let assign = caller.next_step_named(&world.admin, theirs).await;
        assert_eq!(Payload::from(assign.dependencies[0].output.clone()).to_text().unwrap(), mine);
        complete(&world.other, &assign.lease_token, Payload::text(theirs)).await.unwrap();
    }
    let task = world.ended(&task.id).await;
    assert_eq!(task.state(), TaskState::Succeeded);
    let agents: Vec<&str> = task.steps.iter().map(|step| step.agent.as_str()).collect();
    assert_eq!(agents, ["listener", "caller", "listener", "caller"]);
}

async fn a_call_is_answered_before_its_deadline(world: World) {
    let agent = world.poller("caller", "work").await;
    let request = AcquireStepsRequest { wait: Some(millis(55_000)), ..agent.request.clone() };
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(4));
    let asked = Instant::now();
    let answer = within("an answer", world.admin.worker_stub().acquire_steps(request)).await;
    let waited = asked.elapsed();
    assert!(answer.unwrap().into_inner().steps.is_empty());
    assert!(waited >= Duration::from_millis(1_900), "it shall wait while it can: {waited:?}");
}

#[tokio::test]
async fn a_waiting_call_is_answered_at_once_when_its_replica_stops() {
    let mut stack = Stack::without_redis(Pace::Usual).await;
    let world = World::on(&stack).await;
    let agent = world.poller("caller", "work").await;
    let admin = world.admin.clone();
    let waiting = agent.poll(&admin, 1, LONG, &[]);
    let stopping = async {
        // By then the call is there: it has moved the session's expiry.
        until("the call to wait", || async {
            let request = ListSessionsRequest { project: world.project.clone(), ..Default::default() };
            let sessions = world.other.list_sessions(request).collect_all().await.unwrap();
            let renewed = sessions[0].expire_time.unwrap().seconds - sessions[0].create_time.unwrap().seconds;
            (renewed > 61).then_some(())
        })
        .await;
        stack.replicas[0].ask_to_stop().unwrap();
        let asked = Instant::now();
        let status = within("the replica's end", stack.replicas[0].wait()).await.unwrap();
        assert!(status.success(), "{status}");
        asked.elapsed()
    };
    let (answer, took) = tokio::join!(waiting, stopping);
    assert!(answer.steps.is_empty() && !answer.draining, "{answer:?}");
    assert!(took < Duration::from_secs(10), "the call held the stop up for {took:?}");
    let task = world.other.create_task(world.request(plan([step("a", "work")]))).await.unwrap();
    let assign = agent.next_step_named(&world.other, "a").await;
    complete(&world.other, &assign.lease_token, Payload::empty()).await.unwrap();
    let ended = within("the end of the task", world.other.wait_for_task(&task.id)).await.unwrap();
    assert_eq!(ended.state(), TaskState::Succeeded);
}
