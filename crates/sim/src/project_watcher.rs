//! Watchers of the whole project: they follow it for as long as the world goes on,
//! across replicas and reconnects, some of them only tasks of one hue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use quarterdeck_engine::project_watch::{ProjectFrame, ProjectItem};
use quarterdeck_engine::{Engine, Error};
use tokio::sync::mpsc;

use crate::client::transient;
use crate::dice::Dice;
use crate::history::{Fact, Wanted};
use crate::stream::{Frame, carry};
use crate::watcher::PATIENCE;
use crate::workload::{HUE, HUES};
use crate::world::{self, World};

/// When each of them last heard that there is nothing new, in microseconds.
#[derive(Clone, Default)]
pub struct ProjectWatchers(Arc<Mutex<BTreeMap<u64, i64>>>);

struct Watcher {
    world: World,
    all: ProjectWatchers,
    dice: Dice,
    watch: u64,
    wanted: Wanted,
    cursor: String,
}

impl ProjectWatchers {
    fn quiet(&self, watch: u64, at: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(watch, at);
    }

    /// Those that have not heard after `at` that there is nothing new.
    pub fn behind(&self, at: i64) -> usize {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.values().filter(|&&quiet| quiet <= at).count()
    }

    pub fn follow(&self, world: &World, watch: u64, dice: Dice) {
        let wanted = Wanted { hue: dice.chance(0.5).then(|| dice.below(HUES)), steps: dice.chance(0.5) };
        self.quiet(watch, 0);
        let (world, all, cursor) = (world.clone(), self.clone(), String::new());
        let (executor, people) = (world.executor.clone(), world.people);
        let watcher = Watcher { world, all, dice, watch, wanted, cursor };
        executor.spawn(people, Box::pin(watcher.follow()));
    }
}

impl Watcher {
    async fn follow(mut self) {
        // Not from the beginning, so that there is something for the snapshot.
        self.world.executor.sleep(self.dice.millis(0, 3_000)).await;
        loop {
            let replica = self.dice.below(self.world.replicas());
            let resumed = !self.cursor.is_empty();
            match self.open(replica).await {
                Some(Ok(frames)) => {
                    let (watch, wanted) = (self.watch, self.wanted);
                    self.world.history.record(Fact::ProjectOpened { watch, replica, wanted, resumed });
                    self.read(frames).await;
                }
                Some(Err(error)) => self.broken(&error),
                None => {}
            }
            self.world.executor.sleep(self.dice.millis(5, 400)).await;
        }
    }

    async fn open(&self, replica: usize) -> Option<Result<mpsc::Receiver<Frame<ProjectFrame>>, Error>> {
        let (wanted, cursor) = (self.wanted, self.cursor.clone());
        let executor = self.world.executor.clone();
        let open = move |engine: Engine, group| -> BoxFuture<'static, Result<_, Error>> {
            Box::pin(async move {
                let hue = wanted.hue.map(|hue| (HUE.to_owned(), hue.to_string()));
                let (caller, labels) = (world::client(), hue.into_iter().collect());
                let watch = engine.watch_tasks(&caller, "", labels, wanted.steps, &cursor).await?;
                Ok(carry(&executor, group, watch))
            })
        };
        self.world.call(replica, &self.dice, open).await
    }

    fn broken(&self, error: &Error) {
        let (watch, why, defect) = (self.watch, error.to_string(), !transient(error));
        self.world.history.record(Fact::ProjectBroken { watch, why, defect });
    }

    async fn read(&mut self, mut frames: mpsc::Receiver<Frame<ProjectFrame>>) {
        loop {
            let frame = tokio::select! {
                biased;
                frame = frames.recv() => frame,
                () = self.world.executor.sleep(PATIENCE) => None,
            };
            match frame {
                // It never ends by itself.
                None | Some(Frame::End) => return,
                Some(Frame::Failed(error)) => return self.broken(&error),
                Some(Frame::Item(frame)) => self.item(frame),
            }
            if self.dice.chance(if self.world.healed() { 0.01 } else { 0.06 }) {
                return;
            }
        }
    }

    fn item(&mut self, frame: ProjectFrame) {
        let watch = self.watch;
        match frame.item {
            ProjectItem::Snapshot(row) => {
                let task = row.task.to_string();
                self.world.history.record(Fact::ProjectSnapshot { watch, task });
            }
            ProjectItem::Event(task, event, _) => {
                let (task, sequence) = (task.to_string(), event.sequence);
                let event = crate::checks::text(&event);
                self.world.history.record(Fact::ProjectEvent { watch, task, sequence, event });
            }
            ProjectItem::Heartbeat => self.all.quiet(watch, self.world.executor.now()),
        }
        self.cursor = frame.cursor;
    }
}
