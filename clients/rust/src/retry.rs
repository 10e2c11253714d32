//! Repeating unary calls: full jitter between attempts, one deadline over all.
//!
//! Invariant: only calls that may happen twice come here: reads, and mutations
//! whose request carries an id.

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::{Instant, timeout};
use tonic::{Code, Request, Response, Status};

use crate::ambient;
use crate::error::{Error, Origin};

/// Waits that double from `first` to `cap`, each drawn evenly between zero and that
/// ("full jitter": callers that failed together do not come back together).
pub(crate) struct Backoff {
    steps: ExponentialBackoff,
    cap: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, cap: Duration) -> Self {
        let steps = ExponentialBuilder::default()
            .with_min_delay(first)
            .with_max_delay(cap)
            .with_factor(2.0)
            .without_max_times()
            .build();
        Self { steps, cap }
    }

    /// The next wait, at least what the server asked for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let drawn = ambient::between_zero_and(self.steps.next().unwrap_or(self.cap));
        // On top of what was asked, or everybody would come back at that moment.
        asked.unwrap_or_default() + drawn
    }
}

/// How a call is repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// For the answer, repetitions included.
    pub(crate) deadline: Duration,
    pub(crate) repeat: Repeat,
}

/// After which errors a call is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Never,
    /// Only where nothing was done: for answers that cannot be given twice.
    IfNotDone,
    Always,
}

/// Calls until an answer, an error that stays, or the end of the time.
pub(crate) async fn call<M, R, F, Fut>(policy: Policy, message: M, mut attempt: F) -> Result<R, Error>
where
    M: Clone,
    F: FnMut(Request<M>) -> Fut,
    Fut: Future<Output = Result<Response<R>, Status>>,
{
    let end = ambient::now() + policy.deadline;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    loop {
        let error = match once(policy, end, message.clone(), &mut attempt).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let repeat = match policy.repeat {
            Repeat::Never => false,
            Repeat::IfNotDone => error.is_certainly_not_done(),
            Repeat::Always => error.is_retryable(),
        };
        let wait = backoff.next(error.retry_after);
        if !repeat || ambient::now() + wait >= end {
            return Err(error);
        }
        tracing::debug!(%error, ?wait, "calling again");
        tokio::time::sleep(wait).await;
    }
}

async fn once<M, R, F, Fut>(policy: Policy, end: Instant, message: M, attempt: &mut F) -> Result<R, Error>
where
    F: FnMut(Request<M>) -> Fut,
    Fut: Future<Output = Result<Response<R>, Status>>,
{
    let left = end.saturating_duration_since(ambient::now());
    // Half of the time for one attempt, so that an answer that got lost leaves
    // room for asking again.
    let limit = match policy.repeat {
        Repeat::Always => left.min((policy.deadline / 2).max(Duration::from_secs(1))),
        _ => left,
    };
    let mut request = Request::new(message);
    request.set_timeout(limit);
    match timeout(limit, attempt(request)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => {
            let mut error = Error::from(status);
            if error.origin == Origin::Transport && error.message.contains("Timeout expired") {
                error = out_of_time(limit);
            }
            Err(error)
        }
        Err(_) => Err(out_of_time(limit)),
    }
}

fn out_of_time(limit: Duration) -> Error {
    Error::transport(Code::DeadlineExceeded, format!("no answer within {limit:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_never_undercut_the_server() {
        let cap = Duration::from_secs(2);
        let mut backoff = Backoff::new(Duration::from_millis(50), cap);
        let asked = Duration::from_secs(1);
        let waits: Vec<_> = (0..200).map(|_| backoff.next(Some(asked))).collect();
        assert!(waits.iter().all(|wait| *wait >= asked && *wait <= asked + cap));
        assert!(waits[0] <= asked + Duration::from_millis(50));
        assert!(waits[20..].iter().any(|wait| *wait > asked + cap / 2), "never grew");
        assert!(waits[20..].iter().any(|wait| *wait < asked + cap / 2), "no jitter");
    }
}
