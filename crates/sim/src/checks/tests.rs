//! Histories made by hand, each wrong in one way, and what is said of them.

use std::collections::BTreeMap;

use quarterdeck_core::plan::{Plan, RetryPolicy, StepSpec, Timeouts};
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::event::Created;
use quarterdeck_core::task::{Event, Failure, FailureCode, LeaseToken, Next, State, StopCode, StopReason};
use quarterdeck_core::{Ctx, Payload, SessionId, TaskId, Timestamp};

use super::{Evidence, Placed, TaskLog, text, violations};
use crate::agent::mark;
use crate::history::{Answer, Call, Entry, Fact, Output, Told, Wanted, Word};
use crate::ports::EPOCH;

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
        let name = id.to_string();
        let mut facts = vec![
            Fact::ProjectOpened { watch: 0, replica: 0, wanted: ALL, resumed: false },
            called(1, Call::Create { request: "r".to_owned(), body: 5 }),
            answered(1, shown(id, 1, "Running")),
            Fact::Connecting { agent: 0, replica: 0, session: None },
            Fact::Welcomed { agent: 0, replica: 0, session: session.to_string(), resumed: false, slots: 1 },
            given(id, session, 2),
            Fact::WatchOpened { watch: 0, replica: 0, task: name.clone(), resumed: false },
            Fact::WatchSnapshot { watch: 0, revision: 2, ended: false },
            said(id, session, 1),
            Fact::Acked { agent: 0, token, up_to: 1 },
            Fact::WatchEvent { watch: 0, sequence: 3, event: text(&log.events[2]) },
            Fact::WatchEvent { watch: 0, sequence: 4, event: text(&log.events[3]) },
            Fact::WatchEnded { watch: 0 },
        ];
        facts.extend([1, 4].map(|sequence| {
            let event = text(&log.events[sequence as usize - 1]);
            Fact::ProjectEvent { watch: 0, task: name.clone(), sequence, event }
        }));
        let entries = (0..).zip(facts).map(|(at, fact)| Entry { at, fact }).collect();
        let order = (1..=4).map(|sequence| Placed { task: name.clone(), sequence }).collect();
        let tasks = BTreeMap::from([(name, log)]);
        Self { id, session, evidence: Evidence { entries, tasks, order, ..Evidence::default() } }
    }

    fn log(&mut self) -> &mut TaskLog {
        self.evidence.tasks.get_mut(&self.id.to_string()).unwrap()
    }

    fn add(&mut self, fact: Fact) {
        self.evidence.entries.push(Entry { at: 90, fact });
    }

    fn look(&mut self, asked: i64, told: Told) {
        let (token, task, step) = (self.token(2), self.id.to_string(), "s0".to_owned());
        self.add(Fact::Looked { agent: 0, token, task, step, asked, told });
    }

    fn token(&self, sequence: u64) -> String {
        LeaseToken { task: self.id, step: 0, epoch: 1, sequence }.to_string()
    }

    /// The first fact that is one of these.
    fn place(&self, wanted: fn(&Fact) -> bool) -> usize {
        self.evidence.entries.iter().position(|entry| wanted(&entry.fact)).unwrap()
    }

    fn without(&mut self, unwanted: fn(&Fact) -> bool) {
        self.evidence.entries.retain(|entry| !unwanted(&entry.fact));
    }
}

const ALL: Wanted = Wanted { hue: None, steps: false };

fn called(op: u64, call: Call) -> Fact {
    Fact::Invoked { op, client: 0, replica: 0, call }
}

fn answered(op: u64, answer: Answer) -> Fact {
    Fact::Answered { op, answer }
}

fn shown(id: TaskId, revision: u64, state: &str) -> Answer {
    Answer::Task { task: id.to_string(), revision, state: state.to_owned() }
}

fn given(id: TaskId, session: SessionId, sequence: u64) -> Fact {
    let token = LeaseToken { task: id, step: 0, epoch: 1, sequence }.to_string();
    let (task, step) = (id.to_string(), "s0".to_owned());
    Fact::Assigned {
        agent: 0,
        session: session.to_string(),
        token,
        task,
        step,
        attempt: 1,
        outputs: Some(Vec::new()),
    }
}

fn said(id: TaskId, session: SessionId, number: i64) -> Fact {
    let token = LeaseToken { task: id, step: 0, epoch: 1, sequence: 2 }.to_string();
    Fact::Said { agent: 0, session: session.to_string(), token, number, word: Word::Complete }
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
        action: None,
    };
    Event::Created(Box::new(Created {
        id,
        project: "default".to_owned(),
        display_name: "r".to_owned(),
        labels: BTreeMap::from([("body".to_owned(), "5".to_owned())]),
        plan: Plan::new(vec![step], None).unwrap(),
        created_by: "c".to_owned(),
        owner: "c".to_owned(),
        deadline: Timestamp::MAX,
        retry_of: None,
        reused: BTreeMap::new(),
    }))
}

fn recorded(events: Vec<Event>) -> Vec<Recorded<Event>> {
    let at = |sequence: u64| Timestamp::from_micros(EPOCH + sequence as i64);
    (1..).zip(events).map(|(sequence, event)| Recorded { sequence, at: at(sequence), event }).collect()
}

#[test]
fn a_good_history_is_good() {
    assert_eq!(violations(&Given::finished().evidence), Vec::<String>::new());
}

type Spoil = fn(&mut Given);

fn each(cases: &[(&str, Spoil)]) {
    for (expected, spoil) in cases {
        let mut given = Given::finished();
        spoil(&mut given);
        let found = violations(&given.evidence);
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}: {found:?}");
    }
}

#[test]
fn each_wrong_log_is_called_wrong() {
    each(&[
        ("is lost", |given| given.evidence.tasks.clear()),
        ("sequence 5 where 4 is due", |given| given.log().events[3].sequence = 5),
        ("comes after the end", |given| {
            let session = given.session;
            let event = Event::Assigned { step: 0, attempt: 2, session, agent: "a".to_owned() };
            let at = Timestamp::from_micros(EPOCH + 5);
            given.log().events.push(Recorded { sequence: 5, at, event });
        }),
        ("its events say", |given| given.log().state = State::Failed),
        ("its head is", |given| given.log().head = 5),
        ("a stale word was taken", |given| {
            if let Event::Succeeded { number, .. } = &mut given.log().events[2].event {
                *number = 2;
            }
        }),
        ("which holds the lease, never said it", |given| {
            given.without(|fact| matches!(fact, Fact::Said { .. }));
        }),
        ("was acknowledged but is not in the log", |given| {
            let (token, session) = (given.token(9), given.session.to_string());
            let word = Word::Complete;
            given.add(Fact::Said { agent: 0, session, token: token.clone(), number: 1, word });
            given.add(Fact::Acked { agent: 0, token, up_to: 1 });
        }),
        ("was called stale but stands in the log", |given| {
            let (token, why) = (given.token(2), String::new());
            given.add(Fact::Rejected { agent: 0, token, number: 1, stale: true, why });
        }),
        ("the log has", |given| {
            let (id, session) = (given.id, given.session);
            given.add(self::given(id, session, 3));
        }),
    ]);
}

#[test]
fn each_wrong_answer_is_called_wrong() {
    each(&[
        ("was acknowledged as Succeeded", |given| {
            given.add(called(2, Call::Cancel { request: "x".to_owned(), task: given.id.to_string() }));
            given.add(answered(2, shown(given.id, 4, "Succeeded")));
        }),
        ("was answered as not done, and is event 1", |given| {
            let place = given.place(|fact| matches!(fact, Fact::Answered { .. }));
            given.evidence.entries[place].fact = answered(1, Answer::NotDone(String::new()));
        }),
        ("was shown at revision 5", |given| {
            given.add(called(2, Call::Get { task: given.id.to_string() }));
            given.add(answered(2, shown(given.id, 5, "Running")));
        }),
        ("was shown at 1, after Some(4)", |given| {
            for (op, revision) in [(2, 4), (3, 1)] {
                given.add(called(op, Call::Get { task: given.id.to_string() }));
                given.add(answered(op, shown(given.id, revision, "Running")));
            }
        }),
        ("was called a reuse of its id", |given| {
            given.add(called(2, Call::Create { request: "r".to_owned(), body: 5 }));
            given.add(answered(2, Answer::Reused));
        }),
        ("nobody asked for r", |given| given.without(|fact| matches!(fact, Fact::Invoked { .. }))),
        ("was taken at", |given| {
            let key = || "k".to_owned();
            given.add(called(2, Call::RevokeKey { request: key(), key: key() }));
            given.add(answered(2, Answer::Key { key: key(), text: None }));
            let at = 2_000_000;
            let fact = called(3, Call::ShowKey { key: key(), text: key() });
            given.evidence.entries.push(Entry { at, fact });
            given.evidence.entries.push(Entry { at, fact: answered(3, Answer::Done) });
        }),
        ("which nobody has asked for", |given| {
            given.add(called(2, Call::ShowKey { key: "k".to_owned(), text: String::new() }));
            given.add(answered(2, Answer::Revoked));
        }),
    ]);
}

#[test]
fn each_wrong_watch_is_called_wrong() {
    each(&[
        ("got 4 after Some(2)", |given| {
            let place = given.place(|fact| matches!(fact, Fact::WatchEvent { .. }));
            given.evidence.entries.remove(place);
        }),
        ("got 3 after Some(3)", |given| {
            let place = given.place(|fact| matches!(fact, Fact::WatchEvent { .. }));
            let again = given.evidence.entries[place].clone();
            given.evidence.entries.insert(place, again);
        }),
        ("sequence: 1 } is due, it was shown Some(Placed", |given| {
            let place = given.place(|fact| matches!(fact, Fact::ProjectEvent { .. }));
            given.evidence.entries.remove(place);
        }),
        ("which is not due", |given| {
            let place = given.place(|fact| matches!(fact, Fact::ProjectEvent { sequence: 4, .. }));
            let again = given.evidence.entries[place].clone();
            given.evidence.entries.push(again);
        }),
        ("sequence: 4 } is due, it was shown None", |given| {
            given.without(|fact| matches!(fact, Fact::ProjectEvent { sequence: 4, .. }));
        }),
        ("its snapshot lacks", |given| {
            let place = given.place(|fact| matches!(fact, Fact::ProjectEvent { .. }));
            given.evidence.entries.remove(place);
            given.evidence.entries[0].at = 2;
        }),
        ("which it does not want", |given| {
            let wanted = Wanted { hue: Some(1), steps: false };
            let fact = Fact::ProjectOpened { watch: 1, replica: 0, wanted, resumed: false };
            given.add(fact);
            given.add(Fact::ProjectSnapshot { watch: 1, task: given.id.to_string() });
        }),
    ]);
}

#[test]
fn each_wrong_session_is_called_wrong() {
    each(&[
        ("1 steps of at most 0", |given| {
            let place = given.place(|fact| matches!(fact, Fact::Welcomed { .. }));
            if let Fact::Welcomed { slots, .. } = &mut given.evidence.entries[place].fact {
                *slots = 0;
            }
        }),
        ("after it was sent away", |given| {
            let place = given.place(|fact| matches!(fact, Fact::Assigned { .. }));
            let fact = Fact::Away { agent: 0, cause: "Drain".to_owned() };
            given.evidence.entries.insert(place, Entry { at: 5, fact });
        }),
        ("after it was over", |given| {
            let failure = Failure {
                code: FailureCode::AgentLost,
                reason: String::new(),
                message: String::new(),
                attempt: 1,
            };
            let event = Event::Failed { step: 0, number: 0, failure, next: Next::Ready };
            let at = Timestamp::from_micros(EPOCH + 3);
            given.log().events[2] = Recorded { sequence: 3, at, event };
            let session = given.session.to_string();
            given.add(Fact::Connecting { agent: 0, replica: 0, session: Some(session.clone()) });
            given.add(Fact::Welcomed { agent: 0, replica: 0, session, resumed: true, slots: 1 });
        }),
        ("and was welcomed in", |given| {
            let session = Some("another".to_owned());
            let place = given.place(|fact| matches!(fact, Fact::Connecting { .. }));
            given.evidence.entries[place].fact = Fact::Connecting { agent: 0, replica: 0, session };
        }),
        ("and was given", |given| {
            let place = given.place(|fact| matches!(fact, Fact::Assigned { .. }));
            if let Fact::Assigned { outputs: Some(outputs), .. } = &mut given.evidence.entries[place].fact {
                outputs.push(("s9".to_owned(), Output::Nothing));
            }
        }),
        ("s0 was told as Nothing", |given| given.look(1, Told::Output(Output::Nothing))),
        ("though its lease ended", |given| {
            let digest = Payload::new("text/plain", mark(&given.token(2), 1).into()).digest().to_string();
            given.look(50, Told::Output(Output::Content(digest)));
        }),
        ("it was called stale", |given| {
            given.look(1, Told::Stale);
            given.evidence.entries.last_mut().unwrap().at = 2;
        }),
    ]);
}
