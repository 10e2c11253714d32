//! Events of tasks.

use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::event::Created;
use quarterdeck_core::task::{Event, Next};
use quarterdeck_core::{Plan, TaskId};

use super::payload::{self, Room, Stored};
use super::tasks::{failure, state, step_key, stop_reason};
use super::{int32, int64, plan, time};

/// The event with the names that `plan` gives to steps.
pub fn to_wire(task: TaskId, recorded: &Recorded<Event>, plan: &Plan, room: &mut Room) -> pb::TaskEvent {
    use pb::task_event::Kind;
    let key = |step| step_key(plan, step);
    let kind = match &recorded.event {
        Event::Created(created) => Kind::TaskCreated(created_to_wire(created)),
        Event::Assigned { step, attempt, session, agent } => Kind::StepAssigned(pb::StepAssigned {
            step_key: key(*step),
            attempt: int32(*attempt),
            agent: agent.clone(),
            session_id: session.to_string(),
        }),
        Event::Progressed { step, number: _, fraction, message, checkpoint, partial } => {
            let (partial_offset, partial_output) =
                partial.as_ref().map(|piece| (int64(piece.offset), piece.text.clone())).unwrap_or_default();
            Kind::StepProgressed(pb::StepProgressed {
                step_key: key(*step),
                fraction: *fraction,
                message: message.clone(),
                checkpoint: checkpoint.is_some(),
                partial_output,
                partial_offset,
            })
        }
        Event::Refused { step, number: _, agent, message } => Kind::StepRefused(pb::StepRefused {
            step_key: key(*step),
            agent: agent.clone(),
            message: message.clone(),
        }),
        Event::Succeeded { step, attempt, number: _, output } => Kind::StepSucceeded(pb::StepSucceeded {
            step_key: key(*step),
            attempt: int32(*attempt),
            output: output.as_ref().map(|output| payload::to_wire(output, &Stored::new(), room)),
        }),
        Event::Failed { step, number: _, failure: failed, next } => Kind::StepFailed(pb::StepFailed {
            step_key: key(*step),
            failure: Some(failure(failed)),
            retry_after: match next {
                Next::Ready => Some(prost_types::Duration::default()),
                Next::Backoff { until } => Some(time::duration(until.since(recorded.at))),
                Next::Final => None,
            },
            r#final: matches!(next, Next::Final),
        }),
        Event::Readied { step } => Kind::StepReadied(pb::StepReadied { step_key: key(*step) }),
        Event::Gated { step, message } => {
            Kind::StepGated(pb::StepGated { step_key: key(*step), message: message.clone() })
        }
        Event::Approved { step, grant } => Kind::StepApproved(pb::StepApproved {
            step_key: key(*step),
            approval_id: grant.approval.to_string(),
        }),
        Event::Ended { state: ended, stop } => Kind::TaskEnded(pb::TaskEnded {
            state: state(*ended).into(),
            stop_reason: Some(stop_reason(stop, plan)),
        }),
    };
    pb::TaskEvent {
        task_id: task.to_string(),
        sequence: int64(recorded.sequence),
        time: Some(time::timestamp(recorded.at)),
        kind: Some(kind),
    }
}

fn created_to_wire(created: &Created) -> pb::TaskCreated {
    pb::TaskCreated {
        display_name: created.display_name.clone(),
        labels: created.labels.clone(),
        plan: Some(plan::to_wire(&created.plan)),
        created_by: created.created_by.clone(),
        retry_of: created.retry_of.map(|id| id.to_string()).unwrap_or_default(),
        reused_steps: created.reused.keys().map(|&step| step_key(&created.plan, step)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::task_event::Kind;
    use quarterdeck_core::plan::{RetryPolicy, StepSpec, Timeouts};
    use quarterdeck_core::task::{Failure, FailureCode};
    use quarterdeck_core::{Ctx, SessionId, Timestamp};

    fn plan() -> Plan {
        let spec = StepSpec {
            key: "only".into(),
            capability: "work".into(),
            input: None,
            after: Vec::new(),
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
            priority: 0,
            action: None,
        };
        Plan::new(vec![spec], None).unwrap()
    }

    fn wire(event: Event) -> pb::TaskEvent {
        let ctx = Ctx::new(Timestamp::from_micros(2_000_000), [1; 32]);
        let recorded = Recorded { sequence: 7, at: ctx.now, event };
        to_wire(TaskId::new(&ctx, 0), &recorded, &plan(), &mut Room::answer())
    }

    #[test]
    fn events_name_their_steps() {
        let session = SessionId::new(&Ctx::new(Timestamp::from_micros(5), [3; 32]), 0);
        let assigned = wire(Event::Assigned { step: 0, attempt: 2, session, agent: "a".into() });
        assert_eq!(assigned.sequence, 7);
        let Some(Kind::StepAssigned(assigned)) = assigned.kind else { panic!() };
        assert_eq!((assigned.step_key.as_str(), assigned.attempt), ("only", 2));
        let Some(Kind::StepSucceeded(succeeded)) =
            wire(Event::Succeeded { step: 0, attempt: 4, number: 1, output: None }).kind
        else {
            panic!()
        };
        assert_eq!(succeeded.attempt, 4);
    }

    #[test]
    fn a_failure_says_what_follows() {
        let failure = || Failure {
            code: FailureCode::Reported,
            reason: "X".into(),
            message: String::new(),
            attempt: 1,
        };
        let until = Timestamp::from_micros(3_500_000);
        for (next, retry_after, last) in [
            (Next::Ready, Some((0, 0)), false),
            (Next::Backoff { until }, Some((1, 500_000_000)), false),
            (Next::Final, None, true),
        ] {
            let event = wire(Event::Failed { step: 0, number: 1, failure: failure(), next });
            let Some(Kind::StepFailed(failed)) = event.kind else { panic!() };
            assert_eq!(failed.retry_after.map(|wait| (wait.seconds, wait.nanos)), retry_after);
            assert_eq!(failed.r#final, last);
        }
    }
}
