//! All that is known of one approval.

use std::time::{Duration, SystemTime};

use quarterdeck_client::api::approvals::v1::{Approval, Preview, Terms, Verdict, Vote};

use super::piece::{Line, Tone};
use super::row::{left, level, level_tone, state};
use crate::clock;
use crate::output::lower;

/// An approval and its preview, for reading from top to bottom.
pub fn sheet(approval: &Approval, preview: Option<&Preview>, now: SystemTime) -> Vec<Line> {
    let mut lines = head(approval, preview, now);
    for section in preview.iter().flat_map(|preview| &preview.sections) {
        lines.push(Line::default());
        lines.push(Line::of(&section.heading, Tone::Heading));
        for line in &section.lines {
            let start = Line::of("  ", Tone::Plain);
            lines.push(line.spans.iter().fold(start, |line, span| line.and(&span.text, span.mark().into())));
        }
    }
    lines.push(Line::default());
    lines.push(Line::of("Asked for", Tone::Heading));
    lines.extend(terms(approval));
    lines.extend(decisions(approval, now));
    lines
}

fn head(approval: &Approval, preview: Option<&Preview>, now: SystemTime) -> Vec<Line> {
    let tone = level_tone(level(approval));
    let word = lower(level(approval).as_str_name(), "RISK_LEVEL_");
    let mut first =
        Line::of(&approval.id, Tone::Heading).and("  ", Tone::Plain).and(&state(approval), Tone::Plain);
    first = first.and(", risk ", Tone::Label).and(&word, tone);
    let left = left(approval, now);
    if !left.is_empty() {
        first = first.and(", time left ", Tone::Label).and(&left, Tone::Plain);
    }
    let mut lines = vec![first];
    if let Some(preview) = preview {
        lines.push(Line::of(&preview.title, Tone::Heading));
    }
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(Line::of(&format!("{name:13}"), Tone::Label).and(value, Tone::Plain));
        }
    };
    field("agent", &approval.agent);
    field("requester", &approval.requester);
    field("owner", &approval.owner);
    if approval.author != approval.requester {
        field("author", &approval.author);
    }
    field("task", &[approval.task_id.as_str(), approval.step_key.as_str()].join(" "));
    field("project", &approval.project);
    field("environment", &approval.environment);
    field("digest", &hex(&approval.digest));
    field("replaces", &approval.supersedes);
    field("replaced by", &approval.superseded_by);
    field("outcome", &approval.reason);
    // The agent's own words never explain what the action does.
    field("comment", &approval.comment);
    for reason in approval.assessment.iter().flat_map(|assessment| &assessment.reasons) {
        field("policy", &format!("{}: {}", reason.policy_id, reason.explanation));
    }
    lines
}

fn terms(approval: &Approval) -> Vec<Line> {
    let asked = approval.assessment.as_ref().is_some_and(|it| it.verdict() == Verdict::Ask);
    let Some(terms) = approval.terms.as_ref().filter(|_| asked) else {
        return vec![Line::of("  nobody; policy decided", Tone::Label)];
    };
    let mut words = format!(
        "  {} yes of {}; {} no to end it",
        terms.approvals,
        terms.roles.join(" or "),
        terms.denials.max(1)
    );
    words.push_str(&span(", waits ", terms.pending));
    words.push_str(&span(", good for ", terms.grant));
    let mut lines = vec![Line::of(&words, Tone::Plain)];
    lines.extend(escalation(terms, approval.escalation_level));
    lines
}

fn escalation(terms: &Terms, done: i32) -> impl Iterator<Item = Line> {
    terms.escalation.iter().enumerate().map(move |(index, level)| {
        let past = if (index as i64) < i64::from(done) { " (done)" } else { "" };
        let words = format!("{}: also {}{past}", span("  after ", level.after), level.roles.join(" or "));
        Line::of(&words, Tone::Plain)
    })
}

fn decisions(approval: &Approval, now: SystemTime) -> Vec<Line> {
    let mut lines = Vec::new();
    for decision in &approval.decisions {
        let (word, tone) = match decision.vote() {
            Vote::Approve => ("yes", Tone::Added),
            Vote::Deny | Vote::Unspecified => ("no", Tone::Removed),
        };
        let mut line = Line::of("  ", Tone::Plain).and(word, tone);
        line = line.and(" by ", Tone::Label).and(&actor(&decision.person, &decision.subject), Tone::Plain);
        line = line.and(&format!(" as {}", decision.role), Tone::Label);
        if !decision.delegated_by.is_empty() {
            line = line.and(&format!(" in place of {}", decision.delegated_by), Tone::Label);
        }
        let ago = decision.time.and_then(|time| SystemTime::try_from(time).ok());
        line = line
            .and(&ago.map_or_else(String::new, |at| format!(" {} ago", clock::age(at, now))), Tone::Label);
        if !decision.comment.is_empty() {
            line = line.and(": ", Tone::Label).and(&decision.comment, Tone::Plain);
        }
        lines.push(line);
    }
    for delegation in &approval.delegations {
        let words = format!("  {} lets {} decide", delegation.from, delegation.to);
        lines.push(Line::of(&words, Tone::Plain));
    }
    lines
}

/// A person, and the credential where that says more.
fn actor(person: &str, subject: &str) -> String {
    match (person, subject) {
        ("", subject) => subject.to_owned(),
        (person, subject) if person == subject => person.to_owned(),
        (person, subject) => format!("{person} ({subject})"),
    }
}

fn span(before: &str, span: Option<impl TryInto<Duration>>) -> String {
    let span = span.and_then(|span| span.try_into().ok());
    let start = SystemTime::UNIX_EPOCH;
    span.map_or_else(String::new, |span| format!("{before}{}", clock::age(start, start + span)))
}

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
