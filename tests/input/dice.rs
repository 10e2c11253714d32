//! Randomness from the seed: each call has dice of its own, so that it can be made
//! again without those before it.

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

/// A source of draws.
#[derive(Clone)]
pub struct Dice(StdRng);

impl Dice {
    /// Dice of one call.
    pub fn of(seed: u64, path: &str, index: usize) -> Self {
        // FNV-1a: the same on every machine and with every compiler.
        let text = path.bytes().chain(index.to_le_bytes());
        let hash = text.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(StdRng::seed_from_u64(seed ^ hash))
    }

    /// From 0 up to `end`, which is excluded; 0 where that leaves nothing.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: i128, high: i128) -> i128 {
        self.0.random_range(low..=high.max(low))
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len());
        &from[at]
    }

    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
