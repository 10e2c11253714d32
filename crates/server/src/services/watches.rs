//! Watches as streams of frames.
//!
//! A stream is pulled by its connection, so a slow client holds up nobody but
//! itself. The edge ends streams when the server drains or the credential ends.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use futures::stream::unfold;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_core::TaskId;
use quarterdeck_core::plan::StepIndex;
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{Event, Task};
use quarterdeck_engine::project_watch::{ProjectItem, ProjectWatch};
use quarterdeck_engine::task_watch::{TaskWatch, WatchItem};
use quarterdeck_engine::{Engine, Principal};
use tonic::Status;

use crate::convert::payload::Room;
use crate::convert::{events, tasks};
use crate::status::Failure;

type Frames<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
pub type TaskFrames = Frames<pb::WatchTaskResponse>;
pub type ProjectFrames = Frames<pb::WatchTasksResponse>;

/// Running steps that are remembered by one watch; more are looked up again.
const ATTEMPTS_MAX: usize = 50_000;

/// Attempt of each running step, which the log does not repeat at its success.
struct Attempts {
    engine: Engine,
    caller: Arc<Principal>,
    known: BTreeMap<(TaskId, StepIndex), u32>,
}

impl Attempts {
    fn new(engine: &Engine, caller: &Arc<Principal>) -> Self {
        Self { engine: engine.clone(), caller: Arc::clone(caller), known: BTreeMap::new() }
    }

    /// The attempt that an event is about, if it needs one.
    async fn of(&mut self, task: TaskId, event: &Event) -> u32 {
        match event {
            Event::Assigned { step, attempt, .. } => {
                if self.known.len() >= ATTEMPTS_MAX {
                    self.known.clear();
                }
                self.known.insert((task, *step), *attempt);
                *attempt
            }
            Event::Succeeded { step, .. } => match self.known.remove(&(task, *step)) {
                Some(attempt) => attempt,
                // Resumed after the assignment: a step that has succeeded keeps its attempt.
                None => match self.engine.get_task(&self.caller, &task.to_string()).await {
                    Ok(task) => task.step(*step).map_or(0, |step| step.attempt),
                    Err(_) => 0,
                },
            },
            Event::Failed { step, .. } | Event::Refused { step, .. } => {
                self.known.remove(&(task, *step));
                0
            }
            Event::Ended { .. } => {
                let steps = (task, StepIndex::MIN)..=(task, StepIndex::MAX);
                let over: Vec<_> = self.known.range(steps).map(|(&key, _)| key).collect();
                for key in over {
                    self.known.remove(&key);
                }
                0
            }
            Event::Created(_) | Event::Progressed { .. } | Event::Readied { .. } => 0,
        }
    }
}

/// The attempt that an event of this task is about, if it needs one.
pub fn attempt_of(task: &Task, event: &Recorded<Event>) -> u32 {
    match event.event {
        Event::Succeeded { step, .. } => task.step(step).map_or(0, |step| step.attempt),
        _ => 0,
    }
}

/// The frames of one task.
pub fn of_task(engine: &Engine, caller: &Arc<Principal>, id: String, watch: TaskWatch) -> TaskFrames {
    let attempts = Attempts::new(engine, caller);
    // The watch exists, so the id is one.
    let task = id.parse::<TaskId>().ok();
    Box::pin(unfold((watch, attempts), move |(mut watch, mut attempts)| async move {
        let frame = match watch.next().await? {
            Ok(frame) => frame,
            Err(error) => return Some((Err(Failure::from(error).into()), (watch, attempts))),
        };
        use pb::watch_task_response::Frame;
        let content = match (frame.item, task) {
            (WatchItem::Snapshot(task), _) => Some(Frame::Snapshot(tasks::basic(&task))),
            (WatchItem::Event(event, plan), Some(task)) => {
                let attempt = attempts.of(task, &event.event).await;
                Some(Frame::Event(events::to_wire(task, &event, &plan, attempt, &mut Room::answer())))
            }
            (WatchItem::Event(..), None) | (WatchItem::Heartbeat, _) => None,
        };
        let response = pb::WatchTaskResponse { cursor: frame.cursor, frame: content };
        Some((Ok(response), (watch, attempts)))
    }))
}

/// The frames of a project.
pub fn of_project(engine: &Engine, caller: &Arc<Principal>, watch: ProjectWatch) -> ProjectFrames {
    let attempts = Attempts::new(engine, caller);
    Box::pin(unfold((watch, attempts), |(mut watch, mut attempts)| async move {
        let frame = match watch.next().await? {
            Ok(frame) => frame,
            Err(error) => return Some((Err(Failure::from(error).into()), (watch, attempts))),
        };
        use pb::watch_tasks_response::Frame;
        let content = match frame.item {
            ProjectItem::Snapshot(row) => Some(Frame::Snapshot(tasks::row(*row, &watch.project))),
            ProjectItem::Event(task, event, plan) => {
                let attempt = attempts.of(task, &event.event).await;
                Some(Frame::Event(events::to_wire(task, &event, &plan, attempt, &mut Room::answer())))
            }
            ProjectItem::Heartbeat => None,
        };
        let response = pb::WatchTasksResponse { cursor: frame.cursor, frame: content };
        Some((Ok(response), (watch, attempts)))
    }))
}
