//! A test bed: a cluster, the connections to it, and the board of what happened.
//!
//! Invariant: nothing is believed because a call said so. Before a bed is put
//! away, and whenever it is quiet, the generator's count of tasks is compared with
//! the servers' own, and the list of tasks is read for any that did not succeed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_core::Timestamp;
use quarterdeck_engine::ports::{Clock, SystemClock};
use tokio::time::timeout;

use crate::agents::Board;
use crate::arguments::Place;
use crate::cluster::Cluster;
use crate::connect::Connections;
use crate::data::Directory;
use crate::metrics::Counters;
use crate::{clock, disk};

/// For reading the list of tasks to its end.
const LIST_TIMEOUT: Duration = Duration::from_secs(300);
const PAGE: i32 = 1_000;
/// How long a bed may take to become quiet.
const QUIET_LIMIT: Duration = Duration::from_secs(120);
const QUIET_SAMPLE: Duration = Duration::from_secs(1);
/// Share of a core below which servers and database count as quiet.
const QUIET_SHARE: f64 = 0.08;

pub struct Bed {
    // Invariant: connections are closed before the servers stop.
    pub connections: Arc<Connections>,
    pub board: Arc<Board>,
    pub cluster: Cluster,
    /// Before the servers started, as long as nothing else used the disk.
    pub disk_sync_ms: f64,
    begun: Timestamp,
}

impl Bed {
    /// Starts what is measured and connects to it by `sockets` connections.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(place: &Place, sockets: usize, disk_budget: Duration) -> Result<Self> {
        Self::with_redis(place, sockets, disk_budget, false).await
    }

    /// The same; with `redis`, servers tell each other through one.
    pub async fn with_redis(
        place: &Place,
        sockets: usize,
        disk_budget: Duration,
        redis: bool,
    ) -> Result<Self> {
        let data = Directory::make(place.data.as_deref(), place.store)?;
        let disk_sync_ms = disk::sync_ms(data.path(), disk_budget)?;
        let cluster = Cluster::start(place, data, redis).await?;
        let connections =
            Arc::new(Connections::open(&cluster.addresses(), &cluster.credential(), sockets).await?);
        let begun = SystemClock.now();
        Ok(Self { connections, board: Arc::default(), cluster, disk_sync_ms, begun })
    }

    /// Connects anew, to all servers that there are now.
    pub async fn connect(&mut self) -> Result<()> {
        let (addresses, sockets) = (self.cluster.addresses(), self.connections.len());
        self.connections =
            Arc::new(Connections::open(&addresses, &self.cluster.credential(), sockets).await?);
        Ok(())
    }

    /// Compares what the generator and the servers have counted. To be called when
    /// nothing is under way; differences are problems.
    pub async fn audit(&self) -> Result<()> {
        for (count, words) in differences(&self.board, &self.cluster.counters().await?) {
            self.board.problems.add_many(count, words);
        }
        Ok(())
    }

    /// [`Self::audit`], and reads the list for tasks that did not succeed.
    pub async fn audit_thoroughly(&self) -> Result<()> {
        self.audit().await?;
        let listed = timeout(LIST_TIMEOUT, self.unsuccessful()).await;
        let unsuccessful = listed.context("the list of tasks could not be read in time")??;
        self.board.problems.add_many(unsuccessful, "tasks are listed that did not succeed");
        Ok(())
    }

    /// Tasks of this run that are running, failed or cancelled, by the list.
    async fn unsuccessful(&self) -> Result<u64> {
        let states = [pb::TaskState::Running, pb::TaskState::Failed, pb::TaskState::Canceled];
        let micros = self.begun.as_micros();
        let filter = pb::TaskFilter {
            states: states.map(|state| state as i32).to_vec(),
            created_after: Some(prost_types::Timestamp {
                seconds: micros.div_euclid(1_000_000),
                nanos: i32::try_from(micros.rem_euclid(1_000_000))? * 1_000,
            }),
            ..pb::TaskFilter::default()
        };
        let mut request =
            pb::ListTasksRequest { filter: Some(filter), page_size: PAGE, ..pb::ListTasksRequest::default() };
        let (mut stub, mut found) = (self.connections.tasks(0), 0);
        loop {
            let page = stub.list_tasks(request.clone()).await?.into_inner();
            found += page.tasks.len() as u64;
            if page.next_page_token.is_empty() {
                return Ok(found);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Waits until servers and database have nothing left to do, such as a
    /// checkpoint or a vacuum; at most for a while.
    pub async fn quiet(&self) {
        let until = clock::now() + QUIET_LIMIT;
        while clock::now() < until {
            let before = self.cluster.used();
            tokio::time::sleep(QUIET_SAMPLE).await;
            let used = self.cluster.used().since(before);
            let share = (used.server + used.database.unwrap_or_default()).div_duration_f64(QUIET_SAMPLE);
            if share < QUIET_SHARE {
                return;
            }
        }
        eprintln!("warning: servers or database were still busy after {QUIET_LIMIT:?}");
    }

    /// Stops everything; what went wrong so far, and in words.
    pub async fn stop(self) -> Result<(u64, String)> {
        let Self { connections, board, cluster, .. } = self;
        drop(connections);
        cluster.stop().await?;
        Ok((board.problems.count(), board.problems.words()))
    }
}

/// Where the generator and the servers disagree, or something did not succeed: by
/// how many, and in words.
fn differences(board: &Board, counters: &Counters) -> Vec<(u64, String)> {
    let created = board.created.load(Ordering::Relaxed);
    let finished = board.finished.load(Ordering::Relaxed);
    let steps = board.steps.load(Ordering::Relaxed);
    let compared = [
        (created, counters.created, "tasks created"),
        (created, counters.succeeded, "tasks that succeeded"),
        (finished, counters.succeeded, "tasks finished"),
        (steps, counters.steps_succeeded, "steps that succeeded"),
        (0, counters.ended_otherwise, "tasks that ended without success"),
        (0, counters.attempts_lost, "attempts without success"),
        (0, counters.stale, "stale words of agents"),
    ];
    let differing = compared.into_iter().filter(|(ours, theirs, _)| ours != theirs);
    let words = |(ours, theirs, what): (u64, u64, &str)| {
        (ours.abs_diff(theirs), format!("{what}: {ours} by the generator's count, {theirs} by the servers'"))
    };
    differing.map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disagreement_is_a_problem() {
        let board = Board::default();
        board.created.store(10, Ordering::Relaxed);
        board.finished.store(10, Ordering::Relaxed);
        board.steps.store(30, Ordering::Relaxed);
        let agreed = Counters { created: 10, succeeded: 10, steps_succeeded: 30, ..Counters::default() };
        assert_eq!(differences(&board, &agreed), []);
        for (counters, expected, first) in [
            (Counters { created: 11, ..agreed }, 1, "tasks created: 10"),
            (Counters { succeeded: 8, ..agreed }, 2, "tasks that succeeded: 10"),
            (Counters { steps_succeeded: 29, ..agreed }, 1, "steps that succeeded: 30"),
            (Counters { ended_otherwise: 1, ..agreed }, 1, "tasks that ended without success: 0"),
            (Counters { attempts_lost: 3, ..agreed }, 1, "attempts without success: 0"),
            (Counters { stale: 1, ..agreed }, 1, "stale words of agents: 0"),
        ] {
            let found = differences(&board, &counters);
            assert_eq!(found.len(), expected, "{found:?}");
            assert!(found[0].1.starts_with(first), "{found:?}");
        }
        board.finished.store(9, Ordering::Relaxed);
        assert_eq!(differences(&board, &agreed)[0].0, 1, "a task that no agent finished");
    }
}
