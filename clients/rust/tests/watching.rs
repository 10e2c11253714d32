//! Watches over connections that break.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::orchestration::v1 as pb;
use quarterdeck_client::api::orchestration::v1::task_event::Kind;
use quarterdeck_client::{Code, Error, Frame, Watch};
use support::{Fake, refusal, within};
use tonic::Status;

fn readied() -> Kind {
    Kind::StepReadied(pb::StepReadied { step_key: "a".to_owned() })
}

fn ended() -> Kind {
    Kind::TaskEnded(pb::TaskEnded { state: pb::TaskState::Succeeded.into(), stop_reason: None })
}

async fn next(watch: &mut Watch) -> Option<Result<Frame, Error>> {
    within("a frame", watch.next_frame()).await
}

/// Runs a test's server part while the watch is read to its end; answers the cursors seen.
async fn cursors(mut watch: Watch, server: impl Future<Output = ()>) -> (Vec<String>, u64) {
    let read = async {
        let mut seen = Vec::new();
        while let Some(frame) = next(&mut watch).await {
            seen.push(frame.unwrap().cursor);
        }
        (seen, watch.reconnects())
    };
    let (seen, ()) = tokio::join!(read, server);
    seen
}

#[tokio::test]
async fn a_broken_watch_resumes_after_the_last_frame_without_duplicates() {
    for status in [
        refusal(Code::Unavailable, "DRAINING", None),
        Status::cancelled("the proxy went away"),
        Status::unknown("h2 protocol error"),
        refusal(Code::ResourceExhausted, "OVERLOADED", Some(Duration::from_millis(5))),
    ] {
        let mut fake = Fake::start().await;
        let watch = fake.client.watch_task("tsk_1");
        let (seen, reconnects) = cursors(watch, async {
            let first = fake.watch().await;
            assert_eq!(first.request.resume_after, "");
            first.snapshot("c1", pb::TaskState::Running).await;
            first.event("c2", 2, readied()).await;
            first.break_off(status.clone()).await;
            let second = fake.watch().await;
            assert_eq!(
                (second.request.task_id.as_str(), second.request.resume_after.as_str()),
                ("tsk_1", "c2")
            );
            second.event("c3", 3, readied()).await;
            second.event("c4", 4, ended()).await;
        })
        .await;
        assert_eq!(seen, ["c1", "c2", "c3", "c4"], "{status:?}");
        assert_eq!(reconnects, 1);
    }
}

#[tokio::test]
async fn heartbeats_are_not_shown_but_move_the_cursor() {
    let mut fake = Fake::start().await;
    let watch = fake.client.watch_task("tsk_1");
    let (seen, _) = cursors(watch, async {
        let first = fake.watch().await;
        first.snapshot("c1", pb::TaskState::Running).await;
        first.frame("c5", None).await;
        first.frame("", None).await;
        // A clean end before the task's end is a stopping server.
        drop(first);
        let second = fake.watch().await;
        assert_eq!(second.request.resume_after, "c5");
        second.event("c6", 6, ended()).await;
    })
    .await;
    assert_eq!(seen, ["c1", "c6"]);
}

#[tokio::test]
async fn a_silent_watch_reconnects() {
    let mut fake = Fake::start_with(|config| config.watch_silence = Duration::from_millis(100), None).await;
    let watch = fake.client.watch_task("tsk_1");
    let (seen, reconnects) = cursors(watch, async {
        let first = fake.watch().await;
        first.snapshot("c1", pb::TaskState::Running).await;
        let second = fake.watch().await;
        assert_eq!(second.request.resume_after, "c1");
        second.event("c2", 2, ended()).await;
    })
    .await;
    assert_eq!(seen, ["c1", "c2"]);
    assert!(reconnects >= 1);
}

#[tokio::test]
async fn what_cannot_pass_ends_the_watch() {
    for (code, reason, known) in [
        (Code::NotFound, "TASK_NOT_FOUND", Reason::TaskNotFound),
        (Code::DataLoss, "CURSOR_LOST", Reason::CursorLost),
        (Code::Internal, "INTERNAL", Reason::Internal),
    ] {
        let mut fake = Fake::start().await;
        let mut watch = fake.client.watch_task_after("tsk_1", "c7");
        let server = async {
            let first = fake.watch().await;
            assert_eq!(first.request.resume_after, "c7");
            first.break_off(refusal(code, reason, None)).await;
        };
        let (item, ()) = tokio::join!(next(&mut watch), server);
        let error = item.unwrap().unwrap_err();
        assert!(error.is(known), "{error:?}");
        assert!(next(&mut watch).await.is_none());
    }
}

#[tokio::test]
async fn a_watch_gives_up_when_the_server_stays_away() {
    let mut fake = Fake::start_with(|config| config.reconnect_for = Duration::from_millis(300), None).await;
    let mut watch = fake.client.watch_task("tsk_1");
    let (frame, peer) = tokio::join!(next(&mut watch), async {
        let peer = fake.watch().await;
        peer.snapshot("c1", pb::TaskState::Running).await;
        peer
    });
    assert_eq!(frame.unwrap().unwrap().cursor, "c1");
    drop(fake);
    drop(peer);
    let error = next(&mut watch).await.unwrap().unwrap_err();
    assert_eq!(error.code, Code::Unavailable, "{error:?}");
    assert!(watch.reconnects() >= 2);
    assert!(next(&mut watch).await.is_none());
}

#[tokio::test]
async fn an_ended_task_ends_its_watch_with_the_snapshot_or_without_any_frame() {
    let mut fake = Fake::start().await;
    fake.script().task.state = pb::TaskState::Failed.into();
    let watch = fake.client.watch_task("tsk_1");
    let (seen, _) = cursors(watch, async {
        fake.watch().await.snapshot("c9", pb::TaskState::Failed).await;
    })
    .await;
    assert_eq!(seen, ["c9"]);

    let watch = fake.client.watch_task_after("tsk_1", "c9");
    let (seen, _) = cursors(watch, async {
        for _ in 0..2 {
            drop(fake.watch().await);
        }
    })
    .await;
    assert!(seen.is_empty());
}

#[tokio::test]
async fn waiting_for_a_task_answers_the_task_as_it_ended() {
    let mut fake = Fake::start().await;
    fake.script().task =
        pb::Task { state: pb::TaskState::Succeeded.into(), revision: 5, ..pb::Task::default() };
    let client = fake.client.clone();
    let (task, ()) = tokio::join!(within("the end", client.wait_for_task("tsk_1")), async {
        let peer = fake.watch().await;
        peer.snapshot("c1", pb::TaskState::Running).await;
        peer.event("c5", 5, ended()).await;
    });
    let task = task.unwrap();
    assert_eq!((task.id.as_str(), task.state(), task.revision), ("tsk_1", pb::TaskState::Succeeded, 5));
}

#[tokio::test]
async fn a_watch_of_an_unknown_project_says_so() {
    let fake = Fake::start().await;
    let mut watch = fake.client.watch_tasks(pb::WatchTasksRequest::default());
    let error = next(&mut watch).await.unwrap().unwrap_err();
    assert!(error.is(Reason::ProjectNotFound), "{error:?}");
}
