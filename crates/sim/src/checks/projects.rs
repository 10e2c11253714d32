//! Watches of the project: the running tasks, then every event that is wanted,
//! once and in the order of commits, across reconnects, to the last.

use std::collections::{BTreeMap, BTreeSet};

use quarterdeck_core::task::Event;

use super::{Evidence, Placed, since_beginning, text};
use crate::history::{Fact, Wanted};
use crate::workload::HUE;

/// What one of them was shown since it began, or began again.
#[derive(Default)]
struct Shown<'h> {
    /// When its first connection was there.
    since: i64,
    snapshot: BTreeSet<&'h str>,
    events: Vec<Placed>,
}

pub fn check(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut watches: BTreeMap<u64, (Wanted, Shown<'_>)> = BTreeMap::new();
    for entry in &evidence.entries {
        match &entry.fact {
            Fact::ProjectOpened { watch, wanted, resumed, .. } => {
                let shown = || Shown { since: entry.at, ..Shown::default() };
                let known = watches.entry(*watch).or_insert_with(|| (*wanted, shown()));
                // Without a cursor it begins again, which it may only before the first event.
                if !resumed && known.1.events.is_empty() {
                    known.1 = shown();
                }
            }
            Fact::ProjectSnapshot { watch, task } => {
                if let Some((_, shown)) = watches.get_mut(watch) {
                    shown.snapshot.insert(task);
                    if !shown.events.is_empty() {
                        found.push(format!("watch {watch} got {task} as a snapshot after events"));
                    }
                }
            }
            Fact::ProjectEvent { watch, task, sequence, event } => {
                let placed = Placed { task: task.clone(), sequence: *sequence };
                let log = evidence.event(&placed).map(text);
                if log.as_ref() != Some(event) {
                    found.push(format!("watch {watch} saw {event} of {task}, the log has {log:?}"));
                }
                if let Some((_, shown)) = watches.get_mut(watch) {
                    shown.events.push(placed);
                }
            }
            Fact::ProjectBroken { watch, why, defect: true } => {
                found.push(format!("watch {watch} was answered with a defect: {why}"));
            }
            _ => {}
        }
    }
    for (watch, (wanted, shown)) in &watches {
        let log = selected(evidence, *wanted);
        let start = start(evidence, &log, shown);
        let wrong = snapshot(evidence, *wanted, &log[..start], shown).into_iter();
        found.extend(
            wrong.chain(events(evidence, &log[start..], shown)).map(|what| format!("watch {watch}: {what}")),
        );
    }
    found
}

/// All events that such a watch is to show.
fn selected(evidence: &Evidence, wanted: Wanted) -> Vec<&Placed> {
    let shown = |placed: &&Placed| {
        let step = !matches!(
            evidence.event(placed).map(|event| &event.event),
            Some(Event::Created(_) | Event::Ended { .. })
        );
        (wanted.steps || !step) && is_of_hue(evidence, &placed.task, wanted)
    };
    evidence.order.iter().filter(shown).collect()
}

fn is_of_hue(evidence: &Evidence, task: &str, wanted: Wanted) -> bool {
    let Some(hue) = wanted.hue else { return true };
    let created = evidence.tasks.get(task).and_then(|log| log.created());
    created.and_then(|created| created.labels.get(HUE)).is_some_and(|own| *own == hue.to_string())
}

/// Where its events begin: with the first that it saw, and with what was committed
/// after it had its connection at the latest.
fn start(evidence: &Evidence, log: &[&Placed], shown: &Shown<'_>) -> usize {
    let first = shown.events.first().and_then(|first| log.iter().position(|placed| *placed == first));
    let late = |placed: &&Placed| {
        let at = evidence.event(placed).map_or(0, |event| since_beginning(event.at));
        at > shown.since && !is_told(evidence, shown, placed)
    };
    let latest = log.iter().position(late).unwrap_or(log.len());
    first.unwrap_or(log.len()).min(latest)
}

/// The creation of a task that the snapshot has already.
fn is_told(evidence: &Evidence, shown: &Shown<'_>, placed: &Placed) -> bool {
    let creates = matches!(evidence.event(placed).map(|event| &event.event), Some(Event::Created(_)));
    creates && shown.snapshot.contains(placed.task.as_str())
}

/// The snapshot has the tasks that were running where the events begin, no others.
fn snapshot(evidence: &Evidence, wanted: Wanted, before: &[&Placed], shown: &Shown<'_>) -> Vec<String> {
    let (mut running, mut over) = (BTreeSet::new(), BTreeSet::new());
    for placed in before {
        match evidence.event(placed).map(|event| &event.event) {
            Some(Event::Created(_)) => drop(running.insert(placed.task.as_str())),
            Some(Event::Ended { .. }) => {
                running.remove(placed.task.as_str());
                over.insert(placed.task.as_str());
            }
            _ => {}
        }
    }
    // One that ended while the snapshot was read comes as its end.
    let over_since = |task: &str| {
        let end = evidence.tasks.get(task).and_then(|log| log.events.last());
        end.is_some_and(|end| since_beginning(end.at) <= shown.since)
    };
    let missing = running.difference(&shown.snapshot).filter(|task| !over_since(task));
    let missing = missing.map(|task| format!("its snapshot lacks {task}"));
    let ended =
        over.intersection(&shown.snapshot).map(|task| format!("it was not told of the end of {task}"));
    let foreign = shown.snapshot.iter().filter(|task| !is_of_hue(evidence, task, wanted));
    let foreign = foreign.map(|task| format!("its snapshot has {task}, which it does not want"));
    missing.chain(ended).chain(foreign).collect()
}

/// The events are all there are from the first on, but for creations told already.
fn events(evidence: &Evidence, log: &[&Placed], shown: &Shown<'_>) -> Vec<String> {
    let mut seen = shown.events.iter().peekable();
    for due in log {
        if seen.next_if(|next| next == due).is_none() && !is_told(evidence, shown, due) {
            return vec![format!("{due:?} is due, it was shown {:?}", seen.peek())];
        }
    }
    seen.map(|more| format!("it was shown {more:?}, which is not due")).collect()
}
