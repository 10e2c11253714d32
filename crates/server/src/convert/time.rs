//! Points in time and lengths of time. The wire has nanoseconds, the core
//! microseconds: lengths are rounded up, so that a minimum stays one.

use prost_types::{Duration, Timestamp as Wire};
use quarterdeck_core::{Span, Timestamp};

pub fn timestamp(time: Timestamp) -> Wire {
    let micros = time.as_micros();
    let nanos = micros.rem_euclid(1_000_000) * 1_000;
    Wire { seconds: micros.div_euclid(1_000_000), nanos: i32::try_from(nanos).unwrap_or(0) }
}

pub fn from_timestamp(wire: Wire) -> Timestamp {
    let micros = wire.seconds.saturating_mul(1_000_000);
    Timestamp::from_micros(micros.saturating_add(i64::from(wire.nanos) / 1_000))
}

pub fn duration(span: Span) -> Duration {
    let micros = span.as_micros();
    let nanos = i32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
    Duration { seconds: micros / 1_000_000, nanos }
}

/// Negative lengths, which the codec refuses, become zero.
pub fn span(wire: Duration) -> Span {
    let nanos = i64::from(wire.nanos);
    let micros = nanos / 1_000 + i64::from(nanos % 1_000 > 0);
    Span::from_micros(wire.seconds.saturating_mul(1_000_000).saturating_add(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        for micros in [0, 1, 999_999, 1_000_000, 1_700_000_000_123_456, -1, -1_000_001] {
            let time = Timestamp::from_micros(micros);
            let wire = timestamp(time);
            assert!((0..1_000_000_000).contains(&wire.nanos), "{wire:?}");
            assert_eq!(from_timestamp(wire), time);
        }
        for micros in [0, 1, 10_000, 86_400_000_001] {
            assert_eq!(span(duration(Span::from_micros(micros))), Span::from_micros(micros));
        }
    }

    #[test]
    fn lengths_are_rounded_up() {
        assert_eq!(span(Duration { seconds: 0, nanos: 1 }), Span::from_micros(1));
        assert_eq!(span(Duration { seconds: 1, nanos: 1_000 }), Span::from_micros(1_000_001));
        assert_eq!(span(Duration { seconds: -1, nanos: 0 }), Span::ZERO);
    }
}
