//! What a backend gives the suite.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::port::Store;

/// An empty, migrated store of its own for one case.
#[async_trait]
pub trait Fixture: Send + Sync {
    fn store(&self) -> Arc<dyn Store>;

    /// Another handle on the same database, as another replica has it; `None`
    /// where there can be only one.
    async fn second(&self) -> Option<Arc<dyn Store>>;

    /// Gives back what the case used.
    async fn finish(&self) {}
}

/// Runs a case within a deadline, then cleans up.
pub async fn run<F: Future<Output = ()>>(fixture: &dyn Fixture, case: F) {
    let done = tokio::time::timeout(Duration::from_secs(120), Box::pin(case)).await;
    assert!(done.is_ok(), "the case did not end within two minutes");
    fixture.finish().await;
}
