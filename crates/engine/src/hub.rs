//! Live tails: one a watched task, shared by all its watchers here.
//!
//! A tail keeps the last events of its task in memory and wakes its watchers.
//! Invariant: a tail is contiguous; whoever finds a gap reads the table.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{Event, Task};
use quarterdeck_core::{ProjectId, Span, TaskId};
use tokio::sync::watch;

use crate::error::{Error, Result};

/// Events a tail keeps.
const TAIL_MAX: usize = 256;

/// The tail of one task.
pub struct Tail {
    events: Mutex<VecDeque<Arc<Recorded<Event>>>>,
    head: watch::Sender<u64>,
}

impl Tail {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Recorded<Event>>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes when the head moves.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    pub fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// Adds events that directly follow; on a gap the tail starts anew.
    pub fn push(&self, events: impl IntoIterator<Item = Recorded<Event>>) {
        let mut tail = self.lock();
        for event in events {
            let next = tail.back().map(|last| last.sequence + 1);
            if next.is_some_and(|next| event.sequence < next) {
                continue;
            }
            if next.is_some_and(|next| event.sequence > next) {
                tail.clear();
            }
            if tail.len() == TAIL_MAX {
                tail.pop_front();
            }
            tail.push_back(Arc::new(event));
        }
        let head = tail.back().map_or(0, |last| last.sequence);
        drop(tail);
        self.head.send_if_modified(|known| std::mem::replace(known, head.max(*known)) < head);
    }

    /// Events after `sequence`, if the tail reaches back that far.
    pub fn after(&self, sequence: u64) -> Option<Vec<Arc<Recorded<Event>>>> {
        let tail = self.lock();
        let first = tail.front()?.sequence;
        (first <= sequence + 1)
            .then(|| tail.iter().filter(|event| event.sequence > sequence).cloned().collect())
    }
}

#[derive(Default)]
struct Topics {
    tasks: BTreeMap<TaskId, Weak<Tail>>,
    projects: BTreeMap<ProjectId, watch::Sender<u64>>,
    open: usize,
}

/// All tails of this replica.
pub struct Hub {
    topics: Mutex<Topics>,
    most: usize,
}

impl Hub {
    pub fn new(most: usize) -> Self {
        Self { topics: Mutex::default(), most }
    }

    fn lock(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of the replica's places for watches; `close` gives it back.
    pub fn open(&self) -> Result<()> {
        let mut topics = self.lock();
        if topics.open >= self.most {
            return Err(Error::LimitReached {
                what: "open watches on this replica",
                limit: self.most as u64,
            });
        }
        topics.open += 1;
        crate::metrics::watches(topics.open);
        Ok(())
    }

    pub fn close(&self) {
        let mut topics = self.lock();
        topics.open = topics.open.saturating_sub(1);
        crate::metrics::watches(topics.open);
    }

    /// The tail of a task, for as long as somebody holds it.
    pub fn tail(&self, task: TaskId) -> Arc<Tail> {
        let mut topics = self.lock();
        if let Some(tail) = topics.tasks.get(&task).and_then(Weak::upgrade) {
            return tail;
        }
        let tail = Arc::new(Tail { events: Mutex::default(), head: watch::Sender::new(0) });
        topics.tasks.insert(task, Arc::downgrade(&tail));
        tail
    }

    /// Wakes when something is committed in a project.
    pub fn project(&self, project: ProjectId) -> watch::Receiver<u64> {
        let mut topics = self.lock();
        topics.projects.entry(project).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Wakes those who watch a project.
    pub fn wake(&self, project: ProjectId) {
        if let Some(changes) = self.lock().projects.get(&project) {
            changes.send_modify(|count| *count += 1);
        }
    }

    /// Events that were committed here.
    pub fn publish(&self, task: &Task, events: &[Recorded<Event>]) {
        let tail = self.watched(task.id, ProjectId::of(&task.project));
        if let Some(tail) = tail {
            tail.push(events.iter().cloned());
        }
    }

    /// The tail of a task that is watched here. Wakes watchers of its project.
    pub fn watched(&self, task: TaskId, project: ProjectId) -> Option<Arc<Tail>> {
        let topics = self.lock();
        if let Some(changes) = topics.projects.get(&project) {
            changes.send_modify(|count| *count += 1);
        }
        topics.tasks.get(&task).and_then(Weak::upgrade)
    }

    /// Tails with watchers; forgets those without.
    pub fn tails(&self) -> Vec<(TaskId, Arc<Tail>)> {
        let mut topics = self.lock();
        topics.tasks.retain(|_, tail| tail.strong_count() > 0);
        topics.projects.retain(|_, changes| changes.receiver_count() > 0);
        topics.tasks.iter().filter_map(|(&task, tail)| Some((task, tail.upgrade()?))).collect()
    }
}

/// How often a quiet project is read again, in case no hint came.
pub const PROJECT_POLL: Span = Span::from_secs(1);
