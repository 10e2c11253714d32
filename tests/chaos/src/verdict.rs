//! What is wrong, decided by the simulator's checkers from the record and the
//! log in the database; and what is kept for whoever looks into it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quarterdeck_core::Plan;
use quarterdeck_core::task::{Event, LeaseToken};
use quarterdeck_sim::checks::{self, Evidence, TaskLog, text};
use quarterdeck_sim::history::{Entry, Fact, lines};

use crate::shape;
use crate::worker::LOOK_IT_UP;

/// Lines of the record that a violation is shown with, at most.
const EXCERPT: usize = 80;
/// In a replica's log: what must never be there.
const ALARMS: [&str; 2] = [" ERROR ", "panicked at"];

/// What checkers may look at, in their terms.
pub fn evidence(mut entries: Vec<Entry>, tasks: BTreeMap<String, TaskLog>) -> Evidence {
    let mut watched: BTreeMap<u64, String> = BTreeMap::new();
    for entry in &mut entries {
        match &mut entry.fact {
            Fact::WatchOpened { watch, task, .. } => drop(watched.insert(*watch, task.clone())),
            Fact::WatchEvent { watch, sequence, event } => {
                let log = watched.get(watch).and_then(|task| tasks.get(task));
                // What differs stays as it was seen, and is found to differ.
                if let Some(same) = log.and_then(|log| same(log, *sequence, event)) {
                    *event = same;
                }
            }
            Fact::Assigned { session, token, .. } | Fact::Said { session, token, .. }
                if session == LOOK_IT_UP =>
            {
                *session = holder(&tasks, token).unwrap_or_default();
            }
            _ => {}
        }
    }
    Evidence { entries, tasks, ..Evidence::default() }
}

/// The log's text of an event, if it is what was seen.
fn same(log: &TaskLog, sequence: u64, seen: &str) -> Option<String> {
    let place = usize::try_from(sequence).ok()?.checked_sub(1)?;
    let event = log.events.get(place)?;
    (shape::of_log(event, plan(log)?) == seen).then(|| text(event))
}

fn plan(log: &TaskLog) -> Option<&Plan> {
    match &log.events.first()?.event {
        Event::Created(created) => Some(&created.plan),
        _ => None,
    }
}

/// The session that the log gave a lease to.
fn holder(tasks: &BTreeMap<String, TaskLog>, token: &str) -> Option<String> {
    let lease: LeaseToken = token.parse().ok()?;
    let place = usize::try_from(lease.sequence).ok()?.checked_sub(1)?;
    match &tasks.get(&lease.task.to_string())?.events.get(place)?.event {
        Event::Assigned { session, .. } => Some(session.to_string()),
        _ => None,
    }
}

/// Everything that the evidence says is wrong.
pub fn violations(evidence: &Evidence) -> Vec<String> {
    checks::violations(evidence)
}

/// Lines of a replica's log that must never be there.
pub fn alarms(replica: usize, log: &str) -> Vec<String> {
    let bad = log.lines().filter(|line| ALARMS.iter().any(|alarm| line.contains(alarm)));
    bad.take(5).map(|line| format!("replica {replica} logged: {line}")).collect()
}

/// The whole record and every task's log, one line each.
pub fn history(evidence: &Evidence) -> String {
    let mut all = lines(&evidence.entries);
    for (id, task) in &evidence.tasks {
        // Writing to a string does not fail.
        let _ = writeln!(all, "{id} {:?}", task.state);
        for event in &task.events {
            let _ = writeln!(all, "  {}", text(event));
        }
    }
    all
}

/// What the record and the log have on the first task, session or lease that a
/// violation names.
pub fn excerpt(evidence: &Evidence, violation: &str) -> String {
    let words = violation.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    let named = words.into_iter().find_map(|word| match word.parse::<LeaseToken>() {
        Ok(lease) => Some(lease.task.to_string()),
        Err(_) => (word.starts_with("tsk_") || word.starts_with("ses_")).then(|| word.to_owned()),
    });
    let Some(name) = named else { return String::new() };
    let mut shown = String::new();
    let about = |entry: &&Entry| {
        let line = format!("{:?}", entry.fact);
        let of_task = line.split('"').filter_map(|word| word.parse::<LeaseToken>().ok());
        line.contains(&name) || of_task.into_iter().any(|lease| lease.task.to_string() == name)
    };
    for entry in evidence.entries.iter().filter(about).take(EXCERPT) {
        let _ = writeln!(shown, "    {:>12} {:?}", entry.at, entry.fact);
    }
    for event in evidence.tasks.get(&name).iter().flat_map(|task| &task.events) {
        let line: String = text(event).chars().take(240).collect();
        let _ = writeln!(shown, "    log {line}");
    }
    shown
}
