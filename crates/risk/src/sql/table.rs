//! What is known of names in SQL, from `data/sql.toml`.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use serde::Deserialize;

use crate::model::{EffectKind, Scope};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    function: Vec<Function>,
    verbs: Verbs,
    tables: Tables,
    columns: Columns,
    extensions: Extensions,
    settings: Settings,
    procedures: Procedures,
    statements: Statements,
    clients: Clients,
    #[serde(skip)]
    by_name: HashMap<String, usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    names: Vec<String>,
    pub does: EffectKind,
    pub scope: Scope,
    pub why: String,
}

#[derive(Default, Deserialize)]
struct Verbs {
    destroy: HashSet<String>,
    harmless: HashSet<String>,
}

#[derive(Default, Deserialize)]
struct Tables {
    accounts: HashSet<String>,
    catalogs: HashSet<String>,
    transient: HashSet<String>,
    transient_head: Vec<String>,
    transient_tail: Vec<String>,
    temporary: HashSet<String>,
}

#[derive(Default, Deserialize)]
struct Columns {
    secret: HashSet<String>,
    rights: HashSet<String>,
    rights_harmless: HashSet<String>,
}

#[derive(Default, Deserialize)]
struct Extensions {
    trusted: HashSet<String>,
}

#[derive(Default, Deserialize)]
struct Settings {
    guards: HashSet<String>,
    /// Guards that are tightened by switching them on, and by switching them off.
    tight_on: HashSet<String>,
    tight_off: HashSet<String>,
    pragmas: HashSet<String>,
}

#[derive(Default, Deserialize)]
struct Procedures {
    looks: HashSet<String>,
}

#[derive(Default, Deserialize)]
struct Statements {
    harmless: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Clients {
    harmless: HashSet<String>,
    program: HashSet<String>,
}

/// What a line for the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Harmless,
    Program,
    Unknown,
}

/// The last name of a dotted name, without quotes, in small letters.
pub fn last(name: &str) -> String {
    plain(name.rsplit('.').next().unwrap_or(name))
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '"' | '`' | '[' | ']' | '\'')).collect::<String>().to_lowercase()
}

impl Table {
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::parse().unwrap_or_default())
    }

    /// The shipped table; a test proves that it parses.
    pub fn parse() -> Result<Self, toml::de::Error> {
        let mut table: Self = toml::from_str(include_str!("../../data/sql.toml"))?;
        for (at, function) in table.function.iter().enumerate() {
            table.by_name.extend(function.names.iter().map(|name| (name.clone(), at)));
        }
        Ok(table)
    }

    /// A function, or the package it lies in (`utl_http.request`).
    pub fn function(&self, name: &str) -> Option<&Function> {
        let found = name.split('.').find_map(|part| self.by_name.get(&plain(part)));
        found.and_then(|at| self.function.get(*at))
    }

    /// Whether a routine nobody knows is named after destruction.
    pub fn destroys(&self, name: &str) -> bool {
        let name = last(name);
        let head = name.split('_').next().unwrap_or_default();
        name.contains('_') && self.verbs.destroy.contains(head) && !self.verbs.harmless.contains(&name)
    }

    pub fn accounts(&self, table: &str) -> bool {
        self.tables.accounts.contains(&plain(table)) || self.tables.accounts.contains(&last(table))
    }

    pub fn catalog(&self, table: &str) -> bool {
        let name = plain(table);
        self.tables.catalogs.contains(name.split('.').next().unwrap_or_default())
    }

    /// Rows here expire by themselves.
    pub fn transient(&self, table: &str) -> bool {
        let name = last(table);
        self.tables.transient.contains(&name)
            || self.tables.transient_head.iter().any(|head| name.starts_with(head))
            || self.tables.transient_tail.iter().any(|tail| name.ends_with(tail))
    }

    /// The session's own tables: `pg_temp.x`, `#x`.
    pub fn temporary(&self, table: &str) -> bool {
        let name = plain(table);
        let schema = name.split_once('.').map(|(schema, _)| schema);
        name.starts_with('#') || schema.is_some_and(|schema| self.tables.temporary.contains(schema))
    }

    pub fn secret(&self, column: &str) -> bool {
        self.columns.secret.contains(&last(column))
    }

    pub fn rights(&self, column: &str) -> bool {
        self.columns.rights.contains(&last(column))
    }

    pub fn rights_harmless(&self, value: &str) -> bool {
        self.columns.rights_harmless.contains(&plain(value))
    }

    pub fn trusted(&self, extension: &str) -> bool {
        self.extensions.trusted.contains(&plain(extension))
    }

    pub fn guard(&self, setting: &str) -> bool {
        self.settings.guards.contains(&last(setting))
    }

    /// Whether the value makes a guard stronger.
    pub fn tightens(&self, setting: &str, value: &str) -> bool {
        let (name, value) = (last(setting), plain(value));
        let (on, off) = (["on", "true", "1", "yes"], ["off", "false", "0", "no"]);
        self.settings.tight_on.contains(&name) && on.contains(&value.as_str())
            || self.settings.tight_off.contains(&name) && off.contains(&value.as_str())
    }

    /// Whether a procedure of the server only looks.
    pub fn looks(&self, procedure: &str) -> bool {
        self.procedures.looks.contains(&last(procedure))
    }

    pub fn pragma(&self, name: &str) -> bool {
        self.settings.pragmas.contains(&last(name))
    }

    /// One plain statement that the parser does not know and that is harmless.
    pub fn harmless(&self, text: &str) -> bool {
        let text = text.trim().trim_end_matches(';').to_lowercase();
        let plain =
            |c: char| c.is_alphanumeric() || matches!(c, ' ' | '_' | '.' | '"' | '(' | ')' | ',' | '=');
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        text.chars().all(plain) && self.statements.harmless.iter().any(|head| text.starts_with(head.as_str()))
    }

    pub fn client(&self, word: &str) -> Client {
        match word.to_lowercase() {
            word if self.clients.program.contains(&word) => Client::Program,
            word if self.clients.harmless.contains(&word) => Client::Harmless,
            _ => Client::Unknown,
        }
    }
}
