//! What every analyser answers in: effects on things, and what could not be resolved.
//!
//! Invariant: an analyser never weighs. It says what an action does, to what, where,
//! and how certainly; [`crate::weigh`] makes a level and a verdict of that, and a
//! policy may make another.

use std::ops::Range;

pub use quarterdeck_core::approval::{Level, Verdict};
use serde::{Deserialize, Serialize};

/// Where the action would happen.
#[derive(Clone, Debug)]
pub struct Context {
    /// The project's directory, absolute and canonical.
    pub project: String,
    /// Where relative paths begin; the project's directory unless the action says otherwise.
    pub cwd: String,
    pub home: String,
    /// The declared environment; `None` where nobody declared one.
    pub environment: Option<Environment>,
    /// How deep actions may lie within actions (`sh -c`, inline code, decoders).
    pub depth: u8,
}

impl Default for Context {
    fn default() -> Self {
        let project = "/home/agent/project".to_owned();
        Self { cwd: project.clone(), project, home: "/home/agent".to_owned(), environment: None, depth: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    Development,
    Staging,
    Production,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectKind {
    Read,
    Write,
    Delete,
    /// Owners, modes, access lists.
    Chmod,
    /// Runs code: a program nobody knows, a script from the net, what a variable holds.
    Exec,
    /// Talks to another machine.
    Network,
    /// More rights than the agent has.
    Privilege,
    /// Survives the action: login files, timers, services, hooks.
    Persistence,
    /// Touches secrets: keys, tokens, password stores.
    Credential,
    /// Others can see it or get it from now on: pushes, releases, uploads.
    Publish,
    /// Costs money.
    Spend,
    /// The shape of a database.
    Schema,
    /// Many rows or files at once.
    BulkData,
    /// Ends or changes running processes, services, machines.
    Control,
}

/// Whose the target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Temp,
    Project,
    /// What the project's guards are made of: `.git`, CI files, hooks, policies.
    Guard,
    Home,
    System,
    Remote,
    Production,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// Nothing is changed.
    Nothing,
    /// Version control or a build brings it back.
    Easy,
    /// Only a backup does.
    Hard,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// It may happen: a branch, a value that is only partly known.
    Possible,
    Certain,
}

/// One thing that an action does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    pub kind: EffectKind,
    /// What it is done to: a canonical path, a host, a table, a program.
    pub target: String,
    pub scope: Scope,
    pub undo: Undo,
    pub certainty: Certainty,
    /// The rule that found it, `area.what`.
    pub rule: String,
    /// Why, for people.
    pub why: String,
    /// Bytes of the action's text.
    pub span: Range<usize>,
}

/// What could not be understood, and is therefore asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unresolved {
    pub rule: String,
    pub why: String,
    pub span: Range<usize>,
}

/// All that an analyser says of an action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub effects: Vec<Effect>,
    pub unresolved: Vec<Unresolved>,
}

impl Effect {
    /// A certain effect without a place in the text yet.
    pub fn new(
        kind: EffectKind,
        target: impl Into<String>,
        scope: Scope,
        undo: Undo,
        rule: &str,
        why: &str,
    ) -> Self {
        Self {
            kind,
            target: target.into(),
            scope,
            undo,
            certainty: Certainty::Certain,
            rule: rule.to_owned(),
            why: why.to_owned(),
            span: 0..0,
        }
    }

    /// The same, where it may also not happen.
    #[must_use]
    pub fn possible(mut self) -> Self {
        self.certainty = Certainty::Possible;
        self
    }
}

impl Unresolved {
    pub fn new(rule: &str, why: &str) -> Self {
        Self { rule: rule.to_owned(), why: why.to_owned(), span: 0..0 }
    }
}

impl From<Effect> for Found {
    fn from(effect: Effect) -> Self {
        Self { effects: vec![effect], unresolved: Vec::new() }
    }
}

impl From<Unresolved> for Found {
    fn from(gap: Unresolved) -> Self {
        Self { effects: Vec::new(), unresolved: vec![gap] }
    }
}

impl Found {
    /// Invariant: more than [`FOUND_MAX`] findings leave one gap that says so, and are
    /// dropped; what is dropped is thereby asked.
    pub fn push(&mut self, effect: Effect) {
        if self.effects.len() < FOUND_MAX {
            self.effects.push(effect);
        } else if self.unresolved.last().is_none_or(|gap| gap.rule != "limit.findings") {
            self.gap(Unresolved::new("limit.findings", "it does more than is looked at"));
        }
    }

    /// Adds what could not be resolved, up to [`FOUND_MAX`].
    pub fn gap(&mut self, gap: Unresolved) {
        if self.unresolved.len() < FOUND_MAX {
            self.unresolved.push(gap);
        }
    }

    /// All of another's, under the same invariant.
    pub fn extend(&mut self, other: Self) {
        other.effects.into_iter().for_each(|effect| self.push(effect));
        other.unresolved.into_iter().for_each(|gap| self.gap(gap));
    }

    /// The same within a larger text, all at one place of it.
    #[must_use]
    pub fn at(mut self, span: &Range<usize>) -> Self {
        self.effects.iter_mut().for_each(|effect| effect.span = span.clone());
        self.unresolved.iter_mut().for_each(|gap| gap.span = span.clone());
        self
    }
}

/// Bytes of an action that are looked at; more is uninspectable.
pub const TEXT_MAX: usize = 64 * 1024;
/// Most effects and gaps of one action; more is uninspectable.
pub const FOUND_MAX: usize = 500;
/// Actions within actions.
pub const DEPTH_MAX: u8 = 5;
