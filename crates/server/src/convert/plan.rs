//! Plans. A graph that is no DAG is PLAN_INVALID at the step at fault; anything
//! else that is wrong is a field that breaks a rule.

use bytes::Bytes;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_core::plan::{PlanError, RetryPolicy, StepAction, StepSpec, Timeouts};
use quarterdeck_core::{Digest, Plan};

use super::payload::{self, Room, Stored};
use super::{action, int32, time, violation};
use crate::status::{Failure, Fault};

/// Contents that are kept apart from the plan.
pub type Apart = Vec<(Digest, Bytes)>;

/// The plan in a request, and the actions that its steps declare. The codec has
/// checked every field by itself.
pub fn from_wire(wire: pb::Plan) -> Result<(Plan, Apart), Failure> {
    let mut apart = Apart::new();
    let steps = wire.steps.into_iter().enumerate();
    let steps =
        steps.map(|(index, step)| spec(index, step, &mut apart)).collect::<Result<Vec<_>, Failure>>()?;
    let plan = Plan::new(steps, wire.timeout.map(time::span));
    Ok((plan.map_err(|error| Fault::Plan(at_fault(&error)))?, apart))
}

/// A declared action is kept apart from the plan, which is for many eyes.
fn declared(
    index: usize,
    wire: Option<quarterdeck_api::approvals::v1::Action>,
    apart: &mut Apart,
) -> Result<Option<StepAction>, Failure> {
    if wire.is_none() {
        return Ok(None);
    }
    let action = action::from_wire(&format!("plan.steps[{index}].action"), wire)?;
    // An action is text and numbers: it can always be written.
    let written = Bytes::from(serde_json::to_vec(&action).map_err(|_| Fault::Defect)?);
    let content = Digest::of_content(&written);
    let declared = StepAction { digest: action.digest(), content, kind: action.kind().to_owned() };
    apart.push((content, written));
    Ok(Some(declared))
}

fn at_fault(error: &PlanError) -> crate::status::Violation {
    let field = match error {
        PlanError::Size(_) => "plan.steps".to_owned(),
        PlanError::DuplicateKey { index, .. } => format!("plan.steps[{index}].key"),
        PlanError::MissingDependency { index, .. } | PlanError::Cycle { index, .. } => {
            format!("plan.steps[{index}].after")
        }
    };
    violation(field, error.to_string())
}

fn spec(index: usize, wire: pb::PlanStep, apart: &mut Apart) -> Result<StepSpec, Failure> {
    let action = declared(index, wire.action, apart)?;
    let timeouts = wire.timeouts.unwrap_or_default();
    Ok(StepSpec {
        key: wire.key,
        capability: wire.capability,
        input: payload::from_wire(&format!("plan.steps[{index}].input"), wire.input)?,
        after: wire.after,
        retry: wire.retry.map_or_else(RetryPolicy::default, retry),
        timeouts: Timeouts {
            waiting: timeouts.waiting.map(time::span),
            attempt: timeouts.attempt.map(time::span),
            progress: timeouts.progress.map(time::span),
        },
        priority: u8::try_from(wire.priority).unwrap_or(0),
        action,
    })
}

/// What is not set, or zero, is the default.
fn retry(wire: pb::RetryPolicy) -> RetryPolicy {
    let default = RetryPolicy::default();
    RetryPolicy {
        max_attempts: match u32::try_from(wire.max_attempts) {
            Ok(0) | Err(_) => default.max_attempts,
            Ok(attempts) => attempts,
        },
        initial_backoff: wire.initial_backoff.map_or(default.initial_backoff, time::span),
        multiplier: if wire.backoff_multiplier == 0.0 { default.multiplier } else { wire.backoff_multiplier },
        max_backoff: wire.max_backoff.map_or(default.max_backoff, time::span),
        non_retryable: wire.non_retryable_reasons,
    }
}

/// The plan as accepted, its inputs omitted.
pub fn to_wire(plan: &Plan) -> pb::Plan {
    pb::Plan { steps: plan.steps().iter().map(step).collect(), timeout: Some(time::duration(plan.timeout())) }
}

fn step(spec: &StepSpec) -> pb::PlanStep {
    let Timeouts { waiting, attempt, progress } = &spec.timeouts;
    let limited = waiting.is_some() || attempt.is_some() || progress.is_some();
    pb::PlanStep {
        key: spec.key.clone(),
        capability: spec.capability.clone(),
        input: spec.input.as_ref().map(|input| payload::to_wire(input, &Stored::new(), &mut Room::none())),
        after: spec.after.clone(),
        retry: Some(pb::RetryPolicy {
            max_attempts: int32(spec.retry.max_attempts),
            initial_backoff: Some(time::duration(spec.retry.initial_backoff)),
            backoff_multiplier: spec.retry.multiplier,
            max_backoff: Some(time::duration(spec.retry.max_backoff)),
            non_retryable_reasons: spec.retry.non_retryable.clone(),
        }),
        timeouts: limited.then(|| pb::StepTimeouts {
            waiting: waiting.map(time::duration),
            attempt: attempt.map(time::duration),
            progress: progress.map(time::duration),
        }),
        priority: i32::from(spec.priority),
        // Who may see it asks for its approval.
        action: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Duration;
    use quarterdeck_core::Span;

    fn wire(steps: &[(&str, &[&str])]) -> pb::Plan {
        let step = |(key, after): &(&str, &[&str])| pb::PlanStep {
            key: (*key).to_owned(),
            capability: "work".to_owned(),
            after: after.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        pb::Plan { steps: steps.iter().map(step).collect(), timeout: None }
    }

    #[test]
    fn a_bad_graph_is_named_by_its_field() {
        for (steps, field) in [
            (&[][..], "plan.steps"),
            (&[("a", &[][..]), ("a", &[])], "plan.steps[1].key"),
            (&[("a", &[]), ("b", &["x"])], "plan.steps[1].after"),
            (&[("a", &["a"])], "plan.steps[0].after"),
            (&[("x", &[]), ("a", &["a", "x"])], "plan.steps[1].after"),
        ] {
            let Err(Failure::Fault(Fault::Plan(violation))) = from_wire(wire(steps)) else {
                panic!("{steps:?}")
            };
            assert_eq!(violation.field, field);
        }
    }

    #[test]
    fn unset_and_zero_are_the_defaults() {
        let mut plan = wire(&[("a", &[]), ("b", &["a"])]);
        plan.steps[1].retry = Some(pb::RetryPolicy {
            max_backoff: Some(Duration { seconds: 5, nanos: 0 }),
            ..Default::default()
        });
        let plan = from_wire(plan).unwrap().0;
        assert_eq!(plan.steps()[0].retry, RetryPolicy::default());
        let expected = RetryPolicy { max_backoff: Span::from_secs(5), ..RetryPolicy::default() };
        assert_eq!(plan.steps()[1].retry, expected);
        assert_eq!(plan.timeout(), quarterdeck_core::plan::DEFAULT_TIMEOUT);
    }

    #[test]
    fn a_plan_comes_back_as_it_was_accepted() {
        let mut sent = wire(&[("a", &[]), ("b", &["a"])]);
        sent.timeout = Some(Duration { seconds: 60, nanos: 0 });
        sent.steps[0].priority = 9;
        sent.steps[0].timeouts =
            Some(pb::StepTimeouts { attempt: Some(Duration { seconds: 2, nanos: 0 }), ..Default::default() });
        let accepted = from_wire(sent).unwrap().0;
        let answered = to_wire(&accepted);
        assert_eq!(from_wire(answered).unwrap().0, accepted);
    }

    #[test]
    fn an_input_at_fault_is_named_with_its_step() {
        let mut plan = wire(&[("a", &[]), ("b", &[])]);
        let content = quarterdeck_api::r#type::v1::payload::Content::Omitted(Default::default());
        plan.steps[1].input =
            Some(quarterdeck_api::r#type::v1::Payload { media_type: String::new(), content: Some(content) });
        let Err(Failure::Fault(Fault::Fields(fields))) = from_wire(plan) else { panic!() };
        assert_eq!(fields[0].field, "plan.steps[1].input.omitted");
    }
}
