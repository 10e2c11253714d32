//! Approvals, assessments and previews.

use quarterdeck_api::approvals::v1 as pb;
use quarterdeck_core::approval::{
    Approval, Assessment, Delegation, Effect, Finding, Level, Phase, Reason, Report, Terms, Verdict, Vote,
    Voted, Wait,
};
use quarterdeck_core::key::Role;
use quarterdeck_core::{ApprovalId, Digest};
use quarterdeck_engine::approvals::Target;
use quarterdeck_risk::preview::{Mark, Preview, Section};
use quarterdeck_store::rows::ApprovalFilter;

use super::{action, int32, int64, time, violation};
use crate::status::Violation;

pub fn to_wire(approval: &Approval) -> pb::Approval {
    let asked = &approval.asked;
    let agent = approval.redeemed_by.as_ref().map_or(&asked.agent, |by| &by.agent);
    pb::Approval {
        id: asked.id.to_string(),
        project: asked.project.clone(),
        state: state(approval.phase).into(),
        action: Some(action::to_wire(asked.shown.clone())),
        digest: digest(asked.digest),
        assessment: Some(assessment(&asked.assessment)),
        terms: Some(terms(&asked.terms)),
        task_id: asked.origin.task.to_string(),
        step_key: asked.origin.step_key.clone(),
        gate: matches!(asked.origin.wait, Wait::Gate { .. }),
        agent: agent.clone(),
        requester: asked.requester.clone(),
        owner: asked.parties.owner.clone(),
        author: asked.parties.author.clone(),
        decisions: approval.votes.iter().map(decision).collect(),
        delegations: approval.delegations.iter().map(delegation).collect(),
        escalation_level: int32(approval.level),
        create_time: Some(time::timestamp(approval.created_at)),
        update_time: Some(time::timestamp(approval.since)),
        expire_time: approval.next_deadline().map(|_| time::timestamp(approval.expires_at)),
        supersedes: id_or_empty(asked.supersedes),
        superseded_by: id_or_empty(approval.superseded_by),
        environment: asked.environment.clone(),
        policy_revision: int64(asked.policy),
        reason: approval.reason.clone(),
        comment: asked.comment.clone(),
        report: approval.report.as_ref().map(report),
        revision: int64(approval.revision),
        preview_digest: digest(asked.preview),
    }
}

/// As listed: without findings.
pub fn listed(approval: &Approval) -> pb::Approval {
    let mut wire = to_wire(approval);
    if let Some(assessment) = &mut wire.assessment {
        assessment.findings.clear();
    }
    wire
}

fn id_or_empty(id: Option<ApprovalId>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

pub fn digest(digest: Digest) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(digest.as_bytes())
}

pub fn assessment(found: &Assessment) -> pb::Assessment {
    pb::Assessment {
        level: level(found.level).into(),
        verdict: verdict(found.verdict).into(),
        complete: found.complete,
        findings: found.findings.iter().map(finding).collect(),
        reasons: found.reasons.iter().map(reason).collect(),
        analyser: found.analyser.clone(),
    }
}

fn finding(finding: &Finding) -> pb::Finding {
    pb::Finding {
        rule: finding.rule.clone(),
        explanation: finding.why.clone(),
        start: int32(finding.span.0),
        end: int32(finding.span.1),
        effect: finding.effect.clone(),
        target: finding.target.clone(),
        scope: finding.scope.clone(),
        undo: finding.undo.clone(),
        possible: finding.possible,
    }
}

fn reason(reason: &Reason) -> pb::PolicyReason {
    pb::PolicyReason { policy_id: reason.policy.clone(), explanation: reason.why.clone() }
}

pub fn terms(terms: &Terms) -> pb::Terms {
    let escalation = terms.escalation.iter().map(|level| pb::EscalationLevel {
        after: Some(time::duration(level.after)),
        roles: level.roles.iter().map(|&role| role_word(role)).collect(),
    });
    pb::Terms {
        approvals: int32(terms.approvals),
        denials: int32(terms.denials),
        roles: terms.roles.iter().map(|&role| role_word(role)).collect(),
        pending: Some(time::duration(terms.pending)),
        grant: Some(time::duration(terms.grant)),
        escalation: escalation.collect(),
    }
}

fn role_word(role: Role) -> String {
    quarterdeck_engine::keys::role_name(role).to_lowercase()
}

fn decision(voted: &Voted) -> pb::Decision {
    let vote = match voted.vote {
        Vote::Approve => pb::Vote::Approve,
        Vote::Deny => pb::Vote::Deny,
    };
    pb::Decision {
        vote: vote.into(),
        subject: voted.subject.clone(),
        person: voted.person.clone(),
        role: voted.role.map(role_word).unwrap_or_default(),
        delegated_by: voted.delegated_by.clone().unwrap_or_default(),
        comment: voted.comment.clone(),
        time: Some(time::timestamp(voted.at)),
    }
}

fn delegation(lent: &Delegation) -> pb::Delegation {
    pb::Delegation {
        from: lent.from.clone(),
        to: lent.to.clone(),
        expire_time: Some(time::timestamp(lent.until)),
    }
}

fn report(report: &Report) -> pb::EffectReport {
    let effects = |effects: &[Effect]| {
        let wire =
            |seen: &Effect| pb::ObservedEffect { effect: seen.kind.clone(), target: seen.target.clone() };
        effects.iter().map(wire).collect()
    };
    pb::EffectReport {
        effects: effects(&report.effects),
        exit_code: report.exit_code,
        time: Some(time::timestamp(report.at)),
        surplus: effects(&report.surplus),
    }
}

pub fn preview(preview: Preview) -> pb::Preview {
    let digest = digest(preview.digest());
    pb::Preview {
        title: preview.title,
        sections: preview.sections.into_iter().map(section).collect(),
        digest,
        masked: int32(preview.masked),
    }
}

fn section(section: Section) -> pb::PreviewSection {
    let lines = section.lines.into_iter().map(|line| pb::PreviewLine {
        spans: line
            .spans
            .into_iter()
            .map(|span| pb::PreviewSpan { text: span.text, mark: mark(span.mark).into() })
            .collect(),
    });
    pb::PreviewSection { heading: section.heading, lines: lines.collect() }
}

const fn mark(mark: Mark) -> pb::PreviewMark {
    match mark {
        Mark::Plain => pb::PreviewMark::Plain,
        Mark::Risky => pb::PreviewMark::Risky,
        Mark::Invisible => pb::PreviewMark::Invisible,
        Mark::Masked => pb::PreviewMark::Masked,
        Mark::Added => pb::PreviewMark::Added,
        Mark::Removed => pb::PreviewMark::Removed,
        Mark::Label => pb::PreviewMark::Label,
    }
}

const fn state(phase: Phase) -> pb::ApprovalState {
    match phase {
        Phase::Pending => pb::ApprovalState::Pending,
        Phase::Granted => pb::ApprovalState::Granted,
        Phase::Redeemed => pb::ApprovalState::Redeemed,
        Phase::Denied => pb::ApprovalState::Denied,
        Phase::Expired => pb::ApprovalState::Expired,
        Phase::Withdrawn => pb::ApprovalState::Withdrawn,
        Phase::Superseded => pb::ApprovalState::Superseded,
        Phase::Invalidated => pb::ApprovalState::Invalidated,
        Phase::Revoked => pb::ApprovalState::Revoked,
        Phase::Canceled => pb::ApprovalState::Canceled,
    }
}

fn phase(number: i32) -> Option<Phase> {
    let wanted = pb::ApprovalState::try_from(number).ok()?;
    Phase::ALL.into_iter().find(|&phase| state(phase) == wanted)
}

pub const fn level(level: Level) -> pb::RiskLevel {
    match level {
        Level::Low => pb::RiskLevel::Low,
        Level::Medium => pb::RiskLevel::Medium,
        Level::High => pb::RiskLevel::High,
    }
}

/// The least level of a filter; unspecified is none.
pub fn min_level(number: i32) -> Option<Level> {
    match pb::RiskLevel::try_from(number) {
        Ok(pb::RiskLevel::Low) => Some(Level::Low),
        Ok(pb::RiskLevel::Medium) => Some(Level::Medium),
        Ok(pb::RiskLevel::High) => Some(Level::High),
        Ok(pb::RiskLevel::Unspecified) | Err(_) => None,
    }
}

pub const fn verdict(verdict: Verdict) -> pb::Verdict {
    match verdict {
        Verdict::Auto => pb::Verdict::Auto,
        Verdict::Ask => pb::Verdict::Ask,
        Verdict::Deny => pb::Verdict::Deny,
    }
}

pub fn vote(number: i32) -> Result<Vote, Violation> {
    match pb::Vote::try_from(number) {
        Ok(pb::Vote::Approve) => Ok(Vote::Approve),
        Ok(pb::Vote::Deny) => Ok(Vote::Deny),
        Ok(pb::Vote::Unspecified) | Err(_) => Err(violation("vote", "say yes or no")),
    }
}

/// What is decided on, each once.
pub fn targets(wire: &[pb::DecisionTarget]) -> Result<Vec<Target>, Violation> {
    let mut targets: Vec<Target> = Vec::with_capacity(wire.len());
    for (index, one) in wire.iter().enumerate() {
        let target = target(&format!("targets[{index}]."), &one.approval_id, &one.digest)?;
        if targets.iter().any(|other| other.id == target.id) {
            return Err(violation(format!("targets[{index}].approval_id"), "is there twice"));
        }
        targets.push(target);
    }
    Ok(targets)
}

pub fn target(place: &str, id: &str, digest: &[u8]) -> Result<Target, Violation> {
    let id = id.parse().map_err(|error| violation(format!("{place}approval_id"), format!("{error}")))?;
    let digest: [u8; 32] = digest
        .try_into()
        .map_err(|_| violation(format!("{place}digest"), "is `Approval.digest`, 32 bytes"))?;
    Ok(Target { id, digest: Digest::from_bytes(digest) })
}

/// The filter of a list.
pub fn filter(wire: Option<pb::ApprovalFilter>) -> Result<ApprovalFilter, Violation> {
    let Some(wire) = wire else { return Ok(ApprovalFilter::default()) };
    let mut phases = Vec::new();
    for (index, &number) in wire.states.iter().enumerate() {
        let place = || violation(format!("filter.states[{index}]"), "is no state of an approval");
        phases.push(phase(number).ok_or_else(place)?);
    }
    phases.sort_unstable();
    phases.dedup();
    let task = match wire.task_id.as_str() {
        "" => None,
        id => Some(id.parse().map_err(|error| violation("filter.task_id", format!("{error}")))?),
    };
    let agent = (!wire.agent.is_empty()).then_some(wire.agent);
    Ok(ApprovalFilter { phases, min_level: min_level(wire.min_level), task, agent })
}

/// Effects that an agent saw.
pub fn effects(wire: Vec<pb::ObservedEffect>) -> Vec<Effect> {
    wire.into_iter().map(|seen| Effect { kind: seen.effect, target: seen.target }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_come_back_and_unknown_ones_are_named() {
        for known in Phase::ALL {
            assert_eq!(phase(state(known).into()), Some(known));
        }
        let wire = pb::ApprovalFilter { states: vec![1, 99], ..Default::default() };
        assert_eq!(filter(Some(wire)).unwrap_err().field, "filter.states[1]");
    }

    #[test]
    fn a_batch_names_each_approval_once_with_its_digest() {
        let id = ApprovalId::from_uuid(uuid::Uuid::from_u128(7)).to_string();
        let target =
            |digest: usize| pb::DecisionTarget { approval_id: id.clone(), digest: vec![1; digest].into() };
        assert_eq!(targets(&[target(32)]).unwrap().len(), 1);
        assert_eq!(targets(&[target(32), target(32)]).unwrap_err().field, "targets[1].approval_id");
        assert_eq!(targets(&[target(31)]).unwrap_err().field, "targets[0].digest");
    }
}
