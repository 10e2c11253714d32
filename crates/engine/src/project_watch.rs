//! Following all tasks of a project, in commit order.
//!
//! The cursor is a position in the log and a place within the row there. Each
//! watch reads the table; hints only make it read sooner. Within the snapshot there
//! is no cursor yet: a watch that breaks there begins again, or what was left of the
//! snapshot would never be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{Event, State};
use quarterdeck_core::{Plan, ProjectId, Span, TaskId};
use quarterdeck_store::Followed;
use quarterdeck_store::rows::{EventRow, TaskFilter, TaskRow};
use tokio::sync::watch;

use crate::auth::Principal;
use crate::cursor::{Cursor, Watched};
use crate::engine::{Engine, Shared};
use crate::error::{Error, Result};
use crate::events::decode_row;
use crate::hub::PROJECT_POLL;
use crate::round::task_of;
use crate::tasks::unsecret;

/// Running tasks in the snapshot, at most.
const SNAPSHOT_MAX: usize = 1_000;
/// Rows read at a time.
const READ_MAX: u32 = 200;

/// One frame of a watch, and where to resume after it; nowhere within a snapshot.
#[derive(Clone, Debug)]
pub struct ProjectFrame {
    pub cursor: String,
    pub item: ProjectItem,
}

#[derive(Clone, Debug)]
pub enum ProjectItem {
    Snapshot(Box<TaskRow>),
    /// An event of a task, and the plan that names its steps.
    Event(TaskId, Recorded<Event>, Arc<Plan>),
    Heartbeat,
}

/// A watch of one project.
pub struct ProjectWatch {
    shared: Arc<Shared>,
    /// Name of the project.
    pub project: String,
    labels: BTreeMap<String, String>,
    include_steps: bool,
    /// Position of the last row looked at, and how many of its events are done.
    position: u64,
    within: u32,
    /// Tasks of the snapshot whose creation must not be told again.
    told: BTreeSet<TaskId>,
    ready: VecDeque<ProjectFrame>,
    changes: watch::Receiver<u64>,
    quiet: Span,
}

impl Drop for ProjectWatch {
    fn drop(&mut self) {
        self.shared.hub.close();
    }
}

impl Engine {
    pub async fn watch_tasks(
        &self,
        caller: &Principal,
        project: &str,
        labels: BTreeMap<String, String>,
        include_steps: bool,
        resume_after: &str,
    ) -> Result<ProjectWatch> {
        let project = caller.project(project)?;
        let shared = Arc::clone(&self.0);
        shared.project(&project).await?;
        if shared.draining.is_cancelled() {
            return Err(Error::Draining);
        }
        let id = ProjectId::of(&project);
        let changes = shared.hub.project(id);
        // The position first: what is committed after it comes as events.
        let head = shared.store.position().await?.unsigned_abs();
        let (position, within) = if resume_after.is_empty() {
            (head, u32::MAX)
        } else {
            let cursor = Cursor::read(resume_after, Watched::Project, id.as_uuid(), shared.store.epoch())?;
            if cursor.place > head {
                return Err(Error::CursorLost);
            }
            (cursor.place, cursor.within)
        };
        shared.hub.open()?;
        let (told, ready) = (BTreeSet::new(), VecDeque::new());
        let mut watch = ProjectWatch {
            shared,
            project,
            labels: unsecret(labels),
            include_steps,
            position,
            within,
            told,
            ready,
            changes,
            quiet: Span::ZERO,
        };
        if resume_after.is_empty() {
            watch.take_snapshot(id).await?;
        }
        Ok(watch)
    }
}

impl ProjectWatch {
    async fn take_snapshot(&mut self, project: ProjectId) -> Result<()> {
        let filter =
            TaskFilter { states: vec![State::Running], labels: self.labels.clone(), ..TaskFilter::default() };
        let mut before = None;
        while self.ready.len() < SNAPSHOT_MAX {
            let limit = (SNAPSHOT_MAX - self.ready.len()) as u32;
            let (rows, next) = self.shared.store.list_tasks(project, &filter, before, limit).await?;
            for row in rows {
                self.told.insert(row.task);
                let frame = self.frame(self.position, self.within, ProjectItem::Snapshot(Box::new(row)));
                self.ready.push_back(frame);
            }
            before = next;
            if before.is_none() {
                break;
            }
        }
        let last = self.ready.len().saturating_sub(1);
        self.ready.iter_mut().take(last).for_each(|frame| frame.cursor.clear());
        Ok(())
    }

    /// The next frame. Ends only with an error.
    pub async fn next(&mut self) -> Option<Result<ProjectFrame>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                self.quiet = Span::ZERO;
                return Some(Ok(frame));
            }
            self.changes.borrow_and_update();
            match self.read().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return Some(Err(error)),
            }
            if self.quiet >= self.shared.options.heartbeat {
                self.quiet = Span::ZERO;
                return Some(Ok(self.frame(self.position, self.within, ProjectItem::Heartbeat)));
            }
            let shared = Arc::clone(&self.shared);
            let pause = PROJECT_POLL.min(shared.options.heartbeat);
            tokio::select! {
                biased;
                () = shared.draining.cancelled() => return Some(Err(Error::Draining)),
                changed = self.changes.changed() => if changed.is_err() {
                    return Some(Err(Error::Draining));
                },
                () = shared.time.sleep(pause) => {
                    self.quiet = Span::from_micros(self.quiet.as_micros() + pause.as_micros());
                }
            }
        }
    }

    /// Reads on from the cursor; false if there was nothing to read.
    async fn read(&mut self) -> Result<bool> {
        // The row at the cursor is read again where only part of it was handled.
        let from = if self.within == u32::MAX { self.position } else { self.position.saturating_sub(1) };
        let project = ProjectId::of(&self.project);
        let rows = self.shared.store.follow(project, Followed::Tasks, from as i64, READ_MAX).await?;
        let before = (self.position, self.within);
        for row in rows {
            self.take_row(&row).await?;
        }
        Ok((self.position, self.within) != before)
    }

    async fn take_row(&mut self, row: &EventRow) -> Result<()> {
        let task = task_of(row.stream);
        let position = row.position.unsigned_abs();
        let done = if position == self.position { self.within } else { 0 };
        let events = decode_row::<Event>(row)?;
        let count = events.len() as u32;
        for (index, event) in (0..).zip(events).skip(done as usize) {
            if !self.wants(task, &event) {
                continue;
            }
            let known = self.shared.some_version(task).await?;
            if !self.labels.iter().all(|(name, value)| known.labels.get(name) == Some(value)) {
                break;
            }
            let within = if index + 1 == count { u32::MAX } else { index + 1 };
            let item = ProjectItem::Event(task, event, Arc::clone(&known.plan));
            let frame = self.frame(position, within, item);
            self.ready.push_back(frame);
        }
        (self.position, self.within) = (position, u32::MAX);
        Ok(())
    }

    fn wants(&self, task: TaskId, event: &Recorded<Event>) -> bool {
        match &event.event {
            // Committed between the position and the snapshot: told already.
            Event::Created(_) => !self.told.contains(&task),
            Event::Ended { .. } => true,
            _ => self.include_steps,
        }
    }

    fn frame(&self, position: u64, within: u32, item: ProjectItem) -> ProjectFrame {
        let cursor = Cursor {
            watched: Watched::Project,
            epoch: self.shared.store.epoch(),
            of: ProjectId::of(&self.project).as_uuid(),
            place: position,
            within,
        };
        ProjectFrame { cursor: cursor.text(), item }
    }
}
