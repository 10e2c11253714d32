//! Watchers: they follow a task to its end, across replicas and reconnects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::future::BoxFuture;
use quarterdeck_core::Span;
use quarterdeck_engine::task_watch::{WatchFrame, WatchItem};
use quarterdeck_engine::{Engine, Error};
use tokio::sync::mpsc;

use crate::client::transient;
use crate::dice::Dice;
use crate::history::Fact;
use crate::stream::{Frame, carry};
use crate::world::{self, World};

/// Watchers at a time.
const MOST: usize = 24;
/// Silence after which a watcher goes elsewhere: several heartbeats.
pub const PATIENCE: Span = Span::from_secs(4);

/// All watchers of one run.
#[derive(Clone, Default)]
pub struct Watchers {
    next: Arc<AtomicU64>,
    open: Arc<AtomicUsize>,
}

struct Watcher {
    world: World,
    dice: Dice,
    watch: u64,
    task: String,
    cursor: String,
}

/// Why a connection of a watch is over.
enum Over {
    /// The last event was seen.
    Ended,
    /// To be opened again.
    Again,
}

impl Watchers {
    /// Watchers that have not seen the end.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Follows a task, unless enough others are followed.
    pub fn follow(&self, world: &World, task: String, dice: Dice) {
        if self.open() >= MOST {
            return;
        }
        let open = Arc::clone(&self.open);
        open.fetch_add(1, Ordering::Relaxed);
        let watch = self.next.fetch_add(1, Ordering::Relaxed);
        let watcher = Watcher { world: world.clone(), dice, watch, task, cursor: String::new() };
        let follow = async move {
            watcher.follow().await;
            open.fetch_sub(1, Ordering::Relaxed);
        };
        world.executor.spawn(world.people, Box::pin(follow));
    }
}

impl Watcher {
    async fn follow(mut self) {
        loop {
            let replica = self.dice.below(self.world.replicas());
            let (watch, task, resumed) = (self.watch, self.task.clone(), !self.cursor.is_empty());
            self.world.history.record(Fact::WatchOpened { watch, replica, task, resumed });
            if let Some(frames) = self.open(replica).await
                && let Over::Ended = self.read(frames).await
            {
                return;
            }
            self.world.executor.sleep(self.dice.millis(5, 400)).await;
        }
    }

    async fn open(&self, replica: usize) -> Option<mpsc::Receiver<Frame<WatchFrame>>> {
        let (task, cursor) = (self.task.clone(), self.cursor.clone());
        let executor = self.world.executor.clone();
        let open = move |engine: Engine, group| -> BoxFuture<'static, Result<_, Error>> {
            Box::pin(async move {
                let watch = engine.watch_task(&world::client(), &task, &cursor).await?;
                Ok(carry(&executor, group, watch))
            })
        };
        match self.world.call(replica, &self.dice, open).await {
            Some(Ok(frames)) => Some(frames),
            Some(Err(error)) => {
                self.broken(&error);
                None
            }
            None => None,
        }
    }

    fn broken(&self, error: &Error) {
        let (watch, why, defect) = (self.watch, error.to_string(), !transient(error));
        self.world.history.record(Fact::WatchBroken { watch, why, defect });
    }

    async fn read(&mut self, mut frames: mpsc::Receiver<Frame<WatchFrame>>) -> Over {
        loop {
            let frame = tokio::select! {
                biased;
                frame = frames.recv() => frame,
                () = self.world.executor.sleep(PATIENCE) => None,
            };
            match frame {
                None => return Over::Again,
                Some(Frame::End) => {
                    self.world.history.record(Fact::WatchEnded { watch: self.watch });
                    return Over::Ended;
                }
                Some(Frame::Failed(error)) => {
                    self.broken(&error);
                    return Over::Again;
                }
                Some(Frame::Item(frame)) => self.item(frame),
            }
            if self.dice.chance(if self.world.healed() { 0.02 } else { 0.15 }) {
                return Over::Again;
            }
        }
    }

    fn item(&mut self, frame: WatchFrame) {
        let watch = self.watch;
        match frame.item {
            WatchItem::Snapshot(task) => {
                let (revision, ended) = (task.revision, task.ended());
                self.world.history.record(Fact::WatchSnapshot { watch, revision, ended });
            }
            WatchItem::Event(event, _) => {
                let text = crate::checks::text(&event);
                let sequence = event.sequence;
                self.world.history.record(Fact::WatchEvent { watch, sequence, event: text });
            }
            WatchItem::Heartbeat => {}
        }
        self.cursor = frame.cursor;
    }
}
