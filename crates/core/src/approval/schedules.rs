//! Threads that race for one approval, in 10,000 schedules chosen by shuttle.
//!
//! Each thread is a replica: it reads the stream, decides, and appends where the stream
//! still ends as it was read; some die before, some before they answer. What is compared
//! with the log afterwards is what threads were told.

use std::collections::{BTreeMap, BTreeSet};

use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use super::tests::{HOUR, action, asked, ctx, person, redeemer};
use super::*;
use crate::digest::Digest;
use crate::id::ApprovalId;
use crate::key::Role;
use crate::stream::Recorded;
use crate::time::Timestamp;

const SCHEDULES: usize = 10_000;
const POLICY: u64 = 7;

/// How many schedules ended in which phase.
static SEEN: std::sync::Mutex<BTreeMap<Phase, usize>> = std::sync::Mutex::new(BTreeMap::new());

/// A stream of events with a clock, and what policy is at.
struct Log {
    events: Vec<Recorded<Event>>,
    now: i64,
    policy: u64,
    /// What policy was at when it was redeemed.
    redeemed_under: Option<u64>,
}

impl Log {
    fn state(&self) -> Approval {
        let state = self.events.iter().fold(None, apply);
        state.expect("it begins with the request")
    }

    fn append(&mut self, events: Vec<Event>) {
        for event in events {
            if matches!(event, Event::Redeemed { .. }) {
                self.redeemed_under = Some(self.policy);
            }
            let (sequence, at) = (self.events.len() as u64 + 1, Timestamp::from_micros(self.now));
            self.events.push(Recorded { sequence, at, event });
        }
    }
}

/// What a thread does.
#[derive(Clone, Debug)]
enum Act {
    Say(Command),
    /// Looks at what policy is at when it commits, as redemption does.
    Redeem {
        token: u64,
        digest: Digest,
    },
    ChangePolicy,
    PassTime(i64),
}

/// What it was told: `Some` when it was done.
type Told = Option<()>;

fn acts() -> Vec<Act> {
    let digest = action().digest();
    let vote = |name: &str, roles: &[Role], vote| {
        Act::Say(Command::Vote { by: person(name, roles), vote, digest, comment: String::new() })
    };
    let comment = String::new;
    let (approver, admin) = ([Role::Approver], [Role::Approver, Role::Admin]);
    vec![
        vote("ann", &approver, Vote::Approve),
        vote("bob", &approver, Vote::Approve),
        vote("cid", &approver, Vote::Deny),
        // Owns the task, and has been made an administrator since.
        vote("oda", &admin, Vote::Approve),
        Act::Redeem { token: 1, digest },
        // The same again, at another replica.
        Act::Redeem { token: 1, digest },
        Act::Redeem { token: 2, digest },
        Act::Redeem { token: 1, digest: Digest::of_content(b"other bytes") },
        Act::Say(Command::Revoke { by: person("ann", &approver), comment: comment() }),
        Act::Say(Command::Withdraw { by: person("oda", &[]), comment: comment() }),
        Act::Say(Command::Supersede {
            by: person("bob", &approver),
            digest,
            successor: ApprovalId::new(&ctx(0), 9),
        }),
        Act::Say(Command::Cancel),
        Act::Say(Command::Tick),
        Act::ChangePolicy,
        Act::PassTime(HOUR / 2),
        Act::PassTime(4 * HOUR),
    ]
}

/// Reads, decides, and appends where nothing came between; `None` when it was refused
/// or died.
fn act(log: &Mutex<Log>, act: &Act) -> Told {
    if let Act::PassTime(by) = act {
        log.lock().unwrap().now += by;
        return Some(());
    }
    if let Act::ChangePolicy = act {
        log.lock().unwrap().policy += 1;
        return Some(());
    }
    loop {
        let (state, now, policy) = {
            let log = log.lock().unwrap();
            (log.state(), log.now, log.policy)
        };
        let command = match act {
            Act::Say(command) => command.clone(),
            Act::Redeem { token, digest } => {
                let environment = "production".to_owned();
                Command::Redeem { by: redeemer(*token), digest: *digest, policy, environment }
            }
            Act::ChangePolicy | Act::PassTime(_) => return None,
        };
        let events = decide(&state, command, &ctx(now)).ok()?;
        if dies() {
            return None;
        }
        let mut log = log.lock().unwrap();
        // The time that the commit is stamped with is the one that counts, and the
        // policy is among what must not have moved.
        let moved = log.events.len() as u64 != state.revision || log.policy != policy || log.now != now;
        if moved {
            continue;
        }
        log.append(events);
        drop(log);
        return (!dies()).then_some(());
    }
}

fn dies() -> bool {
    thread_rng().gen_ratio(1, 16)
}

/// One race: some of the acts, each in a thread.
fn race() {
    let mut random = thread_rng();
    let (yeses, noes) = (random.gen_range(1..=2), random.gen_range(1..=2));
    let verdict = [Verdict::Ask, Verdict::Ask, Verdict::Auto][random.gen_range(0..3)];
    let mut log = Log { events: Vec::new(), now: 1, policy: POLICY, redeemed_under: None };
    log.append(open(asked(verdict, yeses, noes), None, &ctx(1)));
    let log = Arc::new(Mutex::new(log));
    let some = acts().into_iter().filter(|_| random.gen_ratio(1, 2));
    let threads: Vec<_> = some
        .map(|one| {
            let (log, own) = (Arc::clone(&log), one.clone());
            (one, thread::spawn(move || act(&log, &own)))
        })
        .collect();
    let told: Vec<(Act, Told)> =
        threads.into_iter().map(|(one, thread)| (one, thread.join().unwrap())).collect();
    let log = log.lock().unwrap();
    holds(&log, yeses as usize, &told);
    *SEEN.lock().unwrap().entry(log.state().phase).or_default() += 1;
}

/// Reads the log as sets of people, and compares it with what was told.
fn holds(log: &Log, yeses: usize, told: &[(Act, Told)]) {
    let (mut yes, mut until, mut outcomes, mut started) = (BTreeSet::new(), None, 0, None);
    for Recorded { at, event, .. } in &log.events {
        match event {
            Event::Voted { vote, person, .. } => {
                assert!(!["rex", "oda", "wil"].contains(&person.as_str()), "{person} decides on its own");
                yes.extend((*vote == Vote::Approve).then_some(person.as_str()));
            }
            Event::Granted { by, until: end } => {
                assert!(*by == Grantor::Policy || yes.len() >= yeses, "{} yeses grant", yes.len());
                until = Some(*end);
            }
            Event::Redeemed { token, digest, .. } => {
                assert!(until.is_some_and(|until| *at < until), "it starts without a live grant");
                assert_eq!(*digest, action().digest(), "other bytes start");
                assert_eq!(outcomes, 0, "it starts after its outcome");
                started = Some(*token);
                outcomes += 1;
            }
            Event::Requested(_) | Event::Delegated { .. } | Event::Escalated { .. } => {}
            Event::Reported { .. } => {}
            _ => {
                assert_eq!(outcomes, 0, "it ends twice: {event:?}");
                outcomes += 1;
            }
        }
    }
    assert!(log.redeemed_under.is_none_or(|policy| policy == POLICY), "it starts under another policy");
    for (act, done) in told {
        if let (Act::Redeem { token, digest }, Some(())) = (act, done) {
            assert_eq!(
                (started, *digest),
                (Some(*token), action().digest()),
                "told to start what is not recorded"
            );
        }
    }
}

#[test]
fn every_schedule_has_one_outcome_and_starts_nothing_without_a_live_grant() {
    shuttle::check_random(race, SCHEDULES);
    let seen = SEEN.lock().unwrap();
    assert_eq!(seen.values().sum::<usize>(), SCHEDULES);
    for phase in Phase::ALL {
        let often = seen.get(&phase).copied().unwrap_or(0);
        // Nothing here notices by itself that policy has changed.
        assert!(often >= SCHEDULES / 50 || phase == Phase::Invalidated, "{phase:?}: {seen:?}");
    }
}
