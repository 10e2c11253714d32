//! Deciding, editing, delegating, taking back.
//!
//! Invariants: a batch is decided whole or not at all; who may is decided by the
//! rules, on the state that is written to; a refused attempt is audited.

use std::sync::Arc;

use quarterdeck_core::action::Action;
use quarterdeck_core::approval::{Approval, Command as Say, Parties, Requested, Vote, Voter};
use quarterdeck_core::digest::Canonical;
use quarterdeck_core::{ApprovalId, Digest, ProjectId, Span};
use quarterdeck_risk::policy::{DecideAct, Decider, DeciderKind, RequestFacts};
use quarterdeck_store::RequestRecord;

use super::assess::{Who, compiled, role_words};
use super::change::Plan;
use super::standing::guard;
use crate::auth::Principal;
use crate::engine::{Engine, Shared};
use crate::error::{Error, Noun, Result};
use crate::record::{Change, request_record};

/// An approval, and the action that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub id: ApprovalId,
    pub digest: Digest,
}

impl Engine {
    /// Says yes or no to exactly these approvals, in one commit.
    pub async fn decide_approvals(
        &self,
        caller: &Principal,
        targets: &[Target],
        vote: Vote,
        comment: &str,
        request_id: &str,
    ) -> Result<Vec<Approval>> {
        let shared = &self.0;
        let known = shared.all_visible(caller, targets).await?;
        let project = one_project(&known)?;
        let mut canonical = Canonical::new("quarterdeck.request.decide-approvals.v1");
        canonical.text(&caller.person).int(vote as i64).text(comment);
        for target in targets {
            canonical.text(&target.id.to_string()).bytes(target.digest.as_bytes());
        }
        let stream =
            targets.first().map(|target| target.id.stream()).ok_or(Error::NotFound(Noun::Approval))?;
        let request = request_record(project, "DecideApprovals", request_id, canonical.finish(), stream);
        let comment = quarterdeck_risk::redact::text(comment);
        let ids: Vec<ApprovalId> = targets.iter().map(|target| target.id).collect();
        let decided = shared
            .change_approvals(project, request.as_ref(), || async {
                let mut plan = Plan::default();
                for (approval, target) in shared.approvals(&ids).await?.into_iter().zip(targets) {
                    shared.may(caller, &approval, act(vote)).await?;
                    let (by, comment, digest) = (voter(caller), comment.clone(), target.digest);
                    plan.commands.push((approval, Say::Vote { by, vote, digest, comment }));
                }
                Ok(plan)
            })
            .await;
        shared.answer(caller, &known, &ids, "decide", decided, request.as_ref()).await
    }

    /// Replaces the action of a pending approval by an edited one.
    pub async fn edit_approval(
        &self,
        caller: &Principal,
        target: Target,
        action: &Action,
        comment: &str,
        request_id: &str,
    ) -> Result<Approval> {
        let shared = &self.0;
        let known = shared.all_visible(caller, &[target]).await?;
        let project = one_project(&known)?;
        let successor = ApprovalId::new(&shared.time.ctx(), 0);
        let digest = Canonical::new("quarterdeck.request.edit-approval.v1")
            .text(&caller.person)
            .text(&target.id.to_string())
            .bytes(action.digest().as_bytes())
            .text(comment)
            .finish();
        let request = request_record(project, "EditApproval", request_id, digest, successor.stream());
        let edited = shared
            .change_approvals(project, request.as_ref(), || async {
                let before = shared.approval(target.id).await?.ok_or(Error::NotFound(Noun::Approval))?;
                shared.may(caller, &before, DecideAct::Approve).await?;
                let standing = shared.standing(&before.asked.project).await?;
                let asked = &before.asked;
                let who = Who { project: &asked.project, agent: &asked.agent, capability: "" };
                let judged = shared.judge(action, who, &standing)?;
                let successor = Requested {
                    id: successor,
                    parties: Parties { author: caller.person.clone(), ..asked.parties.clone() },
                    shown: judged.shown.clone(),
                    digest: judged.digest,
                    content: judged.content.0,
                    preview: judged.preview.digest(),
                    assessment: judged.assessment.clone(),
                    terms: judged.terms.clone(),
                    environment: standing.settings.environment.clone(),
                    policy: standing.version,
                    supersedes: Some(before.id()),
                    comment: quarterdeck_risk::redact::text(comment),
                    ..(**asked).clone()
                };
                let say =
                    Say::Supersede { by: voter(caller), digest: target.digest, successor: successor.id };
                Ok(Plan {
                    commands: vec![(before, say)],
                    opens: vec![(successor, judged.covered_by)],
                    unchanged: vec![guard(project, &standing)],
                    payloads: vec![judged.content],
                    ..Plan::default()
                })
            })
            .await;
        let mut after = shared.answer(caller, &known, &[successor], "edit", edited, request.as_ref()).await?;
        after.pop().ok_or(Error::NotFound(Noun::Approval))
    }

    /// Lets another person decide in the caller's place.
    pub async fn delegate_approval(
        &self,
        caller: &Principal,
        id: &str,
        to: &str,
        lifetime: Option<Span>,
        request_id: &str,
    ) -> Result<Approval> {
        let say = Say::Delegate { by: voter(caller), to: to.to_owned(), lifetime };
        self.speak(caller, id, "DelegateApproval", request_id, to, say).await
    }

    /// Takes a pending request back.
    pub async fn withdraw_approval(
        &self,
        caller: &Principal,
        id: &str,
        comment: &str,
        request_id: &str,
    ) -> Result<Approval> {
        let say = Say::Withdraw { by: voter(caller), comment: quarterdeck_risk::redact::text(comment) };
        self.speak(caller, id, "WithdrawApproval", request_id, comment, say).await
    }

    /// Takes a grant back before anything was started under it.
    pub async fn revoke_approval(
        &self,
        caller: &Principal,
        id: &str,
        comment: &str,
        request_id: &str,
    ) -> Result<Approval> {
        let say = Say::Revoke { by: voter(caller), comment: quarterdeck_risk::redact::text(comment) };
        self.speak(caller, id, "RevokeApproval", request_id, comment, say).await
    }

    async fn speak(
        &self,
        caller: &Principal,
        id: &str,
        method: &'static str,
        request_id: &str,
        detail: &str,
        say: Say,
    ) -> Result<Approval> {
        let shared = &self.0;
        let known = shared.visible_approval(caller, id).await?;
        let (project, id) = (ProjectId::of(&known.asked.project), known.id());
        let digest = Canonical::new("quarterdeck.request.approval.v1")
            .text(method)
            .text(&caller.person)
            .text(&id.to_string())
            .text(detail)
            .finish();
        let request = request_record(project, method, request_id, digest, id.stream());
        let done = shared
            .change_approvals(project, request.as_ref(), || async {
                let now = shared.approval(id).await?.ok_or(Error::NotFound(Noun::Approval))?;
                Ok(Plan { commands: vec![(now, say.clone())], ..Plan::default() })
            })
            .await;
        let mut after = shared.answer(caller, &[known], &[id], method, done, request.as_ref()).await?;
        after.pop().ok_or(Error::NotFound(Noun::Approval))
    }
}

impl Shared {
    async fn all_visible(&self, caller: &Principal, targets: &[Target]) -> Result<Vec<Approval>> {
        let ids: Vec<ApprovalId> = targets.iter().map(|target| target.id).collect();
        let found = self.approvals(&ids).await?;
        let visible = |approval: &Approval| caller.scope.covers(&approval.asked.project);
        match found.len() == targets.len() && found.iter().all(visible) {
            true => Ok(found),
            false => Err(Error::NotFound(Noun::Approval)),
        }
    }

    /// What the project's policy says of who decides. The rules have the last word on
    /// separation of duty; a policy may only forbid more.
    async fn may(self: &Arc<Self>, caller: &Principal, approval: &Approval, act: DecideAct) -> Result<()> {
        let standing = self.standing(&approval.asked.project).await?;
        let policy = compiled(&standing.settings.source)?;
        let decider = Decider {
            subject: caller.person.clone(),
            issuer: caller.issuer.clone(),
            roles: roles_of(caller, approval),
            kind: match caller.is_program() {
                true => DeciderKind::Service,
                false => DeciderKind::Human,
            },
        };
        let asked = &approval.asked;
        let request = RequestFacts {
            requester: asked.parties.requester.clone(),
            owner: Some(asked.parties.owner.clone()),
            author: Some(asked.parties.author.clone()),
            project: asked.project.clone(),
            level: asked.assessment.level,
            roles: role_words(approval),
        };
        policy.may_decide(&decider, &request, act).map_err(|reasons| {
            let why = reasons.into_iter().map(|reason| reason.text).collect::<Vec<_>>().join("; ");
            let why =
                if why.is_empty() { "policy lets nobody with these roles decide".to_owned() } else { why };
            Error::Refused(quarterdeck_core::Refusal::NotEligible { why })
        })
    }

    /// Answers what became of a change, audits what was refused, and finds what the
    /// same request did before.
    async fn answer(
        self: &Arc<Self>,
        caller: &Principal,
        known: &[Approval],
        ids: &[ApprovalId],
        what: &str,
        changed: Result<Change<Vec<Approval>>>,
        request: Option<&RequestRecord>,
    ) -> Result<Vec<Approval>> {
        let refused = match changed {
            Ok(Change::Done(approvals)) => return Ok(approvals),
            Ok(Change::Duplicate) => Error::RequestIdReused,
            Err(refused @ Error::Refused(_)) => refused,
            Err(error) => return Err(error),
        };
        // Refused now, but perhaps granted before: then this is a repetition.
        match (self.granted_before(request, &refused).await, ids) {
            (Ok(before), [_]) => self.approvals(&[ApprovalId::from_uuid(before.stream.as_uuid())]).await,
            (Ok(_), ids) => self.approvals(ids).await,
            (Err(why), _) => {
                for approval in known {
                    self.audit_refusal(caller, approval, what, &why).await;
                }
                Err(why)
            }
        }
    }
}

/// What the caller's roles come to here: a right that was lent counts as its lender's.
fn roles_of(caller: &Principal, approval: &Approval) -> Vec<String> {
    let own = caller.roles.iter().map(|role| crate::keys::role_name(*role).to_lowercase());
    let lent = approval.delegations.iter().any(|lent| lent.to == caller.person);
    own.chain(if lent { role_words(approval) } else { Vec::new() }).collect()
}

fn act(vote: Vote) -> DecideAct {
    match vote {
        Vote::Approve => DecideAct::Approve,
        Vote::Deny => DecideAct::Deny,
    }
}

fn voter(caller: &Principal) -> Voter {
    Voter { subject: caller.subject.clone(), person: caller.person.clone(), roles: caller.roles.clone() }
}

/// One commit is of one project.
fn one_project(approvals: &[Approval]) -> Result<ProjectId> {
    let first = approvals.first().map(|approval| approval.asked.project.as_str()).unwrap_or_default();
    match approvals.iter().all(|approval| approval.asked.project == first) {
        true => Ok(ProjectId::of(first)),
        false => Err(Error::ActionInvalid("approvals of one project are decided together".to_owned())),
    }
}
