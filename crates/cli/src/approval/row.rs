//! One approval in a list.

use std::time::SystemTime;

use quarterdeck_client::api::approvals::v1::action::Kind;
use quarterdeck_client::api::approvals::v1::{Action, Approval, ApprovalState, RiskLevel, Vote};
use quarterdeck_client::{Error, to_json};
use quarterdeck_risk::preview::visible;
use serde_json::Value;

use super::piece::Tone;
use crate::clock;
use crate::output::{Row, lower};

/// Letters of an action in a list.
const SUMMARY: usize = 48;

/// The level in a word.
pub fn level(approval: &Approval) -> RiskLevel {
    approval.assessment.as_ref().map_or(RiskLevel::Unspecified, |assessment| assessment.level())
}

/// How a level is told apart.
pub fn level_tone(level: RiskLevel) -> Tone {
    match level {
        RiskLevel::High => Tone::High,
        RiskLevel::Medium => Tone::Medium,
        RiskLevel::Low | RiskLevel::Unspecified => Tone::Plain,
    }
}

/// The state in a word.
pub fn state(approval: &Approval) -> String {
    lower(approval.state().as_str_name(), "APPROVAL_STATE_")
}

/// The time until it expires; empty where it does not.
pub fn left(approval: &Approval, now: SystemTime) -> String {
    let waits = matches!(approval.state(), ApprovalState::Pending | ApprovalState::Granted);
    match approval.expire_time.and_then(|time| SystemTime::try_from(time).ok()) {
        Some(end) if waits && end > now => clock::age(now, end),
        Some(_) if waits => "over".to_owned(),
        _ => String::new(),
    }
}

/// What it is about, in one line; the preview is what is decided on.
pub fn summary(action: Option<&Action>) -> String {
    let Some(kind) = action.and_then(|action| action.kind.as_ref()) else { return String::new() };
    let text = match kind {
        Kind::Command(it) if it.argv.is_empty() => it.script.clone(),
        Kind::Command(it) => it.argv.join(" "),
        Kind::File(it) => {
            format!("{} {}", lower(it.operation().as_str_name(), "FILE_OPERATION_"), it.path)
        }
        Kind::Code(it) => format!("{}: {}", it.language, it.source),
        Kind::Sql(it) => it.text.clone(),
        Kind::Http(it) => format!("{} {}", it.method, it.url),
        Kind::Git(it) => format!("git {}", it.arguments.join(" ")),
        Kind::Workflow(it) => format!("workflow {}", it.name),
        Kind::Tool(it) => format!("tool {}", it.name),
    };
    let mut letters = text.trim().chars();
    let mut short: String = letters.by_ref().take(SUMMARY).collect();
    if letters.next().is_some() {
        short.push_str("...");
    }
    visible(&short)
}

/// Yes and no so far, of how many.
fn votes(approval: &Approval) -> String {
    let Some(terms) = &approval.terms else { return String::new() };
    let yes = approval.decisions.iter().filter(|decision| decision.vote() == Vote::Approve).count();
    format!("{yes}/{}", terms.approvals)
}

impl Row for Approval {
    const HEAD: &'static [&'static str] = &["ID", "LEVEL", "STATE", "ACTION", "AGENT", "YES", "LEFT", "AGE"];

    fn cells(&self, now: SystemTime) -> Vec<String> {
        let created = self.create_time.and_then(|time| SystemTime::try_from(time).ok());
        vec![
            visible(&self.id),
            lower(level(self).as_str_name(), "RISK_LEVEL_"),
            state(self),
            summary(self.action.as_ref()),
            visible(&self.agent),
            votes(self),
            left(self, now),
            created.map_or_else(String::new, |time| clock::age(time, now)),
        ]
    }

    fn json(&self) -> Result<Value, Error> {
        to_json(self)
    }
}
