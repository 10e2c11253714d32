//! Keys, tokens and passwords.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use regex::Regex;
use serde::Deserialize;

use super::Mark;

/// Least entropy of any secret, in bits a character: `xxxx...` is none.
const ENTROPY_MIN: f64 = 1.5;
/// One of these is in whatever the shape of named secrets fits.
const NAMES: [&str; 7] = ["pass", "pwd", "secret", "token", "key", "credential", "bearer"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    secret: Vec<Shape>,
    named: Named,
    iban: Iban,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    name: String,
    word: String,
    shape: String,
    #[serde(default)]
    entropy: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    shape: String,
    entropy: f64,
    entropy_password: f64,
    passwords: Vec<String>,
    stand_ins: Vec<String>,
}

#[derive(Deserialize)]
struct Iban {
    lengths: HashMap<String, usize>,
}

pub struct Table {
    shapes: Vec<(Shape, OnceLock<Option<Regex>>)>,
    /// Finds the words of the shapes, by their places: most texts have none.
    words: Option<AhoCorasick>,
    /// Finds whether a name of a secret may be there.
    names: Option<AhoCorasick>,
    named: Option<(Named, Regex)>,
    pub iban: HashMap<String, usize>,
}

impl Table {
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| {
            Self::parse().unwrap_or_else(|_| Self {
                shapes: Vec::new(),
                words: None,
                names: None,
                named: None,
                iban: HashMap::new(),
            })
        })
    }

    /// The shapes whose words are in the text.
    fn likely(&self, text: &str) -> BTreeSet<usize> {
        match &self.words {
            Some(words) => words.find_overlapping_iter(text).map(|word| word.pattern().as_usize()).collect(),
            None => (0..self.shapes.len()).collect(),
        }
    }

    /// The shipped table; a test proves that it parses and that every shape compiles.
    fn parse() -> Result<Self, toml::de::Error> {
        let written: Written = toml::from_str(include_str!("../../data/secrets.toml"))?;
        let words = AhoCorasick::new(written.secret.iter().map(|shape| &shape.word)).ok();
        let shapes = written.secret.into_iter().map(|shape| (shape, OnceLock::new())).collect();
        let names = AhoCorasick::builder().ascii_case_insensitive(true).build(NAMES).ok();
        let named = Regex::new(&written.named.shape).ok().map(|regex| (written.named, regex));
        Ok(Self { shapes, words, names, named, iban: written.iban.lengths })
    }
}

/// The secrets of a text.
pub fn marks(text: &str) -> Vec<Mark> {
    let table = Table::get();
    let mut marks = Vec::new();
    for (shape, regex) in table.likely(text).into_iter().filter_map(|at| table.shapes.get(at)) {
        let Some(regex) = regex.get_or_init(|| Regex::new(&shape.shape).ok()) else { continue };
        for found in regex.captures_iter(text) {
            let Some(value) =
                found.get(1).filter(|value| entropy(value.as_str()) >= shape.entropy.max(ENTROPY_MIN))
            else {
                continue;
            };
            // Examples write words where a login's password would be.
            let login = matches!(shape.name.as_str(), "url-password" | "curl-user");
            let word = shape.name == "curl-user" && !value.as_str().contains(|c: char| c.is_ascii_digit());
            if login && (word || stand_in(value.as_str())) {
                continue;
            }
            marks.push(Mark { range: value.range(), kind: Cow::Owned(format!("secret:{}", shape.name)) });
        }
    }
    marks.extend(named(text, table));
    marks
}

/// Values next to names of secrets.
fn named(text: &str, table: &Table) -> Vec<Mark> {
    let Some((named, regex)) = &table.named else { return Vec::new() };
    if table.names.as_ref().is_some_and(|names| !names.is_match(text)) {
        return Vec::new();
    }
    let mut marks = Vec::new();
    for found in regex.captures_iter(text) {
        let (Some(name), Some(value)) = (found.get(1), found.get(2)) else { continue };
        let name = name.as_str().to_lowercase();
        let password = named.passwords.iter().any(|word| name.contains(word.as_str()));
        let least = if password { named.entropy_password } else { named.entropy };
        let mixed = value.as_str().chars().any(|c| c.is_ascii_digit()) || password && value.len() >= 8;
        if entropy(value.as_str()) >= least && mixed && !stand_in(value.as_str()) {
            marks.push(Mark { range: value.range(), kind: Cow::Borrowed("secret:named") });
        }
    }
    marks
}

/// Whether a value only stands where a secret would be.
fn stand_in(value: &str) -> bool {
    let value = value.to_lowercase();
    // A plain word says so only where it is a good part of the value.
    let says = |word: &String| {
        let plain =
            word.chars().all(|c| c.is_ascii_alphabetic()) && word.chars().any(|c| !word.starts_with(c));
        value.contains(word.as_str())
            && (!plain || word.len() * 3 >= value.len() || value.starts_with(word.as_str()))
    };
    let known = Table::get().named.as_ref().is_some_and(|(named, _)| named.stand_ins.iter().any(says));
    known
        || value.starts_with(['$', '%', '[', '*'])
        || value.chars().all(|c| c == 'x' || c == '*' || c == '.')
}

/// Shannon entropy in bits a character.
pub fn entropy(text: &str) -> f64 {
    let mut counts: HashMap<char, u32> = HashMap::new();
    let mut all = 0_u32;
    for letter in text.chars() {
        *counts.entry(letter).or_default() += 1;
        all += 1;
    }
    let all = f64::from(all);
    let share = |count: &u32| f64::from(*count) / all;
    counts.values().map(share).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_compiles() {
        let table = Table::parse().expect("data/secrets.toml");
        assert!(table.named.is_some());
        for (shape, _) in &table.shapes {
            assert!(Regex::new(&shape.shape).is_ok(), "{}", shape.name);
        }
    }
}
