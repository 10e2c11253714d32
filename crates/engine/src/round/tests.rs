//! Rows follow the log: after any rounds, the tables are what the state says.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quarterdeck_core::plan::{RetryPolicy, StepSpec, Timeouts};
use quarterdeck_core::task::command::LeaseRef;
use quarterdeck_core::task::{NewTask, Phase, Report};
use quarterdeck_core::{Plan, Span};

use super::*;

/// The tables that follow tasks, as rows leave them.
#[derive(Default)]
struct Tables {
    tasks: BTreeMap<TaskId, Option<State>>,
    ready: BTreeSet<Vec<u8>>,
    leases: BTreeMap<StepRef, (SessionId, u64)>,
    timers: BTreeMap<TaskId, Timestamp>,
}

impl Tables {
    fn apply(&mut self, rows: Vec<RowChange>) {
        let mut touched = BTreeSet::new();
        for row in rows {
            let (name, fresh) = match row {
                RowChange::TaskOpened(opened) => {
                    (format!("open {}", opened.task), self.tasks.insert(opened.task, None).is_none())
                }
                RowChange::TaskEnded { task, state, .. } => {
                    (format!("end {task}"), self.tasks.insert(task, Some(state)) == Some(None))
                }
                RowChange::ReadyAdded(key) => (format!("ready {key:?}"), self.ready.insert(key.encode())),
                RowChange::ReadyRemoved(key) => (format!("ready {key:?}"), self.ready.remove(&key.encode())),
                RowChange::LeaseAdded(row) => {
                    let known = self.leases.insert(row.step, (row.session, row.token));
                    (format!("lease {:?}", row.step), known.is_none())
                }
                RowChange::LeaseRemoved(step) => {
                    (format!("lease {step:?}"), self.leases.remove(&step).is_some())
                }
                RowChange::TimerSet { task, due } => {
                    self.timers.insert(task, due);
                    (format!("timer {task}"), true)
                }
                RowChange::TimerCleared { task } => {
                    (format!("timer {task}"), self.timers.remove(&task).is_some())
                }
                other => panic!("a task writes no {other:?}"),
            };
            assert!(fresh, "{name} was not where the change expects it");
            assert!(touched.insert(name.clone()), "{name} is changed twice in one commit");
        }
    }

    fn check(&self, task: &Task) {
        let ready = task.numbered().filter(|(_, _, step)| step.phase == Phase::Ready);
        let ready: BTreeSet<_> =
            ready.filter_map(|(index, _, _)| Some(ready_key(task, index)?.encode())).collect();
        assert_eq!(self.ready, ready);
        let leases = task.leases();
        let leases: BTreeMap<_, _> = leases
            .map(|(step, lease)| (StepRef { task: task.id, step }, (lease.session, lease.token)))
            .collect();
        assert_eq!(self.leases, leases);
        assert_eq!(self.tasks.get(&task.id), Some(&task.ended().then_some(task.state)));
        match (task::next_deadline(task), self.timers.get(&task.id)) {
            (None, stored) => assert_eq!(stored, None),
            (Some(due), stored) => assert!(stored.is_some_and(|stored| *stored <= due), "a timer is late"),
        }
    }
}

fn session(seed: u8) -> SessionId {
    SessionId::new(&Ctx::new(Timestamp::default(), [seed; 32]), 0)
}

fn plan() -> Plan {
    let spec = |key: &str, after: &[&str]| StepSpec {
        key: key.to_owned(),
        capability: if key == "b" { "other" } else { "work" }.to_owned(),
        input: None,
        after: after.iter().map(|name| (*name).to_owned()).collect(),
        retry: RetryPolicy::default(),
        timeouts: Timeouts {
            progress: Some(Span::from_secs(2)),
            attempt: Some(Span::from_secs(9)),
            waiting: None,
        },
        priority: 3,
        action: None,
    };
    Plan::new(vec![spec("a", &[]), spec("b", &["a"]), spec("c", &["a"]), spec("d", &["b", "c"])], None)
        .unwrap()
}

fn command(task: &Task, draw: (u8, u16, u8)) -> Command {
    let (kind, step, from) = draw;
    let held = task.step(step).and_then(|step| step.lease());
    let lease = LeaseRef {
        step,
        session: held.map_or(session(1), |lease| lease.session),
        token: held.map_or(0, |lease| lease.token),
        number: Some(held.map_or(1, |lease| lease.number + 1)),
    };
    match kind {
        0..=2 => Command::Assign { step, session: session(from), agent: "a".into() },
        3 => Command::Progress { lease, report: Report { fraction: 0.1, ..Report::default() } },
        4 | 5 => Command::Complete { lease, output: None },
        6 => Command::Fail {
            lease,
            reason: "R".into(),
            message: String::new(),
            not_retryable: false,
            retry_after: None,
        },
        7 => Command::Refuse { lease, message: String::new() },
        8 => Command::SessionLost { session: session(from) },
        9 => Command::Cancel { comment: String::new(), if_revision: None },
        _ => Command::Tick,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_what_the_state_says_after_any_rounds(
        rounds in proptest::collection::vec(
            (proptest::collection::vec((0..14u8, 0..5u16, 1..4u8), 1..5), 0..3_000_000i64, any::<bool>()),
            1..40,
        ),
    ) {
        let mut tables = Tables::default();
        let mut base: Option<Arc<Task>> = None;
        let mut timer = Timer::None;
        let mut now = 1_000_000;
        for (draws, wait, slot) in rounds {
            now += wait;
            let ctx = Ctx::new(Timestamp::from_micros(now), [now as u8; 32]);
            let mut round = Round::new(base.clone(), ctx, None);
            if base.is_none() {
                let new = NewTask {
                    project: "p".into(),
                    display_name: String::new(),
                    labels: BTreeMap::new(),
                    plan: plan(),
                    created_by: "t".into(),
        owner: "ann".into(),
                };
                round.create(task::create(new, &ctx));
            }
            for (index, draw) in (0..).zip(draws) {
                let command = command(round.task().unwrap(), draw);
                let _ = round.command(command, index);
            }
            round.assign_ready(|_, _, _| slot.then(|| (session(1), "a".to_owned())));
            let corrects = round.corrects_timer(timer);
            let (rows, next) = round.rows(timer);
            if round.events.is_empty() && !corrects {
                continue;
            }
            timer = next;
            tables.apply(rows);
            let ended = round.ended_leases();
            // Committed a little later, by the database's clock.
            now += 500;
            let (task, recorded) = match round.events.is_empty() {
                true => ((*base.clone().unwrap()).clone(), Vec::new()),
                false => round.settle(Timestamp::from_micros(now)).unwrap(),
            };
            for (step, session, token) in ended {
                let still = task.step(step).unwrap().lease();
                prop_assert!(still.is_none_or(|lease| (lease.session, lease.token) != (session, token)));
            }
            let expected = base.as_ref().map_or(0, |task| task.revision);
            prop_assert!(recorded.iter().zip(expected + 1..).all(|(event, next)| event.sequence == next));
            tables.check(&task);
            base = Some(Arc::new(task));
        }
    }
}

#[test]
fn a_finished_step_frees_its_slot_for_the_next_in_the_same_commit() {
    let ctx = Ctx::new(Timestamp::from_micros(1), [1; 32]);
    let new = NewTask {
        project: "p".into(),
        display_name: String::new(),
        labels: BTreeMap::new(),
        plan: plan(),
        created_by: "t".into(),
        owner: "ann".into(),
    };
    let mut round = Round::new(None, ctx, None);
    round.create(task::create(new, &ctx));
    round.assign_ready(|_, _, _| Some((session(1), "a".to_owned())));
    let (task, _) = round.settle(Timestamp::from_micros(2)).unwrap();

    let complete = command(&task, (4, 0, 1));
    let mut round = Round::new(Some(Arc::new(task)), ctx, None);
    round.command(complete, 0).unwrap();
    let mut asked = Vec::new();
    round.assign_ready(|queue, freeing, _| {
        asked.push((queue.capability.clone(), freeing.to_vec()));
        None
    });
    assert_eq!(asked, [("other".to_owned(), vec![session(1)]), ("work".to_owned(), vec![session(1)])]);
    assert_eq!(round.queued().len(), 2);
}

/// Another replica found nothing due and moved the row to the state's next
/// deadline, without an event: this replica still believes in the earlier row.
#[test]
fn a_timer_row_that_others_may_have_moved_is_not_relied_on() {
    let ctx = Ctx::new(Timestamp::from_micros(1_000_000), [1; 32]);
    let new = NewTask {
        project: "p".into(),
        display_name: String::new(),
        labels: BTreeMap::new(),
        plan: plan(),
        created_by: "t".into(),
        owner: "ann".into(),
    };
    let mut round = Round::new(None, ctx, None);
    round.create(task::create(new, &ctx));
    round.assign_ready(|_, _, _| Some((session(1), "a".to_owned())));
    let (task, _) = round.settle(ctx.now).unwrap();
    // Due in 2 s for its silence; the row once said 0.1 s.
    let believed = Timer::Due(ctx.now.plus(Span::from_millis(100)));

    let fail = command(&task, (6, 0, 1));
    let mut round = Round::new(Some(Arc::new(task)), ctx, None);
    round.command(fail, 0).unwrap();
    let backoff = task::next_deadline(round.task().unwrap()).unwrap();
    assert!(backoff < ctx.now.plus(Span::from_secs(2)));
    let (rows, timer) = round.rows(believed);
    assert_eq!(timer, Timer::Due(backoff));
    assert!(rows.iter().any(|row| matches!(row, RowChange::TimerSet { due, .. } if *due == backoff)));
}
