//! Partial output: what watchers see of a step while it runs.

use std::sync::Arc;
use std::time::Duration;

use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::orchestration::v1::session_request::Message as Up;
use quarterdeck_client::api::orchestration::v1::task_event::Kind;
use quarterdeck_client::api::orchestration::v1::{
    Progress, ReportProgressRequest, StepProgressed, TaskState,
};
use quarterdeck_client::{FrameKind, Payload};
use tokio::sync::Semaphore;

use crate::expect::{refused_field, within};
use crate::plans::{StepWords, plan, step};
use crate::stack::both;
use crate::world::World;

both!(Usual:
    partial_output_is_seen_while_the_step_runs,
    partial_output_in_a_hurry_is_gathered_and_loses_nothing,
    partial_output_by_calls_may_be_sent_again,
);

/// The words on progress in a task's history.
async fn words(world: &World, task: &str) -> Vec<StepProgressed> {
    let events = world.events(task).await;
    let word = |kind| match kind {
        Kind::StepProgressed(word) => Some(word),
        _ => None,
    };
    events.into_iter().filter_map(|event| word(event.kind?)).collect()
}

/// What they show together; each has to begin where the one before ended.
fn shown(words: &[StepProgressed]) -> String {
    words.iter().fold(String::new(), |text, word| {
        assert!(word.partial_output.is_empty() || word.partial_offset == text.len() as i64, "{word:?}");
        text + &word.partial_output
    })
}

async fn partial_output_is_seen_while_the_step_runs(world: World) {
    let chunk = |turn: usize| format!("{turn}: {}\n", "né".repeat(turn));
    // A watch shows as events only what comes after its snapshot.
    let watched = Arc::new(Semaphore::new(0));
    let begin = watched.clone();
    let _agent = world.work(&world.other, "writer", &["write"], 1, move |context| {
        let begin = begin.clone();
        async move {
            let _begun = begin.acquire().await;
            for turn in 0..120 {
                context.partial_output(chunk(turn)).await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let much = context.partial_output("x".repeat(1 << 20)).await;
            assert!(much.is_err(), "more than an attempt may show");
            Ok(Payload::text("written"))
        }
    });
    let task = world.create(plan([step("a", "write")])).await;
    let mut watch = world.admin.watch_task(&task.id);
    let first = within("the snapshot", watch.next_frame()).await.unwrap().unwrap();
    assert!(matches!(first.kind, FrameKind::Snapshot(_)), "{first:?}");
    watched.add_permits(1);
    let mut live = Vec::new();
    while let Some(frame) = within("a frame", watch.next_frame()).await.transpose().unwrap() {
        if let FrameKind::Event(event) = frame.kind
            && let Some(Kind::StepProgressed(word)) = event.kind
        {
            live.push(word);
        }
    }
    let whole: String = (0..120).map(chunk).collect();
    assert_eq!(shown(&live), whole);
    assert_eq!(live, words(&world, &task.id).await);
    assert!((3..=40).contains(&live.len()), "a few a second, not one a word: {}", live.len());
}

async fn partial_output_in_a_hurry_is_gathered_and_loses_nothing(world: World) {
    let task = world.create(plan([step("a", "work")])).await;
    let mut agent = world.agent("hasty", "work", 1).await;
    let assign = agent.assigned().await;
    let mut text = String::new();
    for number in 1..=60 {
        let partial_output = format!("[{number}]").repeat(30);
        let (lease_token, partial_offset) = (assign.lease_token.clone(), text.len() as i64);
        text.push_str(&partial_output);
        let word = Progress { lease_token, number, partial_output, partial_offset, ..Progress::default() };
        agent.say(Up::Progress(word)).await;
    }
    // A gap costs the word, not the lease.
    let (lease_token, partial_output) = (assign.lease_token.clone(), "late".to_owned());
    let word =
        Progress { lease_token, number: 61, partial_output, partial_offset: 1 << 19, ..Progress::default() };
    agent.say(Up::Progress(word)).await;
    assert_eq!(agent.rejected_after_acks(&assign).await.reason, "FIELDS_INVALID");
    agent.complete_as(&assign, 62, Payload::empty()).await;
    agent.acked(&assign, 62).await;
    let words = words(&world, &task.id).await;
    assert_eq!(shown(&words), text);
    assert!(words.len() <= 5, "60 words are recorded as {}", words.len());
    assert!(words.iter().all(|word| word.partial_output.len() <= 4_096));
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
}

async fn partial_output_by_calls_may_be_sent_again(world: World) {
    let task = world.create(plan([step("a", "work").backoff(10)])).await;
    let agent = world.poller("caller", "work").await;
    let assign = agent.next_step_named(&world.admin, "a").await;
    let say = async |turn: usize, text: &str, offset: i64| {
        let request = ReportProgressRequest {
            lease_token: assign.lease_token.clone(),
            fraction: 0.5,
            partial_output: text.to_owned(),
            partial_offset: offset,
            ..ReportProgressRequest::default()
        };
        let mut stub = world.replica(turn).worker_stub();
        within("progress", stub.report_progress(request)).await.map(drop)
    };
    say(0, "Once upon", 0).await.unwrap();
    say(1, "Once upon", 0).await.unwrap();
    say(0, " upon a time", 4).await.unwrap();
    refused_field("a gap", say(1, "!", 99).await, Reason::FieldsInvalid, "partial_offset");
    refused_field("too much", say(1, &"é".repeat(2_049), 16).await, Reason::FieldsInvalid, "partial_output");
    let step = world.step(&task.id, "a").await;
    assert_eq!(step.progress.unwrap().partial_output_size, 16);
    assert_eq!(shown(&words(&world, &task.id).await), "Once upon a time");
}
