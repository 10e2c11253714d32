//! Histories made by hand, each wrong in one way, and what is said of them.

use std::collections::BTreeMap;

use quarterdeck_core::plan::{Plan, RetryPolicy, StepSpec, Timeouts};
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::event::Created;
use quarterdeck_core::task::{Event, LeaseToken, State, StopCode, StopReason};
use quarterdeck_core::{Ctx, Payload, SessionId, TaskId, Timestamp};

use super::{Evidence, TaskLog, text, violations};
use crate::agent::mark;
use crate::history::{Answer, Call, Entry, Fact, Word};

struct Given {
    id: TaskId,
    session: SessionId,
    evidence: Evidence,
}

impl Given {
    /// A task of one step that was created, given to an agent and finished.
    fn finished() -> Self {
        let ctx = Ctx::new(Timestamp::from_micros(1), [1; 32]);
        let (id, session) = (TaskId::new(&ctx, 0), SessionId::new(&ctx, 0));
        let token = LeaseToken { task: id, step: 0, epoch: 1, sequence: 2 }.to_string();
        let output = Some(Payload::new("text/plain", mark(&token, 1).into()));
        let events = vec![
            created(id),
            Event::Assigned { step: 0, attempt: 1, session, agent: "a".to_owned() },
            Event::Succeeded { step: 0, attempt: 1, number: 1, output },
            Event::Ended { state: State::Succeeded, stop: StopReason::plain(StopCode::Completed) },
        ];
        let log = TaskLog { state: State::Succeeded, head: 4, events: recorded(events) };
        let call = Call::Create { request: "r".to_owned(), body: 5 };
        let answer = Answer::Task { task: id.to_string(), revision: 1, state: "Running".to_owned() };
        let (held, name) = (session.to_string(), id.to_string());
        let word = Word::Complete;
        let facts = vec![
            Fact::Invoked { op: 1, client: 0, replica: 0, call },
            Fact::Answered { op: 1, answer },
            Fact::WatchOpened { watch: 0, replica: 0, task: name, resumed: false },
            Fact::WatchSnapshot { watch: 0, revision: 2, ended: false },
            Fact::Said { agent: 0, session: held, token: token.clone(), number: 1, word },
            Fact::Acked { agent: 0, token, up_to: 1 },
            Fact::WatchEvent { watch: 0, sequence: 3, event: text(&log.events[2]) },
            Fact::WatchEvent { watch: 0, sequence: 4, event: text(&log.events[3]) },
            Fact::WatchEnded { watch: 0 },
        ];
        let entries = facts.into_iter().map(|fact| Entry { at: 0, fact }).collect();
        let tasks = BTreeMap::from([(id.to_string(), log)]);
        Self { id, session, evidence: Evidence { entries, tasks } }
    }

    fn log(&mut self) -> &mut TaskLog {
        self.evidence.tasks.get_mut(&self.id.to_string()).unwrap()
    }

    fn add(&mut self, fact: Fact) {
        self.evidence.entries.push(Entry { at: 9, fact });
    }
}

fn created(id: TaskId) -> Event {
    let step = StepSpec {
        key: "s0".to_owned(),
        capability: "work".to_owned(),
        input: None,
        after: Vec::new(),
        retry: RetryPolicy::default(),
        timeouts: Timeouts::default(),
        priority: 0,
    };
    Event::Created(Box::new(Created {
        id,
        project: "default".to_owned(),
        display_name: "r".to_owned(),
        labels: BTreeMap::from([("body".to_owned(), "5".to_owned())]),
        plan: Plan::new(vec![step], None).unwrap(),
        created_by: "c".to_owned(),
        deadline: Timestamp::MAX,
        retry_of: None,
        reused: BTreeMap::new(),
    }))
}

fn recorded(events: Vec<Event>) -> Vec<Recorded<Event>> {
    let at = Timestamp::from_micros(1);
    (1..).zip(events).map(|(sequence, event)| Recorded { sequence, at, event }).collect()
}

#[test]
fn a_good_history_is_good() {
    assert_eq!(violations(&Given::finished().evidence), Vec::<String>::new());
}

#[test]
fn each_wrong_history_is_called_wrong() {
    type Spoil = fn(&mut Given);
    let cases: [(&str, Spoil); 11] = [
        ("is lost", |given| given.evidence.tasks.clear()),
        ("sequence 5 where 4 is due", |given| given.log().events[3].sequence = 5),
        ("comes after the end", |given| {
            let session = given.session;
            let event = Event::Assigned { step: 0, attempt: 2, session, agent: "a".to_owned() };
            let at = Timestamp::from_micros(2);
            given.log().events.push(Recorded { sequence: 5, at, event });
        }),
        ("a stale word was taken", |given| {
            if let Event::Succeeded { number, .. } = &mut given.log().events[2].event {
                *number = 2;
            }
        }),
        ("which holds the lease, never said it", |given| {
            given.evidence.entries.retain(|entry| !matches!(entry.fact, Fact::Said { .. }));
        }),
        ("was acknowledged but is not in the log", |given| {
            let token = LeaseToken { task: given.id, step: 0, epoch: 1, sequence: 9 }.to_string();
            let (session, word) = (given.session.to_string(), Word::Complete);
            given.add(Fact::Said { agent: 0, session, token: token.clone(), number: 1, word });
            given.add(Fact::Acked { agent: 0, token, up_to: 1 });
        }),
        ("was called stale but stands in the log", |given| {
            let token = LeaseToken { task: given.id, step: 0, epoch: 1, sequence: 2 }.to_string();
            let why = String::new();
            given.add(Fact::Rejected { agent: 0, token, number: 1, stale: true, why });
        }),
        ("got 4 after Some(2)", |given| drop(given.evidence.entries.remove(6))),
        ("got 4 after Some(4)", |given| {
            let again = given.evidence.entries[7].clone();
            given.evidence.entries.insert(8, again);
        }),
        ("2 steps of at most 1", |given| {
            let (session, task) = (given.session.to_string(), given.id.to_string());
            for (at, sequence) in [(4, 2), (5, 7)] {
                let token = LeaseToken { task: given.id, step: 0, epoch: 1, sequence }.to_string();
                let (session, task, step) = (session.clone(), task.clone(), "s0".to_owned());
                let fact = Fact::Assigned { agent: 0, session, token, task, step, attempt: 1 };
                given.evidence.entries.insert(at, Entry { at: 0, fact });
            }
            let fact = Fact::Welcomed { agent: 0, replica: 0, session, resumed: false, slots: 1 };
            given.evidence.entries.insert(4, Entry { at: 0, fact });
        }),
        ("was acknowledged as Succeeded", |given| {
            let task = given.id.to_string();
            let call = Call::Cancel { request: "x".to_owned(), task: task.clone() };
            given.add(Fact::Invoked { op: 2, client: 0, replica: 0, call });
            let answer = Answer::Task { task, revision: 4, state: "Succeeded".to_owned() };
            given.add(Fact::Answered { op: 2, answer });
        }),
    ];
    for (expected, spoil) in cases {
        let mut given = Given::finished();
        spoil(&mut given);
        let found = violations(&given.evidence);
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:?}");
    }
}
