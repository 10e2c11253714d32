//! Those who follow tasks. Each checks what it is promised: a snapshot first, then
//! every event once and in order, and the end of the stream with the end of the task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::task_event::Kind;
use quarterdeck_api::orchestration::v1::watch_task_response::Frame;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Streaming;

use crate::connect::Connections;

const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
/// Watches opened at a time.
const OPENING: usize = 32;

/// Frames without an event, over all watchers.
pub type Heartbeats = Arc<AtomicU64>;

/// An open watch that has had its snapshot.
pub struct Watcher {
    stream: Streaming<pb::WatchTaskResponse>,
    /// Sequence of the last event that was seen, or that the snapshot covers.
    at: i64,
    heartbeats: Heartbeats,
}

impl Watcher {
    /// Follows `task` on connection `index`, counted round and round.
    ///
    /// # Errors
    /// When the first frame is no snapshot, or does not come.
    async fn open(
        connections: &Connections,
        index: usize,
        task_id: String,
        heartbeats: Heartbeats,
    ) -> Result<Self> {
        let request = pb::WatchTaskRequest { task_id, resume_after: String::new() };
        let mut stream = connections.tasks(index).watch_task(request).await?.into_inner();
        match stream.message().await?.and_then(|response| response.frame) {
            Some(Frame::Snapshot(task)) => Ok(Self { stream, at: task.revision, heartbeats }),
            other => bail!("a watch began with {other:?}"),
        }
    }

    /// Hands over every event until the task has ended; how many there were.
    ///
    /// # Errors
    /// At a gap, a repetition, or an end before the task's.
    pub async fn follow(mut self, mut each: impl FnMut(&pb::TaskEvent)) -> Result<u64> {
        let (mut events, mut over) = (0, false);
        while let Some(response) = self.stream.message().await? {
            match response.frame {
                None => drop(self.heartbeats.fetch_add(1, Ordering::Relaxed)),
                Some(Frame::Snapshot(_)) => bail!("a second snapshot"),
                Some(Frame::Event(event)) => {
                    self.at = next(self.at, &event)?;
                    each(&event);
                    over = matches!(event.kind, Some(Kind::TaskEnded(_)));
                    events += 1;
                }
            }
        }
        if !over {
            bail!("the watch ended at event {}, before its task", self.at);
        }
        Ok(events)
    }
}

/// Sequence of an event that must be the one after `at`.
fn next(at: i64, event: &pb::TaskEvent) -> Result<i64> {
    if event.sequence != at + 1 {
        bail!("event {} came after event {at}", event.sequence);
    }
    Ok(event.sequence)
}

/// Opens one watch for each of `tasks`, spread over the connections.
///
/// # Errors
/// When one of them does not begin as it should.
pub async fn open(
    connections: &Arc<Connections>,
    tasks: impl IntoIterator<Item = String>,
    heartbeats: &Heartbeats,
) -> Result<Vec<Watcher>> {
    let (mut opening, mut watchers) = (JoinSet::new(), Vec::new());
    for (index, task) in tasks.into_iter().enumerate() {
        if opening.len() == OPENING {
            opened(&mut opening, &mut watchers).await?;
        }
        let (connections, heartbeats) = (Arc::clone(connections), Arc::clone(heartbeats));
        opening.spawn(async move {
            let watcher = Watcher::open(&connections, index, task, heartbeats);
            timeout(OPEN_TIMEOUT, watcher).await.context("a watch did not begin in time")?
        });
    }
    while !opening.is_empty() {
        opened(&mut opening, &mut watchers).await?;
    }
    Ok(watchers)
}

async fn opened(opening: &mut JoinSet<Result<Watcher>>, watchers: &mut Vec<Watcher>) -> Result<()> {
    if let Some(watcher) = opening.join_next().await {
        watchers.push(watcher??);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_and_a_repetition_are_refused() {
        for (sequence, allowed) in [(4, false), (5, false), (6, true), (7, false)] {
            let event = pb::TaskEvent { sequence, ..pb::TaskEvent::default() };
            assert_eq!(next(5, &event).is_ok(), allowed, "event {sequence} after 5");
        }
    }
}
