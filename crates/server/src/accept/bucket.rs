//! A token bucket: so many at once, so many a second after that.

use quarterdeck_core::Timestamp;

/// Refills to `burst` at `per_second`. Counts in millionths, which is what a
/// microsecond brings at one a second.
#[derive(Debug)]
pub struct Bucket {
    level: u64,
    burst: u64,
    per_second: u64,
    at: Timestamp,
}

const ONE: u64 = 1_000_000;

impl Bucket {
    /// Full at first.
    pub fn full(per_second: u32, burst: u32, now: Timestamp) -> Self {
        let burst = u64::from(burst) * ONE;
        Self { level: burst, burst, per_second: u64::from(per_second), at: now }
    }

    /// Takes so many, or none: false where there are fewer.
    pub fn take(&mut self, count: u32, now: Timestamp) -> bool {
        // A clock that goes back brings nothing.
        let passed = u64::try_from(now.since(self.at).as_micros()).unwrap_or(0);
        self.level = self.level.saturating_add(passed.saturating_mul(self.per_second)).min(self.burst);
        self.at = now;
        match self.level.checked_sub(u64::from(count) * ONE) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_core::Span;

    #[test]
    fn it_gives_a_burst_and_then_a_rate() {
        let start = Timestamp::from_micros(1_000_000);
        let after = |millis| start.plus(Span::from_millis(millis));
        let mut bucket = Bucket::full(10, 5, start);
        assert!(bucket.take(5, start) && !bucket.take(1, start));
        assert!(!bucket.take(1, after(99)) && bucket.take(1, after(100)) && !bucket.take(1, after(100)));
        // Never more than the burst, and nothing from a clock that goes back.
        assert!(!bucket.take(6, after(60_000)) && bucket.take(5, after(60_000)));
        assert!(!bucket.take(1, start) && !bucket.take(1, after(50)));
        assert!(bucket.take(1, after(150)));
    }
}
