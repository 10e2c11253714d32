//! Randomness from the seed.
//!
//! Everybody who draws has dice of their own, forked off in a fixed order: one
//! more draw in one place then shifts nothing elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quarterdeck_core::Span;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// A source of draws; clones draw from the same source.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    fn lock(&self) -> MutexGuard<'_, StdRng> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Dice of their own, seeded by a draw of these.
    pub fn fork(&self) -> Self {
        Self::new(self.seed())
    }

    pub fn seed(&self) -> u64 {
        self.lock().random()
    }

    /// True with this probability, from 0 to 1.
    pub fn chance(&self, probability: f64) -> bool {
        self.lock().random_bool(probability.clamp(0.0, 1.0))
    }

    /// From 0 up to `end`, which is excluded; 0 where that leaves nothing.
    pub fn below(&self, end: usize) -> usize {
        if end == 0 { 0 } else { self.lock().random_range(0..end) }
    }

    /// From `low` to `high`, both included.
    pub fn between(&self, low: i64, high: i64) -> i64 {
        self.lock().random_range(low..=high.max(low))
    }

    /// A length of time from `low` to `high` milliseconds.
    pub fn millis(&self, low: i64, high: i64) -> Span {
        Span::from_micros(self.between(low * 1_000, high * 1_000))
    }

    pub fn bytes(&self) -> [u8; 32] {
        self.lock().random()
    }
}
