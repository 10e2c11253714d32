//! Events in one text, whether they come from the wire or from the log, so that
//! what watchers saw can be compared with what happened.

use quarterdeck_client::Payload;
use quarterdeck_client::api::orchestration::v1::TaskEvent;
use quarterdeck_client::api::orchestration::v1::task_event::Kind;
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{Event, FailureCode, Next, StopCode};
use quarterdeck_core::{Plan, Timestamp};

use crate::wire::{duration, state};

/// An event that came over the wire.
pub fn of_wire(event: &TaskEvent) -> String {
    let micros = event.time.map(|time| time.seconds * 1_000_000 + i64::from(time.nanos / 1_000));
    let body = match &event.kind {
        None => "unknown".to_owned(),
        Some(kind) => kind_of_wire(kind),
    };
    format!("{} {micros:?} {body}", event.sequence)
}

fn kind_of_wire(kind: &Kind) -> String {
    match kind {
        Kind::TaskCreated(it) => {
            let steps: Vec<&str> =
                it.plan.iter().flat_map(|plan| &plan.steps).map(|step| step.key.as_str()).collect();
            let (name, labels, of, reused) = (&it.display_name, &it.labels, &it.retry_of, &it.reused_steps);
            format!("created {name} {labels:?} {steps:?} {of:?} {reused:?} {}", it.created_by)
        }
        Kind::StepAssigned(it) => {
            format!("assigned {} {} {} {}", it.step_key, it.attempt, it.agent, it.session_id)
        }
        Kind::StepProgressed(it) => {
            format!("progressed {} {} {} {}", it.step_key, it.fraction, it.message, it.checkpoint)
        }
        Kind::StepRefused(it) => format!("refused {} {} {}", it.step_key, it.agent, it.message),
        Kind::StepSucceeded(it) => {
            let output = Payload::from(it.output.clone()).to_text().unwrap_or_else(|error| error.to_string());
            format!("succeeded {} {} {output}", it.step_key, it.attempt)
        }
        Kind::StepFailed(it) => {
            let failure = it.failure.clone().unwrap_or_default();
            let code = failure.code().as_str_name().trim_start_matches("FAILURE_CODE_").to_owned();
            let (reason, message, attempt) = (failure.reason, failure.message, failure.attempt);
            let key = &it.step_key;
            format!("failed {key} {code} {reason} {message} {attempt} {:?} {}", it.retry_after, it.r#final)
        }
        Kind::StepReadied(it) => format!("readied {}", it.step_key),
        Kind::StepGated(it) => format!("gated {} {}", it.step_key, it.message),
        Kind::StepApproved(it) => format!("approved {} {}", it.step_key, it.approval_id),
        Kind::TaskEnded(it) => {
            let stop = it.stop_reason.clone().unwrap_or_default();
            let code = stop.code().as_str_name().trim_start_matches("STOP_CODE_").to_owned();
            let ended =
                state(it.state()).map_or_else(|error| error.to_string(), |state| format!("{state:?}"));
            format!("ended {ended} {code} {} {} {}", stop.step_key, stop.message, stop.step_reason)
        }
    }
}

/// The same event in the log of a task with this plan.
pub fn of_log(event: &Recorded<Event>, plan: &Plan) -> String {
    let micros = Some(event.at.as_micros());
    format!("{} {micros:?} {}", event.sequence, kind_of_log(event.at, &event.event, plan))
}

fn kind_of_log(at: Timestamp, event: &Event, plan: &Plan) -> String {
    let key = |step: u16| plan.step(step).map(|spec| spec.key.clone()).unwrap_or_default();
    match event {
        Event::Created(it) => {
            let steps: Vec<String> = it.plan.steps().iter().map(|step| step.key.clone()).collect();
            let of = it.retry_of.map(|id| id.to_string()).unwrap_or_default();
            let reused: Vec<String> = it.reused.keys().map(|&step| key(step)).collect();
            let (name, labels) = (&it.display_name, &it.labels);
            format!("created {name} {labels:?} {steps:?} {of:?} {reused:?} {}", it.created_by)
        }
        Event::Assigned { step, attempt, session, agent } => {
            format!("assigned {} {attempt} {agent} {session}", key(*step))
        }
        Event::Progressed { step, fraction, message, checkpoint, .. } => {
            format!("progressed {} {fraction} {message} {}", key(*step), checkpoint.is_some())
        }
        Event::Refused { step, agent, message, .. } => format!("refused {} {agent} {message}", key(*step)),
        Event::Succeeded { step, attempt, output, .. } => {
            let content = output.as_ref().and_then(quarterdeck_core::Payload::content).unwrap_or_default();
            format!("succeeded {} {attempt} {}", key(*step), String::from_utf8_lossy(&content))
        }
        Event::Failed { step, failure, next, .. } => {
            let retry_after = match next {
                Next::Ready => Some(prost_types::Duration::default()),
                Next::Backoff { until } => Some(duration(until.since(at))),
                Next::Final => None,
            };
            let (key, code, last) = (key(*step), failure_code(failure.code), matches!(next, Next::Final));
            let (reason, message, attempt) = (&failure.reason, &failure.message, failure.attempt);
            format!("failed {key} {code} {reason} {message} {attempt} {retry_after:?} {last}")
        }
        Event::Readied { step } => format!("readied {}", key(*step)),
        Event::Gated { step, message } => format!("gated {} {message}", key(*step)),
        Event::Approved { step, grant } => format!("approved {} {}", key(*step), grant.approval),
        Event::Ended { state, stop } => {
            let (code, step) = (stop_code(stop.code), stop.step.map(key).unwrap_or_default());
            format!("ended {state:?} {code} {step} {} {}", stop.message, stop.reason)
        }
    }
}

fn failure_code(code: FailureCode) -> &'static str {
    match code {
        FailureCode::Reported => "REPORTED",
        FailureCode::AttemptTimeout => "ATTEMPT_TIMEOUT",
        FailureCode::ProgressTimeout => "PROGRESS_TIMEOUT",
        FailureCode::AgentLost => "AGENT_LOST",
        FailureCode::ApprovalDenied => "APPROVAL_DENIED",
        FailureCode::ApprovalTimeout => "APPROVAL_TIMEOUT",
        FailureCode::ApprovalWithdrawn => "APPROVAL_WITHDRAWN",
    }
}

fn stop_code(code: StopCode) -> &'static str {
    match code {
        StopCode::Completed => "COMPLETED",
        StopCode::AttemptsExhausted => "ATTEMPTS_EXHAUSTED",
        StopCode::NotRetryable => "NOT_RETRYABLE",
        StopCode::NoAgent => "NO_AGENT",
        StopCode::AgentLost => "AGENT_LOST",
        StopCode::Timeout => "TIMEOUT",
        StopCode::Canceled => "CANCELED",
        StopCode::ApprovalDenied => "APPROVAL_DENIED",
        StopCode::ApprovalTimeout => "APPROVAL_TIMEOUT",
        StopCode::ApprovalWithdrawn => "APPROVAL_WITHDRAWN",
    }
}
