//! Agents that call for steps: nothing is lost between two calls, and nothing is
//! given to an agent that does not listen.

use std::time::Duration;

use futures::future::{Either, select};
use quarterdeck_core::task::{Event, Report, State, Task};
use quarterdeck_core::{Refusal, Span};
use quarterdeck_engine::session::{Acquired, Assignment, Hello, Poll, RevokeCause, Up, Word};
use quarterdeck_engine::{Engine, Error};
use quarterdeck_store::faults::Fault;
use tokio::sync::oneshot;

use crate::world::*;

/// Long enough that no test waits for it.
const LONG: Span = Span::from_secs(600);

fn call(session_token: &str, wanted: u32, held: &[&Assignment]) -> Poll {
    let held = held.iter().map(|assignment| assignment.token.clone()).collect();
    let hello = Hello { resume_token: session_token.to_owned(), held, ..hello(wanted) };
    Poll { hello, wait: Span::from_secs(30), lease: LONG }
}

async fn acquire(engine: &Engine, poll: Poll) -> Acquired {
    soon("the answer to a call", engine.acquire_steps(&caller(), poll)).await.unwrap()
}

/// The token of a new session.
async fn opened(engine: &Engine) -> String {
    let answer = acquire(engine, call("", 1, &[])).await;
    assert_eq!((answer.steps.len(), answer.draining), (0, false));
    answer.session_token
}

async fn one_step(engine: &Engine, token: &str) -> Assignment {
    let mut answer = acquire(engine, call(token, 1, &[])).await;
    assert_eq!((answer.steps.len(), answer.revoked.len()), (1, 0));
    answer.steps.remove(0)
}

async fn created(engine: &Engine, steps: &[(&str, &[&str])]) -> std::sync::Arc<Task> {
    engine.create_task(&caller(), "", "", plan(steps)).await.unwrap()
}

async fn complete_step(engine: &Engine, assignment: &Assignment) -> Result<(), Error> {
    let output = Some(quarterdeck_core::Payload::new("text/plain", "out".into()));
    soon("a completion", engine.say(&caller(), &assignment.token, Word::Complete { output })).await
}

fn stale() -> Result<(), Error> {
    Err(Error::Refused(Refusal::LeaseStale))
}

fn assigned_times(events: &[quarterdeck_core::stream::Recorded<Event>]) -> usize {
    events.iter().filter(|event| matches!(event.event, Event::Assigned { .. })).count()
}

#[tokio::test]
async fn the_call_that_opens_a_session_carries_no_steps() {
    let world = World::new();
    let replica = world.replica().await;
    let task = created(&replica.engine, &[("a", &[])]).await;
    // Its answer may be lost: then nobody knows of its session.
    opened(&replica.engine).await;
    let token = opened(&replica.engine).await;
    assert_eq!(assigned_times(&history(&replica.engine, &task).await), 0);
    assert_eq!(one_step(&replica.engine, &token).await.task, task.id);
}

#[tokio::test]
async fn a_waiting_call_is_answered_when_a_task_comes_also_from_another_replica_without_any_bus() {
    let world = World::new();
    let (here, there) = (world.replica_on(deaf()).await, world.replica_on(deaf()).await);
    let token = opened(&here.engine).await;
    for from in [&here, &there] {
        let waiting = one_step(&here.engine, &token);
        let coming = async { created(&from.engine, &[("a", &[])]).await };
        let (assignment, task) = tokio::join!(waiting, coming);
        assert_eq!(assignment.task, task.id);
        complete_step(&there.engine, &assignment).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_without_waiting_gets_what_is_ready_and_no_more_than_it_asks_for() {
    let world = World::new();
    let replica = world.replica().await;
    let token = opened(&replica.engine).await;
    created(&replica.engine, &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])]).await;
    let at_once = |wanted, held: &[&Assignment]| Poll { wait: Span::ZERO, ..call(&token, wanted, held) };
    let first = acquire(&replica.engine, at_once(3, &[])).await.steps;
    assert_eq!(first.len(), 3);
    assert!(acquire(&replica.engine, at_once(0, &first.iter().collect::<Vec<_>>())).await.steps.is_empty());
    // What it forgot is among what it asks for.
    let again = acquire(&replica.engine, at_once(1, &[&first[0], &first[1]])).await.steps;
    assert_eq!(again, [first[2].clone()]);
    let last = acquire(&replica.engine, at_once(5, &first.iter().collect::<Vec<_>>())).await.steps;
    assert_eq!(last.len(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_given_again_by_any_replica() {
    let world = World::new();
    let (one, two) = (world.replica().await, world.replica().await);
    let token = opened(&one.engine).await;
    let task = created(&one.engine, &[("a", &[])]).await;
    let lost = one_step(&one.engine, &token).await;
    assert_eq!(one_step(&two.engine, &token).await, lost);
    assert_eq!(one_step(&one.engine, &token).await, lost);
    complete_step(&two.engine, &lost).await.unwrap();
    assert_eq!(assigned_times(&history(&one.engine, &task).await), 1);
}

#[tokio::test]
async fn a_call_that_breaks_off_leaves_nothing_behind() {
    let world = World::new();
    let replica = world.replica().await;
    let token = opened(&replica.engine).await;
    // The assignment is being committed when the caller goes away.
    let (wake, woken) = oneshot::channel::<()>();
    let (asleep, sleeping) = oneshot::channel::<()>();
    let task = created(&replica.engine, &[("a", &[])]).await;
    replica.script.push(
        "commit",
        Fault::Before(Box::pin(async move {
            let _ = asleep.send(());
            let _ = woken.await;
        })),
    );
    let caller = caller();
    tokio::select! {
        biased;
        _ = replica.engine.acquire_steps(&caller, call(&token, 1, &[])) => panic!("it must be waiting"),
        begun = sleeping => begun.unwrap(),
    }
    wake.send(()).unwrap();
    // It asks for one step, and one is on its way: no other is given to it.
    let other = created(&replica.engine, &[("b", &[])]).await;
    let answer = acquire(&replica.engine, call(&token, 1, &[])).await;
    assert_eq!(answer.steps.iter().map(|step| step.task).collect::<Vec<_>>(), [task.id]);
    // Between its calls it is given nothing.
    let mut stream = replica.engine.open_session(&caller, hello(1)).await.unwrap();
    assert_eq!(assigned(&mut stream).await.task, other.id);
    assert_eq!(assigned_times(&history(&replica.engine, &task).await), 1);
}

#[tokio::test]
async fn a_call_that_broke_off_is_given_nothing_more() {
    let world = World::new();
    let replica = world.replica().await;
    let token = opened(&replica.engine).await;
    let caller = caller();
    // It has looked at the queue, and waits.
    let waiting = replica.engine.acquire_steps(&caller, named("waiting", call(&token, 1, &[])));
    tokio::select! {
        biased;
        answer = waiting => panic!("there is nothing to tell: {answer:?}"),
        () = async {
            resumed(&replica.engine, "waiting").await;
            let mut other = call(&opened(&replica.engine).await, 1, &[]);
            other.wait = Span::ZERO;
            acquire(&replica.engine, other).await;
        } => {}
    }
    let mut stream = replica.engine.open_session(&caller, hello(1)).await.unwrap();
    let task = created(&replica.engine, &[("a", &[])]).await;
    assert_eq!(assigned(&mut stream).await.attempt, 1);
    assert_eq!(assigned_times(&history(&replica.engine, &task).await), 1);
}

#[tokio::test]
async fn a_newer_call_takes_the_place_of_the_older() {
    let world = World::new();
    let (one, two) = (world.replica().await, world.replica().await);
    let token = opened(&one.engine).await;
    for newer in [&one, &two] {
        let first = Box::pin(acquire(&one.engine, named("first", call(&token, 1, &[]))));
        let second = Box::pin(async {
            resumed(&one.engine, "first").await;
            acquire(&newer.engine, named("second", call(&token, 1, &[]))).await
        });
        // Which of them joined later is not for this test to say.
        let (replaced, left) = match select(first, second).await {
            Either::Left((answer, second)) => (answer, Either::Left(second)),
            Either::Right((answer, first)) => (answer, Either::Right(first)),
        };
        assert!(replaced.steps.is_empty(), "{replaced:?}");
        created(&newer.engine, &[("a", &[])]).await;
        complete_step(&one.engine, &left.await.steps[0]).await.unwrap();
    }
}

/// Waits until the call of this name has begun.
async fn resumed(engine: &Engine, name: &str) {
    let begun = async {
        loop {
            let page = engine.list_sessions(&caller(), "", "", 10, "").await.unwrap();
            if page.items.iter().any(|session| session.row.build == name) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(name, begun).await;
}

fn named(name: &str, poll: Poll) -> Poll {
    let hello = Hello { build: name.to_owned(), ..poll.hello };
    Poll { hello, ..poll }
}

#[tokio::test]
async fn a_repeated_completion_counts_once_and_another_word_does_not() {
    let world = World::new();
    let (one, two) = (world.replica().await, world.replica().await);
    let token = opened(&one.engine).await;
    let task = created(&one.engine, &[("a", &[])]).await;
    let assignment = one_step(&one.engine, &token).await;
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        two.script.push("commit", fault);
    }
    complete_step(&two.engine, &assignment).await.unwrap();
    assert_eq!(two.script.waiting(), 0, "all faults have happened");
    assert_eq!(ended(&one.engine, &task).await.state, State::Succeeded);
    for replica in [&one, &two] {
        complete_step(&replica.engine, &assignment).await.unwrap();
        let fail = Word::Fail {
            reason: "LATE".into(),
            message: String::new(),
            not_retryable: true,
            retry_after: None,
        };
        assert_eq!(replica.engine.say(&caller(), &assignment.token, fail).await, stale());
        let progress = Word::Progress(Report { fraction: 0.5, ..Report::default() });
        assert_eq!(replica.engine.say(&caller(), &assignment.token, progress).await, stale());
    }
    // Its session may end: what counted has counted.
    two.engine.release_session(&caller(), &token).await.unwrap();
    complete_step(&one.engine, &assignment).await.unwrap();
    assert_eq!(history(&one.engine, &task).await.len(), 4, "created, assigned, succeeded, ended");
    for bad in ["", "nonsense", &"A".repeat(40), &token] {
        let word = Word::Complete { output: None };
        assert_eq!(one.engine.say(&caller(), bad, word).await, stale(), "{bad}");
    }
}

#[tokio::test]
async fn an_agent_that_reports_too_often_waits_and_its_last_word_is_recorded() {
    let world = World::new();
    let (one, two) = (world.replica().await, world.replica().await);
    let token = opened(&one.engine).await;
    let task = created(&one.engine, &[("a", &[])]).await;
    let assignment = one_step(&one.engine, &token).await;
    let began = one.engine.now();
    for turn in 1..=6 {
        let fraction = f64::from(turn) / 10.0;
        let word = Word::Progress(Report { fraction, ..Report::default() });
        let replica = if turn % 2 == 0 { &one } else { &two };
        replica.engine.say(&caller(), &assignment.token, word).await.unwrap();
        let now = two.engine.get_task(&caller(), &task.id.to_string()).await.unwrap();
        let seen = now.step(0).unwrap().lease().unwrap().progress.clone().unwrap();
        assert_eq!(seen.fraction, fraction, "answered when it is recorded");
    }
    let took = one.engine.now().since(began);
    assert!(took >= Span::from_millis(1_200), "five pauses of 250 ms: {took}");
}

#[tokio::test]
async fn completions_racing_on_two_replicas_count_once() {
    let world = World::new();
    let (one, two) = (world.replica().await, world.replica().await);
    let token = opened(&one.engine).await;
    for _ in 0..10 {
        let task = created(&one.engine, &[("a", &[]), ("b", &["a"])]).await;
        let assignment = one_step(&one.engine, &token).await;
        let (left, right) =
            tokio::join!(complete_step(&one.engine, &assignment), complete_step(&two.engine, &assignment));
        assert_eq!((left, right), (Ok(()), Ok(())));
        history(&one.engine, &task).await;
        one.engine.cancel_task(&caller(), &task.id.to_string(), "", String::new(), None).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_over_is_revoked_unless_the_agents_own_word_ended_it() {
    let world = World::new();
    let (one, two) = (world.replica_on(deaf()).await, world.replica_on(deaf()).await);
    let token = opened(&one.engine).await;
    let first = created(&one.engine, &[("a", &[]), ("z", &["a"])]).await;
    let second = created(&one.engine, &[("b", &[])]).await;
    let done = one_step(&one.engine, &token).await;
    let taken = acquire(&one.engine, call(&token, 1, &[&done])).await.steps.remove(0);
    assert_eq!((done.task, taken.task), (first.id, second.id));

    // Completed elsewhere while the call waits: no news for who said it, though many
    // looks at the lease table fit into this wait.
    let waiting = Poll { wait: Span::from_millis(1_500), ..call(&token, 0, &[&done, &taken]) };
    let (answer, said) = tokio::join!(acquire(&one.engine, waiting), complete_step(&two.engine, &done));
    assert_eq!((answer.revoked, said), (vec![], Ok(())));
    // Cancelled elsewhere while the call waits.
    let waiting = acquire(&one.engine, call(&token, 0, &[&done, &taken]));
    let id = second.id.to_string();
    let caller = caller();
    let cancel = two.engine.cancel_task(&caller, &id, "", String::new(), None);
    let (answer, canceled) = tokio::join!(waiting, cancel);
    canceled.unwrap();
    assert_eq!(answer.revoked, [(taken.token.clone(), RevokeCause::TaskCanceled)]);
    // A call that comes afterwards is told at once, and of what never was, too.
    let mut later = call(&token, 0, &[&done, &taken]);
    later.hello.held.push("nonsense".to_owned());
    let mut revoked = acquire(&one.engine, later).await.revoked;
    revoked.sort_by(|left, right| left.0.cmp(&right.0));
    let mut expected =
        [(taken.token.clone(), RevokeCause::TaskCanceled), ("nonsense".into(), RevokeCause::Lost)];
    expected.sort_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(revoked, expected);
    assert_eq!(complete_step(&one.engine, &taken).await, stale());
    complete_step(&one.engine, &done).await.unwrap();
}

#[tokio::test]
async fn a_session_outlives_a_waiting_call_and_then_its_own_lease() {
    let world = World::new();
    let replica = world.replica().await;
    let lease = Span::from_secs(3);
    let short = |token: &str, wait: Span| Poll { wait, lease, ..call(token, 1, &[]) };
    let token = acquire(&replica.engine, short("", Span::ZERO)).await.session_token;
    // Two waits are longer than the lease; the session lives because it is called.
    for _ in 0..2 {
        let began = replica.engine.now();
        assert!(acquire(&replica.engine, short(&token, Span::from_secs(55))).await.steps.is_empty());
        let waited = replica.engine.now().since(began);
        assert!(waited >= Span::from_millis(1_950), "cut to two thirds of the lease: {waited}");
    }
    let task = created(&replica.engine, &[("a", &[])]).await;
    let kept = acquire(&replica.engine, short(&token, Span::ZERO)).await.steps.remove(0);
    // Words keep it alive as well, though the world's own sessions last 900 ms.
    let mut turns = tokio::time::interval(Duration::from_millis(900));
    for _ in 0..6 {
        turns.tick().await;
        let word = Word::Progress(Report { fraction: 0.1, ..Report::default() });
        replica.engine.say(&caller(), &kept.token, word).await.unwrap();
    }
    // Silent for its lease, it has lost its step.
    let mut other = replica.engine.open_session(&caller(), hello(1)).await.unwrap();
    let beat = other.sender();
    let again = {
        let assignment = assigned(&mut other);
        tokio::pin!(assignment);
        loop {
            tokio::select! {
                biased;
                assignment = &mut assignment => break assignment,
                () = tokio::time::sleep(Duration::from_millis(100)) => drop(beat.say(Up::Ping).await),
            }
        }
    };
    assert_eq!((again.task, again.attempt), (task.id, 2));
    assert_eq!(complete_step(&replica.engine, &kept).await, stale());
    let over = replica.engine.acquire_steps(&caller(), short(&token, Span::ZERO)).await;
    assert_eq!(over.err(), Some(Error::SessionExpired));
    assert_eq!(replica.engine.release_session(&caller(), &token).await, Err(Error::SessionExpired));
}

#[tokio::test]
async fn a_release_gives_unfinished_steps_to_others_at_once() {
    let world = World::new();
    let (one, two) = (world.replica().await, world.replica().await);
    // Nobody finds forgotten leases here.
    for replica in [&one, &two] {
        (0..1_000).for_each(|_| replica.script.push("orphaned_leases", Fault::Refuse));
    }
    let token = opened(&one.engine).await;
    created(&one.engine, &[("a", &[])]).await;
    let left = one_step(&one.engine, &token).await;
    let (wake, woken) = oneshot::channel::<()>();
    let (asleep, sleeping) = oneshot::channel::<()>();
    two.script.push(
        "commit",
        Fault::Before(Box::pin(async move {
            let _ = asleep.send(());
            let _ = woken.await;
        })),
    );
    two.engine.release_session(&caller(), &token).await.unwrap();
    two.engine.release_session(&caller(), &token).await.unwrap();
    soon("the lease to be taken back", sleeping).await.unwrap();
    assert_eq!(complete_step(&one.engine, &left).await, stale(), "over, though it is not taken back yet");
    wake.send(()).unwrap();
    let mut other = one.engine.open_session(&caller(), hello(1)).await.unwrap();
    assert_eq!(assigned(&mut other).await.attempt, 2);
    assert_eq!(complete_step(&one.engine, &left).await, stale());
    for bad in ["", "nonsense", &format!("{}x", &token[..token.len() - 1])] {
        assert_eq!(one.engine.release_session(&caller(), bad).await, Err(Error::SessionExpired), "{bad}");
    }
}

#[tokio::test]
async fn a_waiting_call_is_answered_at_once_when_its_replica_stops() {
    let world = World::new();
    let (one, two) = (world.replica().await, world.replica().await);
    let token = opened(&one.engine).await;
    let waiting = acquire(&one.engine, named("waiting", call(&token, 1, &[])));
    let drained = async {
        resumed(&one.engine, "waiting").await;
        one.engine.drain(None).await;
    };
    let (answer, ()) = tokio::join!(waiting, drained);
    assert!(answer.steps.is_empty() && !answer.draining, "{answer:?}");
    let refused = one.engine.acquire_steps(&caller(), call(&token, 1, &[])).await;
    assert_eq!(refused.err(), Some(Error::Draining));
    let task = created(&two.engine, &[("a", &[])]).await;
    let assignment = one_step(&two.engine, &token).await;
    assert_eq!(assignment.task, task.id);
    // Calls that are no waiting are still answered there.
    complete_step(&one.engine, &assignment).await.unwrap();
}

#[tokio::test]
async fn everything_finishes_while_answers_to_calls_are_lost() {
    let world = World::new();
    let (one, two) = (world.replica().await, world.replica().await);
    for (replica, name) in [(&one, "resume_session"), (&two, "leases_of"), (&one, "commit"), (&two, "commit")]
    {
        for round in 0..15 {
            let fault = match round % 3 {
                0 => Fault::LoseAnswer,
                1 => Fault::LoseRequest,
                _ => Fault::Pass,
            };
            replica.script.push(name, fault);
        }
    }
    let tasks =
        futures::future::join_all((0..12).map(|_| created(&one.engine, &[("a", &[]), ("b", &["a"])]))).await;
    let agent = |first: Engine, second: Engine| async move {
        let (mut token, mut engines) = (String::new(), [first, second]);
        loop {
            engines.reverse();
            let poll = Poll { wait: Span::from_millis(200), ..call(&token, 2, &[]) };
            // A failed call is made again; whatever it would have told is told then.
            let Ok(answer) = engines[0].acquire_steps(&caller(), poll).await else { continue };
            token = answer.session_token;
            for step in answer.steps {
                while complete_step(&engines[1], &step).await.is_err_and(|error| error.is_transient()) {}
            }
        }
    };
    #[allow(clippy::disallowed_methods)] // A test's own agents.
    let agents = [
        tokio::spawn(agent(one.engine.clone(), two.engine.clone())),
        tokio::spawn(agent(two.engine.clone(), one.engine.clone())),
    ];
    for task in &tasks {
        assert_eq!(ended(&two.engine, task).await.state, State::Succeeded);
        history(&one.engine, task).await;
    }
    agents.iter().for_each(tokio::task::JoinHandle::abort);
}
