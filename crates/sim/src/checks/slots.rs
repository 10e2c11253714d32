//! Slots: an agent is never given a step while it holds as many as it has slots,
//! seen from where it stands: it holds what it was given until it has said its
//! last word on it or was told that it is over.

use std::collections::{BTreeMap, BTreeSet};

use super::Evidence;
use crate::history::{Fact, Word};

#[derive(Default)]
struct Session<'h> {
    slots: usize,
    held: BTreeSet<&'h str>,
    over: BTreeSet<&'h str>,
}

pub fn check(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut sessions: BTreeMap<&str, Session<'_>> = BTreeMap::new();
    // The session in which an agent was given a token.
    let mut given: BTreeMap<&str, &str> = BTreeMap::new();
    for entry in &evidence.entries {
        let over = match &entry.fact {
            Fact::Welcomed { session, slots, .. } => {
                sessions.entry(session).or_default().slots = *slots as usize;
                None
            }
            Fact::Assigned { session, token, .. } => {
                let Some(of) = sessions.get_mut(session.as_str()).filter(|of| !of.over.contains(&**token))
                else {
                    continue;
                };
                given.insert(token, session);
                // The same again is no other.
                if of.held.insert(token) && of.held.len() > of.slots {
                    let (count, slots) = (of.held.len(), of.slots);
                    found.push(format!(
                        "session {session} was given {token}, {count} steps of at most {slots}"
                    ));
                }
                None
            }
            Fact::Said { token, word, .. } if *word != Word::Progress => Some(token),
            Fact::Revoked { token, .. } | Fact::Rejected { token, .. } => Some(token),
            _ => None,
        };
        let of = over.and_then(|token| Some((token, given.get(token.as_str())?)));
        if let Some((token, session)) = of
            && let Some(of) = sessions.get_mut(session)
        {
            of.held.remove(token.as_str());
            of.over.insert(token);
        }
    }
    found
}
