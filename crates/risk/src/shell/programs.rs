//! Knowledge of programs, from `data/programs*.toml`.
//!
//! A row says how a program reads its words and what it does with them; nothing here
//! knows a program by name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use super::args::Args;
use super::filter::glob_match;
use super::stream::UNKNOWN;
use super::vars::Vars;
use crate::model::{EffectKind, Scope, Undo};

/// The files, most frequent programs first; a later row of the same name is an error.
const FILES: [&str; 5] = [
    include_str!("../../data/programs.toml"),
    include_str!("../../data/programs_tools.toml"),
    include_str!("../../data/programs_cloud.toml"),
    include_str!("../../data/programs_system.toml"),
    include_str!("../../data/programs_plain.toml"),
];

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    program: Vec<Program>,
    variable: Vec<Variable>,
    words: Words,
}

/// Words that mean the same to many programs.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Words {
    /// Subcommands that only look.
    looks: String,
    /// What they should not look at.
    secrets: String,
    /// Directories that a build makes again.
    built: String,
    /// Names of files that nobody misses.
    junk: String,
    /// Variables of the environment that hold secrets, and others that are named like them.
    secret_variables: String,
    open_variables: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Program {
    pub names: String,
    /// Options that take a value.
    pub values: String,
    /// Of these, the ones that take none behind some subcommands (with spaces between).
    pub flags: BTreeMap<String, String>,
    /// Long options with one dash.
    pub single: bool,
    /// Roles of the operands in their order; `read*` is any number of them.
    pub operands: String,
    /// Roles of options' values.
    pub opts: BTreeMap<String, String>,
    /// Options with which nothing happens.
    pub dry: String,
    /// What it does, whatever its words.
    pub does: String,
    pub why: String,
    pub rules: Vec<Rule>,
    /// Subcommands that by themselves do nothing worth an effect.
    pub calm: String,
    /// What the subcommands nobody knows do: `calm`, or asked.
    pub other: String,
    /// Runs its operands, behind so many others, as a command.
    pub wrap: Option<usize>,
    /// Assignments may stand before the command it runs.
    pub assigns: bool,
    /// Code of its own: see `special` and `interpret`.
    pub special: String,
    /// What it prints: `names`, `remote`, `input`.
    pub gives: String,
    /// Says nothing harmless with `--help`.
    pub helpless: bool,
    /// Options with which it reads directories with all that lies in them; `*`: it always does.
    pub deep: String,
    /// What it does with its standard input, as a role, where nothing else is given.
    pub stdin: String,
    /// A file of the directory that it runs, or runs parts of.
    pub runs: String,
    /// A script of a project may bear the name and does the same.
    pub wrapper: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Subcommands, with dots between their words and globs in them.
    pub sub: String,
    /// Any of these options.
    pub has: String,
    /// None of these options.
    pub unless: String,
    /// Any operand (behind the subcommand) fits one of these globs.
    pub operand: String,
    /// There is no operand behind the subcommand.
    pub bare: bool,
    /// One of these variables has this value, as `NAME=value`.
    pub set: String,
    /// None of these variables has this value.
    pub unset: String,
    pub does: String,
    pub why: String,
    pub operands: String,
    pub wrap: Option<usize>,
}

/// A variable that changes what later programs run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variable {
    pub names: String,
    /// The value is a command.
    pub command: bool,
    /// Words of a value that load nothing.
    pub calm: String,
    /// The value lists directories; those of the project are its own.
    pub directories: bool,
    pub does: String,
    pub why: String,
}

#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Program>,
    names: BTreeMap<String, usize>,
    variables: BTreeMap<String, Variable>,
    words: Words,
}

impl Table {
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        // A table that does not parse knows no program, and everything is asked.
        TABLE.get_or_init(|| Self::parse().unwrap_or_default())
    }

    pub fn parse() -> Result<Self, toml::de::Error> {
        let mut table = Self::default();
        for text in FILES {
            let file: File = toml::from_str(text)?;
            for program in file.program {
                for name in program.names.split_whitespace() {
                    table.names.insert(name.to_owned(), table.rows.len());
                }
                table.rows.push(program);
            }
            if !file.words.looks.is_empty() {
                table.words = file.words;
            }
            for variable in file.variable {
                for name in variable.names.split_whitespace() {
                    let row = Variable { names: name.to_owned(), ..variable.clone() };
                    table.variables.insert(name.to_owned(), row);
                }
            }
        }
        Ok(table)
    }

    pub fn program(&self, name: &str) -> Option<&Program> {
        let exact = self.names.get(name);
        // `python3.12`, `gcc-13`, `mkfs.ext4`: the family's row.
        let family = || {
            let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
            self.names.get(stem).or_else(|| self.names.get(name.split('.').next().unwrap_or(name)))
        };
        exact.or_else(family).and_then(|row| self.rows.get(*row))
    }

    /// The row that also holds for a project's script of that name.
    pub fn wrapper(&self, name: &str) -> Option<&Program> {
        self.names.get(name).and_then(|row| self.rows.get(*row)).filter(|row| row.wrapper)
    }

    /// Whether the subcommand only looks, by the words that programs have in common.
    pub fn looks(&self, operands: &[String]) -> bool {
        let verb = |word: &String| {
            let tail = word.rsplit([':', '.']).next().unwrap_or(word);
            let (head, last) =
                (tail.split('-').next().unwrap_or(tail), tail.rsplit('-').next().unwrap_or(tail));
            let one_of = |word: &str| self.words.looks.split_whitespace().any(|look| look == word);
            one_of(tail) || (head != tail && (one_of(head) || one_of(last)))
        };
        let secret = |word: &String| self.words.secrets.split_whitespace().any(|glob| glob_match(glob, word));
        operands.iter().take(3).any(verb) && !operands.iter().take(4).any(secret)
    }

    /// Whether a build, or nobody, brings back what lies there.
    pub fn built(&self, path: &str) -> bool {
        let mut parts = path.split('/');
        parts.any(|part| self.words.built.split_whitespace().any(|glob| glob_match(glob, part)))
            || self.junk(path)
    }

    fn junk(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.words.junk.split_whitespace().any(|glob| name == glob || glob_match(glob, name))
    }

    /// Whether a variable of the environment holds a secret, by its name.
    pub fn secret_variable(&self, name: &str) -> bool {
        let fits = |globs: &str| globs.split_whitespace().any(|glob| glob_match(glob, name));
        let constant = !name.is_empty() && !name.contains(|c: char| c.is_ascii_lowercase());
        constant && fits(&self.words.secret_variables) && !fits(&self.words.open_variables)
    }

    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.get(name)
    }

    #[cfg(test)]
    pub fn rows(&self) -> &[Program] {
        &self.rows
    }

    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.names.len()
    }
}

impl Variable {
    /// Whether the value says nothing but what loads nothing.
    pub fn harmless(&self, value: &str) -> bool {
        let calm = |word: &str| self.calm.split_whitespace().any(|glob| glob_match(glob, word));
        !self.calm.is_empty() && value.split_whitespace().all(calm)
    }
}

impl Program {
    /// The options that take a value, as the subcommand reads them.
    pub fn values_of(&self, words: &[String]) -> Cow<'_, str> {
        if self.flags.is_empty() {
            return Cow::Borrowed(&self.values);
        }
        let subs =
            |names: &String| words.iter().take(4).any(|word| names.split(' ').any(|name| name == word));
        let flags: Vec<&str> = self
            .flags
            .iter()
            .filter(|(names, _)| subs(names))
            .flat_map(|(_, flags)| flags.split(' '))
            .collect();
        let kept = self.values.split(' ').filter(|value| !flags.contains(value));
        Cow::Owned(kept.collect::<Vec<_>>().join(" "))
    }

    pub fn has_subcommands(&self) -> bool {
        !self.calm.is_empty() || self.rules.iter().any(|rule| !rule.sub.is_empty())
    }

    /// The rules that fit, and whether the subcommand is known.
    pub fn fitting(&self, args: &Args, vars: &Vars) -> (Vec<(&Rule, usize)>, bool) {
        let mut known = !self.has_subcommands() || path_fits(&self.calm, &args.operands).is_some();
        let mut named = false;
        // A path that is written out says more than a shorter one: `rollout status`.
        let written = |path: &&str| !path.contains(['*', '?', '[']);
        let plain: Vec<&str> = self.calm.split_whitespace().filter(written).collect();
        let calm = path_fits(&plain.join(" "), &args.operands).unwrap_or(0);
        let mut fitting = Vec::new();
        for rule in &self.rules {
            let depth = match rule.sub.is_empty() {
                true => Some(0),
                false => path_fits(&rule.sub, &args.operands),
            };
            let Some(depth) = depth.filter(|depth| rule.sub.is_empty() || *depth >= calm) else { continue };
            // A subcommand that rules speak of is known, if only some of its calls do harm.
            named |= !rule.sub.is_empty() && rule.sub != "*";
            if rule.fits(args, depth) && rule.holds(vars) {
                known |= !rule.sub.is_empty();
                fitting.push((rule, depth));
            }
        }
        (fitting, known || named || Table::get().looks(&args.operands))
    }
}

impl Rule {
    /// Whether the variables are as the rule wants them.
    fn holds(&self, vars: &Vars) -> bool {
        let is = |pair: &str| {
            let (name, wanted) = pair.split_once('=').unwrap_or((pair, ""));
            vars.get(name).and_then(|values| values.first()).is_some_and(|value| glob_match(wanted, value))
        };
        (self.set.is_empty() || self.set.split_whitespace().any(is)) && !self.unset.split_whitespace().any(is)
    }

    fn fits(&self, args: &Args, depth: usize) -> bool {
        let operands = args.operands.get(depth..).unwrap_or_default();
        let matched = |globs: &str| {
            operands.iter().any(|operand| {
                operand.starts_with(UNKNOWN) || globs.split(' ').any(|glob| glob_match(glob, operand))
            })
        };
        (self.has.is_empty() || args.has(&self.has))
            && (self.unless.is_empty() || !args.exactly(&self.unless))
            && (self.operand.is_empty() || matched(&self.operand))
            && (!self.bare || operands.is_empty())
    }
}

/// How many operands the first fitting path of subcommands covers.
fn path_fits(paths: &str, operands: &[String]) -> Option<usize> {
    paths.split_whitespace().find_map(|path| {
        let parts: Vec<&str> = path.split('.').collect();
        let fits = parts.len() <= operands.len()
            && parts.iter().zip(operands).all(|(part, operand)| glob_match(part, operand));
        fits.then_some(parts.len())
    })
}

/// The role of each of `count` operands.
pub fn roles(spec: &str, count: usize) -> Vec<&str> {
    let tokens: Vec<&str> = spec.split_whitespace().collect();
    let Some(last) = tokens.last() else { return vec!["text"; count] };
    let star = tokens.iter().position(|token| token.ends_with('*'));
    let tail = star.map_or(0, |star| tokens.len() - star - 1);
    let role = |at: usize| match star {
        Some(star) if at >= star || at + tail >= count => match at + tail >= count {
            true if tail > 0 => tokens.get(tokens.len() - (count - at)).copied().unwrap_or(last),
            _ => tokens.get(star).copied().unwrap_or(last),
        },
        _ => tokens.get(at).copied().unwrap_or(last),
    };
    (0..count).map(|at| role(at).trim_end_matches('*')).collect()
}

/// The effects that a `does` names: `kind scope undo`, with `;` between them.
pub fn deeds(does: &str) -> Vec<(EffectKind, Scope, Undo)> {
    let word = |text: &str| serde_json::Value::String(text.to_owned());
    let deed = |text: &str| {
        let mut words = text.split_whitespace();
        let kind = serde_json::from_value(word(words.next()?)).ok()?;
        let scope = serde_json::from_value(word(words.next()?)).ok()?;
        let undo = serde_json::from_value(word(words.next()?)).ok()?;
        Some((kind, scope, undo))
    };
    does.split(';').filter_map(deed).collect()
}
