//! No action starts without its yes, and every approval has one outcome.
//!
//! A second reading of the approvals' streams, as sets of people and times, beside the
//! tasks' own: whatever the rules in core say.

use std::collections::{BTreeMap, BTreeSet};

use quarterdeck_core::Timestamp;
use quarterdeck_core::approval::{Event, Grantor, Phase, Requested, Verdict, Vote, Wait};
use quarterdeck_core::policy;
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::LeaseToken;

use super::Evidence;
use crate::history::Fact;

/// An approval as the store has it in the end, each event with the position of its commit.
#[derive(Clone, Debug, Default)]
pub struct ApprovalLog {
    pub events: Vec<(i64, Recorded<Event>)>,
}

/// Where a reading is.
enum Stands<'a> {
    Pending,
    Granted(&'a Timestamp),
    /// By what.
    Ended(&'static str),
}

struct Reader<'a> {
    id: &'a str,
    evidence: &'a Evidence,
    asked: &'a Requested,
    opened_at: Timestamp,
    stands: Stands<'a>,
    yes: BTreeSet<&'a str>,
    no: BTreeSet<&'a str>,
    /// Lenders whose right was used.
    lent: BTreeSet<&'a str>,
    wrong: Vec<String>,
}

pub fn check(evidence: &Evidence) -> Vec<String> {
    let mut wrong = Vec::new();
    // Starts of steps; what is asked for in their middle does not start them.
    let mut started: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for (id, log) in &evidence.approvals {
        let Some((_, Recorded { event: Event::Requested(asked), at, sequence: 1 })) = log.events.first()
        else {
            wrong.push(format!("{id} does not begin with its request"));
            continue;
        };
        let (yes, no, lent) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (stands, opened_at) = (Stands::Pending, *at);
        let mut reader = Reader { id, evidence, asked, opened_at, stands, yes, no, lent, wrong: Vec::new() };
        for ((position, event), sequence) in log.events.iter().zip(1..).skip(1) {
            if event.sequence != sequence {
                reader.say(format!("sequence {} where {sequence} is due", event.sequence));
            }
            reader.read(*position, event);
            if let (Event::Redeemed { token, .. }, Wait::Gate { .. }) = (&event.event, asked.origin.wait) {
                *started.entry((asked.origin.task.to_string(), *token)).or_default() += 1;
            }
        }
        wrong.append(&mut reader.wrong);
    }
    wrong.extend(starts(evidence, &started));
    wrong.extend(told(evidence));
    wrong
}

/// Whoever was told to start something has it in the approval's stream.
fn told(evidence: &Evidence) -> Vec<String> {
    let told = evidence.entries.iter().filter_map(|entry| match &entry.fact {
        Fact::Baffled { agent, why } => Some(format!("agent {agent} was told: {why}")),
        Fact::Started { agent, token: lease, approval, digest: ran } => {
            let log = evidence.approvals.get(approval)?;
            let lease: Option<LeaseToken> = lease.parse().ok();
            let recorded = log.events.iter().any(|(_, event)| match &event.event {
                Event::Redeemed { token, digest, .. } => {
                    lease.as_ref().is_some_and(|lease| lease.sequence == *token) && digest == ran
                }
                _ => false,
            });
            (!recorded).then(|| format!("{approval}: agent {agent} starts {ran}, which is not recorded"))
        }
        Fact::Told { agent, approval, phase } => {
            let log = evidence.approvals.get(approval)?;
            let came = log.events.iter().any(|(_, event)| came_to(&event.event) == Some(*phase));
            (!came).then(|| {
                format!("{approval}: agent {agent} was told that it is {phase:?}, which it never was")
            })
        }
        _ => None,
    });
    told.collect()
}

/// The phase that an event ends waiting with.
fn came_to(event: &Event) -> Option<Phase> {
    Some(match event {
        Event::Granted { .. } => Phase::Granted,
        Event::Denied { .. } => Phase::Denied,
        Event::Redeemed { .. } => Phase::Redeemed,
        Event::Expired => Phase::Expired,
        Event::Withdrawn { .. } => Phase::Withdrawn,
        Event::Superseded { .. } => Phase::Superseded,
        Event::Invalidated { .. } => Phase::Invalidated,
        Event::Revoked { .. } => Phase::Revoked,
        Event::Canceled => Phase::Canceled,
        Event::Requested(_)
        | Event::Voted { .. }
        | Event::Delegated { .. }
        | Event::Escalated { .. }
        | Event::Reported { .. } => return None,
    })
}

/// Every start of a step with an action used up exactly one yes.
fn starts(evidence: &Evidence, started: &BTreeMap<(String, u64), usize>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, task) in &evidence.tasks {
        let Some(created) = task.created() else { continue };
        for event in &task.events {
            let quarterdeck_core::task::Event::Assigned { step, .. } = &event.event else { continue };
            let gated = created.plan.step(*step).is_some_and(|spec| spec.action.is_some());
            let used = started.get(&(id.clone(), event.sequence)).copied().unwrap_or(0);
            if used != usize::from(gated) {
                wrong.push(format!("{id}: {} starts step {step} under {used} grants", event.sequence));
            }
        }
    }
    wrong
}

impl<'a> Reader<'a> {
    fn say(&mut self, what: String) {
        self.wrong.push(format!("{}: {what}", self.id));
    }

    fn read(&mut self, position: i64, recorded: &'a Recorded<Event>) {
        let (event, at) = (&recorded.event, recorded.at);
        match (&self.stands, event) {
            (Stands::Ended(how), event)
                if !(*how == "redeemed" && matches!(event, Event::Reported { .. })) =>
            {
                let how = *how;
                return self.say(format!("{} comes after it was {how}: {event:?}", recorded.sequence));
            }
            (Stands::Granted(_), Event::Voted { .. } | Event::Denied { .. } | Event::Granted { .. }) => {
                self.say(format!("{} comes after the yes: {event:?}", recorded.sequence));
            }
            _ => {}
        }
        match event {
            Event::Requested(_) => self.say("it was asked twice".to_owned()),
            Event::Voted { vote, person, delegated_by, .. } => {
                self.voted(*vote, person, delegated_by.as_deref(), at);
            }
            Event::Granted { by, until } => self.granted(*by, until),
            Event::Denied { by_people, .. } => {
                let enough = self.no.len() >= self.asked.terms.denials as usize;
                if *by_people != enough || (!by_people && self.asked.assessment.verdict != Verdict::Deny) {
                    self.say(format!("denied by {} people, by people: {by_people}", self.no.len()));
                }
                self.stands = Stands::Ended("denied");
            }
            Event::Redeemed { token, session, digest, .. } => {
                self.redeemed(position, at, *token, *session, *digest);
            }
            Event::Expired => self.stands = Stands::Ended("expired"),
            Event::Withdrawn { .. } => self.stands = Stands::Ended("withdrawn"),
            Event::Superseded { .. } => self.stands = Stands::Ended("superseded"),
            Event::Invalidated { .. } => self.stands = Stands::Ended("invalidated"),
            Event::Revoked { .. } => self.stands = Stands::Ended("revoked"),
            Event::Canceled => self.stands = Stands::Ended("canceled"),
            Event::Delegated { .. } | Event::Escalated { .. } | Event::Reported { .. } => {}
        }
    }

    fn voted(&mut self, vote: Vote, person: &'a str, lender: Option<&'a str>, at: Timestamp) {
        let parties = &self.asked.parties;
        if [&parties.requester, &parties.owner, &parties.author].iter().any(|party| *party == person) {
            self.say(format!("{person} decides on its own"));
        }
        if person == "robot" {
            self.say("a program decides".to_owned());
        }
        if at.since(self.opened_at) >= self.asked.terms.pending {
            self.say(format!("{person} decides after its time"));
        }
        let seat = lender.unwrap_or(person);
        let used = self.yes.contains(person) || self.no.contains(person) || self.lent.contains(person);
        if used || (lender.is_some() && (self.yes.contains(seat) || self.no.contains(seat))) {
            self.say(format!("{person} decides twice, or in a place that was used"));
        }
        self.lent.extend(lender);
        match vote {
            Vote::Approve => self.yes.insert(person),
            Vote::Deny => self.no.insert(person),
        };
    }

    fn granted(&mut self, by: Grantor, until: &'a Timestamp) {
        let fits = match by {
            Grantor::Policy => self.asked.assessment.verdict == Verdict::Auto,
            Grantor::People => self.yes.len() >= self.asked.terms.approvals as usize,
            Grantor::Standing { .. } => self.asked.assessment.verdict == Verdict::Ask,
        };
        if !fits {
            self.say(format!("granted by {by:?} with {} yeses", self.yes.len()));
        }
        self.stands = Stands::Granted(until);
    }

    fn redeemed(
        &mut self,
        position: i64,
        at: Timestamp,
        token: u64,
        session: quarterdeck_core::SessionId,
        digest: quarterdeck_core::Digest,
    ) {
        match &self.stands {
            Stands::Granted(until) if at < **until => {}
            Stands::Granted(until) => {
                let late = at.since(**until);
                self.say(format!("it starts {late} after its time"));
            }
            _ => self.say("it starts without a yes".to_owned()),
        }
        if digest != self.asked.digest {
            self.say("other bytes start than were shown".to_owned());
        }
        let holds = version_at(&self.evidence.policy, position);
        if holds != self.asked.policy {
            self.say(format!("it starts under policy {holds}, and was granted under {}", self.asked.policy));
        }
        let origin = &self.asked.origin;
        let task = self.evidence.tasks.get(&origin.task.to_string());
        let event = task.and_then(|task| task.event(token));
        let end = task.and_then(|task| task.end_of_lease(origin.step, token)).map(|end| end.at);
        let fits = event.is_some_and(|event| match (&event.event, origin.wait) {
            (quarterdeck_core::task::Event::Assigned { step, session: given, .. }, wait) => {
                let same = *step == origin.step && *given == session;
                same && match wait {
                    // The start of a gated step and its redemption are one commit.
                    Wait::Gate { .. } => event.at == at,
                    Wait::Lease { token: asked_under, .. } => {
                        asked_under == token && end.is_none_or(|end| at <= end)
                    }
                }
            }
            _ => false,
        });
        if !fits {
            self.say(format!("it starts nothing at {token}: {event:?}"));
        }
        self.stands = Stands::Ended("redeemed");
    }
}

/// The sequence of the last change of the policy before a position.
fn version_at(policy: &[(i64, Recorded<policy::Event>)], position: i64) -> u64 {
    use policy::Event as E;
    let changes = policy.iter().filter(|(_, event)| matches!(event.event, E::Opened | E::Changed { .. }));
    let before = changes.take_while(|(at, _)| *at < position);
    before.last().map_or(0, |(_, event)| event.sequence)
}
