//! Turning commands into events, or refusals.
//!
//! An empty list of events means: nothing to do, and that is fine (a repeated
//! message, a timer that came too early). Invariant: `decide` reads the state
//! and the `Ctx`, nothing else, and applying its events is always legal.

use std::collections::BTreeMap;

use crate::canary::{Mistake, planted};
use crate::context::Ctx;
use crate::id::TaskId;
use crate::plan::{StepIndex, StepSpec};
use crate::refusal::Refusal;

use super::command::{Command, LeaseRef, NewTask, Report};
use super::deadline::{Due, due};
use super::event::{Created, Event, Failure, FailureCode, Next, StopCode, StopReason};
use super::state::{LastWord, Lease, Phase, State, Step, Task};
use super::{LOSSES_MAX, PROGRESS_EVERY};

/// Creates a task.
pub fn create(new: NewTask, ctx: &Ctx) -> Event {
    created(new, None, BTreeMap::new(), ctx)
}

/// Creates a task that does `task` again, taking over what had succeeded.
pub fn retry(task: &Task, created_by: &str, owner: &str, ctx: &Ctx) -> Result<Event, Refusal> {
    if !matches!(task.state, State::Failed | State::Canceled) {
        return Err(Refusal::TaskNotRetryable);
    }
    let succeeded = task.numbered().filter(|(_, _, step)| step.phase == Phase::Succeeded);
    let reused = succeeded.map(|(index, _, step)| (index, step.output.clone())).collect();
    let new = NewTask {
        project: task.project.clone(),
        display_name: task.display_name.clone(),
        labels: task.labels.clone(),
        plan: (*task.plan).clone(),
        created_by: created_by.to_owned(),
        owner: owner.to_owned(),
    };
    Ok(created(new, Some(task.id), reused, ctx))
}

fn created(
    new: NewTask,
    retry_of: Option<TaskId>,
    reused: BTreeMap<StepIndex, Option<crate::Payload>>,
    ctx: &Ctx,
) -> Event {
    Event::Created(Box::new(Created {
        id: TaskId::new(ctx, 0),
        project: new.project,
        display_name: new.display_name,
        labels: new.labels,
        deadline: ctx.now.plus(new.plan.timeout()),
        plan: new.plan,
        created_by: new.created_by,
        owner: new.owner,
        retry_of,
        reused,
    }))
}

/// Decides on a command to a task.
pub fn decide(task: &Task, command: Command, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::Cancel { comment, if_revision } => cancel(task, comment, if_revision),
        Command::Assign { step, session, agent } => {
            let (_, state) = open_step(task, step)?;
            match state.phase {
                Phase::Ready if state.refused_by == Some(session) => Err(Refusal::StepRefusedBefore),
                Phase::Ready => {
                    Ok(vec![Event::Assigned { step, attempt: state.attempt + 1, session, agent }])
                }
                _ => Err(Refusal::StepNotReady),
            }
        }
        Command::Progress { lease, report } => {
            word(task, lease, None, |_, state, number| {
                // Who numbers words is held up before it comes to this.
                if lease.number.is_none() && report.is_news_only() && just_recorded(state, ctx) {
                    return Ok(Vec::new());
                }
                let Report { fraction, message, checkpoint, partial } = report;
                let known = state.lease().map_or(0, |held| held.partial);
                let partial = partial.map(|piece| piece.after(known)).transpose()?.flatten();
                let step = lease.step;
                Ok(vec![Event::Progressed { step, number, fraction, message, checkpoint, partial }])
            })
        }
        Command::Complete { lease, output } => {
            word(task, lease, Some(LastWord::Complete), |_, step, number| {
                let attempt = step.attempt;
                let mut events = vec![Event::Succeeded { step: lease.step, attempt, number, output }];
                if task.unfinished == 1 {
                    let stop = StopReason::plain(StopCode::Completed);
                    events.push(Event::Ended { state: State::Succeeded, stop });
                }
                Ok(events)
            })
        }
        Command::Fail { lease, reason, message, not_retryable, retry_after } => {
            word(task, lease, Some(LastWord::Fail), |spec, step, number| {
                let listed = spec.retry.non_retryable.contains(&reason);
                let failure = Failure { code: FailureCode::Reported, reason, message, attempt: step.attempt };
                let verdict = if not_retryable || listed {
                    Err(StopCode::NotRetryable)
                } else {
                    after_failure(lease.step, spec, step, retry_after, ctx)
                };
                Ok(failed(lease.step, number, failure, verdict))
            })
        }
        Command::Refuse { lease, message } => word(task, lease, Some(LastWord::Refuse), |_, step, number| {
            let agent = step.agent.clone().unwrap_or_default();
            Ok(vec![Event::Refused { step: lease.step, number, agent, message }])
        }),
        Command::OpenGate { step, gate, grant } => {
            let (_, state) = open_step(task, step)?;
            let waits = state.gates == gate && state.phase == Phase::Gated;
            Ok(waits.then_some(Event::Approved { step, grant }).into_iter().collect())
        }
        Command::ShutGate { step, gate, code, message } => Ok(shut(task, step, gate, code, message)),
        Command::Regate { step, gate, message } => {
            let waits = at_gate(task, step, gate);
            Ok(waits.then_some(Event::Gated { step, message }).into_iter().collect())
        }
        Command::SessionLost { session } => Ok(session_lost(task, session)),
        Command::Tick => Ok(tick(task, ctx)),
    }
}

fn cancel(task: &Task, comment: String, if_revision: Option<u64>) -> Result<Vec<Event>, Refusal> {
    if let Some(required) = if_revision.filter(|&required| required != task.revision) {
        return Err(Refusal::RevisionMismatch { required, actual: task.revision });
    }
    match task.state {
        State::Canceled => Ok(Vec::new()),
        State::Running => {
            let stop = StopReason { message: comment, ..StopReason::plain(StopCode::Canceled) };
            Ok(vec![Event::Ended { state: State::Canceled, stop }])
        }
        State::Succeeded | State::Failed => Err(Refusal::TaskEnded),
    }
}

fn open_step(task: &Task, index: StepIndex) -> Result<(&StepSpec, &Step), Refusal> {
    if task.ended() {
        return Err(Refusal::TaskEnded);
    }
    match (task.spec(index), task.step(index)) {
        (Some(spec), Some(step)) => Ok((spec, step)),
        _ => Err(Refusal::StepNotFound { step_key: index.to_string() }),
    }
}

/// An agent's word counts if it comes from the session that holds the lease,
/// under the lease's token, with a number not seen yet. A repeated number is
/// accepted without effect; anything else is stale.
///
/// Without a number it is a repetition where the lease was ended by the same kind
/// of word. `ends` is that kind; `None` for a word that leaves the lease as it is.
/// Such a word draws no number of its own, so that it takes none from an agent
/// that numbers what it says on a stream.
fn word(
    task: &Task,
    lease: LeaseRef,
    ends: Option<LastWord>,
    accept: impl FnOnce(&StepSpec, &Step, i64) -> Result<Vec<Event>, Refusal>,
) -> Result<Vec<Event>, Refusal> {
    let (Some(spec), Some(step)) = (task.spec(lease.step), task.step(lease.step)) else {
        return Err(Refusal::LeaseStale);
    };
    match (&step.phase, step.closed) {
        (Phase::Running(held), _)
            if (held.token == lease.token || planted(Mistake::TokenNotCompared))
                && held.session == lease.session =>
        {
            let number = match lease.number {
                Some(number) if planted(Mistake::NumberNotCompared) => number,
                Some(number) if number <= held.number => return Ok(Vec::new()),
                Some(number) => number,
                None => held.number.saturating_add(i64::from(ends.is_some())),
            };
            accept(spec, step, number)
        }
        (_, Some(closed)) if (closed.token, closed.session) == (lease.token, lease.session) => {
            let repeated = match lease.number {
                Some(number) => number <= closed.number,
                None => ends == Some(closed.word),
            };
            if repeated { Ok(Vec::new()) } else { Err(Refusal::LeaseStale) }
        }
        _ => Err(Refusal::LeaseStale),
    }
}

/// Whether a word on progress was recorded a moment ago.
fn just_recorded(step: &Step, ctx: &Ctx) -> bool {
    let last = step.lease().and_then(|lease: &Lease| lease.progress.as_ref());
    last.is_some_and(|progress| ctx.now.since(progress.at) < PROGRESS_EVERY)
}

/// When to try again, or why not.
fn after_failure(
    index: StepIndex,
    spec: &StepSpec,
    step: &Step,
    retry_after: Option<crate::Span>,
    ctx: &Ctx,
) -> Result<Next, StopCode> {
    let failures = step.failures + 1;
    if failures >= spec.retry.max_attempts {
        return Err(StopCode::AttemptsExhausted);
    }
    let drawn = || spec.retry.backoff(failures, ctx.fraction("backoff", u64::from(index)));
    Ok(Next::Backoff { until: ctx.now.plus(retry_after.unwrap_or_else(drawn)) })
}

fn failed(step: StepIndex, number: i64, failure: Failure, verdict: Result<Next, StopCode>) -> Vec<Event> {
    match verdict {
        Ok(next) => vec![Event::Failed { step, number, failure, next }],
        Err(code) => {
            let (reason, message) = (failure.reason.clone(), failure.message.clone());
            let stop = StopReason { code, step: Some(step), reason, message };
            vec![
                Event::Failed { step, number, failure, next: Next::Final },
                Event::Ended { state: State::Failed, stop },
            ]
        }
    }
}

/// Whether the step waits at this gate, with its grant or without.
fn at_gate(task: &Task, index: StepIndex, gate: u32) -> bool {
    let step = task.step(index).filter(|_| !task.ended());
    step.is_some_and(|step| {
        let waits = step.phase == Phase::Gated || (step.phase == Phase::Ready && step.grant.is_some());
        step.gates == gate && waits
    })
}

/// Ends a step, and so its task, that does not get its yes.
fn shut(task: &Task, index: StepIndex, gate: u32, code: FailureCode, message: String) -> Vec<Event> {
    let Some(step) = task.step(index).filter(|_| at_gate(task, index, gate)) else {
        return Vec::new();
    };
    let stop = match code {
        FailureCode::ApprovalDenied => StopCode::ApprovalDenied,
        FailureCode::ApprovalTimeout => StopCode::ApprovalTimeout,
        _ => StopCode::ApprovalWithdrawn,
    };
    let failure = Failure { code, reason: String::new(), message, attempt: step.attempt };
    failed(index, 0, failure, Err(stop))
}

fn session_lost(task: &Task, session: crate::SessionId) -> Vec<Event> {
    let mut events = Vec::new();
    for (index, _) in task.leases().filter(|(_, lease)| lease.session == session) {
        let Some(step) = task.step(index) else { continue };
        let agent = step.agent.as_deref().unwrap_or_default();
        let failure = Failure {
            code: FailureCode::AgentLost,
            reason: String::new(),
            message: format!("agent {agent} ended or was not heard for the length of its lease"),
            attempt: step.attempt,
        };
        let verdict = match step.losses + 1 < LOSSES_MAX {
            true => Ok(Next::Ready),
            false => Err(StopCode::AgentLost),
        };
        let ends = verdict.is_err();
        events.extend(failed(index, 0, failure, verdict));
        if ends {
            break; // the task has ended; the other leases end with it
        }
    }
    events
}

fn tick(task: &Task, ctx: &Ctx) -> Vec<Event> {
    let mut events = Vec::new();
    for due in due(task, ctx.now) {
        match due {
            Due::TaskTimeout => {
                let stop = StopReason::plain(StopCode::Timeout);
                return vec![Event::Ended { state: State::Failed, stop }];
            }
            Due::NoAgent(step) => {
                let stop = StopReason { step: Some(step), ..StopReason::plain(StopCode::NoAgent) };
                events.push(Event::Ended { state: State::Failed, stop });
                return events;
            }
            Due::Readied(step) => events.push(Event::Readied { step }),
            Due::AttemptOver(index, code) => {
                let (Some(spec), Some(step)) = (task.spec(index), task.step(index)) else {
                    continue;
                };
                let message = match code {
                    FailureCode::ProgressTimeout => {
                        "the agent was silent for longer than the progress timeout"
                    }
                    _ => "the attempt took longer than its timeout",
                };
                let failure = Failure {
                    code,
                    reason: String::new(),
                    message: message.to_owned(),
                    attempt: step.attempt,
                };
                let verdict = after_failure(index, spec, step, None, ctx);
                let ends = verdict.is_err();
                events.extend(failed(index, 0, failure, verdict));
                if ends {
                    return events;
                }
            }
        }
    }
    events
}
