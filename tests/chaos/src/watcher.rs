//! Watchers: they follow a task to its end, from replica to replica.

use std::sync::atomic::Ordering;
use std::time::Duration;

use quarterdeck_client::api::orchestration::v1::TaskState;
use quarterdeck_client::{Error, FrameKind, Watch};
use quarterdeck_sim::dice::Dice;
use quarterdeck_sim::history::Fact;
use tokio::time::{sleep, timeout};

use crate::line::{passing, text};
use crate::shape;
use crate::world::World;

/// Watchers at a time.
const MOST: usize = 24;
/// Without a frame for this long a watcher goes elsewhere.
const RESTLESS: Duration = Duration::from_secs(5);

/// Follows a task, unless enough others are followed.
pub fn follow(world: &World, task: String, dice: Dice) {
    if world.watching().fetch_add(1, Ordering::Relaxed) >= MOST {
        world.watching().fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let watch = world.number();
    let watcher = Watcher { world: world.clone(), dice, watch, task, cursor: String::new() };
    world.spawn(async move {
        let world = watcher.world.clone();
        watcher.follow().await;
        world.watching().fetch_sub(1, Ordering::Relaxed);
    });
}

struct Watcher {
    world: World,
    dice: Dice,
    watch: u64,
    task: String,
    cursor: String,
}

impl Watcher {
    async fn follow(mut self) {
        loop {
            let replica = self.dice.below(self.world.replicas());
            let (watch, task, resumed) = (self.watch, self.task.clone(), !self.cursor.is_empty());
            self.world.record.add(Fact::WatchOpened { watch, replica, task, resumed });
            if let Ok(client) = self.world.client(replica)
                && self.read(client.watch_task_after(self.task.clone(), self.cursor.clone())).await
            {
                return;
            }
            sleep(self.dice.millis(5, 400).as_std()).await;
        }
    }

    /// Reads until the end, or until there is a reason to go elsewhere; true at the end.
    async fn read(&mut self, mut frames: Watch) -> bool {
        let watch = self.watch;
        loop {
            let Ok(frame) = timeout(RESTLESS, frames.next_frame()).await else {
                return false;
            };
            match frame {
                None => {
                    self.world.record.add(Fact::WatchEnded { watch });
                    return true;
                }
                Some(Err(error)) => {
                    broken(&self.world, watch, &error);
                    return false;
                }
                Some(Ok(frame)) => {
                    self.cursor = frame.cursor;
                    self.world.record.add(fact(watch, &frame.kind));
                }
            }
            if self.dice.chance(if self.world.healed() { 0.02 } else { 0.15 }) {
                return false;
            }
        }
    }
}

/// What a frame says.
pub fn fact(watch: u64, kind: &FrameKind) -> Fact {
    match kind {
        FrameKind::Snapshot(task) => {
            let revision = u64::try_from(task.revision).unwrap_or_default();
            Fact::WatchSnapshot { watch, revision, ended: task.state() != TaskState::Running }
        }
        FrameKind::Event(event) => {
            let sequence = u64::try_from(event.sequence).unwrap_or_default();
            Fact::WatchEvent { watch, sequence, event: shape::of_wire(event) }
        }
    }
}

/// Writes down how a watch broke.
pub fn broken(world: &World, watch: u64, error: &Error) {
    world.record.add(Fact::WatchBroken { watch, why: text(error), defect: !passing(error) });
}
