//! Every order of everything that can be said to an approval, to the end.
//!
//! The walk goes on until no new state is found, for each number of yeses and noes
//! wanted up to three; beside it runs a reference that knows only sets of people.
//! Whatever path led to a state, state and reference must agree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tests::{HOUR, action, ctx, opened, person, record, redeemer};
use super::*;
use crate::key::Role;

/// What the reference knows: who said what that counts, and when it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    yes: BTreeSet<&'static str>,
    no: BTreeSet<&'static str>,
    outcome: Outcome,
    /// Hours since the request.
    hours: i64,
    granted_at: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Outcome {
    Pending,
    Granted,
    Redeemed(u64),
    Ended(Phase),
}

#[derive(Clone, Copy, Debug)]
enum Say {
    Vote(&'static str, Vote),
    Redeem(u64),
    /// With other bytes than those asked for.
    RedeemOther,
    Withdraw,
    Revoke,
    Cancel,
    Invalidate,
    Tick,
    Hour,
}

/// Approvers; `rex`, `oda` and `wil` have a part in the request, `ann2` is another
/// key of `ann`, `bot` is a program.
const VOTERS: [&str; 8] = ["ann", "ann2", "bob", "cid", "rex", "oda", "wil", "bot"];

fn everything() -> Vec<Say> {
    let votes = VOTERS.iter().flat_map(|name| [Vote::Approve, Vote::Deny].map(|vote| Say::Vote(name, vote)));
    let rest = [
        Say::Redeem(1),
        Say::Redeem(2),
        Say::RedeemOther,
        Say::Withdraw,
        Say::Revoke,
        Say::Cancel,
        Say::Invalidate,
        Say::Tick,
        Say::Hour,
    ];
    votes.chain(rest).collect()
}

fn command(say: Say) -> Option<Command> {
    let redeem = |token, digest| Command::Redeem {
        by: redeemer(token),
        digest,
        policy: 7,
        environment: "production".into(),
    };
    let comment = String::new();
    Some(match say {
        Say::Vote(name, vote) => {
            let roles: &[Role] =
                if name == "bot" { &[Role::Approver, Role::Agent] } else { &[Role::Approver] };
            let mut by = person(name, roles);
            if name == "ann2" {
                by.person = "ann".into();
            }
            Command::Vote { by, vote, digest: action().digest(), comment }
        }
        Say::Redeem(token) => redeem(token, action().digest()),
        Say::RedeemOther => redeem(1, crate::Digest::of_content(b"other")),
        Say::Withdraw => Command::Withdraw { by: person("oda", &[]), comment },
        Say::Revoke => Command::Revoke { by: person("ann", &[Role::Approver]), comment },
        Say::Cancel => Command::Cancel,
        Say::Invalidate => Command::Invalidate { why: Invalid::PolicyChanged },
        Say::Tick => Command::Tick,
        Say::Hour => return None,
    })
}

impl Reference {
    /// The rules again, as sets of people and nothing else.
    fn say(&mut self, say: Say, approvals: usize, denials: usize) {
        let waits = self.outcome == Outcome::Pending && self.hours < 4;
        let startable = self.outcome == Outcome::Granted && self.hours < self.granted_at + 1;
        match say {
            Say::Hour => self.hours += 1,
            Say::Vote(name, vote) if waits => {
                let name = if name == "ann2" { "ann" } else { name };
                let counts = ["ann", "bob", "cid"].contains(&name);
                if !counts || self.yes.contains(name) || self.no.contains(name) {
                    return;
                }
                match vote {
                    Vote::Approve => self.yes.insert(name),
                    Vote::Deny => self.no.insert(name),
                };
                if self.yes.len() == approvals {
                    (self.outcome, self.granted_at) = (Outcome::Granted, self.hours);
                } else if self.no.len() == denials {
                    self.outcome = Outcome::Ended(Phase::Denied);
                }
            }
            Say::Redeem(token) if startable => self.outcome = Outcome::Redeemed(token),
            Say::Withdraw if waits => self.outcome = Outcome::Ended(Phase::Withdrawn),
            // A grant that is over but was not noticed can still be taken back.
            Say::Revoke if self.outcome == Outcome::Granted => self.outcome = Outcome::Ended(Phase::Revoked),
            Say::Cancel if self.open() => self.outcome = Outcome::Ended(Phase::Canceled),
            Say::Invalidate if self.open() => self.outcome = Outcome::Ended(Phase::Invalidated),
            Say::Tick if self.open() && !waits && !startable => self.outcome = Outcome::Ended(Phase::Expired),
            _ => {}
        }
    }

    fn open(&self) -> bool {
        matches!(self.outcome, Outcome::Pending | Outcome::Granted)
    }
}

fn outcome(state: &Approval) -> Outcome {
    match (state.phase, &state.redeemed_by) {
        (Phase::Pending, _) => Outcome::Pending,
        (Phase::Granted, _) => Outcome::Granted,
        (Phase::Redeemed, Some(by)) => Outcome::Redeemed(by.token),
        (phase, _) => Outcome::Ended(phase),
    }
}

fn people(state: &Approval, vote: Vote) -> BTreeSet<&str> {
    state.votes.iter().filter(|voted| voted.vote == vote).map(|voted| voted.person.as_str()).collect()
}

/// Walks everything; how many states there are.
fn walk(approvals: u32, denials: u32) -> usize {
    let start = Reference {
        yes: BTreeSet::new(),
        no: BTreeSet::new(),
        outcome: Outcome::Pending,
        hours: 0,
        granted_at: 0,
    };
    let mut seen: BTreeMap<Reference, Vec<Say>> = BTreeMap::from([(start.clone(), Vec::new())]);
    let mut queue = VecDeque::from([(start, opened(Verdict::Ask, approvals, denials))]);
    while let Some((reference, state)) = queue.pop_front() {
        for say in everything() {
            let path = || format!("{:?} then {say:?}", seen.get(&reference));
            let now = reference.hours * HOUR;
            let before = outcome(&state);
            let next = match command(say).map(|command| decide(&state, command, &ctx(now))) {
                Some(Ok(events)) => record(Some(state.clone()), events, now),
                Some(Err(_)) | None => state.clone(),
            };
            let mut expected = reference.clone();
            expected.say(say, approvals as usize, denials as usize);
            if expected.hours > 6 {
                continue;
            }
            assert_eq!(outcome(&next), expected.outcome, "{}", path());
            assert_eq!(people(&next, Vote::Approve), expected.yes, "{}", path());
            assert_eq!(people(&next, Vote::Deny), expected.no, "{}", path());
            // Exactly one outcome: what has ended stays as it ended.
            if !matches!(before, Outcome::Pending | Outcome::Granted) {
                assert_eq!(outcome(&next), before, "{}", path());
            }
            if !seen.contains_key(&expected) {
                let mut way = seen.get(&reference).cloned().unwrap_or_default();
                way.push(say);
                seen.insert(expected.clone(), way);
                queue.push_back((expected, next));
            }
        }
    }
    seen.len()
}

#[test]
fn every_order_of_everything_agrees_with_sets_of_people() {
    for approvals in 1..=3 {
        for denials in 1..=3 {
            let states = walk(approvals, denials);
            assert!(states > 100, "{approvals} of {denials}: only {states} states were walked");
        }
    }
}
