//! This machine's clock. A benchmark measures the very time that everything else
//! takes as an argument; this is the one place that reads it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::mpsc;

/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[allow(clippy::disallowed_methods)] // This is the place.
pub fn now() -> Instant {
    Instant::now()
}

pub async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(tokio::time::Instant::from_std(at)).await;
}

/// Times that come while the reader is busy.
const MISSED_MAX: usize = 10_000;

/// Each of these times as it comes, from a thread of its own: the runtime's timers are up
/// to two milliseconds late, which would be counted as the server's.
pub fn each(times: impl Iterator<Item = Instant> + Send + 'static) -> mpsc::Receiver<Instant> {
    let (sender, receiver) = mpsc::channel(MISSED_MAX);
    std::thread::spawn(move || {
        for at in times {
            std::thread::sleep(at.saturating_duration_since(now()));
            if sender.blocking_send(at).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits until a condition holds.
///
/// # Errors
/// When it still does not after `limit`.
pub async fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = now() + limit;
    while !holds() {
        if now() >= deadline {
            bail!("waited {limit:?} in vain for {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// The part of a run that counts.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub from: Instant,
    pub to: Instant,
}

impl Window {
    /// Begins after `warmup` from now.
    pub fn after(warmup: Duration, length: Duration) -> Self {
        let from = now() + warmup;
        Self { from, to: from + length }
    }

    pub fn contains(&self, at: Instant) -> bool {
        self.from <= at && at < self.to
    }
}
