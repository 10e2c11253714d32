//! The only place of the command line that looks at a clock.
//!
//! Ages in tables and the demo's stopwatch are for people; nothing is decided by them.

use std::time::{Duration, Instant, SystemTime};

/// Now, by the machine's clock.
#[allow(clippy::disallowed_methods, reason = "the command line is the outermost edge: ages are for people")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Measures how long something took.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    #[allow(
        clippy::disallowed_methods,
        reason = "the command line is the outermost edge: spans are for people"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// How long ago, in the largest unit that fits: `4s`, `12m`, `3h`, `9d`.
pub fn age(from: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(from).map_or(0, |span| span.as_secs());
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A span for people: `0.31 s`, `12.0 s`, `3 min 20 s`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match seconds {
        _ if seconds < 10.0 => format!("{seconds:.2} s"),
        _ if seconds < 120.0 => format!("{seconds:.1} s"),
        _ => format!("{} min {} s", span.as_secs() / 60, span.as_secs() % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_spans_are_in_the_unit_that_fits() {
        let start = SystemTime::UNIX_EPOCH;
        for (seconds, expected) in [(0, "0s"), (59, "59s"), (60, "1m"), (7_200, "2h"), (200_000, "2d")] {
            assert_eq!(age(start, start + Duration::from_secs(seconds)), expected);
        }
        assert_eq!(age(start + Duration::from_secs(5), start), "0s", "clocks may differ");
        assert_eq!(span(Duration::from_millis(312)), "0.31 s");
        assert_eq!(span(Duration::from_secs(200)), "3 min 20 s");
    }
}
