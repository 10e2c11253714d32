//! What the same machine does at best: bare calls over the same connections, and
//! bare commits to the same kind of store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use quarterdeck_core::task::Event;
use quarterdeck_core::{CommitId, Ctx, ProjectId, TaskId};
use quarterdeck_engine::ports::{Clock, Entropy, SystemClock, SystemEntropy};
use quarterdeck_store::{Append, Commit, Outcome, Store};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::arguments::StoreKind;
use crate::clock;
use crate::connect::Connections;
use crate::server::{self, Location};

/// Calls in flight over all connections: fewer on each of 16 than the limit of those
/// without a credential, whose places are free a moment after their answers.
const CALLS: usize = 240;
/// Role that never asks a database.
const ROLE: &str = "live";
/// Rows of a full batch, as the committer makes them.
const BATCH: usize = 128;
/// Beyond the sample, for whatever is in flight then.
const GRACE: Duration = Duration::from_secs(20);

/// Commits of one small event each second, by how many share a transaction.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StoreCeiling {
    pub batched_per_s: f64,
    pub unbatched_per_s: f64,
}

/// Health checks a second over all connections, in one sample.
///
/// # Errors
/// When a check fails: the figure would mean nothing.
pub async fn calls_per_s(connections: &Connections, sample: Duration) -> Result<f64> {
    let begun = clock::now();
    let until = begun + sample;
    let mut callers = JoinSet::new();
    for index in 0..CALLS {
        callers.spawn(call_until(connections.health(index), until));
    }
    let total = timeout(sample + GRACE, async {
        let mut total = 0;
        while let Some(calls) = callers.join_next().await {
            total += calls??;
        }
        Ok::<u64, anyhow::Error>(total)
    });
    let total = total.await.context("health checks were not answered in time")??;
    Ok(total as f64 / begun.elapsed().as_secs_f64())
}

async fn call_until(mut stub: HealthClient<Channel>, until: std::time::Instant) -> Result<u64> {
    let request = HealthCheckRequest { service: ROLE.to_owned() };
    let mut calls = 0;
    while clock::now() < until {
        stub.check(request.clone()).await.context("a health check failed")?;
        calls += 1;
    }
    Ok(calls)
}

/// Commits a second to a fresh store at `location`, without any server.
///
/// # Errors
/// A store that cannot be opened, or a commit that is not done.
pub async fn commits_per_s(
    location: &Location<'_>,
    kind: StoreKind,
    sample: Duration,
) -> Result<StoreCeiling> {
    let store = server::open(location, "ceiling").await?;
    // PostgreSQL overlaps the work of one batch with the sync of another; SQLite has one writer.
    let in_flight = match kind {
        StoreKind::Sqlite => 1,
        StoreKind::Postgres => 2,
    };
    let batched_per_s = sample_commits(&store, in_flight, BATCH, sample).await?;
    let unbatched_per_s = sample_commits(&store, in_flight, 1, sample).await?;
    Ok(StoreCeiling { batched_per_s, unbatched_per_s })
}

async fn sample_commits(
    store: &Arc<dyn Store>,
    in_flight: usize,
    batch: usize,
    sample: Duration,
) -> Result<f64> {
    let begun = clock::now();
    let until = begun + sample;
    let mut writers = JoinSet::new();
    for _ in 0..in_flight {
        let store = Arc::clone(store);
        writers.spawn(async move {
            let mut done = 0;
            while clock::now() < until {
                done += commit_batch(store.as_ref(), batch).await?;
            }
            Ok::<u64, anyhow::Error>(done)
        });
    }
    let total = timeout(sample + GRACE, async {
        let mut total = 0;
        while let Some(done) = writers.join_next().await {
            total += done??;
        }
        Ok::<u64, anyhow::Error>(total)
    });
    let total = total.await.context("the store did not answer in time")??;
    Ok(total as f64 / begun.elapsed().as_secs_f64())
}

/// Opens `size` streams with one event each, in one transaction.
async fn commit_batch(store: &dyn Store, size: usize) -> Result<u64> {
    let ctx = Ctx::new(SystemClock.now(), SystemEntropy.draw());
    let batch = (0..size as u64).map(|index| commit(&ctx, index)).collect::<Result<Vec<_>>>()?;
    let outcomes = store.commit(&batch).await?;
    ensure!(outcomes.len() == size, "{size} commits had {} outcomes", outcomes.len());
    if let Some(other) = outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Done { .. })) {
        bail!("a commit to a fresh stream was not done: {other:?}");
    }
    Ok(size as u64)
}

fn commit(ctx: &Ctx, index: u64) -> Result<Commit> {
    let project = ProjectId::of("bench-ceiling");
    let stream = TaskId::new(ctx, index).stream();
    Ok(Commit {
        id: CommitId::new(ctx, index),
        appends: vec![Append::new(stream, project, 0, &[Event::Readied { step: 0 }])?],
        unchanged: Vec::new(),
        valid_until: None,
        request: None,
        payloads: Vec::new(),
        rows: Vec::new(),
    })
}
