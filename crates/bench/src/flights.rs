//! Tasks under way, by id: brings together the submitter that waits for a task
//! and the agents that see its steps.
//!
//! An agent may be given a step, and even finish it, before the submitter has
//! read the answer to its CreateTask, so either side may come first. Invariant:
//! an entry goes when both have been here; there are never more than tasks under way.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

const SHARDS: usize = 16;

/// What the agents saw of a finished task.
#[derive(Clone, Copy, Debug)]
pub struct Landed {
    /// First step given to an agent.
    pub assigned: Option<Instant>,
    /// Last completion acknowledged to an agent.
    pub acknowledged: Instant,
}

#[derive(Debug, Default)]
struct Flight {
    assigned: Option<Instant>,
    acknowledged: u32,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Flying,
    Awaited(oneshot::Sender<Landed>),
    Landed(Landed),
}

#[derive(Debug, Default)]
pub struct Flights([Mutex<HashMap<String, Flight>>; SHARDS]);

impl Flights {
    fn shard(&self, task: &str) -> MutexGuard<'_, HashMap<String, Flight>> {
        // The end of an id is random, its beginning is the time.
        let place = task.as_bytes().last().map_or(0, |&byte| usize::from(byte) % SHARDS);
        self.0[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn assigned(&self, task: &str, at: Instant) {
        let mut shard = self.shard(task);
        if let Some(flight) = shard.get_mut(task) {
            flight.assigned.get_or_insert(at);
        } else {
            shard.insert(task.to_owned(), Flight { assigned: Some(at), ..Flight::default() });
        }
    }

    /// One more step of the task was acknowledged; the last of `steps` lands it,
    /// which is answered by true.
    pub fn acknowledged(&self, task: &str, at: Instant, steps: u32) -> bool {
        let mut shard = self.shard(task);
        let flight = match shard.get_mut(task) {
            Some(flight) => flight,
            None => shard.entry(task.to_owned()).or_default(),
        };
        flight.acknowledged += 1;
        if flight.acknowledged != steps {
            return false;
        }
        let landed = Landed { assigned: flight.assigned, acknowledged: at };
        if let State::Awaited(waiter) = std::mem::replace(&mut flight.state, State::Landed(landed)) {
            shard.remove(task);
            // A submitter that gave up does not care.
            let _ = waiter.send(landed);
        }
        true
    }

    /// Takes out a task that has landed. False if it has not.
    pub fn take(&self, task: &str) -> bool {
        let mut shard = self.shard(task);
        let landed = shard.get(task).is_some_and(|flight| matches!(flight.state, State::Landed(_)));
        if landed {
            shard.remove(task);
        }
        landed
    }

    /// Waits until the task has landed. `None` if nobody will say any more.
    pub async fn wait(&self, task: &str) -> Option<Landed> {
        let landing = {
            let mut shard = self.shard(task);
            if let Some(State::Landed(landed)) = shard.get(task).map(|flight| &flight.state) {
                let landed = *landed;
                shard.remove(task);
                return Some(landed);
            }
            let (waiter, landing) = oneshot::channel();
            shard.entry(task.to_owned()).or_default().state = State::Awaited(waiter);
            landing
        };
        landing.await.ok()
    }

    /// Tasks that one side has named and the other has not, or that still fly.
    pub fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[tokio::test]
    async fn either_side_may_come_first() {
        let flights = Flights::default();
        let at = clock::now();
        flights.assigned("tsk_1", at);
        assert!(!flights.acknowledged("tsk_1", at, 2));
        assert!(!flights.take("tsk_1"), "one of two steps is not the task");
        assert!(flights.acknowledged("tsk_1", at, 2));
        assert_eq!(flights.wait("tsk_1").await.unwrap().assigned, Some(at));

        let waiting = flights.wait("tsk_2");
        let landing = async {
            flights.assigned("tsk_2", at);
            flights.acknowledged("tsk_2", at, 1);
        };
        // The waiter is polled first.
        let (landed, ()) = tokio::join!(biased; waiting, landing);
        assert_eq!(landed.unwrap().acknowledged, at);

        assert!(flights.acknowledged("tsk_3", at, 1));
        assert!(flights.take("tsk_3"));
        assert_eq!(flights.len(), 0);
    }
}
