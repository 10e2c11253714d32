//! A second reading of a task's events: what may follow what.

use std::collections::BTreeMap;

use bytes::Bytes;
use quarterdeck_core::payload::Body;
use quarterdeck_core::plan::Plan;
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{Event, FailureCode, Next, Partial, State, StopCode};
use quarterdeck_core::{Digest, Payload, SessionId, Timestamp};

use super::TaskLog;
use crate::agent::shown_by;
use crate::history::Word;

/// How far, in microseconds, a replica's idea of the database's clock may be off.
const CLOCK_SLACK: i64 = 300_000;
/// Attempts lost with their agents after which a task ends.
const LOSSES: u32 = 10;

/// A word of an agent that the log took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub sequence: u64,
    pub step: u16,
    /// The lease it was taken under.
    pub token: u64,
    pub session: SessionId,
    pub number: i64,
    pub word: Word,
    /// What its content says.
    pub content: String,
}

/// An attempt that the log started.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub illegal: Vec<String>,
    pub accepted: Vec<Accepted>,
}

#[derive(Clone, Debug)]
enum Place {
    Blocked,
    /// Waits for a yes to its action.
    Gated,
    Ready {
        since: Timestamp,
    },
    Backoff {
        until: Timestamp,
    },
    Held(Held),
    Succeeded,
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    token: u64,
    session: SessionId,
    number: i64,
    since: Timestamp,
    heard: Timestamp,
    /// Bytes of partial output.
    shown: usize,
}

struct Step {
    place: Place,
    attempt: u32,
    losses: u32,
}

struct Reader<'c> {
    contents: &'c BTreeMap<Digest, Bytes>,
    plan: Plan,
    deadline: Timestamp,
    steps: Vec<Step>,
    ended: Option<State>,
    last: Timestamp,
    reading: Reading,
}

/// Reads a whole task; `contents` are outputs that are stored apart.
pub fn read(task: &TaskLog, contents: &BTreeMap<Digest, Bytes>) -> Reading {
    let mut events = task.events.iter();
    let Some(Recorded { at, event: Event::Created(created), .. }) = events.next() else {
        return Reading {
            illegal: vec!["it does not begin with its creation".to_owned()],
            ..Reading::default()
        };
    };
    let count = created.plan.steps().len() as u16;
    let place = |step: &u16| match created.reused.contains_key(step) {
        true => Place::Succeeded,
        false => Place::Blocked,
    };
    let fresh = |step| Step { place: place(&step), attempt: 0, losses: 0 };
    let mut reader = Reader {
        contents,
        plan: created.plan.clone(),
        deadline: created.deadline,
        steps: (0..count).map(fresh).collect(),
        ended: None,
        last: *at,
        reading: Reading::default(),
    };
    reader.unblock(*at);
    for (event, next) in events.zip(2..) {
        if event.sequence != next {
            reader.illegal(format!("sequence {} where {next} is due", event.sequence));
        }
        reader.event(event);
    }
    let end = reader.ended.unwrap_or(State::Running);
    if task.state != end {
        reader.illegal(format!("listed as {:?}, its events say {end:?}", task.state));
    }
    if task.head != task.events.len() as u64 {
        reader.illegal(format!("its head is {}, it has {} events", task.head, task.events.len()));
    }
    reader.reading
}

impl Reader<'_> {
    fn illegal(&mut self, what: String) {
        self.reading.illegal.push(what);
    }

    fn unblock(&mut self, at: Timestamp) {
        for index in 0..self.steps.len() as u16 {
            let done = |other: &u16| {
                self.steps.get(usize::from(*other)).is_some_and(|s| matches!(s.place, Place::Succeeded))
            };
            let free = self.plan.dependencies(index).iter().all(done);
            let step = &mut self.steps[usize::from(index)];
            if free && matches!(step.place, Place::Blocked) {
                step.place = free_place(&self.plan, index, at);
            }
        }
    }

    fn event(&mut self, recorded: &Recorded<Event>) {
        let (sequence, at) = (recorded.sequence, recorded.at);
        if let Some(end) = self.ended {
            self.illegal(format!("{sequence} comes after the end ({end:?}): {:?}", recorded.event));
        }
        if at < self.last {
            self.illegal(format!("{sequence} is at {at:?}, before {:?}", self.last));
        }
        self.last = at;
        match &recorded.event {
            Event::Created(_) => self.illegal(format!("{sequence} creates it again")),
            Event::Assigned { step, attempt, session, .. } => {
                let (token, session) = (sequence, *session);
                let held = Held { token, session, number: 0, since: at, heard: at, shown: 0 };
                self.assigned(sequence, *step, *attempt, held);
            }
            Event::Progressed { step, number, message, partial, .. } => {
                if let Some(held) = self.word(sequence, *step, *number, Word::Progress, message) {
                    let shown = self.shown(sequence, *number, held.shown, partial.as_ref());
                    self.put(*step, Place::Held(Held { number: *number, heard: at, shown, ..held }));
                }
            }
            Event::Refused { step, number, message, .. } => {
                self.word(sequence, *step, *number, Word::Refuse, message);
                let until = at.plus(quarterdeck_core::task::REFUSAL_PAUSE);
                self.put(*step, Place::Backoff { until });
                if let Some(step) = self.steps.get_mut(usize::from(*step)) {
                    step.attempt = step.attempt.saturating_sub(1);
                }
            }
            Event::Succeeded { step, attempt, number, output } => {
                let content = self.content(output.as_ref());
                self.word(sequence, *step, *number, Word::Complete, &content);
                self.same_attempt(sequence, *step, *attempt);
                self.put(*step, Place::Succeeded);
                self.unblock(at);
            }
            Event::Failed { step, number, failure, next } => {
                self.failed(sequence, at, *step, *number, failure);
                self.put(
                    *step,
                    match next {
                        Next::Ready => free_place(&self.plan, *step, at),
                        Next::Backoff { until } => Place::Backoff { until: *until },
                        Next::Final => Place::Failed,
                    },
                );
            }
            Event::Readied { step } => self.readied(sequence, at, *step),
            Event::Gated { step, .. } => self.gate(sequence, *step, true, Place::Gated),
            Event::Approved { step, .. } => self.gate(sequence, *step, false, Place::Ready { since: at }),
            Event::Ended { state, stop } => self.end(sequence, at, *state, stop.code, stop.step),
        }
    }

    /// A step comes to a gate, or through it. `again`: it may have been through.
    fn gate(&mut self, sequence: u64, step: u16, again: bool, to: Place) {
        let declares = self.plan.step(step).is_some_and(|spec| spec.action.is_some());
        let from = self.steps.get(usize::from(step)).map(|state| state.place.clone());
        let fits = match from {
            Some(Place::Gated) => true,
            Some(Place::Ready { .. }) => again,
            _ => false,
        };
        if !declares || !fits {
            self.illegal(format!("{sequence} moves step {step} at a gate from {from:?}"));
        }
        self.put(step, to);
    }

    fn content(&self, output: Option<&Payload>) -> String {
        let bytes = match output.map(|output| (output, &output.body)) {
            Some((_, Body::Stored { digest, .. })) => self.contents.get(digest).cloned(),
            Some((output, _)) => output.content(),
            None => None,
        };
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    }

    fn put(&mut self, step: u16, place: Place) {
        match self.steps.get_mut(usize::from(step)) {
            Some(state) => state.place = place,
            None => self.illegal(format!("there is no step {step}")),
        }
    }

    fn assigned(&mut self, sequence: u64, step: u16, attempt: u32, held: Held) {
        let Some(state) = self.steps.get_mut(usize::from(step)) else {
            return self.illegal(format!("{sequence} assigns step {step}, which there is not"));
        };
        let (before, counted) = (state.place.clone(), state.attempt);
        state.attempt = attempt;
        state.place = Place::Held(held);
        if !matches!(before, Place::Ready { .. }) {
            self.illegal(format!("{sequence} assigns step {step}, which is {before:?}"));
        }
        if attempt != counted + 1 {
            self.illegal(format!("{sequence} starts attempt {attempt} of step {step} after {counted}"));
        }
    }

    /// A word of an agent: taken from a lease, with a rising number.
    fn word(&mut self, sequence: u64, step: u16, number: i64, word: Word, content: &str) -> Option<Held> {
        let place = self.steps.get(usize::from(step)).map(|state| state.place.clone());
        let Some(Place::Held(held)) = place else {
            self.illegal(format!("{sequence} takes {word:?} for step {step}, which is {place:?}"));
            return None;
        };
        if number <= held.number {
            self.illegal(format!("{sequence} takes word {number} of step {step} after {}", held.number));
        }
        if word != Word::Progress && held.shown > 0 && held.shown != shown_by(number - 1).len() {
            self.illegal(format!("{sequence} is word {number} after {} bytes of partial output", held.shown));
        }
        let (token, session, content) = (held.token, held.session, content.to_owned());
        self.reading.accepted.push(Accepted { sequence, step, token, session, number, word, content });
        Some(held)
    }

    /// Partial output after a word: all that was said up to it, once and in order.
    /// Some agents show nothing.
    fn shown(&mut self, sequence: u64, number: i64, before: usize, piece: Option<&Partial>) -> usize {
        let Some(piece) = piece else {
            if before > 0 {
                self.illegal(format!("{sequence} shows nothing of word {number}"));
            }
            return before;
        };
        let whole = shown_by(number);
        if piece.offset != before as u64 || whole.get(before..) != Some(&piece.text) {
            self.illegal(format!("{sequence} shows {piece:?} after {before} bytes of {whole}"));
        }
        before + piece.text.len()
    }

    fn same_attempt(&mut self, sequence: u64, step: u16, attempt: u32) {
        let running = self.steps.get(usize::from(step)).map_or(0, |state| state.attempt);
        if attempt != running {
            self.illegal(format!("{sequence} ends attempt {attempt} of step {step}, {running} is running"));
        }
    }

    fn failed(
        &mut self,
        sequence: u64,
        at: Timestamp,
        step: u16,
        number: i64,
        failure: &quarterdeck_core::task::Failure,
    ) {
        self.same_attempt(sequence, step, failure.attempt);
        if failure.code == FailureCode::Reported {
            self.word(sequence, step, number, Word::Fail, &failure.message);
            return;
        }
        if let FailureCode::ApprovalDenied | FailureCode::ApprovalTimeout | FailureCode::ApprovalWithdrawn =
            failure.code
        {
            return self.gate(sequence, step, true, Place::Gated);
        }
        let place = self.steps.get(usize::from(step)).map(|state| state.place.clone());
        let Some(Place::Held(held)) = place else {
            return self.illegal(format!("{sequence} fails step {step}, which is {place:?}"));
        };
        let limits = self.plan.step(step).map(|spec| spec.timeouts.clone()).unwrap_or_default();
        let due = match failure.code {
            FailureCode::AttemptTimeout => limits.attempt.map(|limit| held.since.plus(limit)),
            FailureCode::ProgressTimeout => limits.progress.map(|limit| held.heard.plus(limit)),
            _ => {
                if let Some(state) = self.steps.get_mut(usize::from(step)) {
                    state.losses += 1;
                }
                return;
            }
        };
        self.not_before(sequence, at, due, "a timeout");
    }

    /// Nothing that time does is done too early.
    fn not_before(&mut self, sequence: u64, at: Timestamp, due: Option<Timestamp>, what: &str) {
        match due {
            None => self.illegal(format!("{sequence} is {what} where there is no limit")),
            Some(due) if at.as_micros() + CLOCK_SLACK < due.as_micros() => {
                let early = due.since(at);
                self.illegal(format!("{sequence} is {what} that comes {early} too early"));
            }
            Some(_) => {}
        }
    }

    fn readied(&mut self, sequence: u64, at: Timestamp, step: u16) {
        let place = self.steps.get(usize::from(step)).map(|state| state.place.clone());
        match place {
            Some(Place::Backoff { until }) => {
                self.not_before(sequence, at, Some(until), "the end of a backoff")
            }
            other => self.illegal(format!("{sequence} readies step {step}, which is {other:?}")),
        }
        self.put(step, free_place(&self.plan, step, at));
    }

    fn end(&mut self, sequence: u64, at: Timestamp, state: State, code: StopCode, step: Option<u16>) {
        self.ended = Some(state);
        let all = self.steps.iter().all(|step| matches!(step.place, Place::Succeeded));
        let of = step.and_then(|step| self.steps.get(usize::from(step)).map(|state| (step, state)));
        let fits = match (state, code) {
            (State::Succeeded, StopCode::Completed) => all,
            (State::Canceled, StopCode::Canceled) => true,
            (State::Failed, StopCode::Timeout) => {
                let deadline = Some(self.deadline);
                return self.not_before(sequence, at, deadline, "the task's timeout");
            }
            (State::Failed, StopCode::NoAgent) => {
                let due = of.and_then(|(step, state)| match state.place {
                    Place::Ready { since } => self.plan.step(step)?.timeouts.waiting.map(|w| since.plus(w)),
                    _ => None,
                });
                return self.not_before(sequence, at, due, "an end for want of agents");
            }
            (State::Failed, StopCode::AgentLost) => of.is_some_and(|(_, state)| state.losses >= LOSSES),
            (
                State::Failed,
                StopCode::AttemptsExhausted
                | StopCode::NotRetryable
                | StopCode::ApprovalDenied
                | StopCode::ApprovalTimeout
                | StopCode::ApprovalWithdrawn,
            ) => of.is_some_and(|(_, state)| matches!(state.place, Place::Failed)),
            _ => false,
        };
        if !fits {
            self.illegal(format!("{sequence} ends it as {state:?} by {code:?}, which its steps do not say"));
        }
    }
}

/// Where a step is once nothing but a yes, or an agent, is missing.
fn free_place(plan: &Plan, step: u16, at: Timestamp) -> Place {
    match plan.step(step).is_some_and(|spec| spec.action.is_some()) {
        true => Place::Gated,
        false => Place::Ready { since: at },
    }
}
