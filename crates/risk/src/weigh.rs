//! From effects to a level; the verdict is the policy's.
//!
//! Invariants: a gap is never below medium; the environment only raises; what no row of
//! `data/weigh.toml` knows is medium, and therefore asked.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::model::{Certainty, Context, Effect, EffectKind, Environment, Found, Level, Scope, Undo, Verdict};
use crate::policy::{Asker, Facts, Policy};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    row: Vec<Row>,
}

/// What a row asks of an effect; what it leaves out fits any.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kinds: Option<Vec<EffectKind>>,
    scopes: Option<Vec<Scope>>,
    undos: Option<Vec<Undo>>,
    certainty: Option<Certainty>,
    level: Level,
}

impl Table {
    fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::parse().unwrap_or_default())
    }

    fn parse() -> Result<Self, toml::de::Error> {
        toml::from_str(include_str!("../data/weigh.toml"))
    }
}

impl Row {
    fn fits(&self, effect: &Effect) -> bool {
        fn any<T: PartialEq>(list: &Option<Vec<T>>, value: &T) -> bool {
            list.as_ref().is_none_or(|list| list.contains(value))
        }
        any(&self.kinds, &effect.kind)
            && any(&self.scopes, &effect.scope)
            && any(&self.undos, &effect.undo)
            && self.certainty.is_none_or(|certainty| certainty == effect.certainty)
    }
}

/// The level of what was found, and whether the shipped policy has somebody asked.
pub fn weigh(found: &Found, context: &Context) -> (Level, Verdict) {
    let asker = Asker { agent: "agent", agent_type: "", project: "", kind: "command" };
    let judged = Policy::shipped().judge(&Facts::of(found, context, &asker));
    (judged.level, judged.verdict)
}

/// The level of what was found.
pub fn total(found: &Found, context: &Context) -> Level {
    let gaps = if found.unresolved.is_empty() { Level::Low } else { Level::Medium };
    let effects = found.effects.iter().map(|effect| level(effect, context.environment));
    effects.fold(gaps, Level::max)
}

/// The level of one effect in an environment.
pub fn level(effect: &Effect, environment: Option<Environment>) -> Level {
    let row = Table::get().row.iter().find(|row| row.fits(effect));
    let level = row.map_or(Level::Medium, |row| row.level);
    match raises(effect, environment) {
        true => raised(level),
        false => level,
    }
}

/// In production every change counts a level more, in staging what only a backup undoes;
/// the project's own files are the agent's wherever it works.
fn raises(effect: &Effect, environment: Option<Environment>) -> bool {
    let own = matches!(effect.scope, Scope::Project | Scope::Temp) && effect.undo == Undo::Easy;
    match environment {
        Some(Environment::Production) => effect.undo != Undo::Nothing && !own,
        Some(Environment::Staging) => effect.undo >= Undo::Hard,
        Some(Environment::Development) | None => false,
    }
}

fn raised(level: Level) -> Level {
    match level {
        Level::Low => Level::Medium,
        Level::Medium | Level::High => Level::High,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Unresolved;

    fn effect(kind: EffectKind, scope: Scope, undo: Undo) -> Effect {
        Effect::new(kind, "it", scope, undo, "test.rule", "a test")
    }

    fn level_of(effect: Effect, environment: Option<Environment>) -> Level {
        weigh(&effect.into(), &Context { environment, ..Context::default() }).0
    }

    #[test]
    fn the_shipped_rows_parse() {
        assert!(Table::parse().expect("data/weigh.toml").row.len() > 10);
    }

    #[test]
    fn nothing_found_is_automatic_and_a_gap_asks() {
        assert_eq!(weigh(&Found::default(), &Context::default()), (Level::Low, Verdict::Auto));
        let gap = Unresolved::new("test.gap", "a test").into();
        assert_eq!(weigh(&gap, &Context::default()), (Level::Medium, Verdict::Ask));
    }

    #[test]
    fn effects_weigh_by_kind_place_and_undo() {
        use {EffectKind as K, Level as L, Scope as S, Undo as U};
        let rows = [
            (K::Read, S::System, U::Nothing, L::Low),
            (K::Write, S::Project, U::Easy, L::Low),
            (K::Write, S::Project, U::Hard, L::Medium),
            (K::Write, S::Home, U::Hard, L::Medium),
            (K::Write, S::Guard, U::Hard, L::High),
            (K::Write, S::System, U::Hard, L::High),
            (K::Delete, S::Project, U::Easy, L::Low),
            (K::Delete, S::Project, U::Never, L::High),
            (K::Delete, S::Temp, U::Easy, L::Low),
            (K::Delete, S::Home, U::Never, L::High),
            (K::Delete, S::Unknown, U::Hard, L::Medium),
            (K::Chmod, S::Project, U::Easy, L::Low),
            (K::Chmod, S::System, U::Easy, L::High),
            (K::Exec, S::Project, U::Easy, L::Low),
            (K::Exec, S::Unknown, U::Hard, L::Medium),
            (K::Exec, S::Remote, U::Hard, L::High),
            (K::Network, S::Remote, U::Nothing, L::Low),
            (K::Network, S::Remote, U::Hard, L::Medium),
            (K::Privilege, S::System, U::Hard, L::High),
            (K::Persistence, S::Home, U::Hard, L::High),
            (K::Credential, S::Home, U::Nothing, L::High),
            (K::Publish, S::Remote, U::Never, L::Medium),
            (K::Spend, S::Remote, U::Never, L::High),
            (K::Schema, S::Unknown, U::Easy, L::Low),
            (K::Schema, S::Unknown, U::Never, L::High),
            (K::BulkData, S::Unknown, U::Nothing, L::Low),
            (K::BulkData, S::Unknown, U::Never, L::High),
            (K::Control, S::System, U::Hard, L::Medium),
        ];
        for (kind, scope, undo, expected) in rows {
            assert_eq!(level_of(effect(kind, scope, undo), None), expected, "{kind:?} {scope:?} {undo:?}");
        }
    }

    #[test]
    fn an_environment_only_raises() {
        let kinds = [
            EffectKind::Read,
            EffectKind::Write,
            EffectKind::Delete,
            EffectKind::Network,
            EffectKind::Schema,
        ];
        let scopes = [Scope::Temp, Scope::Project, Scope::Guard, Scope::Home, Scope::Remote, Scope::Unknown];
        for kind in kinds {
            for scope in scopes {
                for undo in [Undo::Nothing, Undo::Easy, Undo::Hard, Undo::Never] {
                    let plain = level_of(effect(kind, scope, undo), None);
                    for environment in
                        [Environment::Development, Environment::Staging, Environment::Production]
                    {
                        assert!(level_of(effect(kind, scope, undo), Some(environment)) >= plain);
                    }
                }
            }
        }
        let insert = effect(EffectKind::Write, Scope::Remote, Undo::Easy);
        assert_eq!(level_of(insert.clone(), None), Level::Low);
        assert_eq!(level_of(insert, Some(Environment::Production)), Level::Medium);
    }
}
