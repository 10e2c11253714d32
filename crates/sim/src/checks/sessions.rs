//! Sessions: none gets anything after it was sent away, and one that is over stays so.

use std::collections::BTreeMap;

use quarterdeck_core::task::{Event, FailureCode};

use super::{Evidence, since_beginning};
use crate::history::Fact;

pub fn check(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    farewells(evidence, &mut found);
    expired(evidence, &mut found);
    found
}

/// Nothing is assigned on a connection that was told to go.
fn farewells(evidence: &Evidence, found: &mut Vec<String>) {
    let mut away: BTreeMap<usize, &str> = BTreeMap::new();
    for entry in &evidence.entries {
        match &entry.fact {
            Fact::Away { agent, cause } => drop(away.insert(*agent, cause)),
            Fact::Connecting { agent, .. } => drop(away.remove(agent)),
            Fact::Assigned { agent, token, .. } => {
                if let Some(cause) = away.get(agent) {
                    found.push(format!("agent {agent} was given {token} after it was sent away ({cause})"));
                }
            }
            _ => {}
        }
    }
}

/// A session whose steps were taken from it as lost is never resumed after that,
/// and a resumed one is the one that was asked for.
fn expired(evidence: &Evidence, found: &mut Vec<String>) {
    let mut lost: BTreeMap<String, i64> = BTreeMap::new();
    for log in evidence.tasks.values() {
        let mut holders = BTreeMap::new();
        for event in &log.events {
            match &event.event {
                Event::Assigned { step, session, .. } => drop(holders.insert(*step, *session)),
                Event::Failed { step, failure, .. } if failure.code == FailureCode::AgentLost => {
                    if let Some(session) = holders.get(step) {
                        let at = since_beginning(event.at);
                        let first = lost.entry(session.to_string()).or_insert(at);
                        *first = at.min(*first);
                    }
                }
                _ => {}
            }
        }
    }
    let mut asked: BTreeMap<usize, (i64, Option<&str>)> = BTreeMap::new();
    for entry in &evidence.entries {
        match &entry.fact {
            Fact::Connecting { agent, session, .. } => {
                asked.insert(*agent, (entry.at, session.as_deref()));
            }
            Fact::Welcomed { agent, session, resumed, .. } => {
                // Not everybody notes what they ask for.
                let Some(&(at, wanted)) = asked.get(agent) else { continue };
                if *resumed != wanted.is_some() || wanted.is_some_and(|wanted| wanted != session) {
                    found.push(format!("agent {agent} asked for {wanted:?} and was welcomed in {session}"));
                }
                if lost.get(session).is_some_and(|lost| *lost < at) {
                    found.push(format!("{session} was resumed at {at}, after it was over"));
                }
            }
            _ => {}
        }
    }
}
