//! Waiting for a condition that somebody else brings about.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow};

/// Asks `probe` until it answers `Some`, for at most `deadline`. The pauses grow
/// from 5 to 100 milliseconds. `what` completes the sentence "waited for ...".
///
/// # Errors
/// When the deadline has passed.
pub async fn eventually<T, F, Fut>(what: &str, deadline: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let asking = async {
        let mut pause = Duration::from_millis(5);
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    };
    tokio::time::timeout(deadline, asking)
        .await
        .map_err(|_| anyhow!("waited {deadline:?} in vain for {what}"))
}
