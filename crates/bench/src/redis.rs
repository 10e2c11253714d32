//! A private Redis, kept by a process of its own so that it ends however the run ends.

use anyhow::Result;
use quarterdeck_harness::Redis;
use serde::{Deserialize, Serialize};

use crate::child;

/// What the keeper says when Redis answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ready {
    pub url: String,
}

/// Starts a Redis on a free port, says so, and stops it when told.
///
/// # Errors
/// When there is none, or it does not start.
pub async fn keep() -> Result<()> {
    let mut redis = Redis::start().await?;
    child::ready(&Ready { url: redis.url().to_owned() })?;
    tokio::task::spawn_blocking(child::until_told).await?;
    redis.stop().await
}
