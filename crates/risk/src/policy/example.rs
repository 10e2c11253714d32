//! Examples: actions in a policy file, and what it must say of them.
//!
//! `//! ask environment=production approvals=2: command: rm -rf build`: a verdict,
//! circumstances, the kind of action (with a language: `code/python`, `sql/postgres`),
//! its text. A line `//! | more` goes on with the text of the example above it.

use super::Policy;
use super::facts::{Asker, Facts};
use super::fault::{Fault, shown};
use super::names::Named as _;
use super::scan::Part;
use crate::assess::{Case, form, found};
use crate::model::{Context, Environment, Verdict};

/// What a policy must say of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    pub line: usize,
    pub expected: Verdict,
    pub approvals: Option<u32>,
    /// As written, such as `environment=production`.
    pub circumstances: String,
    /// As written, such as `sql/postgres`.
    pub kind: String,
    pub text: String,
    pub facts: Facts,
}

/// What an example says besides the action.
struct Around<'a> {
    expected: Verdict,
    approvals: Option<u32>,
    environment: Option<Environment>,
    project: &'a str,
    agent: &'a str,
    agent_type: &'a str,
}

impl Example {
    /// Reads an example and assesses its action.
    pub(super) fn parse(part: &Part) -> Result<Self, String> {
        let (head, rest) = part.text.split_once(':').ok_or("there is no colon after the verdict")?;
        let (kind, text) = rest.split_once(':').ok_or("there is no colon after the kind of action")?;
        let text = text.strip_prefix(' ').unwrap_or(text);
        if text.trim().is_empty() {
            return Err("there is no action".to_owned());
        }
        let (around, kind) = (Around::parse(head)?, kind.trim());
        let facts = facts(&around, kind, text)?;
        let words: Vec<&str> = head.split_whitespace().skip(1).collect();
        Ok(Self {
            line: part.line,
            expected: around.expected,
            approvals: around.approvals,
            circumstances: words.join(" "),
            kind: kind.to_owned(),
            text: text.to_owned(),
            facts,
        })
    }

    /// What the policy says otherwise.
    pub(super) fn fault(&self, policy: &Policy) -> Option<Fault> {
        let judged = policy.judge(&self.facts);
        if judged.verdict != self.expected {
            let ids = judged.reasons.iter().map(|reason| reason.policy.clone());
            let mut because: Vec<String> = ids.filter(|id| !id.is_empty()).collect();
            because.extend(self.facts.rules.iter().chain(&self.facts.gaps).take(8).cloned());
            return Some(Fault::ExampleFails { expected: self.expected, found: judged.verdict, because });
        }
        let found = judged.terms.approvals;
        let expected = self.approvals.filter(|expected| *expected != found)?;
        Some(Fault::ExampleApprovals { expected, found })
    }
}

fn facts(around: &Around<'_>, kind: &str, text: &str) -> Result<Facts, String> {
    let (kind, lang) = kind.split_once('/').map_or((kind, None), |(kind, lang)| (kind, Some(lang)));
    if !["command", "path", "code", "sql", "http"].contains(&kind) {
        return Err(format!("`{}` is none of command, path, code/.., sql/.., http", shown(kind)));
    }
    let case = Case {
        id: String::new(),
        kind: kind.to_owned(),
        text: text.to_owned(),
        lang: lang.map(str::to_owned),
    };
    let context = Context { environment: around.environment, ..Context::default() };
    let asker = Asker {
        agent: around.agent,
        agent_type: around.agent_type,
        project: around.project,
        kind: form(kind),
    };
    Ok(Facts::of(&found(&case, &context), &context, &asker))
}

impl<'a> Around<'a> {
    fn parse(head: &'a str) -> Result<Self, String> {
        let mut words = head.split_whitespace();
        let expected = match words.next().unwrap_or_default() {
            "auto" => Verdict::Auto,
            "ask" => Verdict::Ask,
            "deny" => Verdict::Deny,
            other => return Err(format!("`{}` is none of auto, ask, deny", shown(other))),
        };
        let mut around = Self {
            expected,
            approvals: None,
            environment: None,
            project: "example",
            agent: "agent",
            agent_type: "",
        };
        for word in words {
            around.set(word).ok_or_else(|| {
                format!(
                    "`{}` is none of environment=.., approvals=.., project=.., agent=.., agent_type=..",
                    shown(word)
                )
            })?;
        }
        match around.approvals.is_some() && expected != Verdict::Ask {
            true => Err("approvals are counted only where somebody is asked".to_owned()),
            false => Ok(around),
        }
    }

    fn set(&mut self, word: &'a str) -> Option<()> {
        let (name, value) = word.split_once('=')?;
        match name {
            "environment" => self.environment = Some(Environment::named(value)?),
            "approvals" => self.approvals = Some(value.parse().ok()?),
            "project" => self.project = value,
            "agent" => self.agent = value,
            "agent_type" => self.agent_type = value,
            _ => return None,
        }
        Some(())
    }
}
