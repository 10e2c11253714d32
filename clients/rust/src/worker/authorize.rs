//! Asking for a yes in the middle of a step.
//!
//! Invariant: what is answered as started is recorded as started, by this attempt, with
//! exactly the bytes that are answered. What became of a request is told on the session;
//! every connection of it is asked again for what is still waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use quarterdeck_api::approvals::v1 as pb;
use quarterdeck_api::orchestration::v1 as wire;
use quarterdeck_api::orchestration::v1::session_request::Message as Up;
use tokio::sync::oneshot;
use tonic::Code;

use super::context::StepContext;
use super::outcome::StepError;
use crate::error::Error;
use crate::retry;
use crate::services::required;

/// What became of a request for a yes.
#[derive(Debug, Clone, PartialEq)]
pub enum Authorization {
    /// It may be carried out, once, now: it is recorded as started.
    Started(Box<StartedAction>),
    /// It may not: denied, not decided on in time, taken back.
    Refused(Box<pb::Approval>),
}

/// An action that is recorded as started.
#[derive(Debug, Clone, PartialEq)]
pub struct StartedAction {
    pub approval_id: String,
    /// What to carry out. Not what was asked for where people edited it.
    pub action: pb::Action,
    /// The same for every answer to this start: hand it to systems that can tell a
    /// repetition by it.
    pub idempotency_key: String,
}

impl Authorization {
    /// What to carry out, or the failure of the step for want of a yes: its reason is
    /// APPROVAL_DENIED, APPROVAL_TIMEOUT or APPROVAL_WITHDRAWN, and it is not tried again.
    ///
    /// # Errors
    /// It was refused.
    pub fn or_fail(self) -> Result<StartedAction, StepError> {
        let approval = match self {
            Self::Started(started) => return Ok(*started),
            Self::Refused(approval) => approval,
        };
        let reason = match approval.state() {
            pb::ApprovalState::Denied => "APPROVAL_DENIED",
            pb::ApprovalState::Expired => "APPROVAL_TIMEOUT",
            _ => "APPROVAL_WITHDRAWN",
        };
        Err(StepError::not_retryable(reason, format!("{}: {}", approval.id, approval.reason)))
    }
}

/// Where a handler gets to know what became of a request.
pub(super) type Answer = oneshot::Sender<wire::ApprovalDecided>;

/// What the handlers wait for.
#[derive(Default)]
pub(super) struct Waits(BTreeMap<String, Vec<Answer>>);

impl Waits {
    /// A handler waits; answers what is to be sent.
    pub(super) fn enter(&mut self, approval_id: String, answer: Answer) -> Up {
        self.prune();
        self.0.entry(approval_id.clone()).or_default().push(answer);
        Up::AwaitApproval(wire::AwaitApproval { approval_id })
    }

    /// Tells the handlers that wait for it.
    pub(super) fn decided(&mut self, word: &wire::ApprovalDecided) {
        for answer in self.0.remove(&word.approval_id).unwrap_or_default() {
            // Fails only where the handler does not wait any more.
            let _ = answer.send(word.clone());
        }
    }

    /// What a new connection is to be asked for.
    pub(super) fn all(&mut self) -> Vec<Up> {
        self.prune();
        let ask = |id: &String| Up::AwaitApproval(wire::AwaitApproval { approval_id: id.clone() });
        self.0.keys().map(ask).collect()
    }

    fn prune(&mut self) {
        self.0.retain(|_, answers| {
            answers.retain(|answer| !answer.is_closed());
            !answers.is_empty()
        });
    }
}

impl StepContext {
    /// Asks for a yes to an action, waits for it as long as it takes, and has it
    /// recorded as started. `comment` says why, for people; policy does not look at it.
    /// While it waits the step's progress timeout is restarted.
    ///
    /// Asking again, for the same or another action, is another request.
    ///
    /// # Errors
    /// LEASE_STALE where the attempt is over; what the contract says of Authorize and RedeemGrant.
    pub async fn authorize(
        &self,
        action: pb::Action,
        comment: impl Into<String>,
    ) -> Result<Authorization, Error> {
        let request = pb::AuthorizeRequest {
            lease_token: self.lease_token().to_owned(),
            request_key: self.next_request_key(),
            action: Some(action.clone()),
            comment: comment.into(),
        };
        let answer = retry::call(self.client.policy(), request, |request| {
            let mut stub = self.client.gate_stub();
            async move { stub.authorize(request).await }
        });
        let mut approval = required(answer.await?.approval, "approval")?;
        let mut runs = Some(action);
        loop {
            let next = match approval.state() {
                pb::ApprovalState::Pending => approval.id,
                // Edited: the other's bytes come with its start.
                pb::ApprovalState::Superseded => {
                    runs = None;
                    approval.superseded_by
                }
                pb::ApprovalState::Granted => return self.start(approval.id, runs).await,
                _ => return Ok(Authorization::Refused(Box::new(approval))),
            };
            approval = self.decision(next).await?;
        }
    }

    async fn start(&self, approval_id: String, runs: Option<pb::Action>) -> Result<Authorization, Error> {
        let lease_token = self.lease_token().to_owned();
        let request = pb::RedeemGrantRequest { approval_id, lease_token, action: runs.clone() };
        let answer = retry::call(self.client.policy(), request, |request| {
            let mut stub = self.client.gate_stub();
            async move { stub.redeem_grant(request).await }
        });
        let answer = answer.await?;
        let started = StartedAction {
            approval_id: required(answer.approval, "approval")?.id,
            action: required(runs.or(answer.action), "action")?,
            idempotency_key: answer.idempotency_key,
        };
        Ok(Authorization::Started(Box::new(started)))
    }

    /// An approval once it is not pending any more.
    async fn decision(&self, approval_id: String) -> Result<pb::Approval, Error> {
        let (answer, mut decided) = oneshot::channel();
        self.await_approval(approval_id, answer).await;
        let word = loop {
            tokio::select! {
                biased;
                word = &mut decided => break word,
                () = self.cancelled().cancelled() => return Err(gone("the step was taken away")),
                () = tokio::time::sleep(self.silence()) => self.say_again().await,
            }
        };
        let word = word.map_err(|_| gone("the agent has ended"))?;
        match word.approval {
            Some(approval) => Ok(approval),
            None => Err(Error::client(Code::FailedPrecondition, format!("not waited for: {}", word.reason))),
        }
    }

    /// How long it may be silent and keep its step.
    fn silence(&self) -> Duration {
        const LONG: Duration = Duration::from_secs(3_600);
        self.progress_timeout().map_or(LONG, |timeout| timeout / 3)
    }
}

fn gone(why: &str) -> Error {
    Error::client(Code::Aborted, format!("{why} while it waited for a yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_still_waits_is_told_once_and_asked_for_again() {
        let mut waits = Waits::default();
        let (first, mut told) = oneshot::channel();
        let (second, gone) = oneshot::channel();
        waits.enter("apr_1".to_owned(), first);
        waits.enter("apr_2".to_owned(), second);
        drop(gone);
        let again = waits.all();
        assert!(matches!(&again[..], [Up::AwaitApproval(word)] if word.approval_id == "apr_1"), "{again:?}");
        let word = wire::ApprovalDecided { approval_id: "apr_1".to_owned(), ..Default::default() };
        waits.decided(&word);
        assert_eq!(told.try_recv(), Ok(word.clone()));
        waits.decided(&word);
        assert!(waits.all().is_empty());
    }

    #[test]
    fn a_refusal_fails_the_step_for_good_with_its_reason() {
        for (state, reason) in [
            (pb::ApprovalState::Denied, "APPROVAL_DENIED"),
            (pb::ApprovalState::Expired, "APPROVAL_TIMEOUT"),
            (pb::ApprovalState::Revoked, "APPROVAL_WITHDRAWN"),
        ] {
            let approval = pb::Approval { state: state.into(), id: "apr_1".to_owned(), ..Default::default() };
            let failed = Authorization::Refused(Box::new(approval)).or_fail().unwrap_err();
            assert_eq!(failed, StepError::not_retryable(reason, "apr_1: "));
        }
    }
}
