//! Following one task: a snapshot, then every event once and in order.
//!
//! Invariant: the cursor is the sequence of the last event handed out. Events
//! come from the shared tail where it reaches back far enough, else from the
//! table; either way the next one is always the cursor's successor.

use std::collections::VecDeque;
use std::sync::Arc;

use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{Event, Task};
use quarterdeck_core::{Plan, TaskId};
use tokio::sync::watch;

use crate::auth::Principal;
use crate::cursor::{Cursor, Watched};
use crate::engine::{Engine, Shared};
use crate::error::{Error, Result};
use crate::hub::Tail;
use crate::tasks::{parse, visible};

/// Events read from the table at a time.
const READ_MAX: u32 = 500;

/// One frame of a watch, and where to resume after it.
#[derive(Clone, Debug)]
pub struct WatchFrame {
    pub cursor: String,
    pub item: WatchItem,
}

#[derive(Clone, Debug)]
pub enum WatchItem {
    /// The task as it is now.
    Snapshot(Arc<Task>),
    /// An event, and the plan that names its steps.
    Event(Arc<Recorded<Event>>, Arc<Plan>),
    Heartbeat,
}

/// A watch of one task.
pub struct TaskWatch {
    shared: Arc<Shared>,
    task: TaskId,
    plan: Arc<Plan>,
    snapshot: Option<Arc<Task>>,
    /// Sequence of the last event handed out.
    cursor: u64,
    tail: Arc<Tail>,
    changes: watch::Receiver<u64>,
    ready: VecDeque<Arc<Recorded<Event>>>,
    over: bool,
}

impl Drop for TaskWatch {
    fn drop(&mut self) {
        self.shared.hub.close();
    }
}

impl Engine {
    pub async fn watch_task(&self, caller: &Principal, id: &str, resume_after: &str) -> Result<TaskWatch> {
        let id = parse(id)?;
        if self.0.draining.is_cancelled() {
            return Err(Error::Draining);
        }
        // The tail first, then the state: what comes in between is in the tail.
        let tail = self.0.hub.tail(id);
        let changes = tail.subscribe();
        let task = visible(caller, self.0.current(id).await?)?;
        let (cursor, snapshot) = if resume_after.is_empty() {
            (task.revision, Some(Arc::clone(&task)))
        } else {
            let cursor = Cursor::read(resume_after, Watched::Task, id.as_uuid(), self.0.store.epoch())?;
            if cursor.place > task.revision {
                return Err(Error::CursorLost);
            }
            (cursor.place, None)
        };
        self.0.hub.open()?;
        let over = task.ended() && cursor == task.revision;
        Ok(TaskWatch {
            shared: Arc::clone(&self.0),
            task: id,
            plan: Arc::clone(&task.plan),
            snapshot,
            cursor,
            tail,
            changes,
            ready: VecDeque::new(),
            over,
        })
    }
}

impl TaskWatch {
    /// The next frame; `None` after the last event of the task.
    pub async fn next(&mut self) -> Option<Result<WatchFrame>> {
        if let Some(task) = self.snapshot.take() {
            return Some(Ok(self.frame(WatchItem::Snapshot(task))));
        }
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.cursor = event.sequence;
                self.over = matches!(event.event, Event::Ended { .. });
                return Some(Ok(self.frame(WatchItem::Event(event, Arc::clone(&self.plan)))));
            }
            if self.over {
                return None;
            }
            // Seen before looking: what comes after the look wakes us.
            let head = *self.changes.borrow_and_update();
            match self.fetch(head).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return Some(Err(error)),
            }
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                biased;
                () = shared.draining.cancelled() => return Some(Err(Error::Draining)),
                changed = self.changes.changed() => if changed.is_err() {
                    return Some(Err(Error::Draining));
                },
                () = shared.time.sleep(shared.options.heartbeat) => {
                    return Some(Ok(self.frame(WatchItem::Heartbeat)));
                }
            }
        }
    }

    /// Gets what follows the cursor; false if there is nothing.
    async fn fetch(&mut self, head: u64) -> Result<bool> {
        if let Some(events) = self.tail.after(self.cursor) {
            self.ready.extend(events);
        } else if head == 0 || head > self.cursor {
            // A fresh tail knows nothing: the table does.
            let events = self.shared.load_events(self.task.stream(), self.cursor, READ_MAX).await?;
            self.ready.extend(events.into_iter().map(Arc::new));
            if head == 0 {
                self.tail.push(self.ready.iter().map(|event| (**event).clone()));
            }
        }
        Ok(!self.ready.is_empty())
    }

    fn frame(&self, item: WatchItem) -> WatchFrame {
        let cursor = Cursor {
            watched: Watched::Task,
            epoch: self.shared.store.epoch(),
            of: self.task.as_uuid(),
            place: self.cursor,
            within: 0,
        };
        WatchFrame { cursor: cursor.text(), item }
    }
}
