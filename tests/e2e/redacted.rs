//! Secrets and personal data that are written into tasks are recorded nowhere as they are,
//! and payloads with a secret reach those alone whom they are for.

use quarterdeck_client::api::orchestration::v1::session_request::Message as Up;
use quarterdeck_client::api::orchestration::v1::task_event::Kind;
use quarterdeck_client::api::orchestration::v1::{CancelTaskRequest, CreateTaskRequest, Fail, Progress};
use quarterdeck_client::{Payload, to_json};

use crate::plans::{StepWords, plan, step};
use crate::stack::both;
use crate::world::World;

both!(Usual:
    what_agents_and_callers_say_is_redacted_before_it_is_recorded,
    a_payload_with_a_secret_is_in_no_event_and_reaches_whom_it_is_for,
);

/// In the form of a token that real ones have; it opens nothing.
const SECRET: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
const PHONE: &str = "(555) 123-4567";

/// All that is told of a task, as text.
async fn told(world: &World, task: &str) -> String {
    let events = world.events(task).await;
    let view = to_json(&world.admin.get_task(task).await.unwrap()).unwrap();
    let told: Vec<String> = events.iter().map(|event| to_json(event).unwrap().to_string()).collect();
    told.join("\n") + &view.to_string()
}

async fn what_agents_and_callers_say_is_redacted_before_it_is_recorded(world: World) {
    let mut agent = world.agent("agent", "work", 1).await;
    let words = format!("call {PHONE} with {SECRET}");
    let task = world
        .admin
        .create_task(CreateTaskRequest {
            display_name: words.clone(),
            labels: [("note".to_owned(), SECRET.to_owned())].into(),
            ..world.request(plan([step("only", "work").attempts(2)]))
        })
        .await
        .unwrap();
    let assign = agent.assigned().await;
    let partial = format!("Grüße: {words}!");
    let progress = Progress {
        lease_token: assign.lease_token.clone(),
        number: 1,
        fraction: 0.5,
        message: words.clone(),
        partial_output: partial.clone(),
        ..Progress::default()
    };
    agent.say(Up::Progress(progress)).await;
    agent.acked(&assign, 1).await;
    let fail = Fail { reason: "X".into(), message: words.clone(), number: 2, ..Fail::default() };
    agent.say(Up::Fail(Fail { lease_token: assign.lease_token.clone(), ..fail })).await;
    agent.acked(&assign, 2).await;
    world
        .admin
        .cancel_task(CancelTaskRequest { task_id: task.id.clone(), comment: words, ..Default::default() })
        .await
        .unwrap();
    let told = told(&world, &task.id).await;
    assert!(!told.contains(SECRET) && !told.contains(PHONE), "{told}");
    assert!(told.contains("call [phone] with [secret:github-token]"), "{told}");
    let events = world.events(&task.id).await;
    let shown = events.into_iter().find_map(|event| match event.kind {
        Some(Kind::StepProgressed(word)) => Some(word.partial_output),
        _ => None,
    });
    let shown = shown.unwrap();
    assert_eq!((shown.len(), shown.starts_with("Grüße: call ")), (partial.len(), true), "{shown}");
}

async fn a_payload_with_a_secret_is_in_no_event_and_reaches_whom_it_is_for(world: World) {
    let mut agent = world.agent("agent", "work", 2).await;
    let given = format!("{{\"token\": \"{SECRET}\"}}");
    let first = step("first", "work").input(Payload::text(given.clone()));
    let task = world.create(plan([first, step("second", "work").after(&["first"])])).await;
    let assign = agent.assigned_step("first").await;
    assert_eq!(Payload::from(assign.input.clone()).to_text().unwrap(), given);
    agent.finish(&assign, Payload::text(format!("got {SECRET}"))).await;
    let assign = agent.assigned_step("second").await;
    let output = Payload::from(assign.dependencies[0].output.clone()).to_text().unwrap();
    assert_eq!(output, format!("got {SECRET}"));
    agent.finish(&assign, Payload::text("done")).await;
    for event in world.events(&task.id).await {
        let told = to_json(&event).unwrap().to_string();
        assert!(!told.contains(SECRET), "{told}");
    }
    let read = world.admin.get_task(&task.id).await.unwrap();
    assert_eq!(Payload::from(read.steps[0].output.clone()).to_text().unwrap(), format!("got {SECRET}"));
}
