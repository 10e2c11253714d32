//! One thread, one clock, one seed.
//!
//! Which of the ready tasks goes on next is drawn; time moves a little with every
//! turn and jumps where nobody is ready. Tasks belong to groups: a group can be
//! killed (its tasks are dropped where they stand) or paused (they are not
//! scheduled for a while, and do not notice).
//!
//! Invariants: ready tasks are kept as a set, so the order in which they were
//! woken decides nothing; no lock is held while a task is polled or dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use quarterdeck_core::Span;
use quarterdeck_engine::ports::Wait;

use crate::dice::Dice;

/// Tasks that live, pause and die together.
pub type Group = u32;

/// Time that one turn of a task takes, in microseconds.
const TURN: i64 = 10;

type Ready = Arc<Mutex<BTreeSet<u64>>>;

struct Task {
    group: Group,
    /// Absent while it is polled.
    future: Option<Wait>,
}

#[derive(Default)]
struct Inner {
    now: i64,
    turns: u64,
    next: u64,
    tasks: BTreeMap<u64, Task>,
    /// Living groups, and until when each is paused.
    groups: BTreeMap<Group, i64>,
    timers: BTreeMap<(i64, u64), Waker>,
    panics: Vec<String>,
}

/// The executor; clones are the same one.
#[derive(Clone)]
pub struct Executor {
    inner: Arc<Mutex<Inner>>,
    ready: Ready,
    dice: Dice,
}

struct Bell {
    task: u64,
    ready: Ready,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).insert(self.task);
    }
}

impl Executor {
    pub fn new(dice: Dice) -> Self {
        Self { inner: Arc::default(), ready: Arc::default(), dice }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds since the beginning.
    pub fn now(&self) -> i64 {
        self.lock().now
    }

    /// Turns taken so far: equal only if everything before was equal.
    pub fn turns(&self) -> u64 {
        self.lock().turns
    }

    /// A new group.
    pub fn group(&self) -> Group {
        let mut inner = self.lock();
        inner.next += 1;
        let group = inner.next as Group;
        inner.groups.insert(group, 0);
        group
    }

    /// Adds a task to a group; dropped at once where that is dead.
    pub fn spawn(&self, group: Group, future: Wait) {
        let mut inner = self.lock();
        if !inner.groups.contains_key(&group) {
            drop(inner);
            drop(future);
            return;
        }
        inner.next += 1;
        let id = inner.next;
        inner.tasks.insert(id, Task { group, future: Some(future) });
        drop(inner);
        self.ready().insert(id);
    }

    /// Drops every task of the group; nothing can be added to it any more.
    pub fn kill(&self, group: Group) {
        let dropped: Vec<Task> = {
            let mut inner = self.lock();
            inner.groups.remove(&group);
            let ids: Vec<u64> =
                inner.tasks.iter().filter(|(_, task)| task.group == group).map(|(&id, _)| id).collect();
            ids.iter().filter_map(|id| inner.tasks.remove(id)).collect()
        };
        drop(dropped);
    }

    /// Schedules no task of the group until then.
    pub fn pause(&self, group: Group, span: Span) {
        let mut inner = self.lock();
        let until = inner.now + span.as_micros();
        if let Some(paused) = inner.groups.get_mut(&group) {
            *paused = until;
        }
    }

    pub fn resume(&self, group: Group) {
        if let Some(paused) = self.lock().groups.get_mut(&group) {
            *paused = 0;
        }
    }

    /// Ready after `span`.
    pub fn sleep(&self, span: Span) -> Sleep {
        let at = self.now().saturating_add(span.as_micros());
        Sleep { executor: self.clone(), at, key: None }
    }

    /// Ready at `at`, in microseconds since the beginning.
    pub fn sleep_until(&self, at: i64) -> Sleep {
        Sleep { executor: self.clone(), at, key: None }
    }

    /// Runs for `span`, or until nothing can ever happen again.
    pub fn run_for(&self, span: Span) {
        let end = self.now() + span.as_micros();
        while self.now() < end && self.turn(end) {}
    }

    /// Drops everything. Tasks hold their executor, so this has to be said.
    pub fn shut_down(&self) {
        let groups: Vec<Group> = self.lock().groups.keys().copied().collect();
        for group in groups {
            self.kill(group);
        }
        let timers = std::mem::take(&mut self.lock().timers);
        drop(timers);
    }

    /// What tasks panicked with.
    pub fn panics(&self) -> Vec<String> {
        self.lock().panics.clone()
    }

    /// One task's turn, or a jump to the next moment at which one is ready, at
    /// most to `end`. False when nothing is left to wait for.
    fn turn(&self, end: i64) -> bool {
        let Some(id) = self.pick() else {
            return self.jump(end);
        };
        let Some((group, mut future)) = self.take(id) else {
            return true;
        };
        let waker = Waker::from(Arc::new(Bell { task: id, ready: Arc::clone(&self.ready) }));
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        let over = match polled {
            Ok(poll) => poll.is_ready(),
            Err(why) => {
                let text = why.downcast_ref::<String>().cloned();
                let text = text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                self.lock().panics.push(format!("group {group}: {}", text.unwrap_or_default()));
                true
            }
        };
        let left = {
            let mut inner = self.lock();
            inner.turns += 1;
            inner.now += TURN;
            if over {
                inner.tasks.remove(&id);
                Some(future)
            } else if let Some(task) = inner.tasks.get_mut(&id) {
                task.future = Some(future);
                None
            } else {
                Some(future) // killed meanwhile
            }
        };
        drop(left);
        self.ring();
        true
    }

    fn pick(&self) -> Option<u64> {
        let inner = self.lock();
        let mut ready = self.ready();
        ready.retain(|id| inner.tasks.contains_key(id));
        let able = |id: &&u64| {
            let task = inner.tasks.get(id);
            task.and_then(|task| inner.groups.get(&task.group)).is_some_and(|&paused| paused <= inner.now)
        };
        let able: Vec<u64> = ready.iter().filter(able).copied().collect();
        let id = *able.get(self.dice.below(able.len()))?;
        ready.remove(&id);
        Some(id)
    }

    fn take(&self, id: u64) -> Option<(Group, Wait)> {
        let mut inner = self.lock();
        let task = inner.tasks.get_mut(&id)?;
        Some((task.group, task.future.take()?))
    }

    fn jump(&self, end: i64) -> bool {
        let next = {
            let inner = self.lock();
            let timer = inner.timers.keys().next().map(|&(at, _)| at);
            let resumed = inner.groups.values().copied().filter(|&until| until > inner.now).min();
            timer.into_iter().chain(resumed).min()
        };
        let mut inner = self.lock();
        inner.now = inner.now.max(next.unwrap_or(end).min(end));
        drop(inner);
        self.ring();
        next.is_some()
    }

    /// Wakes whom the time has come for.
    fn ring(&self) {
        loop {
            let mut inner = self.lock();
            let now = inner.now;
            match inner.timers.first_entry() {
                Some(timer) if timer.key().0 <= now => {
                    let waker = timer.remove();
                    drop(inner);
                    waker.wake();
                }
                _ => return,
            }
        }
    }
}

/// A wait on the virtual clock.
pub struct Sleep {
    executor: Executor,
    at: i64,
    key: Option<(i64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let executor = self.executor.clone();
        let mut inner = executor.lock();
        if inner.now >= self.at {
            return Poll::Ready(());
        }
        let key = match self.key {
            Some(key) => key,
            None => {
                inner.next += 1;
                let key = (self.at, inner.next);
                self.key = Some(key);
                key
            }
        };
        inner.timers.insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.executor.lock().timers.remove(&key);
            drop(waker);
        }
    }
}
