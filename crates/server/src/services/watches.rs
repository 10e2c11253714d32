//! Watches as streams of frames.
//!
//! Each watch runs as a task of its own, a few frames ahead of its client and no
//! more, so that a slow client holds up nobody but itself. It must not run only
//! where the connection pulls: one that stops pulling in the middle of a read
//! would keep the database connection that the read is made on, and a handful of
//! clients that never open their windows would stop everybody. The edge ends
//! streams when the server drains or the credential ends.

use std::panic::AssertUnwindSafe;
use std::pin::pin;

use futures::stream::unfold;
use futures::{FutureExt as _, Stream, StreamExt as _};
use quarterdeck_api::approvals::v1::WatchApprovalsResponse;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_core::TaskId;
use quarterdeck_engine::approvals::{ApprovalItem, ApprovalWatch};
use quarterdeck_engine::project_watch::{ProjectItem, ProjectWatch};
use quarterdeck_engine::task_watch::{TaskWatch, WatchItem};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tracing::Instrument as _;

use crate::convert::payload::Room;
use crate::convert::{approvals, events, tasks};
use crate::status::{Failure, Fault};

/// Frames ahead of the client. One may carry megabytes.
const AHEAD: usize = 2;

pub type Frames<T> = ReceiverStream<Result<T, Status>>;
pub type TaskFrames = Frames<pb::WatchTaskResponse>;
pub type ProjectFrames = Frames<pb::WatchTasksResponse>;
pub type ApprovalFrames = Frames<WatchApprovalsResponse>;

/// Runs the stream on its own until it ends or nobody listens any more.
fn ahead<T: Send + 'static>(
    tracker: &TaskTracker,
    frames: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Frames<T> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let run = async move {
        let mut frames = pin!(frames);
        loop {
            let next = AssertUnwindSafe(frames.next()).catch_unwind();
            let next = tokio::select! {
                biased;
                () = sender.closed() => return,
                next = next => next,
            };
            let (frame, last) = match next {
                Ok(Some(frame)) => (frame, false),
                Ok(None) => return,
                Err(_panic) => {
                    tracing::error!("a watch panicked");
                    (Err(Failure::from(Fault::Defect).into()), true)
                }
            };
            if sender.send(frame).await.is_err() || last {
                return;
            }
        }
    };
    tracker.spawn(run.in_current_span());
    ReceiverStream::new(receiver)
}

/// The frames of one task.
pub fn of_task(tracker: &TaskTracker, id: String, watch: TaskWatch) -> TaskFrames {
    // The watch exists, so the id is one.
    let task = id.parse::<TaskId>().ok();
    let frames = unfold(watch, move |mut watch| async move {
        let frame = match watch.next().await? {
            Ok(frame) => frame,
            Err(error) => return Some((Err(Failure::from(error).into()), watch)),
        };
        use pb::watch_task_response::Frame;
        let content = match (frame.item, task) {
            (WatchItem::Snapshot(task), _) => Some(Frame::Snapshot(tasks::basic(&task))),
            (WatchItem::Event(event, plan), Some(task)) => {
                Some(Frame::Event(events::to_wire(task, &event, &plan, &mut Room::answer())))
            }
            (WatchItem::Event(..), None) | (WatchItem::Heartbeat, _) => None,
        };
        Some((Ok(pb::WatchTaskResponse { cursor: frame.cursor, frame: content }), watch))
    });
    ahead(tracker, frames)
}

/// The frames of a project.
pub fn of_project(tracker: &TaskTracker, watch: ProjectWatch) -> ProjectFrames {
    let frames = unfold(watch, |mut watch| async move {
        let frame = match watch.next().await? {
            Ok(frame) => frame,
            Err(error) => return Some((Err(Failure::from(error).into()), watch)),
        };
        use pb::watch_tasks_response::Frame;
        let content = match frame.item {
            ProjectItem::Snapshot(row) => Some(Frame::Snapshot(tasks::row(*row, &watch.project))),
            ProjectItem::Event(task, event, plan) => {
                Some(Frame::Event(events::to_wire(task, &event, &plan, &mut Room::answer())))
            }
            ProjectItem::Heartbeat => None,
        };
        Some((Ok(pb::WatchTasksResponse { cursor: frame.cursor, frame: content }), watch))
    });
    ahead(tracker, frames)
}

/// The frames of a project's approvals.
pub fn approvals(tracker: &TaskTracker, watch: ApprovalWatch) -> ApprovalFrames {
    let frames = unfold(watch, |mut watch| async move {
        let frame = match watch.next().await? {
            Ok(frame) => frame,
            Err(error) => return Some((Err(Failure::from(error).into()), watch)),
        };
        let approval = match frame.item {
            ApprovalItem::Approval(approval) => Some(approvals::to_wire(&approval)),
            ApprovalItem::Heartbeat => None,
        };
        Some((Ok(WatchApprovalsResponse { cursor: frame.cursor, approval }), watch))
    });
    ahead(tracker, frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    use futures::stream;
    use tokio::sync::Semaphore;
    use tonic::Code;

    /// A stream that says one thing and then needs a connection of the pool for the next.
    fn reading(pool: Arc<Semaphore>) -> impl Stream<Item = Result<u32, Status>> + Send {
        unfold((pool, 0), |(pool, count)| async move {
            if count > 0 {
                let connection = pool.acquire().await.ok()?;
                tokio::task::yield_now().await;
                drop(connection);
            }
            Some((Ok(count), (pool, count + 1)))
        })
    }

    #[tokio::test]
    async fn a_watch_that_nobody_reads_keeps_no_connection() {
        let (tracker, pool) = (TaskTracker::new(), Arc::new(Semaphore::new(1)));
        let mut watches = Vec::new();
        for _ in 0..10 {
            let mut watch = ahead(&tracker, reading(Arc::clone(&pool)));
            assert_eq!(watch.next().await.unwrap().unwrap(), 0);
            // Pulled once more, as a connection does, and then never again.
            let _ = watch.next().now_or_never();
            watches.push(watch);
        }
        let free = tokio::time::timeout(Duration::from_secs(10), pool.acquire()).await;
        assert!(free.is_ok(), "a watch that nobody reads holds the pool's connection");
        drop(free);
        drop(watches);
        tracker.close();
        tokio::time::timeout(Duration::from_secs(10), tracker.wait()).await.unwrap();
    }

    #[tokio::test]
    async fn a_watch_that_panics_ends_with_a_status() {
        let frames = stream::once(async { Ok(1) }).chain(stream::once(async { panic!("on purpose") }));
        let heard: Vec<_> = ahead(&TaskTracker::new(), frames).collect().await;
        assert_eq!(heard.len(), 2);
        assert_eq!(heard[1].as_ref().unwrap_err().code(), Code::Internal);
    }
}
