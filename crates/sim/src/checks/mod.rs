//! What must hold, decided from the recorded history and the final log alone.
//!
//! - [`approvals`]: no action starts without its yes; each approval has one outcome
//! - [`audit`]: one entry for each thing that happened to approvals; seals fit the entries
//! - [`fold`]: only legal transitions, dense sequences, nothing after the end
//! - [`words`]: a word is accepted once, and only under the lease it was said for
//! - [`requests`]: nothing acknowledged is lost; one request, one answer
//! - [`watches`], [`projects`]: no gap, no duplicate, nothing but what the log has
//! - [`sessions`]: nothing after a farewell, expiry is final
//! - [`slots`]: agents hold no more than they asked for
//! - [`outputs`]: what steps are told of those before them is what those said
//! - [`keys`]: a revoked key is soon refused everywhere, another never
//!
//! Invariant: none of this calls the engine, nor the rules in core; the fold here
//! is a second, independent reading of what a task may go through.

pub mod approvals;
pub mod audit;
pub mod fold;
pub mod keys;
pub mod outputs;
pub mod projects;
pub mod requests;
pub mod sessions;
pub mod slots;
pub mod watches;
pub mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use quarterdeck_core::plan::StepIndex;
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::event::Created;
use quarterdeck_core::task::{Event, FailureCode, LeaseToken, State};
use quarterdeck_core::{Digest, Timestamp};

use crate::history::Entry;
use crate::ports::EPOCH;

/// A task as the store has it in the end.
#[derive(Clone, Debug)]
pub struct TaskLog {
    /// State in the list of tasks.
    pub state: State,
    /// Head in the list of tasks.
    pub head: u64,
    pub events: Vec<Recorded<Event>>,
}

impl TaskLog {
    pub fn created(&self) -> Option<&Created> {
        match self.events.first().map(|event| &event.event) {
            Some(Event::Created(created)) => Some(created),
            _ => None,
        }
    }

    pub fn event(&self, sequence: u64) -> Option<&Recorded<Event>> {
        let place = usize::try_from(sequence).ok()?.checked_sub(1)?;
        self.events.get(place)
    }
}

impl TaskLog {
    /// When a lease ended, on the clock of the history.
    pub fn lease_ended(&self, token: &str) -> Option<i64> {
        self.end_of(token).map(|event| since_beginning(event.at))
    }

    /// Whether it ended because its session was over, which it was before.
    pub fn lease_was_lost(&self, token: &str) -> bool {
        let end = self.end_of(token).map(|event| &event.event);
        matches!(end, Some(Event::Failed { failure, .. }) if failure.code == FailureCode::AgentLost)
    }

    fn end_of(&self, token: &str) -> Option<&Recorded<Event>> {
        let lease: LeaseToken = token.parse().ok()?;
        self.end_of_lease(lease.step, lease.sequence)
    }

    /// What ended the lease of a step that was given away at `sequence`.
    pub fn end_of_lease(&self, leased: StepIndex, sequence: u64) -> Option<&Recorded<Event>> {
        let mut later = self.events.iter().filter(|event| event.sequence > sequence);
        later.find(|event| match &event.event {
            Event::Succeeded { step, .. } | Event::Failed { step, .. } | Event::Refused { step, .. } => {
                *step == leased
            }
            Event::Ended { .. } => true,
            _ => false,
        })
    }
}

/// Where an event of the log is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    pub task: String,
    pub sequence: u64,
}

/// All that checkers may look at.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub entries: Vec<Entry>,
    /// By the text of their id.
    pub tasks: BTreeMap<String, TaskLog>,
    /// All events in the order of their commits.
    pub order: Vec<Placed>,
    /// Outputs that are stored apart from events.
    pub contents: BTreeMap<Digest, Bytes>,
    /// By the text of their id.
    pub approvals: BTreeMap<String, approvals::ApprovalLog>,
    /// Events of the project's policy, each with the position of its commit.
    pub policy: Vec<(i64, Recorded<quarterdeck_core::policy::Event>)>,
    pub audit: audit::Audit,
}

impl Evidence {
    pub fn event(&self, placed: &Placed) -> Option<&Recorded<Event>> {
        self.tasks.get(&placed.task)?.event(placed.sequence)
    }
}

/// A time of the database on the clock of the history.
pub fn since_beginning(at: Timestamp) -> i64 {
    at.as_micros() - EPOCH
}

/// Everything that does not hold, one line each.
pub fn violations(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut accepted = Vec::new();
    for (id, task) in &evidence.tasks {
        let reading = fold::read(task, &evidence.contents);
        found.extend(reading.illegal.into_iter().map(|what| format!("legal transitions: {id}: {what}")));
        accepted.extend(reading.accepted.into_iter().map(|word| (id.clone(), word)));
    }
    let named =
        |name: &'static str, lines: Vec<String>| lines.into_iter().map(move |line| format!("{name}: {line}"));
    found.extend(named("approvals", approvals::check(evidence)));
    found.extend(named("audit", audit::check(evidence)));
    found.extend(named("words", words::check(evidence, &accepted)));
    found.extend(named("requests", requests::check(evidence)));
    found.extend(named("watches", watches::check(evidence)));
    found.extend(named("projects", projects::check(evidence)));
    found.extend(named("sessions", sessions::check(evidence)));
    found.extend(named("slots", slots::check(evidence)));
    found.extend(named("outputs", outputs::check(evidence)));
    found.extend(named("keys", keys::check(evidence)));
    found
}

/// An event with its place and time, to compare by.
pub fn text(event: &Recorded<Event>) -> String {
    let body = serde_json::to_string(&event.event).unwrap_or_else(|error| error.to_string());
    format!("{} {:?} {body}", event.sequence, event.at)
}
