//! What calls are known, from `data/code.toml`.

use std::sync::OnceLock;

// Nothing is put in after it is read: nobody can make its names collide.
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
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
    Parent,
    Listing,
    Database,
    Template,
    Extract,
    Fragment,
    Query,
    Connect,
    Listen,
    Looks,
    Method,
    MethodNamed,
    Memory,
    Serve,
    Vault,
    Persist,
    Publish,
}

impl Does {
    /// Whether the call only makes one value of another.
    pub fn plain(self) -> bool {
        matches!(self, Self::Text | Self::Join | Self::Looks)
    }

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
    foreign: Foreign,
    guards: Guards,
    aliases: HashMap<String, HashMap<String, String>>,
    by_name: HashMap<String, HashSet<String>>,
}

/// What comes from whoever asks.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Foreign {
    names: HashSet<String>,
    ruby: HashSet<String>,
    extractors: Vec<String>,
}

/// Switches by the value that turns the guard off, in small letters.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Guards {
    off: HashMap<String, HashSet<String>>,
    mentions: HashSet<String>,
}

/// What is known of services' libraries.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Services {
    commands: HashMap<String, Vec<String>>,
    packages: Vec<String>,
    methods: Vec<String>,
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
    logs: HashSet<String>,
    hidden: HashSet<String>,
    plain: HashSet<String>,
}

#[derive(Default)]
pub struct Table {
    calls: HashMap<&'static str, HashMap<String, Rule>>,
    sensitive: Sensitive,
    services: Services,
    foreign: Foreign,
    guards: Guards,
    aliases: HashMap<String, HashMap<String, String>>,
    by_name: HashMap<String, HashSet<String>>,
}

impl Table {
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::parse().unwrap_or_default())
    }

    /// The shipped table; a test proves that it parses.
    pub fn parse() -> Result<Self, toml::de::Error> {
        let written: Written = toml::from_str(include_str!("../../data/code.toml"))?;
        let mut calls: HashMap<&'static str, HashMap<String, Rule>> = HashMap::default();
        for row in &written.call {
            let rule = Rule { does: row.does, at: row.at };
            for language in row.languages.iter().filter_map(|language| Language::named(language)) {
                let known = calls.entry(family(language)).or_default();
                known.extend(row.names.iter().map(|name| (name.clone(), rule)));
            }
        }
        let Written { sensitive, services, foreign, guards, aliases, by_name, .. } = written;
        Ok(Self { calls, sensitive, services, foreign, guards, aliases, by_name })
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
        self.sensitive.names.contains(name.split(['.', '/']).next().unwrap_or(name))
            || self.sensitive.transparent.contains(name)
    }

    /// The package of a service that a full name begins with.
    pub fn service<'a>(&self, name: &'a str) -> Option<&'a str> {
        let package = name.split('.').next().unwrap_or(name);
        self.services.packages.iter().any(|known| fits(known, package)).then_some(package)
    }

    /// The module that everybody means by a name.
    pub fn alias(&self, language: Language, name: &str) -> Option<&str> {
        self.aliases.get(family(language))?.get(name).map(String::as_str)
    }

    /// The program that a function stands for, and its first words.
    pub fn command(&self, name: &str) -> Option<&[String]> {
        self.services.commands.get(name).map(Vec::as_slice)
    }

    /// A method that only a service's library has.
    pub fn telling(&self, method: &str) -> bool {
        self.services.methods.iter().any(|known| fits(known, method))
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

    /// What requests hold, by the last two names: `request.args`.
    pub fn foreign(&self, language: Language, name: &str) -> bool {
        let mut dots = name.rmatch_indices('.').map(|(at, _)| at + 1);
        let start = dots.nth(1).unwrap_or(0);
        let tail = name.get(start..).unwrap_or(name);
        self.foreign.names.contains(tail) || language == Language::Ruby && self.foreign.ruby.contains(name)
    }

    /// A type of Rust's frameworks that takes something out of a request.
    pub fn extractor(&self, kind: &str) -> bool {
        let takes = |part: &str| {
            let head = part.split('<').next().unwrap_or(part);
            head.len() < part.len() && self.foreign.extractors.iter().any(|name| name == head)
        };
        kind.split("::").any(takes)
    }

    /// Whether setting this name to this value turns a guard off.
    pub fn switch(&self, name: &str, value: &str) -> bool {
        self.guards.off.get(&value.to_lowercase()).is_some_and(|names| names.contains(name))
    }

    pub fn mention(&self, name: &str) -> bool {
        self.guards.mentions.contains(name)
    }

    /// Whether a text reaches functions or fields by names that it puts together.
    pub fn by_name(&self, language: Language, text: &str) -> bool {
        let known = self.by_name.get(family(language));
        let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        known.is_some_and(|known| words.any(|word| known.contains(word)))
    }

    pub fn environment(&self, name: &str) -> bool {
        self.sensitive.environment.contains(name)
    }

    pub fn server(&self, method: &str) -> bool {
        self.sensitive.servers.contains(method)
    }

    /// A method that writes where people and other programs read.
    pub fn log(&self, method: &str) -> bool {
        self.sensitive.logs.contains(method)
    }

    /// A variable that is named for what nobody should see.
    pub fn hidden(&self, name: &str) -> bool {
        self.sensitive.hidden.contains(name)
    }

    /// A variable of the environment that holds no secret.
    pub fn harmless(&self, variable: &str) -> bool {
        self.sensitive.plain.contains(variable)
    }
}

/// Whether a name is this one, or begins so where `*` ends it.
fn fits(known: &str, name: &str) -> bool {
    match known.strip_suffix('*') {
        Some(head) => name.starts_with(head),
        None => name == known,
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
