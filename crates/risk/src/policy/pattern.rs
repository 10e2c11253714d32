//! Remembered decisions: which actions an earlier yes stands for.
//!
//! A pattern speaks of effects, never of the text of an action. Invariants: it covers an
//! action only if it covers every effect of it and nothing is unresolved; directories
//! are compared name by name, hosts and other targets as a whole; what is never
//! remembered is covered by no pattern, however it came to be.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::facts::{Act, Kind, Target};
use crate::model::{Effect, EffectKind, Environment, Found, Scope, Undo};

/// Most allowed effects, hosts, names, and components of a directory.
const LIST_MAX: usize = 64;
/// Bytes of a host, a name, or a component.
const NAME_MAX: usize = 512;

/// Which actions an earlier yes stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Pattern {
    parts: Parts,
}

/// What a pattern consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// In what form the action comes.
    pub kind: Kind,
    /// The declared environment, exactly; a yes for none is no yes for production.
    pub environment: Option<Environment>,
    /// Effects, each to be undone at least this easily.
    pub allowed: Vec<Allowed>,
    /// Files lie in this directory, given name by name from the root; `None`: no file.
    pub within: Option<Vec<String>>,
    /// Hosts are one of these; empty: no host.
    pub hosts: BTreeSet<String>,
    /// Targets that are neither files nor hosts (programs, tables) are one of these.
    pub names: BTreeSet<String>,
}

/// An effect that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Effect and scope.
    pub act: Act,
    /// The hardest that it may be to undo.
    pub undo: Undo,
}

/// Why something is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    #[error("a pattern that allows no effect covers nothing")]
    Empty,
    #[error(
        "`{0}` is asked every time: what takes rights, stays, opens secrets, publishes, spends or \
             touches production is never remembered"
    )]
    NeverRemembered(Act),
    #[error("`{0}` is no name of a directory: a path is given name by name, without `/`, `.` and `..`")]
    Component(String),
    #[error("the root directory is everywhere")]
    Root,
    #[error("`{0}` is no host: write the whole name in small letters, without scheme, port and path")]
    Host(String),
    #[error(
        "`{0}` is no name: 1 to {NAME_MAX} bytes, none of `?`, `*` and `$`, which stand for what is not known"
    )]
    Name(String),
    #[error("more than {LIST_MAX} entries")]
    TooMany,
    #[error("the action was not wholly understood, so that there is nothing to remember")]
    Unresolved,
}

impl TryFrom<Parts> for Pattern {
    type Error = PatternError;

    fn try_from(mut parts: Parts) -> Result<Self, PatternError> {
        parts.allowed.sort();
        parts.allowed.dedup();
        let lists = [
            parts.allowed.len(),
            parts.hosts.len(),
            parts.names.len(),
            parts.within.as_ref().map_or(0, Vec::len),
        ];
        if parts.allowed.is_empty() {
            return Err(PatternError::Empty);
        }
        if lists.iter().any(|length| *length > LIST_MAX) {
            return Err(PatternError::TooMany);
        }
        if let Some(never) = parts.allowed.iter().find(|allowed| never(allowed.act)) {
            return Err(PatternError::NeverRemembered(never.act));
        }
        if parts.within.as_ref().is_some_and(Vec::is_empty) {
            return Err(PatternError::Root);
        }
        let bad = parts.within.iter().flatten().find(|name| !component(name));
        if let Some(bad) = bad {
            return Err(PatternError::Component(bad.clone()));
        }
        if let Some(bad) = parts.hosts.iter().find(|host| !hostname(host)) {
            return Err(PatternError::Host(bad.clone()));
        }
        match parts.names.iter().find(|name| !known(name)) {
            Some(bad) => Err(PatternError::Name(bad.clone())),
            None => Ok(Self { parts }),
        }
    }
}

impl From<Pattern> for Parts {
    fn from(pattern: Pattern) -> Self {
        pattern.parts
    }
}

impl Pattern {
    /// What it consists of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The narrowest pattern that covers what was found.
    ///
    /// # Errors
    /// Where such an action is never remembered.
    pub fn narrowest(
        found: &Found,
        kind: Kind,
        environment: Option<Environment>,
    ) -> Result<Self, PatternError> {
        if !found.unresolved.is_empty() {
            return Err(PatternError::Unresolved);
        }
        let mut allowed: Vec<Allowed> = Vec::new();
        for effect in &found.effects {
            let act = act(effect);
            match allowed.iter_mut().find(|allowed| allowed.act == act) {
                Some(allowed) => allowed.undo = allowed.undo.max(effect.undo),
                None => allowed.push(Allowed { act, undo: effect.undo }),
            }
        }
        let mut parts = Parts {
            kind,
            environment,
            allowed,
            within: None,
            hosts: BTreeSet::new(),
            names: BTreeSet::new(),
        };
        for effect in &found.effects {
            match Target::of(effect) {
                Target::Path(path) => narrow(&mut parts.within, path)?,
                Target::Host(host) => drop(parts.hosts.insert(host)),
                Target::Vague(host) => return Err(PatternError::Host(host)),
                Target::Name(name) => drop(parts.names.insert(name.to_owned())),
            }
        }
        parts.try_into()
    }

    /// Whether an earlier yes to this pattern stands for the action.
    pub fn covers(&self, found: &Found, kind: Kind, environment: Option<Environment>) -> bool {
        let parts = &self.parts;
        parts.kind == kind
            && parts.environment == environment
            && found.unresolved.is_empty()
            && !found.effects.is_empty()
            && found.effects.iter().all(|effect| self.effect(effect))
    }

    fn effect(&self, effect: &Effect) -> bool {
        let act = act(effect);
        let allowed = self.parts.allowed.iter().any(|one| one.act == act && effect.undo <= one.undo);
        allowed && !never(act) && self.target(effect)
    }

    fn target(&self, effect: &Effect) -> bool {
        match Target::of(effect) {
            Target::Path(path) => match (&self.parts.within, components(path)) {
                (Some(within), Some(path)) => starts(&path, within),
                _ => false,
            },
            Target::Host(host) => self.parts.hosts.contains(&host),
            Target::Vague(_) => false,
            Target::Name(name) => self.parts.names.contains(name),
        }
    }
}

fn act(effect: &Effect) -> Act {
    Act { kind: effect.kind, scope: effect.scope }
}

/// What is asked every time, whatever was said before.
fn never(act: Act) -> bool {
    let kind = matches!(
        act.kind,
        EffectKind::Credential
            | EffectKind::Privilege
            | EffectKind::Persistence
            | EffectKind::Publish
            | EffectKind::Spend
    );
    kind || act.scope == Scope::Production
}

/// The names of a canonical path; `None` where it is not one.
fn components(path: &str) -> Option<Vec<&str>> {
    let names: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    names.iter().all(|name| component(name)).then_some(names)
}

fn starts(path: &[&str], within: &[String]) -> bool {
    path.len() >= within.len() && path.iter().zip(within).all(|(name, wanted)| name == wanted)
}

/// Makes the directory so wide that it holds the path too.
fn narrow(within: &mut Option<Vec<String>>, path: &str) -> Result<(), PatternError> {
    let names = components(path).ok_or_else(|| PatternError::Component(path.to_owned()))?;
    let common = match within.take() {
        None => names.iter().map(|name| (*name).to_owned()).collect(),
        Some(before) => {
            let same = before.into_iter().zip(names).take_while(|(one, two)| one == two);
            same.map(|(name, _)| name).collect()
        }
    };
    *within = Some(common);
    Ok(())
}

fn component(name: &str) -> bool {
    known(name) && !name.contains('/') && name != "." && name != ".."
}

fn hostname(host: &str) -> bool {
    let letter = |letter: char| letter.is_alphanumeric() && !letter.is_uppercase() || "-_.:".contains(letter);
    plain(host) && host.chars().all(letter) && !host.starts_with('.')
}

/// Whether nothing in it stands for what is not known.
fn known(name: &str) -> bool {
    plain(name) && !name.contains(['?', '*', '$'])
}

fn plain(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
