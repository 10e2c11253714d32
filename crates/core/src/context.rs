//! All that rules know of the world: the time, and entropy to draw from.

use sha2::{Digest as _, Sha256};

use crate::time::Timestamp;

/// The time and the entropy of one decision. The same `Ctx` gives the same
/// decision: ids and jitter are derived from the entropy by hash, each draw
/// under a label of its own, so adding one draw never shifts another.
#[derive(Clone, Copy, Debug)]
pub struct Ctx {
    pub now: Timestamp,
    pub entropy: [u8; 32],
}

impl Ctx {
    pub const fn new(now: Timestamp, entropy: [u8; 32]) -> Self {
        Self { now, entropy }
    }

    /// 32 bytes that depend on the entropy, `label` and `index` alone.
    pub fn draw(&self, label: &str, index: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"quarterdeck.draw.v1\0");
        hash.update(self.entropy);
        hash.update(index.to_be_bytes());
        hash.update(label.as_bytes());
        hash.finalize().into()
    }

    /// A fraction in [0, 1) from the same source.
    pub fn fraction(&self, label: &str, index: u64) -> f64 {
        let bytes = self.draw(label, index);
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[..8]);
        // 53 bits are what an f64 holds exactly.
        (u64::from_be_bytes(word) >> 11) as f64 / (1u64 << 53) as f64
    }
}
