//! The only place where the client touches the clock and randomness.
//!
//! The server takes both from ports, for its simulator owns them. A client talks to
//! a real network, so it uses tokio's clock (which tests can pause) and the
//! operating system's randomness.

#![allow(
    clippy::disallowed_methods,
    reason = "the client is outside the simulator; this module is its one seam"
)]

use std::time::Duration;

use tokio::time::Instant;

/// A random request id: 32 hex digits.
#[must_use]
pub fn request_id() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().simple().to_string()
}

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// How long until a wall-clock time; zero where it has passed.
pub(crate) fn until(time: std::time::SystemTime) -> Duration {
    time.duration_since(std::time::SystemTime::now()).unwrap_or_default()
}

/// A wait drawn evenly between zero and `upper`.
pub(crate) fn between_zero_and(upper: Duration) -> Duration {
    upper.mul_f64(rand::random::<f64>())
}
