//! Agents that ask for a yes in the middle of a step.
//!
//! Invariants: an approval that was asked for under a lease is redeemed under that
//! lease alone, while it is held; the agent's key for its request makes it one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quarterdeck_core::action::Action;
use quarterdeck_core::approval::{
    Approval, Command as Say, Effect, Origin, Parties, Phase, Redeemer, Requested, Wait,
};
use quarterdeck_core::canary::{Mistake, planted};
use quarterdeck_core::policy::{Standing, suspend};
use quarterdeck_core::task::{LeaseToken, Task};
use quarterdeck_core::{ApprovalId, Digest, ProjectId, Refusal, SessionId, Span, StreamId};
use quarterdeck_store::Guard;
use tokio::sync::watch;

use super::assess::{Judged, Who};
use super::change::Plan;
use super::standing::guard;
use crate::auth::Principal;
use crate::engine::{Engine, Shared};
use crate::error::{Error, Noun, Result};
use crate::record::Change;
use crate::words::stale;

/// Longest wait in one call.
const WAIT_MAX: Span = Span::from_secs(55);

/// A request for a yes.
#[derive(Clone, Debug)]
pub struct Ask {
    pub lease_token: String,
    pub request_key: String,
    pub action: Action,
    pub comment: String,
}

/// Who waits for approvals here.
#[derive(Default)]
pub(crate) struct Waits(Mutex<BTreeMap<ApprovalId, Waiting>>);

struct Waiting {
    wake: watch::Sender<()>,
    /// Revision that somebody who waits has read, after subscribing.
    seen: u64,
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ApprovalId, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wake(&self, id: ApprovalId) {
        if let Some(waiting) = self.lock().get(&id) {
            waiting.wake.send_replace(());
        }
    }

    fn wait(&self, id: ApprovalId) -> watch::Receiver<()> {
        let mut waits = self.lock();
        waits.entry(id).or_insert_with(|| Waiting { wake: watch::Sender::new(()), seen: 0 }).wake.subscribe()
    }

    /// One of those that wait has read it. Others may have read an older one.
    fn saw(&self, id: ApprovalId, revision: u64) {
        if let Some(waiting) = self.lock().get_mut(&id).filter(|waiting| waiting.seen < revision) {
            if waiting.seen > 0 {
                waiting.wake.send_replace(());
            }
            waiting.seen = revision;
        }
    }

    /// Approvals that are waited for, and what was read of them; forgets the others.
    fn waited(&self) -> BTreeMap<ApprovalId, u64> {
        let mut waits = self.lock();
        waits.retain(|_, waiting| waiting.wake.receiver_count() > 0);
        waits.iter().map(|(id, waiting)| (*id, waiting.seen)).collect()
    }
}

/// The lease that an agent speaks for, and its task.
struct Speaking {
    token: LeaseToken,
    session: SessionId,
    agent: String,
    task: Arc<Task>,
}

impl Engine {
    /// Asks for a yes to one action. Answered once it is recorded.
    pub async fn authorize(&self, caller: &Principal, ask: Ask) -> Result<Approval> {
        let shared = &self.0;
        let speaking = shared.speaking(caller, &ask.lease_token).await?;
        let since = speaking.task.step(speaking.token.step).and_then(|step| step.lease());
        let since = since.map(|lease| lease.started_at).ok_or_else(stale)?;
        let id = ApprovalId::of_request(&ask.lease_token, &ask.request_key, since);
        let project = ProjectId::of(&speaking.task.project);
        // Mostly it is asked for once, which the commit finds out without a look.
        let again = AtomicBool::new(false);
        let changed = shared
            .change_approvals(project, None, || async {
                let standing = shared.opened_standing(&speaking.task.project).await?;
                if again.swap(true, Ordering::Relaxed)
                    && let Some(there) = shared.approval(id).await?
                {
                    return match there.asked.digest == ask.action.digest() {
                        true => Ok(Plan { commands: vec![(there, Say::Tick)], ..Plan::default() }),
                        false => Err(Error::RequestIdReused),
                    };
                }
                let spec = speaking.task.spec(speaking.token.step).ok_or_else(stale)?;
                let who = Who {
                    project: &speaking.task.project,
                    agent: &speaking.agent,
                    capability: &spec.capability,
                };
                let judged = shared.judge(&ask.action, who, &standing)?;
                let asked = requested(id, &speaking, &spec.key, caller, &judged, &standing, &ask.comment);
                Ok(Plan {
                    opens: vec![(asked, judged.covered_by)],
                    unchanged: vec![guard(project, &standing)],
                    payloads: vec![judged.content],
                    ..Plan::default()
                })
            })
            .await?;
        first(changed)
    }

    /// Waits until an approval is not pending any more, or the time is over.
    pub async fn await_approval(&self, caller: &Principal, id: &str, wait: Span) -> Result<Approval> {
        let shared = &self.0;
        let over = async {
            tokio::select! {
                biased;
                () = shared.draining.cancelled() => {}
                () = shared.time.sleep(wait.min(WAIT_MAX)) => {}
            }
        };
        shared.decided(caller, id, over).await
    }

    /// Starts a granted action: recorded when this is answered. `action` is what is
    /// about to run; without it the agent runs what is answered, which is what was granted.
    pub async fn redeem_grant(
        &self,
        caller: &Principal,
        id: &str,
        lease_token: &str,
        action: Option<&Action>,
    ) -> Result<(Approval, Option<Action>)> {
        let shared = &self.0;
        let approval = shared.visible_approval(caller, id).await?;
        let (digest, handed_out) = match action {
            Some(action) => (action.digest(), None),
            None => {
                let asked = &approval.asked;
                (asked.digest, Some(shared.stored_action(asked.content, asked.digest).await?))
            }
        };
        let redeemed = self.redeem(caller, &approval, lease_token, digest).await;
        if let Err(why) = &redeemed {
            shared.audit_refusal(caller, &approval, "redeem", why).await;
            if let Error::Refused(Refusal::ApprovalInvalid { why }) = why {
                shared.say_to(approval.id(), Say::Invalidate { why: *why }).await?;
            }
        }
        Ok((redeemed?, handed_out))
    }

    async fn redeem(
        &self,
        caller: &Principal,
        approval: &Approval,
        lease_token: &str,
        digest: Digest,
    ) -> Result<Approval> {
        let shared = &self.0;
        let project = ProjectId::of(&approval.asked.project);
        let id = approval.id();
        let changed = shared
            .change_approvals(project, None, || async {
                // Task and policy first: what is decided on holds when it is written.
                let speaking = shared.speaking(caller, lease_token).await?;
                shared.standings.forget(project);
                let standing = shared.standing(&speaking.task.project).await?;
                let now = shared.approval(id).await?.ok_or(Error::NotFound(Noun::Approval))?;
                let by = Redeemer {
                    task: speaking.token.task,
                    step: speaking.token.step,
                    session: speaking.session,
                    token: speaking.token.sequence,
                    agent: speaking.agent.clone(),
                };
                let (policy, environment) = (standing.version, standing.settings.environment.clone());
                Ok(Plan {
                    commands: vec![(now, Say::Redeem { by, digest, policy, environment })],
                    unchanged: vec![guard(project, &standing), held(&speaking.task)],
                    ..Plan::default()
                })
            })
            .await?;
        first(changed)
    }

    /// Takes what an agent observed after an action.
    pub async fn report_effects(
        &self,
        caller: &Principal,
        id: &str,
        effects: Vec<Effect>,
        exit_code: i32,
    ) -> Result<Approval> {
        let shared = &self.0;
        let approval = shared.visible_approval(caller, id).await?;
        let action = shared.stored_action(approval.asked.content, approval.asked.digest).await?;
        let standing = shared.standing(&approval.asked.project).await?;
        let surplus = super::assess::surplus(&action, &standing, &effects);
        let say = Say::Report { effects, exit_code, surplus: surplus.clone() };
        let reported = shared.say_to(approval.id(), say).await?.ok_or(Error::NotFound(Noun::Approval))?;
        let agent = reported.redeemed_by.as_ref().map(|by| by.agent.clone()).unwrap_or_default();
        let suspicious = reported.report.as_ref().is_some_and(|report| !report.surplus.is_empty());
        if suspicious && !agent.is_empty() {
            tracing::warn!(approval = %approval.id(), agent, "an action did more than was approved");
            crate::metrics::incident();
            let decide = |standing: &Standing| Ok(suspend(standing, &agent, approval.id()));
            shared.change_standing(&approval.asked.project, None, decide).await?;
        }
        Ok(reported)
    }
}

impl Shared {
    /// The lease that the caller speaks for, if it is held now.
    async fn speaking(self: &Arc<Self>, caller: &Principal, lease_token: &str) -> Result<Speaking> {
        let (token, session) = self.speaker(caller, lease_token).await?;
        let task = self.current(token.task).await?;
        let step = task.step(token.step).ok_or_else(stale)?;
        let lease = step.lease().ok_or_else(stale)?;
        if task.ended() || (lease.token, lease.session) != (token.sequence, session) {
            return Err(stale());
        }
        let agent = step.agent.clone().unwrap_or_default();
        Ok(Speaking { token, session, agent, task })
    }

    /// An approval once it is not pending any more, or as it is when `over` ends.
    pub(crate) async fn decided(
        &self,
        caller: &Principal,
        id: &str,
        over: impl Future<Output = ()>,
    ) -> Result<Approval> {
        let known: ApprovalId = id.parse().map_err(|_| Error::NotFound(Noun::Approval))?;
        // Before it is read: a change before that woke nobody.
        let mut changes = self.waits.wait(known);
        let mut over = std::pin::pin!(over);
        loop {
            changes.borrow_and_update();
            let approval = self.visible_approval(caller, id).await?;
            self.waits.saw(known, approval.revision);
            if approval.phase != Phase::Pending {
                return Ok(approval);
            }
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = &mut over => return Ok(approval),
            }
        }
    }

    /// Wakes who waits for approvals that moved without a hint.
    pub(crate) async fn catch_up_waits(&self) -> Result<()> {
        if planted(Mistake::DecisionUntold) {
            return Ok(());
        }
        let waited = self.waits.waited();
        let ids: Vec<ApprovalId> = waited.keys().copied().collect();
        for ids in ids.chunks(1_000) {
            let streams: Vec<StreamId> = ids.iter().map(|id| id.stream()).collect();
            for (stream, head) in self.store.heads(&streams).await? {
                let id = ApprovalId::from_uuid(stream.as_uuid());
                if waited.get(&id) != Some(&head) {
                    self.waits.wake(id);
                }
            }
        }
        Ok(())
    }
}

/// The task must be as it was looked at: the lease is held then.
fn held(task: &Task) -> Guard {
    Guard { stream: task.id.stream(), head: task.revision }
}

fn first(changed: Change<Vec<Approval>>) -> Result<Approval> {
    match changed {
        Change::Done(approvals) => approvals.into_iter().next().ok_or(Error::NotFound(Noun::Approval)),
        Change::Duplicate => Err(Error::RequestIdReused),
    }
}

fn requested(
    id: ApprovalId,
    speaking: &Speaking,
    step_key: &str,
    caller: &Principal,
    judged: &Judged,
    standing: &Standing,
    comment: &str,
) -> Requested {
    let (session, token) = (speaking.session, speaking.token.sequence);
    Requested {
        id,
        project: speaking.task.project.clone(),
        origin: Origin {
            task: speaking.task.id,
            step: speaking.token.step,
            step_key: step_key.to_owned(),
            wait: Wait::Lease { session, token },
        },
        requester: caller.subject.clone(),
        parties: Parties {
            requester: caller.person.clone(),
            owner: speaking.task.owner.clone(),
            author: caller.person.clone(),
        },
        agent: speaking.agent.clone(),
        shown: judged.shown.clone(),
        digest: judged.digest,
        content: judged.content.0,
        preview: judged.preview.digest(),
        assessment: judged.assessment.clone(),
        terms: judged.terms.clone(),
        environment: standing.settings.environment.clone(),
        policy: standing.version,
        supersedes: None,
        comment: quarterdeck_risk::redact::text(comment),
    }
}
