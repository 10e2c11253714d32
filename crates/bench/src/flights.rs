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
            shard.insert(task.to_owned(), Flight { assigned: Some(at), state: State::Flying });
        }
    }

    pub fn landed(&self, task: &str, acknowledged: Instant) {
        let mut shard = self.shard(task);
        let mut flight = shard.remove(task).unwrap_or_default();
        let landed = Landed { assigned: flight.assigned, acknowledged };
        match flight.state {
            // A submitter that gave up does not care.
            State::Awaited(waiter) => drop(waiter.send(landed)),
            State::Flying | State::Landed(_) => {
                flight.state = State::Landed(landed);
                shard.insert(task.to_owned(), flight);
            }
        }
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
        flights.landed("tsk_1", at);
        assert_eq!(flights.wait("tsk_1").await.unwrap().assigned, Some(at));

        let waiting = flights.wait("tsk_2");
        let landing = async {
            flights.assigned("tsk_2", at);
            flights.landed("tsk_2", at);
        };
        // The waiter is polled first.
        let (landed, ()) = tokio::join!(biased; waiting, landing);
        assert_eq!(landed.unwrap().acknowledged, at);
        assert_eq!(flights.len(), 0);
    }
}
