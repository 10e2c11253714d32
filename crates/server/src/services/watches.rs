//! Watches as streams of frames.
//!
//! A stream is pulled by its connection, so a slow client holds up nobody but
//! itself. The edge ends streams when the server drains or the credential ends.

use std::pin::Pin;

use futures::Stream;
use futures::stream::unfold;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_core::TaskId;
use quarterdeck_engine::project_watch::{ProjectItem, ProjectWatch};
use quarterdeck_engine::task_watch::{TaskWatch, WatchItem};
use tonic::Status;

use crate::convert::payload::Room;
use crate::convert::{events, tasks};
use crate::status::Failure;

type Frames<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
pub type TaskFrames = Frames<pb::WatchTaskResponse>;
pub type ProjectFrames = Frames<pb::WatchTasksResponse>;

/// The frames of one task.
pub fn of_task(id: String, watch: TaskWatch) -> TaskFrames {
    // The watch exists, so the id is one.
    let task = id.parse::<TaskId>().ok();
    Box::pin(unfold(watch, move |mut watch| async move {
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
    }))
}

/// The frames of a project.
pub fn of_project(watch: ProjectWatch) -> ProjectFrames {
    Box::pin(unfold(watch, |mut watch| async move {
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
    }))
}
