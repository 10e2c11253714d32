//! Letters between replicas: lost, doubled, delayed, overtaking each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quarterdeck_engine::{Bus, Letter};
use tokio::sync::broadcast;

use crate::dice::Dice;
use crate::executor::{Executor, Group};
use crate::weather::{Post, Weather};

/// Letters that a reader may lag behind; few, so that lagging happens.
const LAG_MAX: usize = 128;

type Boxes = Arc<Mutex<BTreeMap<Group, broadcast::Sender<Letter>>>>;

/// The post of all replicas.
#[derive(Clone)]
pub struct PostOffice {
    executor: Executor,
    /// Group of what is on its way: it outlives its sender.
    group: Group,
    dice: Dice,
    pub weather: Weather<Post>,
    boxes: Boxes,
}

impl PostOffice {
    pub fn new(executor: Executor, dice: Dice) -> Self {
        let group = executor.group();
        Self { executor, group, dice, weather: Weather::new(Post::CALM), boxes: Arc::default() }
    }

    /// The bus as one start of a replica sees it.
    pub fn join(&self, replica: Group) -> Arc<dyn Bus> {
        let own = broadcast::Sender::new(LAG_MAX);
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner).insert(replica, own.clone());
        Arc::new(Counter { office: self.clone(), own })
    }

    pub fn leave(&self, replica: Group) {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner).remove(&replica);
    }

    fn send(&self, letter: &Letter) {
        let boxes: Vec<broadcast::Sender<Letter>> =
            self.boxes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let post = self.weather.get();
        for to in boxes {
            let copies = match (self.dice.chance(post.lose), self.dice.chance(post.double)) {
                (true, _) => 0,
                (false, true) => 2,
                (false, false) => 1,
            };
            for _ in 0..copies {
                let (to, letter) = (to.clone(), letter.clone());
                let way = self.executor.sleep(self.dice.millis(0, post.delay_ms));
                let carry = async move {
                    way.await;
                    // Nobody there is as good as lost.
                    let _ = to.send(letter);
                };
                self.executor.spawn(self.group, Box::pin(carry));
            }
        }
    }
}

struct Counter {
    office: PostOffice,
    own: broadcast::Sender<Letter>,
}

impl Bus for Counter {
    fn publish(&self, letters: Vec<Letter>) {
        for letter in &letters {
            self.office.send(letter);
        }
    }

    fn subscribe(&self) -> broadcast::Receiver<Letter> {
        self.own.subscribe()
    }

    fn healthy(&self) -> bool {
        true
    }
}
