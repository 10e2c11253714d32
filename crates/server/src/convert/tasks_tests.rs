use super::*;
use std::collections::BTreeMap;

use bytes::Bytes;
use quarterdeck_core::plan::{RetryPolicy, Timeouts};
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{Event, NewTask, create, opened};
use quarterdeck_core::{Ctx, Timestamp};

fn task(inputs: &[usize]) -> Task {
    let spec = |(index, size): (usize, &usize)| StepSpec {
        key: format!("s{index}"),
        capability: "work".into(),
        input: Some(Payload::new("text/plain", Bytes::from(vec![b'x'; *size]))),
        after: Vec::new(),
        retry: RetryPolicy::default(),
        timeouts: Timeouts::default(),
        priority: 0,
        action: None,
    };
    let new = NewTask {
        project: "default".into(),
        display_name: "name".into(),
        labels: BTreeMap::from([("a".into(), "b".into())]),
        plan: Plan::new(inputs.iter().enumerate().map(spec).collect(), None).unwrap(),
        created_by: "key:test".into(),
        owner: "t".into(),
    };
    let event: Event = create(new, &Ctx::new(Timestamp::from_micros(1_000_000), [7; 32]));
    opened(&Recorded { sequence: 1, at: Timestamp::from_micros(1_000_000), event }).unwrap().0
}

#[test]
fn a_task_is_answered_whole_and_without_contents() {
    let wire = basic(&task(&[3, 5]));
    assert!(wire.id.starts_with("tsk_"));
    assert_eq!((wire.step_count, wire.revision, wire.state()), (2, 1, pb::TaskState::Running));
    assert_eq!(wire.steps[1].state(), pb::StepState::Ready);
    let content = wire.steps[1].input.clone().unwrap().content;
    let Some(quarterdeck_api::r#type::v1::payload::Content::Omitted(summary)) = content else { panic!() };
    assert_eq!(summary.size, 5);
}

#[test]
fn contents_come_in_order_until_the_answer_is_full() {
    let task = task(&[2_000_000, 2_000_000, 500_000]);
    let full = to_wire(&task, |_| true, &Stored::new(), &mut Room::answer());
    let omitted: Vec<bool> = full
        .steps
        .iter()
        .map(|step| {
            matches!(
                step.input.as_ref().and_then(|input| input.content.as_ref()),
                Some(quarterdeck_api::r#type::v1::payload::Content::Omitted(_))
            )
        })
        .collect();
    assert_eq!(omitted, [false, true, false]);
    let one = to_wire(&task, |key| key == "s1", &Stored::new(), &mut Room::answer());
    assert_eq!(one.steps.len(), 1);
    assert_eq!(one.step_count, 3);
}

#[test]
fn stop_codes_of_rows_are_known_by_name() {
    for (name, code) in [
        ("completed", pb::StopCode::Completed),
        ("attempts_exhausted", pb::StopCode::AttemptsExhausted),
        ("no_agent", pb::StopCode::NoAgent),
        ("something_newer", pb::StopCode::Unspecified),
    ] {
        assert_eq!(stop_code_by_name(name), code);
    }
}

#[test]
fn a_filter_is_read_or_named_wrong() {
    let states = |states: &[i32]| Some(pb::TaskFilter { states: states.to_vec(), ..Default::default() });
    assert_eq!(filter(states(&[2, 1, 2])).unwrap().states, [State::Running, State::Succeeded]);
    assert_eq!(filter(states(&[1, 9])).unwrap_err().field, "filter.states[1]");
    let retry_of = Some(pb::TaskFilter { retry_of: "tsk_x".into(), ..Default::default() });
    assert_eq!(filter(retry_of).unwrap_err().field, "filter.retry_of");
    assert_eq!(filter(None), Ok(TaskFilter::default()));
}
