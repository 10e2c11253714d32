//! Group commit: whatever queued up while the last batch was in flight is
//! written together.
//!
//! Invariants: commits of batches in flight are disjoint; an answer is given
//! after the commit, never before; there is no fixed delay, so a lone commit costs
//! one disk sync. A lost answer is resolved by submitting the same commits again.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use quarterdeck_core::canary::{Mistake, planted};
use quarterdeck_core::{Span, StreamId};
use quarterdeck_store::{Commit, Outcome, RequestKey, Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::metrics;
use crate::options::Options;
use crate::ports::Time;

struct Request {
    commit: Commit,
    bytes: usize,
    answer: oneshot::Sender<Result<Outcome>>,
}

/// Handle to the committer.
#[derive(Clone)]
pub struct Committer(mpsc::Sender<Request>);

impl Committer {
    pub fn start(options: &Options, store: Arc<dyn Store>, time: Time) -> Self {
        let (sender, receiver) = mpsc::channel(options.commit_queue_max);
        let options = options.clone();
        let loop_time = time.clone();
        time.spawn(async move { run(options, store, loop_time, receiver).await });
        Self(sender)
    }

    /// Submits one commit and waits for its outcome.
    pub async fn commit(&self, commit: Commit) -> Result<Outcome> {
        let events: usize = commit.appends.iter().map(|append| append.body.len()).sum();
        let payloads: usize = commit.payloads.iter().map(|(_, bytes)| bytes.len()).sum();
        let (answer, outcome) = oneshot::channel();
        let request = Request { commit, bytes: events + payloads, answer };
        self.0.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded { retry_after: Span::from_millis(250) },
            mpsc::error::TrySendError::Closed(_) => Error::Draining,
        })?;
        outcome.await.map_err(|_| Error::Draining)?
    }
}

async fn run(options: Options, store: Arc<dyn Store>, time: Time, mut receiver: mpsc::Receiver<Request>) {
    let mut waiting: VecDeque<Request> = VecDeque::new();
    let mut busy = Touched::default();
    let mut in_flight = FuturesUnordered::new();
    let mut open = true;
    while open || !waiting.is_empty() || !in_flight.is_empty() {
        while in_flight.len() < options.batches_in_flight {
            let Some((batch, touched)) = gather(&mut waiting, &mut busy, &options) else {
                break;
            };
            metrics::batch(batch.len());
            in_flight.push(write(store.as_ref(), &time, options.resolve_for, batch, touched));
        }
        tokio::select! {
            biased;
            Some(touched) = in_flight.next() => busy.remove(&touched),
            // Backpressure: past the bound requests stay in the channel, which refuses.
            request = receiver.recv(), if open && waiting.len() < options.commit_queue_max => match request {
                Some(request) => waiting.push_back(request),
                None => open = false,
            },
            else => break,
        }
        // Take what else is there without another round.
        while open && waiting.len() < options.commit_queue_max {
            match receiver.try_recv() {
                Ok(request) => waiting.push_back(request),
                Err(_) => break,
            }
        }
    }
}

/// Takes the next disjoint batch off the queue, in order.
fn gather(
    waiting: &mut VecDeque<Request>,
    busy: &mut Touched,
    options: &Options,
) -> Option<(Vec<Request>, Touched)> {
    let mut batch = Vec::new();
    let mut touched = Touched::default();
    let mut left = VecDeque::new();
    let mut bytes = 0;
    while let Some(request) = waiting.pop_front() {
        let own = Touched::of(&request.commit);
        let fits = batch.len() < options.batch_max
            && (batch.is_empty() || bytes + request.bytes <= options.batch_bytes_max);
        if fits && !busy.meets(&own) && !touched.meets(&own) {
            bytes += request.bytes;
            touched.add(own);
            batch.push(request);
        } else {
            left.push_back(request);
            if !fits {
                break;
            }
        }
    }
    left.append(waiting);
    *waiting = left;
    if batch.is_empty() {
        return None;
    }
    busy.add(touched.clone());
    Some((batch, touched))
}

/// Streams and request keys that a batch touches.
#[derive(Clone, Default)]
struct Touched {
    appended: BTreeSet<StreamId>,
    guarded: Vec<StreamId>,
    requests: BTreeSet<RequestKey>,
}

impl Touched {
    fn of(commit: &Commit) -> Self {
        Self {
            appended: commit.appends.iter().map(|append| append.stream).collect(),
            guarded: commit.unchanged.iter().map(|guard| guard.stream).collect(),
            requests: commit.request.iter().map(|request| request.key.clone()).collect(),
        }
    }

    /// Appends meet appends and guards; guards may share.
    fn meets(&self, other: &Self) -> bool {
        other.appended.iter().any(|stream| self.appended.contains(stream) || self.guarded.contains(stream))
            || other.guarded.iter().any(|stream| self.appended.contains(stream))
            || other.requests.iter().any(|key| self.requests.contains(key))
    }

    fn add(&mut self, other: Self) {
        self.appended.extend(other.appended);
        self.guarded.extend(other.guarded);
        self.requests.extend(other.requests);
    }

    fn remove(&mut self, other: &Self) {
        for stream in &other.appended {
            self.appended.remove(stream);
        }
        for key in &other.requests {
            self.requests.remove(key);
        }
        for stream in &other.guarded {
            if let Some(place) = self.guarded.iter().position(|own| own == stream) {
                self.guarded.swap_remove(place);
            }
        }
    }
}

/// Writes one batch to its end and answers every request of it.
async fn write(
    store: &dyn Store,
    time: &Time,
    resolve_for: Span,
    batch: Vec<Request>,
    touched: Touched,
) -> Touched {
    let (commits, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|request| (request.commit, request.answer)).unzip();
    let result = resolve(store, time, resolve_for, &commits).await;
    match result {
        Ok(outcomes) => {
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // The caller may have gone; what was done stays done.
                let _ = answer.send(Ok(outcome));
            }
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(Error::Store(error.clone())));
            }
        }
    }
    touched
}

/// Commits, and as long as it is not known whether that happened, does it again.
async fn resolve(
    store: &dyn Store,
    time: &Time,
    resolve_for: Span,
    commits: &[Commit],
) -> std::result::Result<Vec<Outcome>, StoreError> {
    let first = match store.commit(commits).await {
        Err(StoreError::Unknown(why)) if planted(Mistake::UnknownIsFailure) => {
            return Err(StoreError::Unavailable(why));
        }
        Err(error) if error.is_unknown() => error,
        result => return result,
    };
    metrics::unknown_outcome();
    tracing::warn!(error = %first, commits = commits.len(), "the outcome of a batch is unknown; submitting it again");
    let started = time.local();
    let mut pause = Span::from_millis(20);
    while time.local().since(started) < resolve_for {
        time.sleep(time.jitter(pause)).await;
        pause = Span::from_micros((pause.as_micros() * 2).min(1_000_000));
        match store.commit(commits).await {
            // Not reached this time, but the first try may still have been done.
            Err(StoreError::Unknown(_) | StoreError::Unavailable(_)) => {}
            result => return result,
        }
    }
    Err(first)
}
