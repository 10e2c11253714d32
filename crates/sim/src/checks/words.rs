//! Agents' words: each is taken at most once, under the lease and the session it
//! was said for; what was acknowledged is in the log, what was called stale is not.

use std::collections::{BTreeMap, BTreeSet};

use quarterdeck_core::task::{Event, LeaseToken};

use super::Evidence;
use super::fold::Accepted;
use crate::agent::read_mark;
use crate::history::{Fact, Word};

/// What a server says that refuses a step for an agent that is going.
const GIVEN_BACK: &str = "the agent was asked to finish before it was told of this step";

type Place<'h> = (&'h str, i64);
/// Task, step and sequence of a lease.
type Lease<'h> = (&'h str, u16, u64);

#[derive(Default)]
struct Said<'h> {
    /// By token and number: the sessions and kinds.
    words: BTreeMap<Place<'h>, BTreeSet<(&'h str, Word)>>,
}

pub fn check(evidence: &Evidence, accepted: &[(String, Accepted)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut said = Said::default();
    for entry in &evidence.entries {
        if let Fact::Said { session, token, number, word, .. } = &entry.fact {
            said.words.entry((token, *number)).or_default().insert((session, *word));
        }
    }
    let taken = taken(&said, &told(evidence), accepted, &mut found);
    for entry in &evidence.entries {
        match &entry.fact {
            Fact::Acked { token, up_to, .. } => acked(&said, &taken, token, *up_to, &mut found),
            Fact::Rejected { token, number, stale: true, .. } => {
                let place = (token.as_str(), *number);
                // Said again by another session it is stale, and rightly so.
                let one_session = said.words.get(&place).is_some_and(|by| by.len() == 1);
                if one_session && taken.get(&place) == Some(&Word::Complete) {
                    found.push(format!("completion {token}#{number} was called stale but stands in the log"));
                }
            }
            Fact::Rejected { token, number, stale: false, why, .. } => {
                found.push(format!("word {token}#{number} was refused: {why}"));
            }
            Fact::Assigned { session, token, task, attempt, .. } => {
                if let Some(what) = phantom(evidence, session, token, task, *attempt) {
                    found.push(what);
                }
            }
            Fact::Left { agent, why } if why.starts_with("defect") => {
                found.push(format!("agent {agent} was answered with a {why}"));
            }
            _ => {}
        }
    }
    found
}

/// Leases that agents were told of.
fn told(evidence: &Evidence) -> BTreeSet<Lease<'_>> {
    let told = evidence.entries.iter().filter_map(|entry| match &entry.fact {
        Fact::Assigned { token, task, .. } => {
            let lease = token.parse::<LeaseToken>().ok()?;
            Some((task.as_str(), lease.step, lease.sequence))
        }
        _ => None,
    });
    told.collect()
}

/// Words in the log, checked against those that were said.
fn taken<'h>(
    said: &Said<'h>,
    told: &BTreeSet<Lease<'_>>,
    accepted: &'h [(String, Accepted)],
    found: &mut Vec<String>,
) -> BTreeMap<Place<'h>, Word> {
    let mut taken = BTreeMap::new();
    for (task, word) in accepted {
        let name = format!("{task} {} ({:?})", word.sequence, word.word);
        if word.word == Word::Refuse && word.content == GIVEN_BACK {
            let lease = (task.as_str(), word.step, word.token);
            if told.contains(&lease) {
                found.push(format!("{name}: refused for an agent that was told of it"));
            }
            continue;
        }
        let Some((token, number)) = read_mark(&word.content) else {
            found.push(format!("{name}: nobody said `{}`", word.content));
            continue;
        };
        let lease = token.parse::<LeaseToken>().ok();
        let own = lease.is_some_and(|lease| {
            lease.task.to_string() == *task && lease.step == word.step && lease.sequence == word.token
        });
        if !own || number != word.number {
            found.push(format!(
                "{name}: a stale word was taken: said as {lease:?} number {number}, taken under step {} lease \
                 {} number {}",
                word.step, word.token, word.number
            ));
        }
        let session = word.session.to_string();
        let by_holder = said.words.get(&(token, number));
        if !by_holder.is_some_and(|by| by.contains(&(session.as_str(), word.word))) {
            found.push(format!("{name}: session {session}, which holds the lease, never said it"));
        }
        if taken.insert((token, number), word.word).is_some() {
            found.push(format!("{name}: a word was taken twice"));
        }
    }
    taken
}

/// An acknowledged last word is in the log.
fn acked(
    said: &Said<'_>,
    taken: &BTreeMap<Place<'_>, Word>,
    token: &str,
    up_to: i64,
    found: &mut Vec<String>,
) {
    let kinds = said.words.get(&(token, up_to));
    let last = |kinds: &&BTreeSet<(&str, Word)>| kinds.iter().all(|(_, word)| *word != Word::Progress);
    if kinds.filter(last).is_some() && !taken.contains_key(&(token, up_to)) {
        // A word after the last one that was taken says nothing new.
        let later = taken.range((token, up_to)..).next().is_some_and(|((other, _), _)| *other == token);
        if !later {
            found.push(format!("word {token}#{up_to} was acknowledged but is not in the log"));
        }
    }
}

/// Agents are only given what the log says.
fn phantom(evidence: &Evidence, session: &str, token: &str, task: &str, attempt: u32) -> Option<String> {
    let lease: LeaseToken = match token.parse() {
        Ok(lease) => lease,
        Err(_) => return Some(format!("an agent was given `{token}`, which is no token")),
    };
    let place = usize::try_from(lease.sequence).ok()?.checked_sub(1)?;
    let event = evidence.tasks.get(task).and_then(|task| task.events.get(place)).map(|event| &event.event);
    let same = matches!(event, Some(Event::Assigned { step, attempt: a, session: s, .. })
        if *step == lease.step && *a == attempt && s.to_string() == session);
    (!same).then(|| format!("session {session} was given {token} (attempt {attempt}), the log has {event:?}"))
}
