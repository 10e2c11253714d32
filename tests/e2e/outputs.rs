//! Payloads of every size get where they belong, whole or visibly left out.

use std::collections::BTreeMap;

use bytes::Bytes;
use quarterdeck_client::Payload;
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::orchestration::v1::task_event::Kind;
use quarterdeck_client::api::orchestration::v1::{
    GetDependencyOutputRequest, GetTaskRequest, Step, TaskState, TaskView,
};
use quarterdeck_client::api::r#type::v1::payload::Content;

use crate::expect::refused;
use crate::plans::{StepWords, plan, step};
use crate::stack::both;
use crate::world::World;

both!(Usual:
    outputs_of_any_size_reach_the_next_step,
    outputs_beyond_three_mebibytes_are_fetched_one_by_one,
    inputs_reach_the_agent_as_they_were_sent,
    views_leave_out_what_they_say,
);

/// The largest content of a payload.
const MOST: usize = 256 * 1024;
/// The largest output that an event carries.
const IN_EVENT: usize = 4 * 1024;

/// Content that compresses badly and differs from step to step.
fn content(seed: usize, size: usize) -> Payload {
    let byte = |at: usize| (at.wrapping_mul(2_654_435_761).wrapping_add(seed * 40_503) >> 7) as u8;
    Payload::bytes("application/x-test", (0..size).map(byte).collect::<Bytes>())
}

async fn outputs_of_any_size_reach_the_next_step(world: World) {
    let sizes = [0, 1, IN_EVENT, IN_EVENT + 1, 100_000, MOST];
    let keys: Vec<String> = (0..sizes.len()).map(|at| format!("s{at}")).collect();
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut steps: Vec<_> = names.iter().map(|key| step(key, "make")).collect();
    steps.push(step("last", "take").after(&names));
    let task = world.create(plan(steps)).await;

    let mut maker = world.agent("maker", "make", 10).await;
    for _ in 0..sizes.len() {
        let assign = maker.assigned().await;
        let at: usize = assign.step_key[1..].parse().unwrap();
        maker.finish(&assign, content(at, sizes[at])).await;
    }
    let mut taker = world.agent_at(&world.other, "taker", "take", 1).await;
    let assign = taker.assigned().await;
    let given: Vec<&str> = assign.dependencies.iter().map(|one| one.step_key.as_str()).collect();
    assert_eq!(given, names, "in the plan's order");
    for (at, dependency) in assign.dependencies.iter().enumerate() {
        let output = Payload::from(dependency.output.clone());
        assert_eq!(
            output.to_bytes().unwrap(),
            content(at, sizes[at]).to_bytes().unwrap(),
            "{} bytes",
            sizes[at]
        );
        assert_eq!(output.media_type(), "application/x-test");
    }
    taker.finish(&assign, Payload::empty()).await;
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
    for event in world.events(&task.id).await {
        if let Some(Kind::StepSucceeded(done)) = event.kind {
            let output = Payload::from(done.output);
            let size = output.size();
            assert_eq!(output.is_omitted(), size > IN_EVENT, "{} with {size} bytes", done.step_key);
        }
    }
}

async fn outputs_beyond_three_mebibytes_are_fetched_one_by_one(world: World) {
    const COUNT: usize = 14;
    let keys: Vec<String> = (0..COUNT).map(|at| format!("s{at}")).collect();
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut steps: Vec<_> = names.iter().map(|key| step(key, "make")).collect();
    steps.push(step("last", "take").after(&names));
    let task = world.create(plan(steps)).await;
    let _maker = world.work(&world.admin, "maker", &["make"], 4, |context| async move {
        let at: usize = context.step_key()[1..].parse()?;
        Ok(content(at, MOST))
    });
    let mut taker = world.agent("taker", "take", 1).await;
    let assign = taker.assigned().await;
    let (mut omitted, mut sent) = (0, 0);
    for (at, dependency) in assign.dependencies.iter().enumerate() {
        let request = GetDependencyOutputRequest {
            lease_token: assign.lease_token.clone(),
            step_key: dependency.step_key.clone(),
        };
        let fetched = world.other.worker_stub().get_dependency_output(request).await.unwrap().into_inner();
        assert_eq!(Payload::from(fetched.output).to_bytes().unwrap(), content(at, MOST).to_bytes().unwrap());
        let output = Payload::from(dependency.output.clone());
        assert_eq!(output.size(), MOST, "the size is known also where the content is not");
        match output.is_omitted() {
            true => omitted += 1,
            false => sent += MOST,
        }
    }
    assert!(omitted > 0 && sent <= 3 * 1024 * 1024, "{omitted} omitted, {sent} bytes sent");

    let ask = |token: &str, key: &str| GetDependencyOutputRequest {
        lease_token: token.into(),
        step_key: key.into(),
    };
    let mut stub = world.admin.worker_stub();
    let unknown = stub.get_dependency_output(ask(&assign.lease_token, "s99")).await;
    refused("not a step that it comes after", unknown, Reason::StepNotFound);
    let itself = stub.get_dependency_output(ask(&assign.lease_token, "last")).await;
    refused("its own output", itself, Reason::StepNotFound);
    refused("no lease of ours", stub.get_dependency_output(ask("nonsense", "s1")).await, Reason::LeaseStale);
    taker.finish(&assign, Payload::empty()).await;
    let late = stub.get_dependency_output(ask(&assign.lease_token, "s1")).await;
    refused("a lease that is over", late, Reason::LeaseStale);
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
}

async fn inputs_reach_the_agent_as_they_were_sent(world: World) {
    let inputs = BTreeMap::from([
        ("json", Payload::from_json(serde_json::json!({ "a": [1, 2.5, "ä", null, true], "b": {} }))),
        ("text", Payload::text("Zeile\nZeile")),
        ("nul", Payload::bytes("application/octet-stream", vec![0, 255, 0])),
        ("large", content(1, MOST)),
        ("empty", Payload::empty()),
    ]);
    let steps = inputs.iter().map(|(key, input)| step(key, "work").input(input.clone()));
    world.create(plan(steps)).await;
    let mut agent = world.agent_at(&world.other, "agent", "work", 10).await;
    for _ in 0..inputs.len() {
        let assign = agent.assigned().await;
        let (got, sent) = (Payload::from(assign.input), &inputs[assign.step_key.as_str()]);
        match assign.step_key.as_str() {
            "json" => assert_eq!(got.to_json().unwrap(), sent.to_json().unwrap()),
            key => assert_eq!(got.to_bytes().unwrap(), sent.to_bytes().unwrap(), "{key}"),
        }
    }
}

async fn views_leave_out_what_they_say(world: World) {
    // More than 3 MiB of payloads, in a message of less than 4.
    const COUNT: usize = 13;
    let steps = (0..COUNT).map(|at| step(&format!("s{at}"), "none").input(content(at, MOST)));
    let task = world.create(plan(steps)).await;
    let omitted = |step: &Step| matches!(step.input.as_ref().unwrap().content, Some(Content::Omitted(_)));
    assert!(task.steps.iter().all(omitted), "CreateTask answers without payloads");
    let basic = world.task(&task.id).await;
    assert!(basic.steps.iter().all(omitted), "so does BASIC");
    let full = world.other.get_task(&task.id).await.unwrap();
    let whole = full.steps.iter().take_while(|step| !omitted(step)).count();
    assert!((11..COUNT).contains(&whole), "FULL has {whole} of {COUNT}: 3 MiB");
    assert!(full.steps[whole..].iter().all(omitted), "in the order of the steps");
    let listed = world.tasks().await;
    assert!(listed.iter().all(|task| task.steps.is_empty() && task.step_count > 0), "lists have no steps");

    let left_out = world.step(&task.id, "s12").await;
    assert_eq!(Payload::from(left_out.input).to_bytes().unwrap(), content(12, MOST).to_bytes().unwrap());
    let unknown =
        GetTaskRequest { task_id: task.id, view: TaskView::Full.into(), step_keys: vec!["nope".into()] };
    refused("an unknown step", world.admin.get_task_with(unknown).await, Reason::StepNotFound);
}
