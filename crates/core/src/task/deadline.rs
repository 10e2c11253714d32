//! Everything that happens to a task by time alone.

use crate::plan::StepIndex;
use crate::time::Timestamp;

use super::event::FailureCode;
use super::state::{Phase, Task};

/// Something whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    TaskTimeout,
    NoAgent(StepIndex),
    AttemptOver(StepIndex, FailureCode),
    Readied(StepIndex),
}

/// What is due at `now`, the task's own timeout first. Deadlines are inclusive.
pub fn due(task: &Task, now: Timestamp) -> Vec<Due> {
    deadlines(task).filter(|(at, _)| *at <= now).map(|(_, due)| due).collect()
}

/// When [`due`] will next have something to say; `None` once the task has ended.
pub fn next_deadline(task: &Task) -> Option<Timestamp> {
    deadlines(task).map(|(at, _)| at).min()
}

fn deadlines(task: &Task) -> impl Iterator<Item = (Timestamp, Due)> {
    let own = (!task.ended()).then_some((task.deadline, Due::TaskTimeout));
    let steps = task.numbered().filter(|_| !task.ended()).flat_map(|(index, spec, step)| {
        let limits = &spec.timeouts;
        let mut at = None;
        match &step.phase {
            Phase::Ready => {
                at = limits.waiting.map(|limit| (step.since.plus(limit), Due::NoAgent(index)));
            }
            Phase::Backoff { until } => at = Some((*until, Due::Readied(index))),
            Phase::Running(lease) => {
                let over = |code| Due::AttemptOver(index, code);
                let attempt = limits.attempt.map(|limit| lease.started_at.plus(limit));
                let silence = limits.progress.map(|limit| lease.heard_at.plus(limit));
                // One lease ends once: whichever comes first.
                at = match (attempt, silence) {
                    (Some(end), Some(quiet)) if quiet < end => {
                        Some((quiet, over(FailureCode::ProgressTimeout)))
                    }
                    (Some(end), _) => Some((end, over(FailureCode::AttemptTimeout))),
                    (None, Some(quiet)) => Some((quiet, over(FailureCode::ProgressTimeout))),
                    (None, None) => None,
                };
            }
            _ => {}
        }
        at
    });
    own.into_iter().chain(steps)
}
