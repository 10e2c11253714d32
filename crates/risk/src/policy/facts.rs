//! What a policy may look at: a small, sorted, bounded summary of what was found.
//!
//! Invariants: facts are made by the server from the action itself, never from what an
//! agent says of it; whatever does not fit the limits leaves `complete` false, so that
//! a cut list is never taken for a whole one; nothing lowers a level.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::names::{Named, named};
use crate::model::{Context, Effect, EffectKind, Environment, Found, Level, Scope, Undo};
use crate::weigh;

/// Most names of one list of facts.
pub const LIST_MAX: usize = 128;
/// Bytes of a name.
pub const NAME_MAX: usize = 256;

/// Who asks, and in what form.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The agent's name, as it was authenticated.
    pub agent: &'a str,
    /// What the agent says it is: may only raise a risk.
    pub agent_type: &'a str,
    pub project: &'a str,
    /// `command`, `file`, `code`, `sql`, `http`, `git`, `workflow` or `tool`.
    pub kind: &'a str,
}

/// In what form an action comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Command,
    File,
    Code,
    Sql,
    Http,
    Git,
    Workflow,
    Tool,
    /// A form that this version has no name for.
    Other,
}

named!(Kind {
    Command => "command",
    File => "file",
    Code => "code",
    Sql => "sql",
    Http => "http",
    Git => "git",
    Workflow => "workflow",
    Tool => "tool",
    Other => "other",
});

impl From<&str> for Kind {
    fn from(name: &str) -> Self {
        Self::named(name).unwrap_or(Self::Other)
    }
}

/// An effect on a scope, written `delete:home`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Act {
    pub kind: EffectKind,
    pub scope: Scope,
}

impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.scope.name())
    }
}

impl std::str::FromStr for Act {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || format!("`{text}` is no effect on a scope, such as `delete:home`");
        let (kind, scope) = text.split_once(':').ok_or_else(unknown)?;
        let kind = EffectKind::named(kind).ok_or_else(unknown)?;
        let scope = Scope::named(scope).ok_or_else(unknown)?;
        Ok(Self { kind, scope })
    }
}

impl Serialize for Act {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Act {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What a policy may look at. Can be stored with an assessment and judged again later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    pub agent: String,
    pub agent_type: String,
    pub project: String,
    pub kind: Kind,
    pub level: Level,
    /// Everything was understood, and everything is in here.
    pub complete: bool,
    pub environment: Option<Environment>,
    pub acts: BTreeSet<Act>,
    /// The worst of all effects.
    pub undo: Undo,
    /// Rules that found an effect.
    pub rules: BTreeSet<String>,
    /// Rules that could not resolve something.
    pub gaps: BTreeSet<String>,
    /// Hosts that are talked to.
    pub hosts: BTreeSet<String>,
    /// How many different things are touched.
    pub targets: u32,
}

impl Facts {
    /// The facts of what was found.
    pub fn of(found: &Found, context: &Context, asker: &Asker<'_>) -> Self {
        let mut whole = true;
        let effects = &found.effects;
        let rules = bounded(effects.iter().map(|effect| effect.rule.as_str()), &mut whole);
        let gaps = bounded(found.unresolved.iter().map(|gap| gap.rule.as_str()), &mut whole);
        let hosts = bounded(effects.iter().filter_map(|effect| Target::of(effect).host()), &mut whole);
        let targets: BTreeSet<&str> = effects.iter().map(|effect| effect.target.as_str()).collect();
        let level = weigh::total(found, context);
        let mut name = |text| cut(text, &mut whole).to_owned();
        let (agent, agent_type, project) = (name(asker.agent), name(asker.agent_type), name(asker.project));
        Self {
            agent,
            agent_type,
            project,
            kind: asker.kind.into(),
            // As for any gap: what is not in the facts cannot be judged.
            level: if whole { level } else { level.max(Level::Medium) },
            complete: whole && found.unresolved.is_empty(),
            environment: context.environment,
            acts: effects.iter().map(|effect| Act { kind: effect.kind, scope: effect.scope }).collect(),
            undo: effects.iter().map(|effect| effect.undo).max().unwrap_or(Undo::Nothing),
            rules,
            gaps,
            hosts,
            targets: u32::try_from(targets.len()).unwrap_or(u32::MAX),
        }
    }

    /// The same, at least at this level: for what was observed since. There is no way down.
    #[must_use]
    pub fn raised_to(mut self, level: Level) -> Self {
        self.level = self.level.max(level);
        self
    }

    /// The kinds of effects.
    pub fn effects(&self) -> BTreeSet<EffectKind> {
        self.acts.iter().map(|act| act.kind).collect()
    }

    /// Whose the targets are.
    pub fn scopes(&self) -> BTreeSet<Scope> {
        self.acts.iter().map(|act| act.scope).collect()
    }
}

/// What an effect's target is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    Path(&'a str),
    /// In small letters, without user and port.
    Host(String),
    /// A host that is known in part only.
    Vague(String),
    /// Programs, tables, and whatever else has a name.
    Name(&'a str),
}

impl<'a> Target<'a> {
    /// Targets are canonical paths, hosts, URLs, `user@host:path`, `METHOD host/path`, names.
    pub fn of(effect: &'a Effect) -> Self {
        let target = effect.target.as_str();
        if target.starts_with('/') {
            return Self::Path(target);
        }
        let (method, rest) = target.split_once(' ').unwrap_or(("", target));
        let call = !method.is_empty() && method.chars().all(|letter| letter.is_ascii_uppercase());
        let address = if call { rest } else { target };
        let (scheme, address) = address.split_once("://").unwrap_or(("", address));
        let authority = address.split(['/', '#']).next().unwrap_or_default();
        let shell =
            effect.scope == Scope::Remote && !authority.contains(' ') && authority.contains(['@', ':']);
        let talks = call || !scheme.is_empty() || effect.kind == EffectKind::Network || shell;
        let host = hostname(authority);
        match () {
            () if !talks || scheme == "file" || host.is_empty() => Self::Name(target),
            // In a query, or where part of the host is not known.
            () if authority.contains(['?', '*', '$']) => Self::Vague(host),
            () => Self::Host(host),
        }
    }

    fn host(self) -> Option<String> {
        match self {
            Self::Host(host) | Self::Vague(host) => Some(host),
            Self::Path(_) | Self::Name(_) => None,
        }
    }
}

fn hostname(authority: &str) -> String {
    let authority = authority.split('?').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((inner, _)) => inner,
        None => host.split(':').next().unwrap_or_default(),
    };
    host.trim_end_matches('.').to_lowercase()
}

fn bounded<T: AsRef<str>>(names: impl Iterator<Item = T>, whole: &mut bool) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for name in names {
        let name = cut(name.as_ref(), whole);
        if all.contains(name) {
            continue;
        }
        if all.len() == LIST_MAX {
            *whole = false;
            break;
        }
        all.insert(name.to_owned());
    }
    all
}

fn cut<'a>(text: &'a str, whole: &mut bool) -> &'a str {
    if text.len() <= NAME_MAX {
        return text;
    }
    *whole = false;
    text.get(..text.floor_char_boundary(NAME_MAX)).unwrap_or_default()
}
