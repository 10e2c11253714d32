//! What calls are known, from `data/code.toml`.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use serde::Deserialize;

use super::Language;

/// What a known call does; `data/code.toml` explains each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    Shell,
    Argv,
    ArgvAfter,
    Process,
    Eval,
    Timer,
    Dispatch,
    Load,
    Tree,
    Delete,
    Wipe,
    WipeRows,
    Spend,
    Format,
    FormatBraces,
    Move,
    Write,
    Append,
    Read,
    Mode,
    Flags,
    Chmod,
    Get,
    Send,
    SendUrl,
    Fetch,
    Sql,
    Privilege,
    Control,
    Exit,
    Environment,
    Secret,
    Show,
    Module,
    Attribute,
    Globals,
    Text,
    AppendText,
    Join,
    Concat,
    ConcatList,
    Split,
    Decode,
    Hex,
    Letter,
    Home,
    Temp,
}

impl Does {
    /// Whether handing the function on lets somebody else do harm with it.
    pub fn dangerous(self) -> bool {
        use Does as D;
        matches!(
            self,
            D::Shell | D::Argv | D::ArgvAfter | D::Eval | D::Load | D::Tree | D::Delete | D::Process
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub does: Does,
    /// The argument that matters; -1 is what the method belongs to.
    pub at: i8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    languages: Vec<String>,
    does: Does,
    #[serde(default)]
    at: i8,
    names: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    call: Vec<Row>,
    sensitive: Sensitive,
    services: Services,
}

/// What is known of services' libraries.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Services {
    packages: Vec<String>,
    ends: HashSet<String>,
    changes: HashSet<String>,
}

/// What a service is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ends,
    Changes,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sensitive {
    names: HashSet<String>,
    transparent: HashSet<String>,
    environment: HashSet<String>,
    servers: HashSet<String>,
    plain: HashSet<String>,
}

#[derive(Default)]
pub struct Table {
    calls: HashMap<&'static str, HashMap<String, Rule>>,
    sensitive: Sensitive,
    services: Services,
}

impl Table {
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::parse().unwrap_or_default())
    }

    /// The shipped table; a test proves that it parses.
    pub fn parse() -> Result<Self, toml::de::Error> {
        let written: Written = toml::from_str(include_str!("../../data/code.toml"))?;
        let mut calls: HashMap<&'static str, HashMap<String, Rule>> = HashMap::new();
        for row in written.call {
            let rule = Rule { does: row.does, at: row.at };
            for language in row.languages.iter().filter_map(|language| Language::named(language)) {
                let known = calls.entry(family(language)).or_default();
                known.extend(row.names.iter().map(|name| (name.clone(), rule)));
            }
        }
        Ok(Self { calls, sensitive: written.sensitive, services: written.services })
    }

    /// The rule of a full name.
    pub fn exact(&self, language: Language, name: &str) -> Option<Rule> {
        self.calls.get(family(language))?.get(name).copied()
    }

    /// The rule of a full name, or of a method of anything.
    pub fn call(&self, language: Language, name: &str) -> Option<Rule> {
        self.exact(language, name).or_else(|| {
            let (_, method) = name.rsplit_once('.')?;
            self.exact(language, &format!("?.{method}"))
        })
    }

    /// A name without what changes nothing before it.
    pub fn plain<'a>(&self, name: &'a str) -> &'a str {
        let mut name = name.strip_prefix("node:").unwrap_or(name);
        while let Some((head, rest)) =
            name.split_once('.').filter(|(head, _)| self.sensitive.transparent.contains(*head))
        {
            name = if rest.is_empty() { head } else { rest };
        }
        name
    }

    /// Holds members that run code or delete.
    pub fn sensitive(&self, name: &str) -> bool {
        self.sensitive.names.contains(name.split('.').next().unwrap_or(name))
            || self.sensitive.transparent.contains(name)
    }

    /// The package of a service that a full name begins with.
    pub fn service<'a>(&self, name: &'a str) -> Option<&'a str> {
        let package = name.split('.').next().unwrap_or(name);
        let known = |known: &String| match known.strip_suffix('*') {
            Some(head) => package.starts_with(head),
            None => package == known,
        };
        self.services.packages.iter().any(known).then_some(package)
    }

    /// What a method of a service's library tells the service.
    pub fn order(&self, method: &str) -> Option<Order> {
        let verb = crate::http::verb(method);
        match (self.services.ends.contains(&verb), self.services.changes.contains(&verb)) {
            (true, _) => Some(Order::Ends),
            (_, true) => Some(Order::Changes),
            _ => None,
        }
    }

    pub fn environment(&self, name: &str) -> bool {
        self.sensitive.environment.contains(name)
    }

    pub fn server(&self, method: &str) -> bool {
        self.sensitive.servers.contains(method)
    }

    /// A variable of the environment that holds no secret.
    pub fn harmless(&self, variable: &str) -> bool {
        self.sensitive.plain.contains(variable)
    }
}

fn family(language: Language) -> &'static str {
    match language {
        Language::Python => "python",
        Language::JavaScript | Language::TypeScript => "javascript",
        Language::Ruby => "ruby",
        Language::Go => "go",
        Language::Rust => "rust",
        Language::Perl | Language::Php | Language::Lua => "",
    }
}
