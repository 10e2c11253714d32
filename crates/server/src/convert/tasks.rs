//! Tasks, their steps, and the filter that selects them.

use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_core::plan::{StepIndex, StepSpec};
use quarterdeck_core::task::{Failure, FailureCode, Phase, State, Step, StopCode, StopReason, Task};
use quarterdeck_core::{Payload, Plan, TaskId};
use quarterdeck_store::rows::{TaskFilter, TaskRow};

use super::payload::{self, Room, Stored};
use super::{int32, int64, time, violation};
use crate::status::Violation;

/// The task with those steps that `wanted` picks.
pub fn to_wire(task: &Task, wanted: impl Fn(&str) -> bool, stored: &Stored, room: &mut Room) -> pb::Task {
    let steps = task.numbered().filter(|(_, spec, _)| wanted(&spec.key));
    pb::Task {
        id: task.id.to_string(),
        project: task.project.clone(),
        display_name: task.display_name.clone(),
        labels: task.labels.clone(),
        state: state(task.state).into(),
        stop_reason: task.stop.as_ref().map(|stop| stop_reason(stop, &task.plan)),
        steps: steps
            .map(|(index, spec, step)| step_to_wire(task.id, index, spec, step, stored, room))
            .collect(),
        step_count: int32(task.plan.steps().len()),
        revision: int64(task.revision),
        create_time: Some(time::timestamp(task.created_at)),
        end_time: task.ended_at.map(time::timestamp),
        deadline: Some(time::timestamp(task.deadline)),
        created_by: task.created_by.clone(),
        retry_of: task.retry_of.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// The task with all steps and no contents.
pub fn basic(task: &Task) -> pb::Task {
    to_wire(task, |_| true, &Stored::new(), &mut Room::none())
}

/// The payloads that an answer with these steps wants, in its order.
pub fn payloads(task: &Task, wanted: impl Fn(&str) -> bool) -> Vec<&Payload> {
    let steps = task.numbered().filter(|(_, spec, _)| wanted(&spec.key));
    steps.flat_map(|(_, spec, step)| spec.input.iter().chain(&step.output)).collect()
}

/// A task as listed, without its steps.
pub fn row(row: TaskRow, project: &str) -> pb::Task {
    let stop_reason = row
        .stop_code
        .map(|code| pb::StopReason { code: stop_code_by_name(&code).into(), ..Default::default() });
    pb::Task {
        id: row.task.to_string(),
        project: project.to_owned(),
        display_name: row.display_name,
        labels: row.labels,
        state: state(row.state).into(),
        stop_reason,
        steps: Vec::new(),
        step_count: int32(row.step_count),
        revision: int64(row.revision),
        create_time: Some(time::timestamp(row.created_at)),
        end_time: row.ended_at.map(time::timestamp),
        deadline: Some(time::timestamp(row.deadline)),
        created_by: row.created_by,
        retry_of: row.retry_of.map(|id| id.to_string()).unwrap_or_default(),
    }
}

fn step_to_wire(
    task: TaskId,
    index: StepIndex,
    spec: &StepSpec,
    step: &Step,
    stored: &Stored,
    room: &mut Room,
) -> pb::Step {
    let progress = step.lease().and_then(|lease| Some((lease.progress.as_ref()?, lease.partial)));
    pb::Step {
        key: spec.key.clone(),
        capability: spec.capability.clone(),
        after: spec.after.clone(),
        priority: i32::from(spec.priority),
        state: step_state(&step.phase).into(),
        attempt: int32(step.attempt),
        agent: step.agent.clone().unwrap_or_default(),
        input: spec.input.as_ref().map(|input| payload::to_wire(input, stored, room)),
        output: step.output.as_ref().map(|output| payload::to_wire(output, stored, room)),
        last_failure: step.last_failure.as_ref().map(failure),
        progress: progress.map(|(progress, partial)| pb::StepProgress {
            fraction: progress.fraction,
            message: progress.message.clone(),
            time: Some(time::timestamp(progress.at)),
            partial_output_size: int64(partial),
        }),
        update_time: Some(time::timestamp(step.since)),
        reused: step.reused,
        approval_id: step.gate(task, index).map(|id| id.to_string()).unwrap_or_default(),
    }
}

pub fn failure(failure: &Failure) -> pb::StepFailure {
    let code = match failure.code {
        FailureCode::Reported => pb::FailureCode::Reported,
        FailureCode::AttemptTimeout => pb::FailureCode::AttemptTimeout,
        FailureCode::ProgressTimeout => pb::FailureCode::ProgressTimeout,
        FailureCode::AgentLost => pb::FailureCode::AgentLost,
        FailureCode::ApprovalDenied => pb::FailureCode::ApprovalDenied,
        FailureCode::ApprovalTimeout => pb::FailureCode::ApprovalTimeout,
        FailureCode::ApprovalWithdrawn => pb::FailureCode::ApprovalWithdrawn,
    };
    pb::StepFailure {
        code: code.into(),
        reason: failure.reason.clone(),
        message: failure.message.clone(),
        attempt: int32(failure.attempt),
    }
}

pub fn stop_reason(stop: &StopReason, plan: &Plan) -> pb::StopReason {
    pb::StopReason {
        code: stop_code(stop.code).into(),
        step_key: stop.step.map(|step| step_key(plan, step)).unwrap_or_default(),
        message: stop.message.clone(),
        step_reason: stop.reason.clone(),
    }
}

/// The step's name in its plan.
pub fn step_key(plan: &Plan, step: StepIndex) -> String {
    plan.step(step).map(|spec| spec.key.clone()).unwrap_or_default()
}

pub const fn state(state: State) -> pb::TaskState {
    match state {
        State::Running => pb::TaskState::Running,
        State::Succeeded => pb::TaskState::Succeeded,
        State::Failed => pb::TaskState::Failed,
        State::Canceled => pb::TaskState::Canceled,
    }
}

const fn step_state(phase: &Phase) -> pb::StepState {
    match phase {
        Phase::Blocked => pb::StepState::Blocked,
        Phase::Gated => pb::StepState::AwaitingApproval,
        Phase::Ready => pb::StepState::Ready,
        Phase::Backoff { .. } => pb::StepState::Backoff,
        Phase::Running(_) => pb::StepState::Running,
        Phase::Succeeded => pb::StepState::Succeeded,
        Phase::Failed => pb::StepState::Failed,
        Phase::Canceled => pb::StepState::Canceled,
    }
}

const fn stop_code(code: StopCode) -> pb::StopCode {
    match code {
        StopCode::Completed => pb::StopCode::Completed,
        StopCode::AttemptsExhausted => pb::StopCode::AttemptsExhausted,
        StopCode::NotRetryable => pb::StopCode::NotRetryable,
        StopCode::NoAgent => pb::StopCode::NoAgent,
        StopCode::AgentLost => pb::StopCode::AgentLost,
        StopCode::Timeout => pb::StopCode::Timeout,
        StopCode::Canceled => pb::StopCode::Canceled,
        StopCode::ApprovalDenied => pb::StopCode::ApprovalDenied,
        StopCode::ApprovalTimeout => pb::StopCode::ApprovalTimeout,
        StopCode::ApprovalWithdrawn => pb::StopCode::ApprovalWithdrawn,
    }
}

/// Rows hold the code by its name in the log; an unknown one is left unspecified.
fn stop_code_by_name(name: &str) -> pb::StopCode {
    let parsed = serde_json::from_value::<StopCode>(serde_json::Value::String(name.to_owned()));
    parsed.map_or(pb::StopCode::Unspecified, stop_code)
}

/// The filter of a list.
pub fn filter(wire: Option<pb::TaskFilter>) -> Result<TaskFilter, Violation> {
    let Some(wire) = wire else { return Ok(TaskFilter::default()) };
    let mut states = Vec::new();
    for (index, &number) in wire.states.iter().enumerate() {
        states.push(match pb::TaskState::try_from(number) {
            Ok(pb::TaskState::Running) => State::Running,
            Ok(pb::TaskState::Succeeded) => State::Succeeded,
            Ok(pb::TaskState::Failed) => State::Failed,
            Ok(pb::TaskState::Canceled) => State::Canceled,
            Ok(pb::TaskState::Unspecified) | Err(_) => {
                return Err(violation(format!("filter.states[{index}]"), "is no state of a task"));
            }
        });
    }
    states.sort_unstable();
    states.dedup();
    let retry_of = match wire.retry_of.as_str() {
        "" => None,
        id => Some(id.parse().map_err(|error| violation("filter.retry_of", format!("{error}")))?),
    };
    Ok(TaskFilter {
        states,
        labels: wire.labels,
        created_after: wire.created_after.map(time::from_timestamp),
        created_before: wire.created_before.map(time::from_timestamp),
        retry_of,
    })
}

#[cfg(test)]
#[path = "tasks_tests.rs"]
mod tests;
