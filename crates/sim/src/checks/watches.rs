//! Watches: a snapshot, then every event once and in order, across reconnects, to
//! the last.

use std::collections::BTreeMap;

use super::{Evidence, text};
use crate::history::Fact;

#[derive(Default)]
struct Watch<'h> {
    task: &'h str,
    /// Sequence of the last event seen, or of the snapshot.
    at: Option<u64>,
}

pub fn check(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut watches: BTreeMap<u64, Watch<'_>> = BTreeMap::new();
    for entry in &evidence.entries {
        match &entry.fact {
            Fact::WatchOpened { watch, task, .. } => watches.entry(*watch).or_default().task = task,
            Fact::WatchSnapshot { watch, revision, .. } => {
                let seen = watches.entry(*watch).or_default();
                if let Some(at) = seen.at {
                    found.push(format!("watch {watch} got a snapshot after {at}"));
                }
                seen.at = Some(*revision);
            }
            Fact::WatchEvent { watch, sequence, event } => {
                let seen = watches.entry(*watch).or_default();
                if seen.at.is_none_or(|at| at + 1 != *sequence) {
                    found.push(format!("watch {watch} of {} got {sequence} after {:?}", seen.task, seen.at));
                }
                seen.at = Some(*sequence);
                let place = usize::try_from(sequence.saturating_sub(1)).unwrap_or(usize::MAX);
                let log = evidence.tasks.get(seen.task).and_then(|task| task.events.get(place)).map(text);
                if log.as_ref() != Some(event) {
                    found.push(format!("watch {watch} of {} saw {event}, the log has {log:?}", seen.task));
                }
            }
            Fact::WatchEnded { watch } => {
                let seen = watches.entry(*watch).or_default();
                let head = evidence.tasks.get(seen.task).map(|task| task.head);
                if seen.at != head {
                    found
                        .push(format!("watch {watch} of {} ended at {:?}, not {head:?}", seen.task, seen.at));
                }
            }
            Fact::WatchBroken { watch, why, defect: true } => {
                found.push(format!("watch {watch} was answered with a defect: {why}"));
            }
            _ => {}
        }
    }
    found
}
