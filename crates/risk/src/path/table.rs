//! What is known of places.

use std::sync::OnceLock;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use serde::Deserialize;

use super::{Place, canonical, wild};
use crate::model::{Context, Scope};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    secret: Section,
    persist: Section,
    guard: Section,
    kept: Section,
    built: Section,
    temp: Under,
    harmless: Harmless,
    remote: Remote,
    home: Under,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub rule: String,
    pub why: String,
    globs: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
}

/// Rules of one kind with all their globs in one automaton.
#[derive(Default, Deserialize)]
#[serde(from = "Vec<Rule>")]
struct Section {
    rules: Vec<Rule>,
    globs: GlobSet,
    /// The rule of each glob.
    owners: Vec<usize>,
    /// For each rule what it leaves out.
    except: Vec<GlobSet>,
    /// Plain names that the globs stand for, with their rule.
    samples: Vec<(String, usize)>,
}

#[derive(Debug, Default, Deserialize)]
struct Under {
    under: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Harmless {
    devices: Vec<String>,
    under: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Remote {
    under: Vec<String>,
    schemes: Vec<String>,
}

impl Table {
    /// The shipped table; a test proves that it parses and that every glob compiles.
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::parse().unwrap_or_default())
    }

    pub fn parse() -> Result<Self, toml::de::Error> {
        toml::from_str(include_str!("../../data/paths.toml"))
    }

    #[cfg(test)]
    pub fn globs(&self) -> impl Iterator<Item = &String> {
        [&self.secret, &self.persist, &self.guard, &self.kept, &self.built]
            .into_iter()
            .flat_map(|section| &section.rules)
            .flat_map(|rule| rule.globs.iter().chain(&rule.except))
    }
}

/// A glob over a written path in small letters: `*` stays within one name.
pub fn compile(glob: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(&glob.to_lowercase()).literal_separator(true).empty_alternates(true).build()
}

fn set(globs: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    globs.iter().filter_map(|glob| compile(glob).ok()).for_each(|glob| {
        set.add(glob);
    });
    set.build().unwrap_or_default()
}

impl From<Vec<Rule>> for Section {
    fn from(rules: Vec<Rule>) -> Self {
        let all = rules.iter().flat_map(|rule| rule.globs.iter().cloned()).collect::<Vec<_>>();
        let owned = |(at, rule): (usize, &Rule)| rule.globs.iter().map(move |_| at).collect::<Vec<_>>();
        let owners = rules.iter().enumerate().flat_map(owned).collect();
        let sampled = |(at, rule): (usize, &Rule)| {
            let names = rule.globs.iter().flat_map(|glob| samples(glob));
            names.map(|name| (name.to_lowercase(), at)).collect::<Vec<_>>()
        };
        let samples = rules.iter().enumerate().flat_map(sampled).collect();
        let except = rules.iter().map(|rule| set(&rule.except)).collect();
        Self { globs: set(&all), owners, except, samples, rules }
    }
}

impl Section {
    /// The first rule that holds for a path, or may hold for one with wildcards.
    fn find(&self, written: &str) -> Option<&Rule> {
        let written = written.to_lowercase();
        let spared = |rule: usize| self.except.get(rule).is_some_and(|except| except.is_match(&written));
        let matched = self.globs.matches(&written);
        let held = matched.iter().filter_map(|at| self.owners.get(*at).copied()).find(|rule| !spared(*rule));
        let held = held.or_else(|| {
            let sample = |(name, _): &&(String, usize)| wild::could(&written, name);
            wild::is(&written).then(|| self.samples.iter().find(sample)).flatten().map(|(_, rule)| *rule)
        });
        held.and_then(|rule| self.rules.get(rule))
    }
}

/// Plain names that a glob stands for, of its first choice of words.
fn samples(glob: &str) -> Vec<String> {
    let head = glob.strip_prefix("**/").unwrap_or(glob);
    let (before, choices, after) = match (head.find('{'), head.find('}')) {
        (Some(open), Some(close)) if open < close => (
            head.get(..open).unwrap_or_default(),
            head.get(open + 1..close).unwrap_or_default(),
            head.get(close + 1..).unwrap_or_default(),
        ),
        _ => (head, "", ""),
    };
    choices
        .split(',')
        .map(|choice| format!("{before}{choice}{after}").replace("**", "x").replace('*', "x"))
        .collect()
}

/// A place and the rules that say so.
pub struct Facts {
    pub place: Place,
    pub secret: Option<&'static Rule>,
    pub persist: Option<&'static Rule>,
    pub guard: Option<&'static Rule>,
    pub kept: Option<&'static Rule>,
    /// Reads and writes do nothing to anybody: `/dev/null`.
    pub harmless: bool,
    /// The project's directory itself, or one above it.
    pub whole: bool,
}

impl Facts {
    pub fn of(path: &str, context: &Context) -> Self {
        let table = Table::get();
        let Some(path) = canonical(path, context) else {
            return Self::unknown(path);
        };
        let written = written(&path, context, table);
        let find = |section: &'static Section| section.find(&written);
        let harmless = table.harmless.devices.contains(&path) || below(&table.harmless.under, &path);
        let (secret, persist, kept) = (find(&table.secret), find(&table.persist), find(&table.kept));
        let inside = written.starts_with("./") || written == ".";
        let guard = if inside { find(&table.guard) } else { None };
        let built = find(&table.built).is_some();
        let everything = matches!(written.as_str(), "./*" | "./**" | "./.*" | "./?*");
        let whole = everything
            || path == context.project
            || context.project.starts_with(&format!("{}/", path.trim_end_matches('/')));
        let scope = match (harmless, inside, guard.is_some()) {
            (true, ..) => Scope::Temp,
            (_, true, true) => Scope::Guard,
            (_, true, false) => Scope::Project,
            _ => outside(&path, &written, table),
        };
        let rebuildable = !whole
            && match scope {
                Scope::Temp => true,
                Scope::Project => built || (secret.is_none() && kept.is_none()),
                _ => false,
            };
        let place =
            Place { path, scope, secret: secret.is_some(), persistent: persist.is_some(), rebuildable };
        Self { place, secret, persist, guard, kept, harmless, whole }
    }

    fn unknown(path: &str) -> Self {
        // What follows the unknown beginning may still name a secret.
        let rest = path.split_once('/').map_or("", |(_, rest)| rest);
        // It may begin anywhere, at a home directory as well.
        let (anywhere, home) = (format!("?/{rest}"), format!("~/{rest}"));
        let table = Table::get();
        let find = |section: &'static Section| {
            let at_home = if rest.is_empty() { None } else { section.find(&home) };
            section.find(&anywhere).or(at_home)
        };
        let (secret, persist) = (find(&table.secret), find(&table.persist));
        let place = Place {
            path: path.to_owned(),
            scope: Scope::Unknown,
            secret: secret.is_some(),
            persistent: persist.is_some(),
            rebuildable: false,
        };
        Self { place, secret, persist, guard: None, kept: None, harmless: false, whole: false }
    }
}

/// The path from the root that its globs are written from.
fn written(path: &str, context: &Context, table: &Table) -> String {
    if let Some(rest) = within(path, &context.project) {
        return if rest.is_empty() { ".".to_owned() } else { format!("./{rest}") };
    }
    if let Some(rest) = within(path, &context.home) {
        return format!("~/{rest}").trim_end_matches('/').to_owned();
    }
    let home = table.home.under.iter().find_map(|home| behind(home, path));
    home.map_or_else(|| path.to_owned(), |rest| format!("~/{rest}").trim_end_matches('/').to_owned())
}

/// What follows a directory in a path that lies in it.
fn within<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(directory.trim_end_matches('/'))?;
    match rest.is_empty() {
        true => Some(rest),
        false => rest.strip_prefix('/'),
    }
}

/// The same for a directory with `*` as one of its names.
fn behind<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    let mut rest = path;
    for name in directory.split('/') {
        let (head, tail) = rest.split_once('/').unwrap_or((rest, ""));
        let fits = if name == "*" { !head.is_empty() } else { head.eq_ignore_ascii_case(name) };
        if !fits {
            return None;
        }
        rest = tail;
    }
    Some(rest)
}

fn below(directories: &[String], path: &str) -> bool {
    directories.iter().any(|directory| behind(directory, path).is_some_and(|rest| !rest.is_empty()))
}

fn outside(path: &str, written: &str, table: &Table) -> Scope {
    if let Some((scheme, _)) = path.split_once(":/").filter(|(scheme, _)| scheme.len() > 1) {
        let known = table.remote.schemes.iter().any(|name| name == scheme);
        return if known { Scope::Remote } else { Scope::Unknown };
    }
    match path {
        path if below(&table.temp.under, path) => Scope::Temp,
        path if below(&table.remote.under, path) => Scope::Remote,
        _ if written.starts_with('~') => Scope::Home,
        _ => Scope::System,
    }
}
