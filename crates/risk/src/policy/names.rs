//! The words of policies: each value of the model's enumerations by the name that
//! serde gives it.
//!
//! Invariant: a name here, in stored facts and in `schema.cedarschema` is the same; tests
//! compare all three.

use crate::model::{EffectKind, Environment, Level, Scope, Undo};

/// An enumeration whose values have names.
pub trait Named: Copy + Ord + 'static {
    /// Every value, in order.
    const ALL: &'static [Self];

    /// As it is written.
    fn name(self) -> &'static str;

    /// The value of this name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.name() == name)
    }
}

macro_rules! named {
    ($type:ident { $($value:ident => $name:literal),+ $(,)? }) => {
        impl Named for $type {
            const ALL: &'static [Self] = &[$(Self::$value),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name),+
                }
            }
        }
    };
}
pub(super) use named;

named!(Level { Low => "low", Medium => "medium", High => "high" });
named!(Environment { Development => "development", Staging => "staging", Production => "production" });
named!(Undo { Nothing => "nothing", Easy => "easy", Hard => "hard", Never => "never" });
named!(EffectKind {
    Read => "read",
    Write => "write",
    Delete => "delete",
    Chmod => "chmod",
    Exec => "exec",
    Network => "network",
    Privilege => "privilege",
    Persistence => "persistence",
    Credential => "credential",
    Publish => "publish",
    Spend => "spend",
    Schema => "schema",
    BulkData => "bulk_data",
    Control => "control",
});
named!(Scope {
    Temp => "temp",
    Project => "project",
    Guard => "guard",
    Home => "home",
    System => "system",
    Remote => "remote",
    Production => "production",
    Unknown => "unknown",
});

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    fn agrees<T: Named + Serialize + std::fmt::Debug>() {
        for value in T::ALL {
            let name = serde_json::to_value(value).expect("a name");
            assert_eq!(name, value.name(), "{value:?}");
            assert_eq!(T::named(value.name()), Some(*value));
        }
    }

    #[test]
    fn names_are_those_of_stored_facts() {
        agrees::<Level>();
        agrees::<Environment>();
        agrees::<Undo>();
        agrees::<EffectKind>();
        agrees::<Scope>();
        agrees::<super::super::facts::Kind>();
    }
}
