//! Settings of a server and pragmas: which of them take a guard away.

use sqlparser::ast::{ObjectName, Set};

use super::statement::Known;
use super::table::{Table, last};
use crate::model::{EffectKind, Found, Undo};

pub fn switched(set: &Set, known: &Known<'_>) -> Found {
    let names: Vec<String> = match set {
        Set::SingleAssignment { variable, .. } => vec![variable.to_string()],
        Set::ParenthesizedAssignments { variables, .. } => {
            variables.iter().map(ToString::to_string).collect()
        }
        Set::MultipleAssignments { assignments } => {
            assignments.iter().map(|one| one.name.to_string()).collect()
        }
        Set::SetSessionAuthorization(_) | Set::SetRole { .. } => vec!["role".to_owned()],
        _ => Vec::new(),
    };
    let global = set.to_string().to_lowercase().starts_with("set global")
        || names.iter().any(|name| name.to_lowercase().starts_with("@@global"));
    let role = names.iter().any(|name| matches!(last(name).as_str(), "role" | "session_authorization"));
    let value = match set {
        Set::SingleAssignment { values, .. } => values.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let tighter =
        |name: &String| value.iter().all(|value| Table::get().tightens(name, value)) && !value.is_empty();
    let guard = names.iter().any(|name| Table::get().guard(name) && !tighter(name));
    let target = names.join(", ");
    match (role, global || guard) {
        (true, _) => {
            known.effect(EffectKind::Privilege, target, Undo::Hard, "sql.role", "takes other rights")
        }
        (_, true) => known.effect(
            EffectKind::Control,
            target,
            Undo::Hard,
            "sql.setting",
            "switches a guard of the server",
        ),
        _ => Found::default(),
    }
}

pub fn pragma(name: &ObjectName, value: Option<String>, known: &Known<'_>) -> Found {
    let table = Table::get();
    let (setting, sets) = (name.to_string(), value.is_some());
    let tighter = value.is_some_and(|value| table.tightens(&setting, &value));
    match sets && !tighter && table.pragma(&setting) {
        true => known.effect(
            EffectKind::Control,
            name,
            Undo::Hard,
            "sql.pragma",
            "switches a guard of the database",
        ),
        false => Found::default(),
    }
}
