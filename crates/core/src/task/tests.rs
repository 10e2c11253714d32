//! The state machine, walked: every phase of a step against every command, and
//! random histories against the promises.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::command::LeaseRef;
use super::*;
use crate::id::SessionId;
use crate::plan::{Plan, RetryPolicy, StepAction, StepIndex, StepSpec, Timeouts};
use crate::stream::Recorded;
use crate::time::{Span, Timestamp};
use crate::{Ctx, Refusal};

fn ctx(micros: i64, seed: u8) -> Ctx {
    Ctx::new(Timestamp::from_micros(micros), [seed; 32])
}

fn session(seed: u8) -> SessionId {
    SessionId::new(&ctx(0, seed), 0)
}

fn spec(key: &str, after: &[&str]) -> StepSpec {
    StepSpec {
        key: key.to_owned(),
        capability: "work".to_owned(),
        input: None,
        after: after.iter().map(|name| (*name).to_owned()).collect(),
        retry: RetryPolicy {
            max_attempts: 2,
            non_retryable: vec!["FATAL".to_owned()],
            ..RetryPolicy::default()
        },
        timeouts: Timeouts {
            waiting: Some(Span::from_secs(100)),
            attempt: Some(Span::from_secs(10)),
            progress: Some(Span::from_secs(5)),
        },
        priority: 0,
        action: None,
    }
}

/// The same with an action that needs a yes.
fn gated(key: &str, after: &[&str]) -> StepSpec {
    let digest = crate::Digest::of_content(b"action");
    let action = Some(StepAction { digest, content: digest, kind: "command".into() });
    StepSpec { action, ..spec(key, after) }
}

fn grant(gate: u8) -> Box<StepGrant> {
    let digest = crate::Digest::of_content(b"action");
    Box::new(StepGrant {
        approval: crate::ApprovalId::new(&ctx(0, gate), 0),
        head: 2,
        until: Timestamp::from_micros(1_000_000),
        digest,
        content: digest,
        policy: 1,
        environment: String::new(),
        level: crate::approval::Level::High,
    })
}

fn open_gate(gate: u32) -> Command {
    Command::OpenGate { step: 0, gate, grant: grant(gate as u8) }
}

fn shut_gate(gate: u32) -> Command {
    let (code, message) = (FailureCode::ApprovalDenied, "no".to_owned());
    Command::ShutGate { step: 0, gate, code, message }
}

fn regate(gate: u32) -> Command {
    Command::Regate { step: 0, gate, message: "the policy has changed".into() }
}

fn two_gated() -> History {
    History::new(Plan::new(vec![gated("a", &[]), spec("b", &["a"])], None).unwrap())
}

/// A task and everything that happened to it, with the places of its steps as
/// told by moves.
struct History {
    task: Task,
    events: Vec<Recorded<Event>>,
    places: BTreeMap<StepIndex, Place>,
    now: i64,
}

impl History {
    fn new(plan: Plan) -> Self {
        let new = NewTask {
            project: "p".into(),
            display_name: String::new(),
            labels: BTreeMap::new(),
            plan,
            created_by: "t".into(),
            owner: "ann".into(),
        };
        Self::open(create(new, &ctx(0, 1)))
    }

    fn open(event: Event) -> Self {
        let first = Recorded { sequence: 1, at: Timestamp::default(), event };
        let (task, moves) = opened(&first).unwrap();
        let mut history = Self { task, events: vec![first], places: BTreeMap::new(), now: 0 };
        history.moved(moves);
        history
    }

    fn moved(&mut self, moves: Vec<Move>) {
        for Move { step, from, to } in moves {
            let known = self.places.insert(step, to).unwrap_or(Place::Nowhere);
            assert_eq!(known, from, "a move starts where the last one ended");
        }
    }

    fn ask(&mut self, command: Command) -> Result<Vec<Event>, Refusal> {
        let events = decide(&self.task, command, &ctx(self.now, 7))?;
        for event in &events {
            assert!(!self.task.ended(), "an ended task takes no event");
            let sequence = self.task.revision + 1;
            let recorded = Recorded { sequence, at: Timestamp::from_micros(self.now), event: event.clone() };
            let moves = apply(&mut self.task, &recorded);
            self.moved(moves);
            self.events.push(recorded);
        }
        Ok(events)
    }

    fn lease(&self, step: StepIndex, number: i64) -> LeaseRef {
        let held = self.task.step(step).and_then(Step::lease);
        LeaseRef {
            step,
            session: held.map_or(session(1), |lease| lease.session),
            token: held.map_or(0, |lease| lease.token),
            number: Some(number),
        }
    }

    /// The lease as an agent names it that numbers nothing.
    fn unnumbered(&self, step: StepIndex) -> LeaseRef {
        LeaseRef { number: None, ..self.lease(step, 1) }
    }

    fn assign(&mut self, step: StepIndex) {
        self.ask(Command::Assign { step, session: session(1), agent: "a".into() }).unwrap();
    }

    fn fail(&mut self, step: StepIndex, reason: &str) {
        let lease = self.lease(step, 1);
        self.ask(fail(lease, reason)).unwrap();
    }
}

fn fail(lease: LeaseRef, reason: &str) -> Command {
    Command::Fail {
        lease,
        reason: reason.into(),
        message: String::new(),
        not_retryable: false,
        retry_after: None,
    }
}

fn progress(lease: LeaseRef) -> Command {
    Command::Progress { lease, report: Report { fraction: 0.5, ..Report::default() } }
}

fn two() -> History {
    History::new(Plan::new(vec![spec("a", &[]), spec("b", &["a"])], None).unwrap())
}

/// Step `a` in each of its phases, with what brought it there.
fn phases() -> Vec<(&'static str, History)> {
    let ready = two();
    let mut running = two();
    running.assign(0);
    let mut backoff = two();
    backoff.assign(0);
    backoff.fail(0, "FLAKY");
    let mut succeeded = two();
    succeeded.assign(0);
    let lease = succeeded.lease(0, 1);
    succeeded.ask(Command::Complete { lease, output: None }).unwrap();
    let mut failed = two();
    failed.assign(0);
    failed.fail(0, "FATAL");
    let mut canceled = two();
    canceled.ask(Command::Cancel { comment: String::new(), if_revision: None }).unwrap();
    let mut granted = two_gated();
    granted.ask(open_gate(1)).unwrap();
    vec![
        ("gated", two_gated()),
        ("granted", granted),
        ("ready", ready),
        ("running", running),
        ("backoff", backoff),
        ("succeeded", succeeded),
        ("failed", failed),
        ("canceled", canceled),
    ]
}

fn outcome(result: &Result<Vec<Event>, Refusal>) -> String {
    match result {
        Ok(events) if events.is_empty() => "-".to_owned(),
        Ok(events) => events.iter().map(name).collect::<Vec<_>>().join("+"),
        Err(refusal) => format!("{refusal:?}").split([' ', '{', '(']).next().unwrap().to_owned(),
    }
}

fn name(event: &Event) -> String {
    match event {
        Event::Failed { next: Next::Final, .. } => "Failed(final)".to_owned(),
        Event::Failed { next: Next::Backoff { .. }, .. } => "Failed(backoff)".to_owned(),
        Event::Failed { next: Next::Ready, .. } => "Failed(ready)".to_owned(),
        Event::Ended { state, .. } => format!("Ended({state:?})"),
        other => format!("{other:?}").split([' ', '{', '(']).next().unwrap().to_owned(),
    }
}

#[test]
fn every_phase_answers_every_command_as_the_table_says() {
    let held = |history: &History| history.lease(0, 1);
    // The lease that the step has, or had last, by its own agent.
    let first = LeaseRef { step: 0, session: session(1), token: 2, number: Some(1) };
    let plain = LeaseRef { number: None, ..first };
    let mut table = String::new();
    for (phase, _) in phases() {
        let run = |label: &str, at: i64, command: &dyn Fn(&History) -> Command| {
            let mut history = phases().into_iter().find(|(name, _)| *name == phase).unwrap().1;
            history.now = at;
            let command = command(&history);
            format!("{phase:>9} {label:<10} {}\n", outcome(&history.ask(command)))
        };
        table += &run("assign", 0, &|_| Command::Assign { step: 0, session: session(2), agent: "b".into() });
        table += &run("progress", 0, &|history| progress(held(history)));
        table += &run("complete", 0, &|history| Command::Complete { lease: held(history), output: None });
        table += &run("fail", 0, &|history| fail(held(history), "FLAKY"));
        table += &run("fatal", 0, &|history| fail(held(history), "FATAL"));
        table +=
            &run("refuse", 0, &|history| Command::Refuse { lease: held(history), message: String::new() });
        table += &run("repeated", 0, &|_| Command::Complete { lease: first, output: None });
        table += &run("foreign", 0, &|_| Command::Complete {
            lease: LeaseRef { session: session(9), ..first },
            output: None,
        });
        table += &run("noted", 0, &|_| progress(plain));
        table += &run("completed", 0, &|_| Command::Complete { lease: plain, output: None });
        table += &run("failed", 0, &|_| fail(plain, "FLAKY"));
        table += &run("lost", 0, &|_| Command::SessionLost { session: session(1) });
        table += &run("cancel", 0, &|_| Command::Cancel { comment: String::new(), if_revision: None });
        table += &run("open", 0, &|_| open_gate(1));
        table += &run("open next", 0, &|_| open_gate(2));
        table += &run("shut", 0, &|_| shut_gate(1));
        table += &run("shut next", 0, &|_| shut_gate(2));
        table += &run("regate", 0, &|_| regate(1));
        table += &run("tick early", 0, &|_| Command::Tick);
        table += &run("tick 7s", 7_000_000, &|_| Command::Tick);
        table += &run("tick 200s", 200_000_000, &|_| Command::Tick);
        table += &run("tick 2d", 172_800_000_000, &|_| Command::Tick);
    }
    let expected = include_str!("transitions.txt");
    assert_eq!(table, expected, "\n{table}");
}

#[test]
fn every_attempt_at_an_action_needs_a_yes_of_its_own() {
    let mut history = two_gated();
    let assign = || Command::Assign { step: 0, session: session(1), agent: "a".into() };
    assert_eq!(history.ask(assign()), Err(Refusal::StepNotReady));
    history.ask(open_gate(1)).unwrap();
    assert_eq!(history.task.steps[0].grant.as_ref(), Some(&*grant(1)));
    history.ask(assign()).unwrap();
    history.ask(Command::SessionLost { session: session(1) }).unwrap();
    assert_eq!(history.task.steps[0].phase, Phase::Gated, "a lost agent may have begun");
    assert_eq!(history.ask(open_gate(1)), Ok(vec![]), "the first yes is used up");
    assert_eq!(history.ask(assign()), Err(Refusal::StepNotReady));
    history.ask(open_gate(2)).unwrap();
    history.ask(assign()).unwrap();
    history.fail(0, "FLAKY");
    history.now = 2_000_000;
    history.ask(Command::Tick).unwrap();
    assert_eq!((&history.task.steps[0].phase, history.task.steps[0].gates), (&Phase::Gated, 3));
}

#[test]
fn a_grant_that_holds_no_more_takes_the_step_back() {
    let mut history = two_gated();
    history.ask(open_gate(1)).unwrap();
    assert_eq!(history.ask(regate(2)), Ok(vec![]), "of another gate");
    history.ask(regate(1)).unwrap();
    assert_eq!((&history.task.steps[0].phase, history.task.steps[0].gates), (&Phase::Gated, 2));
    assert_eq!(history.ask(shut_gate(1)), Ok(vec![]), "a late no to what is over");
    history.ask(shut_gate(2)).unwrap();
    assert_eq!(history.task.stop.as_ref().map(|stop| stop.code), Some(StopCode::ApprovalDenied));
}

#[test]
fn a_stale_token_is_refused() {
    let mut history = two();
    history.assign(0);
    let stale = history.lease(0, 1);
    history.ask(Command::SessionLost { session: session(1) }).unwrap();
    history.assign(0);
    let current = history.lease(0, 1);
    assert!(current.token > stale.token, "tokens only grow");
    let complete = |lease| Command::Complete { lease, output: None };
    assert_eq!(history.ask(complete(stale)), Err(Refusal::LeaseStale));
    assert!(history.ask(complete(current)).is_ok());
    assert_eq!(history.ask(complete(stale)), Err(Refusal::LeaseStale));
    assert_eq!(history.ask(complete(current)), Ok(vec![]), "the accepted word repeated is fine");
}

#[test]
fn without_numbers_the_token_alone_tells_a_repetition() {
    let mut history = two();
    history.assign(0);
    let lease = history.unnumbered(0);
    let complete = |lease| Command::Complete { lease, output: None };
    assert_eq!(history.ask(complete(LeaseRef { token: 1, ..lease })), Err(Refusal::LeaseStale));
    assert_eq!(history.ask(complete(LeaseRef { session: session(9), ..lease })), Err(Refusal::LeaseStale));
    assert!(matches!(history.ask(complete(lease)).unwrap()[..], [Event::Succeeded { number: 1, .. }]));
    assert_eq!(history.ask(complete(lease)), Ok(vec![]), "the same again");
    assert_eq!(history.ask(fail(lease, "FLAKY")), Err(Refusal::LeaseStale), "it was completed, not failed");
    assert_eq!(history.ask(progress(lease)), Err(Refusal::LeaseStale), "it is over");

    let mut history = two();
    history.assign(0);
    let failed = history.unnumbered(0);
    history.ask(fail(failed, "FLAKY")).unwrap();
    history.now = 1_000_000;
    history.ask(Command::Tick).unwrap();
    history.assign(0);
    assert_eq!(history.ask(fail(failed, "FLAKY")), Ok(vec![]), "the next attempt is not failed by it");
    assert_eq!(history.ask(complete(failed)), Err(Refusal::LeaseStale));
    let next = history.unnumbered(0);
    history.ask(complete(next)).unwrap();
    history.ask(Command::Cancel { comment: String::new(), if_revision: None }).unwrap();
    assert_eq!(history.ask(complete(next)), Ok(vec![]), "also after the task has ended");
}

#[test]
fn unnumbered_words_leave_the_numbers_of_a_stream_alone() {
    let mut history = two();
    history.assign(0);
    let (first, plain) = (history.lease(0, 1), history.unnumbered(0));
    history.ask(progress(plain)).unwrap();
    assert!(matches!(history.ask(progress(first)).unwrap()[..], [Event::Progressed { number: 1, .. }]));
    assert_eq!(history.ask(progress(plain)), Ok(vec![]), "one in a quarter of a second is enough");
    history.now += PROGRESS_EVERY.as_micros();
    assert!(matches!(history.ask(progress(plain)).unwrap()[..], [Event::Progressed { number: 1, .. }]));
    let checkpoint = Some(crate::Payload::new("text/plain", "half".into()));
    let saved = Command::Progress { lease: plain, report: Report { checkpoint, ..Report::default() } };
    assert_eq!(history.ask(saved).unwrap().len(), 1, "a checkpoint is state, not news");
    let complete = |lease| Command::Complete { lease, output: None };
    assert!(matches!(history.ask(complete(plain)).unwrap()[..], [Event::Succeeded { number: 2, .. }]));
    let last = LeaseRef { number: Some(3), ..first };
    assert_eq!(history.ask(complete(last)), Err(Refusal::LeaseStale), "what comes later does not count");
}

#[test]
fn partial_output_is_recorded_once_and_without_gaps() {
    let mut history = two();
    history.assign(0);
    let show = |lease, offset, text: &str| Command::Progress {
        lease,
        report: Report { partial: Some(Partial { offset, text: text.to_owned() }), ..Report::default() },
    };
    let shown = |events: &[Event]| match events {
        [Event::Progressed { partial: Some(piece), .. }] => (piece.offset, piece.text.clone()),
        other => panic!("{other:?}"),
    };
    let plain = history.unnumbered(0);
    assert_eq!(shown(&history.ask(show(plain, 0, "Once upon")).unwrap()), (0, "Once upon".to_owned()));
    // A call that was sent again, at once and with more to say.
    let more = history.ask(show(plain, 0, "Once upon a time")).unwrap();
    assert_eq!(shown(&more), (9, " a time".to_owned()));
    let gap = Refusal::PartialOutputGap { offset: 20, known: 16 };
    assert_eq!(history.ask(show(plain, 20, "!")), Err(gap));
    assert_eq!(history.task.step(0).unwrap().lease().unwrap().partial, 16);

    history.ask(Command::SessionLost { session: session(1) }).unwrap();
    history.assign(0);
    let next = history.unnumbered(0);
    assert_eq!(shown(&history.ask(show(next, 0, "Anew")).unwrap()), (0, "Anew".to_owned()));
}

#[test]
fn a_lost_agent_costs_no_attempt_but_ten_end_the_task() {
    let mut history = two();
    for _ in 1..LOSSES_MAX {
        history.assign(0);
        history.ask(Command::SessionLost { session: session(1) }).unwrap();
        assert_eq!(history.task.step(0).unwrap().phase, Phase::Ready);
    }
    assert_eq!(history.task.step(0).unwrap().failures, 0);
    history.assign(0);
    history.ask(Command::SessionLost { session: session(1) }).unwrap();
    assert_eq!(history.task.stop.as_ref().unwrap().code, StopCode::AgentLost);
}

#[test]
fn progress_restarts_the_silence_and_nothing_else() {
    let mut history = two();
    history.assign(0);
    for (number, at) in [(1, 4_000_000), (2, 8_000_000)] {
        history.now = at;
        let word = progress(history.lease(0, number));
        history.ask(word).unwrap();
        assert_eq!(history.ask(Command::Tick), Ok(vec![]));
    }
    history.now = 10_000_000;
    let events = history.ask(Command::Tick).unwrap();
    let [Event::Failed { failure, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(failure.code, FailureCode::AttemptTimeout);
}

#[test]
fn a_retry_takes_over_what_had_succeeded() {
    let (_, mut history) = phases().into_iter().find(|(name, _)| *name == "succeeded").unwrap();
    assert_eq!(retry(&history.task, "u", "ann", &ctx(0, 2)), Err(Refusal::TaskNotRetryable), "it still runs");
    history.ask(Command::Cancel { comment: String::new(), if_revision: None }).unwrap();
    let again = History::open(retry(&history.task, "u", "ann", &ctx(9, 2)).unwrap());
    assert_eq!(again.task.retry_of, Some(history.task.id));
    assert_ne!(again.task.id, history.task.id);
    assert_eq!(again.task.step(0).unwrap().phase, Phase::Succeeded);
    assert!(again.task.step(0).unwrap().reused);
    assert_eq!(again.task.step(1).unwrap().phase, Phase::Ready);
    check(&again).unwrap();
}

#[test]
fn a_refused_step_is_offered_again_after_a_pause_and_keeps_its_attempt() {
    let mut history = two();
    history.assign(0);
    let lease = history.lease(0, 1);
    history.ask(Command::Refuse { lease, message: String::new() }).unwrap();
    assert_eq!(history.task.step(0).unwrap().attempt, 0);
    assert_eq!(history.ask(Command::Tick), Ok(vec![]));
    history.now = REFUSAL_PAUSE.as_micros();
    assert_eq!(history.ask(Command::Tick), Ok(vec![Event::Readied { step: 0 }]));
    let again = Command::Assign { step: 0, session: session(1), agent: "a".into() };
    assert_eq!(history.ask(again), Err(Refusal::StepRefusedBefore), "another session gets it");
    let other = Command::Assign { step: 0, session: session(2), agent: "b".into() };
    assert!(history.ask(other).is_ok());
}

/// Commands that may or may not fit: steps, sessions, tokens and numbers are
/// drawn around the ones that count; number 0 stands for none.
fn commands() -> impl Strategy<Value = Vec<(u8, StepIndex, u8, i64, u8, i64)>> {
    proptest::collection::vec((0..9u8, 0..7u16, 1..4u8, 0..4i64, 0..3u8, 0..4_000_000i64), 1..120)
}

fn command_of(history: &History, draw: (u8, StepIndex, u8, i64, u8)) -> Command {
    let (kind, step, from, number, skew) = draw;
    let mut lease = history.lease(step, number);
    lease.number = lease.number.filter(|&number| number > 0);
    match skew {
        0 => {}
        1 => lease.session = session(from),
        _ => lease.token = lease.token.saturating_sub(1),
    }
    match kind {
        0..=2 => Command::Assign { step, session: session(from), agent: format!("agent-{from}") },
        3 => progress(lease),
        4 => Command::Complete { lease, output: None },
        5 => fail(lease, "FLAKY"),
        6 => Command::Refuse { lease, message: String::new() },
        7 => Command::SessionLost { session: session(from) },
        _ => Command::Tick,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_promises(draws in commands(), cancel_at in 0..400usize) {
        let diamond = vec![
            spec("a", &[]), spec("b", &["a"]), spec("c", &["a"]), spec("d", &["b", "c"]), spec("e", &[]),
        ];
        let mut history = History::new(Plan::new(diamond, None).unwrap());
        let mut accepted: BTreeMap<StepIndex, u32> = BTreeMap::new();
        for (place, (kind, step, from, number, skew, wait)) in draws.into_iter().enumerate() {
            history.now += wait;
            let command = match place == cancel_at {
                true => Command::Cancel { comment: String::new(), if_revision: None },
                false => command_of(&history, (kind, step, from, number, skew)),
            };
            let lease = match &command {
                Command::Complete { lease, .. } => Some(*lease),
                _ => None,
            };
            let held = lease.and_then(|lease| history.task.step(lease.step)?.lease().cloned());
            let events = history.ask(command).unwrap_or_default();
            for event in &events {
                if let Event::Succeeded { step, .. } = event {
                    *accepted.entry(*step).or_default() += 1;
                    let (lease, held) = (lease.unwrap(), held.clone().unwrap());
                    prop_assert_eq!((lease.token, lease.session), (held.token, held.session));
                }
                if let Event::Assigned { step, .. } = event {
                    let done = |&other: &StepIndex| history.task.step(other).unwrap().phase == Phase::Succeeded;
                    prop_assert!(history.task.plan.dependencies(*step).iter().all(done));
                }
            }
            check(&history)?;
        }
        prop_assert!(accepted.values().all(|&times| times == 1), "a step succeeds once: {:?}", accepted);
    }
}

fn check(history: &History) -> Result<(), TestCaseError> {
    let task = &history.task;
    // The state is the fold of the events, also after a way through the log's JSON.
    let json = serde_json::to_string(&history.events.iter().map(|r| &r.event).collect::<Vec<_>>()).unwrap();
    let back: Vec<Event> = serde_json::from_str(&json).unwrap();
    let mut again = None;
    for (recorded, event) in history.events.iter().zip(back) {
        let recorded = Recorded { event, ..*recorded };
        match &mut again {
            None => again = opened(&recorded).map(|(task, _)| task),
            Some(task) => drop(apply(task, &recorded)),
        }
    }
    prop_assert_eq!(again.as_ref(), Some(task));
    // Sequences are dense from 1.
    let dense = history.events.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence);
    prop_assert!(dense && task.revision == history.events.len() as u64);
    // Places follow phases.
    for (index, _, step) in task.numbered() {
        let expected = match &step.phase {
            Phase::Ready => Place::Ready,
            Phase::Running(lease) => Place::Leased { session: lease.session, token: lease.token },
            _ => Place::Nowhere,
        };
        prop_assert_eq!(history.places.get(&index).copied().unwrap_or(Place::Nowhere), expected);
    }
    let unfinished = task.steps.iter().filter(|step| step.phase != Phase::Succeeded).count();
    prop_assert_eq!(task.unfinished, unfinished);
    prop_assert_eq!(task.state == State::Succeeded, unfinished == 0);
    prop_assert_eq!(task.ended(), next_deadline(task).is_none(), "only a running task has deadlines");
    let open = task.steps.iter().any(|step| {
        matches!(step.phase, Phase::Blocked | Phase::Ready | Phase::Backoff { .. } | Phase::Running(_))
    });
    prop_assert!(!(task.ended() && open), "an ended task has no open step");
    prop_assert!(task.ended() || open, "a running task has an open step");
    Ok(())
}
