//! What everybody saw, in the order in which it was seen.

use std::sync::{Arc, Mutex, PoisonError};

use quarterdeck_sim::history::{Entry, Fact};
use tokio::time::Instant;

/// The record; clones write to the same one.
#[derive(Clone)]
pub struct Record {
    began: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Default for Record {
    fn default() -> Self {
        Self { began: Instant::now(), entries: Arc::default() }
    }
}

impl Record {
    /// Microseconds since the beginning.
    pub fn now(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// The moment so many microseconds after the beginning.
    pub fn moment(&self, at: i64) -> Instant {
        self.began + std::time::Duration::from_micros(u64::try_from(at).unwrap_or_default())
    }

    /// Writes down what has been seen, or is about to be done.
    pub fn add(&self, fact: Fact) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(Entry { at: self.now(), fact });
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
