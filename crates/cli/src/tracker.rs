//! A task's frames as words for people: what stands where, and one line an event.
//!
//! Invariants: knows no terminal and no clock (times are the events'); kinds of events
//! that this version does not know are shown as such and change nothing.

use std::time::SystemTime;

use quarterdeck_client::api::orchestration::v1::task_event::Kind;
use quarterdeck_client::api::orchestration::v1::{
    FailureCode, StepFailed, StepState, StopCode, StopReason, Task, TaskEvent, TaskState,
};
use quarterdeck_client::{Frame, FrameKind};

use crate::clock;
use crate::output::lower;

/// A step as a watcher knows it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its name.
    pub key: String,
    /// Given to an agent.
    pub running: bool,
    /// Finished, failed for good or cancelled.
    pub ended: bool,
    /// Who has or had it.
    pub agent: String,
    /// From 1; 0 before the first.
    pub attempt: i32,
    /// The agent's word on its progress.
    pub fraction: f64,
    /// Its message.
    pub message: String,
    since: Option<SystemTime>,
}

/// How a line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Something happens.
    Plain,
    /// Something succeeded.
    Good,
    /// Something failed and goes on.
    Warn,
    /// Something failed for good.
    Bad,
}

/// One line about one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `HH:MM:SS.mmm`, UTC.
    pub time: String,
    /// Step it is about; empty for the task.
    pub step: String,
    /// What happened.
    pub words: String,
    /// How it is meant.
    pub mood: Mood,
}

/// Follows one task.
#[derive(Debug, Default)]
pub struct Tracker {
    /// Steps in the order of the plan.
    pub steps: Vec<Seen>,
    /// State of the task, once it has ended.
    pub ended: Option<TaskState>,
    /// Why it ended.
    pub stop_reason: Option<StopReason>,
    /// Attempts started.
    pub attempts: u32,
    /// Attempts after the first of a step.
    pub retries: u32,
    /// Events that the snapshot stands for.
    pub in_snapshot: u64,
    /// Events after it.
    pub events: u64,
    last: u64,
    /// Times that an event did not have the sequence after the one before.
    pub gaps: u64,
}

impl Tracker {
    /// Takes one frame in and says what to show.
    pub fn frame(&mut self, frame: &Frame) -> Vec<Line> {
        match &frame.kind {
            FrameKind::Snapshot(task) => self.snapshot(task),
            FrameKind::Event(event) => vec![self.event(event)],
        }
    }

    /// Steps that have ended.
    pub fn done(&self) -> usize {
        self.steps.iter().filter(|step| step.ended).count()
    }

    /// True where every step succeeded.
    pub fn succeeded(&self) -> bool {
        self.ended == Some(TaskState::Succeeded)
    }

    fn snapshot(&mut self, task: &Task) -> Vec<Line> {
        self.in_snapshot = u64::try_from(task.revision).unwrap_or(0);
        self.last = self.in_snapshot;
        self.steps = task.steps.iter().map(seen).collect();
        self.attempts = task.steps.iter().map(|step| u32::try_from(step.attempt).unwrap_or(0)).sum();
        self.retries = task.steps.iter().map(|step| u32::try_from(step.attempt - 1).unwrap_or(0)).sum();
        if task.state() != TaskState::Running {
            self.ended = Some(task.state());
            self.stop_reason.clone_from(&task.stop_reason);
        }
        let time = task.create_time.map_or_else(String::new, |time| time_of_day(time.seconds, time.nanos));
        let (done, all) = (self.done(), task.step_count);
        let state = match task.state() {
            TaskState::Running => "is running",
            TaskState::Succeeded => "has succeeded",
            TaskState::Failed => "has failed",
            TaskState::Canceled => "was cancelled",
            TaskState::Unspecified => "is in a state that this version does not know",
        };
        let words = format!("{} {state}, {done} of {all} steps done", task.id);
        vec![Line { time, step: String::new(), words, mood: Mood::Plain }]
    }

    fn event(&mut self, event: &TaskEvent) -> Line {
        let sequence = u64::try_from(event.sequence).unwrap_or(0);
        if sequence != self.last + 1 && self.last > 0 {
            self.gaps += 1;
        }
        self.last = sequence;
        self.events += 1;
        let at = event.time.and_then(|time| SystemTime::try_from(time).ok());
        let time = event.time.map_or_else(String::new, |time| time_of_day(time.seconds, time.nanos));
        let (step, words, mood) = match &event.kind {
            Some(kind) => self.kind(kind, at),
            None => (String::new(), "something that this version does not know".to_owned(), Mood::Plain),
        };
        Line { time, step, words, mood }
    }

    fn kind(&mut self, kind: &Kind, at: Option<SystemTime>) -> (String, String, Mood) {
        match kind {
            Kind::TaskCreated(created) => {
                let steps = created.plan.as_ref().map_or(&[][..], |plan| &plan.steps);
                self.steps =
                    steps.iter().map(|step| Seen { key: step.key.clone(), ..Seen::default() }).collect();
                let reused = created.reused_steps.len();
                let mut words = format!("created with {} steps", steps.len());
                if reused > 0 {
                    words.push_str(&format!(", {reused} taken over from {}", created.retry_of));
                }
                (String::new(), words, Mood::Plain)
            }
            Kind::StepAssigned(assigned) => {
                self.attempts += 1;
                self.retries += u32::from(assigned.attempt > 1);
                let step = self.step(&assigned.step_key);
                step.running = true;
                step.agent.clone_from(&assigned.agent);
                step.attempt = assigned.attempt;
                (step.fraction, step.since) = (0.0, at);
                step.message.clear();
                let words = format!("given to {}, attempt {}", assigned.agent, assigned.attempt);
                (assigned.step_key.clone(), words, Mood::Plain)
            }
            Kind::StepProgressed(progress) => {
                let step = self.step(&progress.step_key);
                step.fraction = progress.fraction;
                step.message.clone_from(&progress.message);
                let words = format!("{:.0}% {}", progress.fraction * 100.0, progress.message);
                let shown = match progress.partial_output.len() {
                    0 => String::new(),
                    bytes => format!(" ({bytes} bytes of partial output)"),
                };
                (progress.step_key.clone(), format!("{}{shown}", words.trim_end()), Mood::Plain)
            }
            Kind::StepRefused(refused) => {
                self.step(&refused.step_key).running = false;
                let words = format!("refused by {}: {}", refused.agent, refused.message);
                (refused.step_key.clone(), words, Mood::Warn)
            }
            Kind::StepSucceeded(succeeded) => {
                let step = self.step(&succeeded.step_key);
                (step.running, step.ended) = (false, true);
                let took = took(step.since, at);
                (succeeded.step_key.clone(), format!("done by {}{took}", step.agent), Mood::Good)
            }
            Kind::StepFailed(failed) => self.failed(failed),
            Kind::StepReadied(readied) => {
                (readied.step_key.clone(), "ready for its next attempt".to_owned(), Mood::Plain)
            }
            Kind::StepGated(gated) => {
                let words = format!("waits for a new yes: {}", gated.message);
                (gated.step_key.clone(), words, Mood::Warn)
            }
            Kind::StepApproved(approved) => {
                let words = format!("its action is granted by {}", approved.approval_id);
                (approved.step_key.clone(), words, Mood::Good)
            }
            Kind::TaskEnded(ended) => {
                self.ended = Some(ended.state());
                self.stop_reason.clone_from(&ended.stop_reason);
                self.steps.iter_mut().for_each(|step| step.running = false);
                let mood = if self.succeeded() { Mood::Good } else { Mood::Bad };
                let words = ending(ended.state(), ended.stop_reason.as_ref());
                (String::new(), words, mood)
            }
        }
    }

    fn failed(&mut self, failed: &StepFailed) -> (String, String, Mood) {
        let step = self.step(&failed.step_key);
        step.running = false;
        step.ended = failed.r#final;
        let why = failed.failure.as_ref().map_or_else(String::new, |failure| {
            let code = FailureCode::try_from(failure.code).unwrap_or_default();
            let name = match code {
                FailureCode::Reported => failure.reason.clone(),
                _ => lower(code.as_str_name(), "FAILURE_CODE_"),
            };
            if failure.message.is_empty() { name } else { format!("{name}: {}", failure.message) }
        });
        let wait = failed.retry_after.and_then(|wait| std::time::Duration::try_from(wait).ok());
        let (words, mood) = match wait {
            _ if failed.r#final => (format!("failed for good: {why}"), Mood::Bad),
            Some(wait) => (format!("failed: {why}; again in {}", clock::span(wait)), Mood::Warn),
            None => (format!("failed: {why}"), Mood::Warn),
        };
        (failed.step_key.clone(), words, mood)
    }

    /// The step of this name; one that the snapshot did not have is added.
    fn step(&mut self, key: &str) -> &mut Seen {
        let index = match self.steps.iter().position(|step| step.key == key) {
            Some(index) => index,
            None => {
                self.steps.push(Seen { key: key.to_owned(), ..Seen::default() });
                self.steps.len() - 1
            }
        };
        &mut self.steps[index]
    }
}

fn seen(step: &quarterdeck_client::api::orchestration::v1::Step) -> Seen {
    let ended = matches!(step.state(), StepState::Succeeded | StepState::Failed | StepState::Canceled);
    Seen {
        key: step.key.clone(),
        running: step.state() == StepState::Running,
        ended,
        agent: step.agent.clone(),
        attempt: step.attempt,
        fraction: step.progress.as_ref().map_or(0.0, |progress| progress.fraction),
        message: step.progress.as_ref().map_or_else(String::new, |progress| progress.message.clone()),
        since: step.update_time.and_then(|time| SystemTime::try_from(time).ok()),
    }
}

/// How a task ended, in words.
pub fn ending(state: TaskState, reason: Option<&StopReason>) -> String {
    let verb = match state {
        TaskState::Succeeded => "succeeded",
        TaskState::Failed => "failed",
        TaskState::Canceled => "was cancelled",
        TaskState::Running | TaskState::Unspecified => "has not ended",
    };
    // These two codes say no more than the state.
    let tells = |reason: &&StopReason| !matches!(reason.code(), StopCode::Completed | StopCode::Canceled);
    let mut words = format!("the task {verb}");
    let Some(reason) = reason else { return words };
    if tells(&reason) {
        words.push_str(&format!(": {}", lower(reason.code().as_str_name(), "STOP_CODE_")));
    }
    if !reason.step_key.is_empty() {
        words.push_str(&format!(" at {}", reason.step_key));
    }
    for more in [&reason.step_reason, &reason.message] {
        if !more.is_empty() {
            words.push_str(&format!(": {more}"));
        }
    }
    words
}

fn took(since: Option<SystemTime>, until: Option<SystemTime>) -> String {
    match (since, until) {
        (Some(since), Some(until)) => until
            .duration_since(since)
            .map_or_else(|_| String::new(), |span| format!(" in {}", clock::span(span))),
        _ => String::new(),
    }
}

/// `HH:MM:SS.mmm` of a timestamp, UTC.
fn time_of_day(seconds: i64, nanos: i32) -> String {
    let of_day = seconds.rem_euclid(86_400);
    let (hours, minutes, seconds) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_client::api::orchestration::v1::{
        Step, StepAssigned, StepFailure, StepSucceeded, TaskEnded, task_event,
    };

    fn event(sequence: i64, kind: task_event::Kind) -> Frame {
        let event = TaskEvent { task_id: "tsk_1".into(), sequence, time: None, kind: Some(kind) };
        Frame { cursor: String::new(), kind: FrameKind::Event(Box::new(event)) }
    }

    fn assigned(attempt: i32) -> task_event::Kind {
        task_event::Kind::StepAssigned(StepAssigned {
            step_key: "a".into(),
            attempt,
            agent: "smith".into(),
            session_id: String::new(),
        })
    }

    fn snapshot() -> Frame {
        let step = Step { key: "a".into(), state: StepState::Ready.into(), ..Step::default() };
        let task = Task {
            id: "tsk_1".into(),
            state: TaskState::Running.into(),
            steps: vec![step],
            step_count: 1,
            revision: 1,
            ..Task::default()
        };
        Frame { cursor: String::new(), kind: FrameKind::Snapshot(Box::new(task)) }
    }

    #[test]
    fn attempts_retries_and_events_are_counted_from_the_frames() {
        let mut tracker = Tracker::default();
        tracker.frame(&snapshot());
        tracker.frame(&event(2, assigned(1)));
        assert!(tracker.steps[0].running);
        let failure =
            StepFailure { code: FailureCode::Reported.into(), reason: "OUTAGE".into(), ..Default::default() };
        let failed = StepFailed { step_key: "a".into(), failure: Some(failure), ..Default::default() };
        let lines = tracker.frame(&event(3, task_event::Kind::StepFailed(failed)));
        assert_eq!((lines[0].words.as_str(), lines[0].mood), ("failed: OUTAGE", Mood::Warn));
        tracker.frame(&event(4, assigned(2)));
        let done = StepSucceeded { step_key: "a".into(), attempt: 2, output: None };
        tracker.frame(&event(5, task_event::Kind::StepSucceeded(done)));
        let ended = TaskEnded { state: TaskState::Succeeded.into(), stop_reason: None };
        tracker.frame(&event(6, task_event::Kind::TaskEnded(ended)));
        assert!(tracker.succeeded());
        assert_eq!((tracker.attempts, tracker.retries, tracker.done()), (2, 1, 1));
        assert_eq!((tracker.in_snapshot, tracker.events, tracker.gaps), (1, 5, 0));
    }

    #[test]
    fn a_missing_event_is_noticed() {
        let mut tracker = Tracker::default();
        tracker.frame(&snapshot());
        tracker.frame(&event(3, assigned(1)));
        tracker.frame(&event(3, assigned(1)));
        assert_eq!(tracker.gaps, 2);
    }

    #[test]
    fn an_ending_says_where_and_why() {
        let reason = StopReason {
            code: StopCode::NotRetryable.into(),
            step_key: "verify".into(),
            message: "2 citations are wrong".into(),
            step_reason: "CITATION_WRONG".into(),
        };
        assert_eq!(
            ending(TaskState::Failed, Some(&reason)),
            "the task failed: not retryable at verify: CITATION_WRONG: 2 citations are wrong"
        );
        assert_eq!(ending(TaskState::Succeeded, None), "the task succeeded");
        assert_eq!(time_of_day(1_700_000_000, 5_000_000), "22:13:20.005");
    }
}
