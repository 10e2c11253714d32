//! The handlers at work: one tokio task each, owned here.
//!
//! Invariants: a handler that was cancelled is dropped after the grace; a panic in a
//! handler ends that step alone; whatever a handler said before it ended is taken
//! before its end.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::authorize;
use super::context::StepContext;
use super::outcome::{Draft, Outcome, StepError};
use crate::payload::Payload;

/// Words of handlers that the session has not taken yet.
const WORDS: usize = 256;

pub(super) type Answer = Result<Payload, StepError>;
pub(super) type Handler =
    Arc<dyn Fn(StepContext) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// What a handler says while at work.
pub(super) enum Word {
    /// How far it is.
    Progress { lease_token: String, draft: Draft },
    /// It waits for people to decide.
    Await { approval_id: String, answer: authorize::Answer },
}

/// What happens on this side of the connection.
pub(super) enum Event {
    ShutdownAsked,
    Said(Word),
    /// `None` for a handler that was stopped.
    Finished(String, Option<Outcome>),
    TimeUp,
}

pub(super) struct Running {
    tasks: JoinSet<(String, Option<Outcome>)>,
    words: mpsc::Receiver<Word>,
    sender: mpsc::Sender<Word>,
    shutdown: CancellationToken,
    shutdown_seen: bool,
    abort_grace: Duration,
    /// When to report [`Event::TimeUp`].
    pub(super) alarm: Option<Instant>,
}

impl Running {
    pub(super) fn new(shutdown: CancellationToken, abort_grace: Duration) -> Self {
        let (sender, words) = mpsc::channel(WORDS);
        Self {
            tasks: JoinSet::new(),
            words,
            sender,
            shutdown,
            shutdown_seen: false,
            abort_grace,
            alarm: None,
        }
    }

    pub(super) fn words(&self) -> mpsc::Sender<Word> {
        self.sender.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Starts a handler.
    pub(super) fn start(&mut self, handler: &Handler, step: StepContext) {
        let (handler, grace) = (Arc::clone(handler), self.abort_grace);
        self.tasks.spawn(async move {
            let token = step.lease_token().to_owned();
            let cancel = step.cancelled().clone();
            // The call itself may panic, too: it is inside.
            let work = AssertUnwindSafe(async move { handler(step).await }).catch_unwind();
            let stopped = async {
                cancel.cancelled().await;
                sleep(grace).await;
            };
            let mut work = pin!(work);
            let outcome = tokio::select! {
                biased;
                answer = &mut work => Some(answer.map_or_else(|panic| panicked(&*panic), Outcome::of)),
                () = stopped => None,
            };
            (token, outcome)
        });
    }

    /// The next event. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Event {
        let alarm = self.alarm;
        tokio::select! {
            biased;
            () = self.shutdown.cancelled(), if !self.shutdown_seen => {
                self.shutdown_seen = true;
                Event::ShutdownAsked
            }
            // Never `None`: a sender is kept here.
            Some(word) = self.words.recv() => Event::Said(word),
            Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => match ended {
                Ok((token, outcome)) => Event::Finished(token, outcome),
                // Only an abort ends here, and whoever aborts has dropped the lease.
                Err(_) => Event::Finished(String::new(), None),
            },
            () = async { sleep_until(alarm.unwrap_or_else(crate::ambient::now)).await }, if alarm.is_some() => {
                self.alarm = None;
                Event::TimeUp
            }
        }
    }

    /// Waits until the handlers, all cancelled before, are gone; those that do not
    /// come to an `await` in time are left behind.
    pub(super) async fn wind_down(&mut self) {
        let limit = self.abort_grace + Duration::from_secs(1);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "handlers did not stop when they were told to");
        }
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Outcome {
    let words = panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no words".to_owned());
    StepError::fail("AGENT_PANIC", format!("the handler panicked: {words}")).0
}
