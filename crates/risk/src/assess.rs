//! One written case to one written answer, for evaluations and the command line.
//!
//! Invariant: an unknown kind, an unreadable text and a text above [`TEXT_MAX`] are
//! gaps, and asked.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::code::Language;
use crate::model::{Context, Effect, EffectKind, Found, Level, Scope, TEXT_MAX, Undo, Unresolved, Verdict};
use crate::policy::{Asker, Facts, Kind, Named as _, Policy};
use crate::{code, http, path, shell, sql};

/// A line of input; other fields are left alone.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    pub id: String,
    /// `command`, `path`, `code`, `sql` or `http`.
    pub kind: String,
    pub text: String,
    /// The language of code, the dialect of SQL.
    #[serde(default)]
    pub lang: Option<String>,
}

/// A line of output.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    pub id: String,
    pub verdict: Verdict,
    pub level: Level,
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub rule: String,
    pub why: String,
    /// Bytes of the text, from and to.
    pub span: [usize; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<EffectKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
}

/// What the case does, and whether somebody is asked as the policy is shipped.
pub fn assess(case: &Case, context: &Context) -> Answer {
    assess_by(case, context, Policy::shipped())
}

/// What the case does, and whether this policy has somebody asked.
pub fn assess_by(case: &Case, context: &Context, policy: &Policy) -> Answer {
    let found = found(case, context);
    // A written case has no agent and no project.
    let asker = Asker { agent: "agent", agent_type: "", project: "", kind: form(&case.kind) };
    let judged = policy.judge(&Facts::of(&found, context, &asker));
    Answer { id: case.id.clone(), verdict: judged.verdict, level: judged.level, findings: findings(&found) }
}

/// The form of an action that is written as this kind of case.
pub fn form(kind: &str) -> &'static str {
    match kind {
        "path" => Kind::File.name(),
        other => Kind::from(other).name(),
    }
}

/// What the case does.
pub fn found(case: &Case, context: &Context) -> Found {
    if case.text.len() > TEXT_MAX {
        return Unresolved::new("limit.text", "the text is longer than is looked at").into();
    }
    let lang = case.lang.as_deref().unwrap_or_default();
    match case.kind.as_str() {
        "command" => shell::script(&case.text, context),
        "path" => of_path(&case.text, context),
        "code" => of_code(lang, &case.text, context),
        "sql" => sql::statements(lang, &case.text, "", context),
        "http" => of_http(&case.text, context),
        _ => Unresolved::new("case.kind", "no analyser knows this kind of action").into(),
    }
}

fn of_path(text: &str, context: &Context) -> Found {
    let (word, path) = text.trim().split_once(char::is_whitespace).unwrap_or((text, ""));
    let path = path.trim();
    let operation = match word.to_ascii_lowercase().as_str() {
        "read" => path::Operation::Read,
        "write" => path::Operation::Write,
        "append" => path::Operation::Append,
        "delete" => path::Operation::Delete,
        _ => return Unresolved::new("case.path", "no operation on a path is named so").into(),
    };
    let at: Range<usize> = text.len() - path.len()..text.len();
    path::operation(operation, path, context).at(&at)
}

fn of_code(lang: &str, text: &str, context: &Context) -> Found {
    match Language::named(lang) {
        Some(language) => code::source(language, text, context),
        None => Unresolved::new("code.language", "no grammar for this language").into(),
    }
}

/// `METHOD url [body]`, then a header a line, then perhaps an empty line and the body.
fn of_http(text: &str, context: &Context) -> Found {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (method, target) = first.trim().split_once(char::is_whitespace).unwrap_or((first.trim(), ""));
    let (url, inline) = target.trim().split_once(char::is_whitespace).unwrap_or((target.trim(), ""));
    let (head, tail) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let mut headers = Vec::new();
    let mut body = inline.trim().to_owned();
    for line in head.lines() {
        match line.split_once(':').filter(|(name, _)| !name.is_empty() && name.chars().all(token)) {
            Some((name, value)) => headers.push((name.trim(), value.trim())),
            None => body.push_str(line),
        }
    }
    body.push_str(tail);
    let body = (!body.is_empty()).then_some(body.as_str());
    http::call(&http::Call { method, url, headers, body }, context)
}

/// Letters of a header's name (RFC 9110, 5.6.2).
fn token(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter)
}

fn findings(found: &Found) -> Vec<Finding> {
    let gaps = found.unresolved.iter().map(|gap| Finding {
        rule: gap.rule.clone(),
        why: gap.why.clone(),
        span: [gap.span.start, gap.span.end],
        effect: None,
        target: None,
        scope: None,
        undo: None,
    });
    found.effects.iter().map(of_effect).chain(gaps).collect()
}

fn of_effect(effect: &Effect) -> Finding {
    Finding {
        rule: effect.rule.clone(),
        why: effect.why.clone(),
        span: [effect.span.start, effect.span.end],
        effect: Some(effect.kind),
        target: Some(effect.target.clone()),
        scope: Some(effect.scope),
        undo: Some(effect.undo),
    }
}
