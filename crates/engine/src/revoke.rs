//! Why leases are over that their agents did not end themselves.

use std::sync::Arc;

use quarterdeck_core::task::{FailureCode, LeaseToken, State, Task};
use quarterdeck_core::{ProjectId, SessionId};
use quarterdeck_store::rows::StepRef;

use crate::engine::Shared;
use crate::error::{Error, Result};
use crate::session::{Down, RevokeCause};

impl Shared {
    /// Takes a lease that is over from a session here, and tells it unless its own
    /// word ended it.
    pub(crate) async fn revoke(self: &Arc<Self>, session: SessionId, at: StepRef, token: u64) {
        if !self.dispatcher.holds(session, at, token) {
            return;
        }
        let cause = match self.current(at.task).await {
            Ok(task) => cause(&task, session, at, token),
            Err(_) => Some(RevokeCause::Lost),
        };
        match cause {
            Some(cause) => {
                let word = Down::Revoke { token: self.token(at, token).to_string(), cause };
                self.dispatcher.take_away(session, at, token, word);
            }
            None => drop(self.dispatcher.release(session, at, token)),
        }
    }

    /// Why a lease is over that a session of this project claims to hold; `None`
    /// where its own word ended it, or it is not over at all.
    pub(crate) async fn cause_of(
        self: &Arc<Self>,
        session: SessionId,
        project: ProjectId,
        claimed: &str,
    ) -> Result<Option<RevokeCause>> {
        let Ok(token) = claimed.parse::<LeaseToken>() else {
            return Ok(Some(RevokeCause::Lost));
        };
        if token.epoch != self.store.epoch() {
            return Ok(Some(RevokeCause::Lost));
        }
        match self.current(token.task).await {
            Ok(task) if ProjectId::of(&task.project) == project => {
                let at = StepRef { task: token.task, step: token.step };
                Ok(cause(&task, session, at, token.sequence))
            }
            // What is not the caller's does not exist.
            Ok(_) | Err(Error::NotFound(_)) => Ok(Some(RevokeCause::Lost)),
            Err(error) => Err(error),
        }
    }
}

fn cause(task: &Task, session: SessionId, at: StepRef, token: u64) -> Option<RevokeCause> {
    let step = task.step(at.step);
    let lease = step.and_then(|step| step.lease()).map(|lease| (lease.session, lease.token));
    let closed = step.and_then(|step| step.closed).map(|closed| (closed.session, closed.token));
    match task.state {
        _ if [lease, closed].contains(&Some((session, token))) => None,
        State::Canceled => Some(RevokeCause::TaskCanceled),
        _ if timed_out(task, at) => Some(RevokeCause::Timeout),
        State::Succeeded | State::Failed => Some(RevokeCause::TaskEnded),
        State::Running => Some(RevokeCause::Lost),
    }
}

/// Whether time ended the step's last attempt.
fn timed_out(task: &Task, at: StepRef) -> bool {
    let failure = task.step(at.step).and_then(|step| step.last_failure.as_ref());
    failure.is_some_and(|failure| {
        matches!(failure.code, FailureCode::AttemptTimeout | FailureCode::ProgressTimeout)
    })
}
