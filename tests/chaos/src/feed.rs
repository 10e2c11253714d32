//! Watches of the whole project. In the record each task in it has a watch of its
//! own, so that the same checker sees gaps and repetitions.
//!
//! A snapshot may be newer than the cursor that comes with it, so events that it
//! shows already are passed over where they come first.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quarterdeck_client::api::orchestration::v1::WatchTasksRequest;
use quarterdeck_client::api::orchestration::v1::task_event::Kind;
use quarterdeck_client::{FrameKind, Watch};
use quarterdeck_sim::dice::Dice;
use quarterdeck_sim::history::Fact;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::watcher::{broken, fact};
use crate::world::World;

/// Without a frame for this long it goes elsewhere.
const RESTLESS: Duration = Duration::from_secs(5);

/// A task in a feed.
struct Place {
    watch: u64,
    /// Sequence of the last event seen, or of the snapshot.
    at: u64,
    /// True before the first event after the snapshot.
    fresh: bool,
}

/// A feed of the project, across reconnects.
pub struct Feed {
    world: World,
    dice: Dice,
    /// Of its errors.
    watch: u64,
    replica: usize,
    cursor: String,
    tasks: BTreeMap<String, Place>,
    /// Told when the first frame is there. Whoever has one sees every task that is
    /// created later, from its creation to its end.
    whole: Option<oneshot::Sender<()>>,
    counts: bool,
}

impl Feed {
    /// A feed that must miss nothing after its first frame, of which it tells.
    pub fn whole(world: World, dice: Dice, first: oneshot::Sender<()>) -> Self {
        Self { whole: Some(first), counts: true, ..Self::new(world, dice) }
    }

    fn new(world: World, dice: Dice) -> Self {
        let (watch, cursor, tasks) = (world.number(), String::new(), BTreeMap::new());
        Self { world, dice, watch, replica: 0, cursor, tasks, whole: None, counts: false }
    }

    /// Reads for ever.
    pub async fn live(mut self) {
        loop {
            self.once().await;
        }
    }

    /// Starts anew every few seconds, for ever.
    pub async fn live_again_and_again(world: World, dice: Dice) {
        loop {
            let mut feed = Self::new(world.clone(), dice.fork());
            let reading = async {
                loop {
                    feed.once().await;
                }
            };
            let _ = timeout(dice.millis(2_000, 15_000).as_std(), reading).await;
        }
    }

    async fn once(&mut self) {
        self.replica = self.dice.below(self.world.replicas());
        if self.cursor.is_empty() {
            self.tasks.clear();
        }
        let request = WatchTasksRequest {
            resume_after: self.cursor.clone(),
            include_steps: true,
            ..WatchTasksRequest::default()
        };
        if let Ok(client) = self.world.client(self.replica) {
            self.read(client.watch_tasks(request)).await;
        }
        sleep(self.dice.millis(5, 400).as_std()).await;
    }

    async fn read(&mut self, mut frames: Watch) {
        while let Ok(Some(frame)) = timeout(RESTLESS, frames.next_frame()).await {
            match frame {
                Ok(frame) => {
                    self.take(&frame.kind);
                    self.cursor = frame.cursor;
                    if let Some(first) = self.whole.take() {
                        // Nobody waits for it a second time.
                        let _ = first.send(());
                    }
                }
                Err(error) => return broken(&self.world, self.watch, &error),
            }
            if self.dice.chance(if self.world.healed() { 0.0002 } else { 0.005 }) {
                return;
            }
        }
    }

    fn take(&mut self, kind: &FrameKind) {
        match kind {
            FrameKind::Snapshot(task) => {
                let at = u64::try_from(task.revision).unwrap_or_default();
                // A snapshot that broke off is told again; after it there is a cursor.
                let known = self.tasks.get(&task.id).filter(|_| !self.cursor.is_empty());
                let known = known.map(|place| place.watch);
                let watch = known.unwrap_or_else(|| self.open(&task.id, at));
                self.world.record.add(fact(watch, kind));
            }
            FrameKind::Event(event) => {
                let sequence = u64::try_from(event.sequence).unwrap_or_default();
                if !self.tasks.contains_key(&event.task_id) {
                    // One that ended between cursor and snapshot is in neither.
                    let before = if self.counts { 0 } else { sequence.saturating_sub(1) };
                    let watch = self.open(&event.task_id, before);
                    self.world.record.add(Fact::WatchSnapshot { watch, revision: before, ended: false });
                }
                let Some(place) = self.tasks.get_mut(&event.task_id) else { return };
                if place.fresh && sequence <= place.at {
                    return;
                }
                (place.at, place.fresh) = (sequence, false);
                let watch = place.watch;
                self.world.record.add(fact(watch, kind));
                if matches!(event.kind, Some(Kind::TaskEnded(_))) {
                    self.world.record.add(Fact::WatchEnded { watch });
                    if self.counts {
                        self.world.fed().fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    fn open(&mut self, task: &str, at: u64) -> u64 {
        let (watch, replica, task) = (self.world.number(), self.replica, task.to_owned());
        self.tasks.insert(task.clone(), Place { watch, at, fresh: true });
        self.world.record.add(Fact::WatchOpened { watch, replica, task, resumed: false });
        watch
    }
}
