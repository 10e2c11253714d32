//! A policy file that was understood, and its statements.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use cedar_policy::{PolicyId, PolicySet};
use serde::Serialize;

use super::annotation::Annotations;
use super::compile::digest;
use super::example::Example;
use super::judge::{Effect, Reason};
use super::step::Step;
use super::terms::Obligations;
use crate::model::Level;

/// The shipped policy.
pub const DEFAULT: &str = include_str!("../../data/policy/default.cedar");

/// A policy file that was understood and whose examples hold.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) digest: [u8; 32],
    /// In the order of the file.
    pub(super) statements: Vec<Statement>,
    pub(super) sets: BTreeMap<Step, PolicySet>,
    pub(super) index: BTreeMap<PolicyId, usize>,
    pub(super) examples: Vec<Example>,
}

/// One policy of a file.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub id: String,
    pub line: usize,
    /// Permits; otherwise it forbids.
    pub permits: bool,
    pub steps: BTreeSet<Step>,
    pub annotations: Annotations,
    pub policy: cedar_policy::Policy,
}

/// What one policy of a file is about.
#[derive(Clone, Debug, Serialize)]
pub struct Summary<'p> {
    pub id: &'p str,
    pub line: usize,
    pub effect: Effect,
    pub steps: Vec<Step>,
    pub reason: Option<&'p str>,
    /// The level that it raises to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    #[serde(skip_serializing_if = "Obligations::is_empty")]
    pub obligations: &'p Obligations,
}

impl Policy {
    /// The policy that is used where nobody gave another.
    pub fn shipped() -> &'static Self {
        static SHIPPED: OnceLock<Policy> = OnceLock::new();
        SHIPPED.get_or_init(|| Self::compile(DEFAULT).unwrap_or_else(|_| Self::closed(digest(DEFAULT))))
    }

    /// SHA-256 of the file, with a prefix of its own.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The examples of the file, all of which hold.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The policies of the file, in its order.
    pub fn summaries(&self) -> impl Iterator<Item = Summary<'_>> {
        self.statements.iter().map(|statement| Summary {
            id: &statement.id,
            line: statement.line,
            effect: if statement.permits { Effect::Permit } else { Effect::Forbid },
            steps: statement.steps.iter().copied().collect(),
            reason: statement.annotations.reason.as_deref(),
            level: statement.annotations.level,
            obligations: &statement.annotations.obligations,
        })
    }

    /// Permits nothing.
    pub(super) fn closed(digest: [u8; 32]) -> Self {
        let (sets, index) = (BTreeMap::new(), BTreeMap::new());
        Self { digest, statements: Vec::new(), sets, index, examples: Vec::new() }
    }

    pub(super) fn statement(&self, id: &PolicyId) -> Option<&Statement> {
        self.statements.get(*self.index.get(id)?)
    }
}

impl Statement {
    pub fn says(&self, effect: Effect) -> Reason {
        let text = self.annotations.reason.clone().unwrap_or_default();
        Reason { policy: self.id.clone(), text, effect }
    }
}
