//! Policies, explanations, simulations and standing grants.

use quarterdeck_api::approvals::v1 as pb;
use quarterdeck_core::ApprovalId;
use quarterdeck_core::approval::Verdict;
use quarterdeck_core::policy::Grant;
use quarterdeck_engine::approvals::{Changed, PolicyView};
use quarterdeck_risk::policy::{DEFAULT, Explanation, Part, Pattern, Simulation};

use super::approvals::{digest, verdict};
use super::{int64, time, violation};
use crate::status::Violation;

/// Changes that an answer lists at most.
const CHANGES_MAX: usize = 1_000;

pub fn to_wire(view: PolicyView) -> pb::Policy {
    let settings = &view.standing.settings;
    pb::Policy {
        project: view.project,
        environment: environment(&settings.environment).into(),
        source: settings.source.clone(),
        digest: digest(view.digest),
        revision: int64(view.standing.version),
        update_time: (view.standing.revision > 0).then(|| time::timestamp(view.standing.updated_at)),
        updated_by: view.standing.updated_by.clone(),
        suspended_agents: view.standing.suspended.iter().cloned().collect(),
        shipped_source: if settings.source.is_empty() { DEFAULT.to_owned() } else { String::new() },
        project_directory: settings.directory.clone(),
    }
}

fn environment(word: &str) -> pb::Environment {
    match word {
        "development" => pb::Environment::Development,
        "staging" => pb::Environment::Staging,
        "production" => pb::Environment::Production,
        _ => pb::Environment::Unspecified,
    }
}

fn environment_word(number: i32) -> String {
    match pb::Environment::try_from(number) {
        Ok(pb::Environment::Development) => "development",
        Ok(pb::Environment::Staging) => "staging",
        Ok(pb::Environment::Production) => "production",
        Ok(pb::Environment::Unspecified) | Err(_) => "",
    }
    .to_owned()
}

/// What is to change.
pub fn changed(wire: pb::UpdatePolicyRequest) -> Result<Changed, Violation> {
    if wire.project_directory.as_deref().is_some_and(|path| !path.is_empty() && !path.starts_with('/')) {
        return Err(violation("project_directory", "is an absolute path, such as /workspace"));
    }
    Ok(Changed {
        environment: wire.environment.map(environment_word),
        source: wire.source,
        directory: wire.project_directory,
        if_version: wire.if_revision_match.map(|revision| u64::try_from(revision).unwrap_or(0)),
    })
}

pub fn rules(explanation: &Explanation) -> Vec<pb::ExplainedRule> {
    let rule = |said: &quarterdeck_risk::policy::Said| pb::ExplainedRule {
        policy_id: said.policy.clone(),
        decided: said.part == Part::Determining,
        effect: serde_json::to_value(said.effect)
            .ok()
            .and_then(|word| word.as_str().map(str::to_owned))
            .unwrap_or_default(),
        explanation: said.reason.clone().unwrap_or_default(),
    };
    explanation.policies.iter().map(rule).collect()
}

pub fn simulation(found: Simulation<ApprovalId>, denied_to_auto: u64) -> pb::SimulatePolicyResponse {
    let to = |wanted: Verdict| {
        let counted = found.counts.iter().filter(|count| count.to == wanted && count.from != wanted);
        int64(counted.map(|count| count.actions).sum())
    };
    let (to_auto, to_ask, to_deny) = (to(Verdict::Auto), to(Verdict::Ask), to(Verdict::Deny));
    let moved = found.changes.into_iter().filter(|change| change.from != change.to);
    let changes = moved.take(CHANGES_MAX).map(|change| pb::PolicyChange {
        approval_id: change.id.to_string(),
        before: verdict(change.from).into(),
        after: verdict(change.to).into(),
        reasons: change
            .to_reasons
            .into_iter()
            .map(|reason| pb::PolicyReason { policy_id: reason.policy, explanation: reason.text })
            .collect(),
    });
    pb::SimulatePolicyResponse {
        looked_at: int64(found.judged),
        changes: changes.collect(),
        to_auto,
        to_ask,
        to_deny,
        denied_to_auto: int64(denied_to_auto),
    }
}

pub fn grant(grant: &Grant, project: &str) -> pb::StandingGrant {
    let pattern: Option<Pattern> = serde_json::from_str(&grant.pattern).ok();
    let (kind, effects) = pattern.map(|pattern| described(&pattern)).unwrap_or_default();
    pb::StandingGrant {
        id: grant.id.to_string(),
        project: project.to_owned(),
        agent: grant.agent.clone(),
        kind,
        effects,
        created_by: grant.created_by.clone(),
        approval_id: grant.approval.to_string(),
        create_time: Some(time::timestamp(grant.created_at)),
        expire_time: Some(time::timestamp(grant.expires_at)),
        revoke_time: grant.revoked_at.map(time::timestamp),
        comment: grant.comment.clone(),
    }
}

/// A pattern in the contract's words.
fn described(pattern: &Pattern) -> (String, Vec<pb::StandingEffect>) {
    fn word(value: impl serde::Serialize) -> String {
        let value = serde_json::to_value(value).ok();
        value.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
    let parts = pattern.parts();
    let targets: Vec<String> = parts
        .within
        .iter()
        .map(|path| format!("/{}", path.join("/")))
        .chain(parts.hosts.iter().cloned())
        .chain(parts.names.iter().cloned())
        .collect();
    let effects = parts.allowed.iter().map(|allowed| pb::StandingEffect {
        effect: word(allowed.act.kind),
        scope: word(allowed.act.scope),
        target: targets.join(", "),
    });
    (word(parts.kind), effects.collect())
}
