//! Changing what holds in a project, and asking what would hold.

use std::sync::Arc;

use quarterdeck_core::action::Action;
use quarterdeck_core::approval::{Approval, Phase, Verdict, Vote};
use quarterdeck_core::digest::Canonical;
use quarterdeck_core::policy::{self as rules, Grant, Settings, Standing};
use quarterdeck_core::{ApprovalId, Digest, GrantId, ProjectId, Refusal, Span};
use quarterdeck_risk::policy::{Explanation, Facts, Pattern, Policy, Simulation, simulate};
use quarterdeck_store::RequestRecord;
use quarterdeck_store::rows::ApprovalFilter;

use super::assess::{Judged, Who, compiled};
use crate::auth::Principal;
use crate::engine::Engine;
use crate::error::{Error, Noun, Result};
use crate::record::{Change, request_record};

/// How long a yes is remembered where nobody says.
const REMEMBERED: Span = Span::from_secs(8 * 60 * 60);
/// Past approvals that a simulation looks at where nobody says.
const LOOKED_AT: u32 = 1_000;

/// What changes; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    pub environment: Option<String>,
    pub source: Option<String>,
    pub directory: Option<String>,
    pub if_version: Option<u64>,
}

/// A project's policy as it is answered.
#[derive(Clone, Debug)]
pub struct PolicyView {
    pub project: String,
    pub standing: Arc<Standing>,
    /// Of the policy in force.
    pub digest: Digest,
}

impl Engine {
    pub async fn get_policy(&self, caller: &Principal, project: &str) -> Result<PolicyView> {
        let project = self.own_project(caller, project).await?;
        let standing = self.0.standing(&project).await?;
        self.view(project, standing)
    }

    /// Changes a project's policy or environment.
    pub async fn update_policy(
        &self,
        caller: &Principal,
        project: &str,
        changed: Changed,
        request_id: &str,
    ) -> Result<PolicyView> {
        let project = self.own_project(caller, project).await?;
        if let Some(source) = &changed.source {
            compiled(source)?;
        }
        let digest = Canonical::new("quarterdeck.request.update-policy.v1")
            .text(&project)
            .text(&format!("{changed:?}"))
            .finish();
        let decide = |standing: &Standing| {
            let now = &standing.settings;
            let settings = Settings {
                environment: changed.environment.clone().unwrap_or_else(|| now.environment.clone()),
                source: changed.source.clone().unwrap_or_else(|| now.source.clone()),
                directory: changed.directory.clone().unwrap_or_else(|| now.directory.clone()),
            };
            let digest = Digest::of_content(settings.source.as_bytes());
            Ok(rules::change(standing, settings, digest, &caller.subject, changed.if_version)?)
        };
        let standing = self.change_policy(&project, "UpdatePolicy", request_id, digest, decide).await?;
        self.view(project, standing)
    }

    /// What a policy makes of an action, new or past, and which rules decide.
    pub async fn explain_policy(
        &self,
        caller: &Principal,
        project: &str,
        action: Option<&Action>,
        approval: &str,
        source: &str,
    ) -> Result<(Judged, Explanation)> {
        let shared = &self.0;
        let (project, action) = match action {
            Some(action) => (self.own_project(caller, project).await?, action.clone()),
            None => {
                let past = shared.visible_approval(caller, approval).await?;
                let action = shared.stored_action(past.asked.content, past.asked.digest).await?;
                (past.asked.project.clone(), action)
            }
        };
        let standing = shared.standing(&project).await?;
        let policy = self.policy_or(source, &standing)?;
        let who = Who { project: &project, agent: "", capability: "" };
        let judged = shared.judge_by(&policy, &action, who, &standing)?;
        let explanation = policy.explain(&judged.facts);
        Ok((judged, explanation))
    }

    /// Decides past actions again under another policy. Second is how many of those
    /// that people had denied would be automatic.
    pub async fn simulate_policy(
        &self,
        caller: &Principal,
        project: &str,
        source: &str,
        limit: u32,
    ) -> Result<(Simulation<ApprovalId>, u64)> {
        let shared = &self.0;
        let project = self.own_project(caller, project).await?;
        let standing = shared.standing(&project).await?;
        let now = compiled(&standing.settings.source)?;
        let then = compiled(source)?;
        let past = self.past(&project, if limit == 0 { LOOKED_AT } else { limit }).await?;
        let facts = past.iter().filter_map(|approval| {
            let facts: Facts = serde_json::from_str(&approval.asked.assessment.facts).ok()?;
            Some((approval.id(), facts))
        });
        let simulation = simulate(&now, &then, facts);
        let denied = simulation.changes.iter().filter(|change| change.to == Verdict::Auto).filter(|change| {
            let denied = |approval: &&Approval| approval.id() == change.id && approval.phase == Phase::Denied;
            past.iter().find(denied).is_some()
        });
        let denied = denied.count() as u64;
        Ok((simulation, denied))
    }

    async fn past(&self, project: &str, limit: u32) -> Result<Vec<Approval>> {
        const PAGE: u32 = 500;
        let (mut past, mut before) = (Vec::new(), None);
        let id = ProjectId::of(project);
        while (past.len() as u32) < limit {
            let page = PAGE.min(limit - past.len() as u32);
            let filter = ApprovalFilter::default();
            let (ids, next) = self.0.store.list_approvals(id, &filter, before, page).await?;
            past.extend(self.0.approvals(&ids).await?);
            before = next;
            if before.is_none() {
                break;
            }
        }
        Ok(past)
    }

    /// Remembers a yes.
    pub async fn create_grant(
        &self,
        caller: &Principal,
        approval: &str,
        any_agent: bool,
        lifetime: Option<Span>,
        comment: &str,
        request_id: &str,
    ) -> Result<(String, Grant)> {
        let shared = &self.0;
        let approval = shared.visible_approval(caller, approval).await?;
        let asked = &approval.asked;
        let approved = approval.votes.iter().any(|voted| {
            voted.person == caller.person && voted.vote == Vote::Approve && voted.delegated_by.is_none()
        });
        if !approved {
            let why = "only who has approved it remembers it".to_owned();
            return Err(Refusal::NotEligible { why }.into());
        }
        if !matches!(approval.phase, Phase::Granted | Phase::Redeemed) {
            let phase = approval.phase.word();
            let why = format!("the approval is {phase}: remember one that is granted or was used");
            return Err(Refusal::GrantNotPossible { why }.into());
        }
        let action = shared.stored_action(asked.content, asked.digest).await?;
        let standing = shared.standing(&asked.project).await?;
        let who = Who { project: &asked.project, agent: &asked.agent, capability: "" };
        let judged = shared.judge(&action, who, &standing)?;
        let pattern = Pattern::narrowest(&judged.found, judged.facts.kind, judged.facts.environment)
            .map_err(|error| Refusal::GrantNotPossible { why: error.to_string() })?;
        let pattern = serde_json::to_string(&pattern)
            .map_err(|error| Error::Internal(format!("a pattern cannot be written: {error}")))?;
        let ctx = shared.time.ctx();
        let agent = match (any_agent, approval.redeemed_by.as_ref()) {
            (true, _) => String::new(),
            (false, Some(by)) => by.agent.clone(),
            (false, None) => asked.agent.clone(),
        };
        if !any_agent && agent.is_empty() {
            let why = "no agent has the step yet: remember it for every agent, or later".to_owned();
            return Err(Refusal::GrantNotPossible { why }.into());
        }
        let grant = Grant {
            id: GrantId::new(&ctx, 0),
            agent,
            pattern,
            approval: approval.id(),
            created_by: caller.subject.clone(),
            created_at: ctx.now,
            expires_at: ctx.now.plus(lifetime.unwrap_or(REMEMBERED)),
            revoked_at: None,
            comment: quarterdeck_risk::redact::text(comment),
        };
        let digest = Canonical::new("quarterdeck.request.create-grant.v1")
            .text(&approval.id().to_string())
            .int(any_agent.into())
            .text(comment)
            .finish();
        let decide = |standing: &Standing| Ok(rules::remember(standing, grant.clone(), &ctx)?);
        let standing =
            self.change_policy(&asked.project, "CreateStandingGrant", request_id, digest, decide).await?;
        let same = |known: &&Grant| known.approval == grant.approval && known.agent == grant.agent;
        let known = standing.grants.get(&grant.id).or_else(|| standing.grants.values().rev().find(same));
        let grant = known.cloned().ok_or(Error::NotFound(Noun::Grant))?;
        Ok((asked.project.clone(), grant))
    }

    pub async fn list_grants(&self, caller: &Principal, project: &str) -> Result<(String, Vec<Grant>)> {
        let project = self.own_project(caller, project).await?;
        let standing = self.0.standing(&project).await?;
        Ok((project, standing.grants.values().rev().cloned().collect()))
    }

    pub async fn revoke_grant(
        &self,
        caller: &Principal,
        project: &str,
        grant: &str,
        request_id: &str,
    ) -> Result<(String, Grant)> {
        let project = self.own_project(caller, project).await?;
        let id: GrantId = grant.parse().map_err(|_| Error::NotFound(Noun::Grant))?;
        let digest = Canonical::new("quarterdeck.request.revoke-grant.v1").text(grant).finish();
        let decide = |standing: &Standing| Ok(rules::forget(standing, id, &caller.subject)?);
        let standing =
            self.change_policy(&project, "RevokeStandingGrant", request_id, digest, decide).await?;
        let grant = standing.grants.get(&id).cloned().ok_or(Error::NotFound(Noun::Grant))?;
        Ok((project, grant))
    }

    /// Lets an agent's standing grants count again.
    pub async fn reinstate_agent(
        &self,
        caller: &Principal,
        project: &str,
        agent: &str,
        comment: &str,
        request_id: &str,
    ) -> Result<PolicyView> {
        let project = self.own_project(caller, project).await?;
        let digest = Canonical::new("quarterdeck.request.reinstate.v1").text(agent).text(comment).finish();
        let comment = quarterdeck_risk::redact::text(comment);
        let decide = |standing: &Standing| Ok(rules::reinstate(standing, agent, &caller.subject, &comment));
        let standing = self.change_policy(&project, "ReinstateAgent", request_id, digest, decide).await?;
        self.view(project, standing)
    }

    pub(crate) async fn own_project(&self, caller: &Principal, project: &str) -> Result<String> {
        let project = caller.project(project)?;
        self.0.project(&project).await?;
        Ok(project)
    }

    fn policy_or(&self, source: &str, standing: &Standing) -> Result<Arc<Policy>> {
        let source = if source.is_empty() { standing.settings.source.as_str() } else { source };
        compiled(source)
    }

    /// Changes what holds once a request. Answers it as it is then.
    pub(crate) async fn change_policy(
        &self,
        project: &str,
        method: &'static str,
        request_id: &str,
        digest: Digest,
        decide: impl Fn(&Standing) -> Result<Vec<rules::Event>>,
    ) -> Result<Arc<Standing>> {
        let id = ProjectId::of(project);
        let request: Option<RequestRecord> =
            request_record(id, method, request_id, digest, id.policy_stream());
        match self.0.change_standing(project, request.as_ref(), decide).await {
            Ok(Change::Done(standing)) => Ok(standing),
            Ok(Change::Duplicate) => {
                self.0.granted_before(request.as_ref(), &Error::RequestIdReused).await?;
                self.0.standings.forget(id);
                self.0.standing(project).await
            }
            // Refused now, but perhaps granted before: then this is a repetition.
            Err(refused @ Error::Refused(_)) => {
                self.0.granted_before(request.as_ref(), &refused).await?;
                self.0.standing(project).await
            }
            Err(error) => Err(error),
        }
    }

    fn view(&self, project: String, standing: Arc<Standing>) -> Result<PolicyView> {
        let policy = compiled(&standing.settings.source)?;
        Ok(PolicyView { project, digest: Digest::from_bytes(policy.digest()), standing })
    }
}
