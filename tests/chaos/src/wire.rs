//! The simulator's workload in messages of the contract, and answers in its terms.

use anyhow::{Result, bail};
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::orchestration::v1::{
    CreateTaskRequest, Plan, PlanStep, RetryPolicy, StepTimeouts, Task, TaskState,
};
use quarterdeck_client::{Error, Origin, Payload};
use quarterdeck_core::Span;
use quarterdeck_core::plan::StepSpec;
use quarterdeck_core::task::State;
use quarterdeck_sim::history::Answer;
use quarterdeck_sim::workload;

use crate::line::{passing, text};

/// The request that `body` stands for.
///
/// # Errors
/// When the workload makes no plan, which is a defect of it.
pub fn create(request_id: &str, body: u64) -> Result<CreateTaskRequest> {
    let request = workload::request(request_id, body)?;
    let steps = request.plan.steps().iter().map(step).collect();
    let plan = Plan { steps, timeout: Some(duration(request.plan.timeout())) };
    Ok(CreateTaskRequest {
        request_id: request_id.to_owned(),
        display_name: request.display_name,
        labels: request.labels,
        plan: Some(plan),
        ..CreateTaskRequest::default()
    })
}

fn step(spec: &StepSpec) -> PlanStep {
    let (retry, timeouts) = (&spec.retry, &spec.timeouts);
    PlanStep {
        key: spec.key.clone(),
        capability: spec.capability.clone(),
        input: spec.input.as_ref().map(payload),
        after: spec.after.clone(),
        retry: Some(RetryPolicy {
            max_attempts: i32::try_from(retry.max_attempts).unwrap_or(i32::MAX),
            initial_backoff: Some(duration(retry.initial_backoff)),
            backoff_multiplier: retry.multiplier,
            max_backoff: Some(duration(retry.max_backoff)),
            non_retryable_reasons: retry.non_retryable.clone(),
        }),
        timeouts: Some(StepTimeouts {
            waiting: timeouts.waiting.map(duration),
            attempt: timeouts.attempt.map(duration),
            progress: timeouts.progress.map(duration),
        }),
        priority: i32::from(spec.priority),
        action: None,
    }
}

fn payload(given: &quarterdeck_core::Payload) -> quarterdeck_client::api::r#type::v1::Payload {
    Payload::bytes(given.media_type.clone(), given.content().unwrap_or_default()).into_proto()
}

/// A span of time in the contract's terms.
pub fn duration(span: Span) -> prost_types::Duration {
    let micros = span.as_micros();
    let nanos = i32::try_from(micros % 1_000_000 * 1_000).unwrap_or_default();
    prost_types::Duration { seconds: micros / 1_000_000, nanos }
}

/// What a client was told.
pub fn answer(result: Result<Task, Error>) -> Answer {
    let error = match result {
        Ok(task) => match state(task.state()) {
            Ok(state) => {
                let revision = u64::try_from(task.revision).unwrap_or_default();
                return Answer::Task { task: task.id, revision, state: format!("{state:?}") };
            }
            Err(error) => return Answer::Defect(error.to_string()),
        },
        Err(error) => error,
    };
    if error.is(Reason::RequestIdReused) {
        Answer::Reused
    } else if error.is(Reason::TaskEnded) || error.is(Reason::TaskNotRetryable) {
        Answer::Refused(error.reason_name().to_owned())
    } else if !passing(&error) {
        Answer::Defect(text(&error))
    } else if error.origin == Origin::Server {
        Answer::Failed(text(&error))
    } else {
        Answer::Silence
    }
}

/// A state in the log's terms.
///
/// # Errors
/// When there is no such state.
pub fn state(state: TaskState) -> Result<State> {
    Ok(match state {
        TaskState::Running => State::Running,
        TaskState::Succeeded => State::Succeeded,
        TaskState::Failed => State::Failed,
        TaskState::Canceled => State::Canceled,
        TaskState::Unspecified => bail!("a task without a state"),
    })
}
