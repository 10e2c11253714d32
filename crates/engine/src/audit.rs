//! Entries of the audit: who, what was shown, what ran, under what, why.
//!
//! An entry is one line of JSON without a time, which the commit stamps. Texts of
//! people are redacted before they come here; actions are there by their digests.

use quarterdeck_core::approval::{Approval, Event, Grantor, Requested};
use quarterdeck_core::task::Task;
use quarterdeck_core::{ProjectId, policy};
use quarterdeck_store::rows::RowChange;
use serde_json::{Map, Value, json};

use crate::auth::Principal;
use crate::notifications::Address;
use crate::round::Redemption;

/// The entry of one event of an approval.
pub(crate) fn of_approval(approval: &Approval, event: &Event) -> RowChange {
    let (kind, details) = match event {
        Event::Requested(asked) => ("approval.requested", requested(asked)),
        Event::Voted { vote, subject, person, role, delegated_by, comment } => (
            "approval.voted",
            json!({
                "vote": vote, "subject": subject, "person": person, "role": role,
                "delegated_by": delegated_by, "comment": comment, "shown": approval.asked.preview,
            }),
        ),
        Event::Delegated { from, to, until } => {
            ("approval.delegated", json!({ "person": from, "to": to, "until": until }))
        }
        Event::Escalated { level } => ("approval.escalated", json!({ "level": level })),
        Event::Granted { by, until } => ("approval.granted", json!({ "by": grantor(*by), "until": until })),
        Event::Denied { by_people, reason } => {
            let by = if *by_people { "people" } else { "policy" };
            ("approval.denied", json!({ "by": by, "reason": reason }))
        }
        Event::Expired => ("approval.expired", json!({})),
        Event::Withdrawn { by, comment } => {
            ("approval.withdrawn", json!({ "subject": by, "comment": comment }))
        }
        Event::Superseded { by, editor } => {
            ("approval.superseded", json!({ "subject": editor, "successor": by }))
        }
        Event::Invalidated { why } => ("approval.invalidated", json!({ "reason": why })),
        Event::Revoked { by, comment } => ("approval.revoked", json!({ "subject": by, "comment": comment })),
        Event::Canceled => ("approval.canceled", json!({})),
        Event::Redeemed { session, token, agent, digest } => (
            "approval.redeemed",
            json!({ "session": session, "lease": token, "agent": agent, "ran": digest }),
        ),
        Event::Reported { exit_code, surplus, effects } => (
            "approval.reported",
            json!({ "exit_code": exit_code, "effects": effects.len(), "surplus": surplus }),
        ),
    };
    entry(&approval.asked, kind, details)
}

/// The entry of a redemption that a task's commit writes.
pub(crate) fn of_redemption(task: &Task, step_key: &str, redeemed: &Redemption) -> RowChange {
    let (grant, by) = (&redeemed.grant, &redeemed.by);
    let mut line = Map::new();
    line.insert("kind".into(), json!("approval.redeemed"));
    line.insert("project".into(), json!(task.project));
    line.insert("approval".into(), json!(grant.approval));
    line.insert("task".into(), json!(task.id));
    line.insert("step".into(), json!(step_key));
    line.insert("action".into(), json!(grant.digest));
    line.insert("policy".into(), json!(grant.policy));
    line.insert("environment".into(), json!(grant.environment));
    let details = json!({ "session": by.session, "lease": by.token, "agent": by.agent, "ran": grant.digest });
    with(&task.project, line, details)
}

/// The entry of something that was refused.
pub(crate) fn of_refusal(approval: &Approval, caller: &Principal, what: &str, why: &str) -> RowChange {
    let details = json!({
        "attempt": what, "subject": caller.subject, "person": caller.person, "roles": caller.roles,
        "reason": why,
    });
    entry(&approval.asked, "approval.refused", details)
}

/// The entry of somebody looking at what is masked.
pub(crate) fn of_reveal(approval: &Approval, caller: &Principal, reason: &str) -> RowChange {
    let details = json!({ "subject": caller.subject, "person": caller.person, "reason": reason });
    entry(&approval.asked, "approval.revealed", details)
}

/// The entry of a change of what holds in a project.
pub(crate) fn of_policy(project: &str, event: &policy::Event) -> Option<RowChange> {
    use policy::Event as E;
    let (kind, details) = match event {
        E::Opened => return None,
        E::Changed { settings, digest, by } => (
            "policy.changed",
            json!({ "subject": by, "policy_digest": digest, "environment": settings.environment }),
        ),
        E::Remembered { grant } => (
            "policy.grant_created",
            json!({
                "subject": grant.created_by, "grant": grant.id, "agent": grant.agent,
                "approval": grant.approval, "pattern": grant.pattern, "until": grant.expires_at,
            }),
        ),
        E::Forgotten { grant, by } => ("policy.grant_revoked", json!({ "subject": by, "grant": grant })),
        E::Suspended { agent, approval } => {
            ("policy.agent_suspended", json!({ "agent": agent, "approval": approval }))
        }
        E::Reinstated { agent, by, comment } => {
            ("policy.agent_reinstated", json!({ "agent": agent, "subject": by, "comment": comment }))
        }
        E::WebhookPut { webhook } => (
            "policy.webhook_created",
            json!({
                "subject": webhook.created_by, "webhook": webhook.id,
                // The rest of a URL may be a secret of the receiver's.
                "address": Address::parse(&webhook.url).map(|address| address.origin()).unwrap_or_default(),
                "kinds": webhook.kinds, "min_level": webhook.min_level,
            }),
        ),
        E::WebhookRemoved { webhook, by } => {
            ("policy.webhook_deleted", json!({ "subject": by, "webhook": webhook }))
        }
    };
    let mut line = Map::new();
    line.insert("kind".into(), json!(kind));
    line.insert("project".into(), json!(project));
    Some(with(project, line, details))
}

fn requested(asked: &Requested) -> Value {
    json!({
        "requester": asked.requester, "parties": asked.parties, "agent": asked.agent,
        "shown": asked.preview, "level": asked.assessment.level, "verdict": asked.assessment.verdict,
        "complete": asked.assessment.complete, "analyser": asked.assessment.analyser,
        "reasons": asked.assessment.reasons, "approvals": asked.terms.approvals,
        "supersedes": asked.supersedes, "comment": asked.comment,
    })
}

fn grantor(by: Grantor) -> Value {
    match by {
        Grantor::Policy => json!("policy"),
        Grantor::People => json!("people"),
        Grantor::Standing { grant } => json!({ "grant": grant }),
    }
}

fn entry(asked: &Requested, kind: &str, details: Value) -> RowChange {
    let mut line = Map::new();
    line.insert("kind".into(), json!(kind));
    line.insert("project".into(), json!(asked.project));
    line.insert("approval".into(), json!(asked.id));
    line.insert("task".into(), json!(asked.origin.task));
    line.insert("step".into(), json!(asked.origin.step_key));
    line.insert("action".into(), json!(asked.digest));
    line.insert("policy".into(), json!(asked.policy));
    line.insert("environment".into(), json!(asked.environment));
    with(&asked.project, line, details)
}

fn with(project: &str, mut line: Map<String, Value>, details: Value) -> RowChange {
    if let Value::Object(details) = details {
        line.extend(details.into_iter().filter(|(_, value)| !value.is_null() && *value != json!("")));
    }
    RowChange::Audited { project: ProjectId::of(project), body: Value::Object(line).to_string() }
}
