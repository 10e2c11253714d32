//! What must hold, decided from the recorded history and the final log alone.
//!
//! - [`fold`]: only legal transitions, dense sequences, nothing after the end
//! - [`words`]: a word is accepted once, and only under the lease it was said for
//! - [`requests`]: nothing acknowledged is lost; one request, one answer
//! - [`slots`]: agents hold no more than they asked for
//! - [`watches`]: no gap, no duplicate, nothing but what the log has
//!
//! Invariant: none of this calls the engine, nor the rules in core; the fold here
//! is a second, independent reading of what a task may go through.

pub mod fold;
pub mod requests;
pub mod slots;
pub mod watches;
pub mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{Event, State};

use crate::history::Entry;

/// A task as the store has it in the end.
#[derive(Clone, Debug)]
pub struct TaskLog {
    /// State in the list of tasks.
    pub state: State,
    /// Head in the list of tasks.
    pub head: u64,
    pub events: Vec<Recorded<Event>>,
}

/// All that checkers may look at.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub entries: Vec<Entry>,
    /// By the text of their id.
    pub tasks: BTreeMap<String, TaskLog>,
}

/// Everything that does not hold, one line each.
pub fn violations(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut accepted = Vec::new();
    for (id, task) in &evidence.tasks {
        let reading = fold::read(task);
        found.extend(reading.illegal.into_iter().map(|what| format!("legal transitions: {id}: {what}")));
        accepted.extend(reading.accepted.into_iter().map(|word| (id.clone(), word)));
    }
    let named =
        |name: &'static str, lines: Vec<String>| lines.into_iter().map(move |line| format!("{name}: {line}"));
    found.extend(named("words", words::check(evidence, &accepted)));
    found.extend(named("requests", requests::check(evidence)));
    found.extend(named("slots", slots::check(evidence)));
    found.extend(named("watches", watches::check(evidence)));
    found
}

/// An event with its place and time, to compare by.
pub fn text(event: &Recorded<Event>) -> String {
    let body = serde_json::to_string(&event.event).unwrap_or_else(|error| error.to_string());
    format!("{} {:?} {body}", event.sequence, event.at)
}
