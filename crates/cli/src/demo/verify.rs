//! The fourth step: does the finished text say what the sources say?
//!
//! It reads the digest's Markdown as a person gets it and the files as they are now,
//! and checks: every statement has a citation; its file is one of the documents, with
//! the hash that the reader saw; the sentence starts on that line; one number stands
//! for one place; every count of lines, words and terms is counted again.
//!
//! What it does not do: share the analyst's parser. Sources are compared as raw lines.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::split::{Manifest, sha256};

/// Lines over which a quoted sentence may run.
const SPAN: usize = 12;
/// Problems that are listed; the rest is only counted.
pub const LISTED: usize = 20;

/// What was checked.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Report {
    /// Citations whose sentence was found at its line, repetitions included.
    pub citations: u32,
    /// Distinct sentences among them.
    pub statements: u32,
    /// Counts of terms, lines and words that were counted again.
    pub counts: u32,
    /// Files read again.
    pub files: u32,
}

/// One thing that is wrong, with the digest's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line of the digest, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "digest line {}: {}", self.line, self.what)
    }
}

/// Checks a digest against its sources, given by path.
///
/// # Errors
/// Everything that is wrong, in the order of the digest.
pub fn verify(
    markdown: &str,
    manifest: &Manifest,
    sources: &BTreeMap<String, String>,
) -> Result<Report, Vec<Problem>> {
    let mut check =
        Check { sources, report: Report::default(), problems: Vec::new(), numbers: BTreeMap::new() };
    check.hashes(manifest);
    for (text, line) in markdown.lines().zip(1..) {
        if let Some(statement) = statement_of(text) {
            check.statement(line, statement);
        } else if let Some(cells) = row_of(text) {
            check.top_term(line, &cells);
        } else if text.starts_with('`') && text.contains(" · key terms: ") {
            check.document(line, text);
        }
    }
    if check.report.citations == 0 && check.problems.is_empty() {
        check.problem(1, "there is no citation at all".to_owned());
    }
    check.report.statements = u32::try_from(check.numbers.len()).unwrap_or(u32::MAX);
    if check.problems.is_empty() { Ok(check.report) } else { Err(check.problems) }
}

/// True where the sentence starts on this line (from 1) of a file, whatever the markup.
pub fn is_at(lines: &[&str], line: u32, sentence: &str) -> bool {
    let from = line.saturating_sub(1) as usize;
    let Some(first) = lines.get(from) else { return false };
    let until = lines.len().min(from + SPAN);
    let needle = bare(sentence);
    let first_length = bare(first).len();
    let hay = bare(&lines[from..until].join("\n"));
    !needle.is_empty() && hay.find(&needle).is_some_and(|at| at < first_length)
}

/// Text without white space, markup characters and link targets.
fn bare(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let target = rest.strip_prefix("](").map(|inner| (inner, '(', ')'));
        let target = target.or_else(|| rest.strip_prefix("][").map(|inner| (inner, '[', ']')));
        if let Some((inner, open, close)) = target
            && let Some(length) = closing(inner, open, close)
        {
            rest = &inner[length..];
            continue;
        }
        if !c.is_whitespace() && !"*_`>#|\\[]~".contains(c) {
            kept.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    kept
}

/// Offset behind the bracket that closes one opened before `text`.
fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some(at + c.len_utf8());
            }
        }
    }
    None
}

/// Occurrences of a whole word, upper and lower case alike.
fn occurrences(text: &str, word: &str) -> u32 {
    let found = text
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|candidate| candidate.to_lowercase() == word)
        .count();
    u32::try_from(found).unwrap_or(u32::MAX)
}

struct Statement<'a> {
    sentence: &'a str,
    citation: Option<(u32, &'a str, u32)>,
}

/// The statement on a line of the digest, if it is a list item.
fn statement_of(line: &str) -> Option<Statement<'_>> {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = if digits > 0 { line[digits..].strip_prefix(". ")? } else { line.strip_prefix("- ")? };
    let cited = rest.rsplit_once(" [").and_then(|(sentence, tail)| {
        let inner = tail.strip_suffix(']')?;
        let (number, place) = inner.split_once(": ")?;
        let (path, at) = place.rsplit_once(':')?;
        Some((sentence, (number.parse().ok()?, path, at.parse().ok()?)))
    });
    Some(match cited {
        Some((sentence, citation)) => Statement { sentence, citation: Some(citation) },
        None => Statement { sentence: rest, citation: None },
    })
}

/// The cells of a row of top terms; none for its head.
fn row_of(line: &str) -> Option<[&str; 3]> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let cells: Vec<&str> = inner.split(" | ").collect();
    let cells: [&str; 3] = cells.try_into().ok()?;
    (cells[0] != "term").then_some(cells)
}

struct Check<'a> {
    sources: &'a BTreeMap<String, String>,
    report: Report,
    problems: Vec<Problem>,
    /// What each number stands for.
    numbers: BTreeMap<u32, (String, u32, String)>,
}

impl Check<'_> {
    fn problem(&mut self, line: usize, what: String) {
        self.problems.push(Problem { line, what });
    }

    fn hashes(&mut self, manifest: &Manifest) {
        for document in &manifest.documents {
            match self.sources.get(&document.path) {
                None => self.problem(1, format!("{} is gone", document.path)),
                Some(text) if sha256(text) != document.sha256 => {
                    self.problem(1, format!("{} has changed since it was read", document.path));
                }
                Some(_) => self.report.files += 1,
            }
        }
    }

    fn statement(&mut self, line: usize, statement: Statement<'_>) {
        let Some((number, path, at)) = statement.citation else {
            return self.problem(line, "a statement without citation".to_owned());
        };
        let Some(text) = self.sources.get(path) else {
            return self.problem(line, format!("[{number}] cites {path}, which is no document"));
        };
        let lines: Vec<&str> = text.lines().collect();
        if !is_at(&lines, at, statement.sentence) {
            return self.problem(line, format!("[{number}] is not at {path}:{at}: {}", statement.sentence));
        }
        let place = (path.to_owned(), at, statement.sentence.to_owned());
        let known = self.numbers.entry(number).or_insert_with(|| place.clone());
        if *known != place {
            return self.problem(line, format!("[{number}] stands for two places"));
        }
        self.report.citations += 1;
    }

    fn top_term(&mut self, line: usize, cells: &[&str; 3]) {
        let [term, count, documents] = cells;
        let each: Vec<u32> = self.sources.values().map(|text| occurrences(text, term)).collect();
        let total: u32 = each.iter().sum();
        let containing = each.iter().filter(|count| **count > 0).count();
        self.count(line, &format!("occurrences of {term}"), count, u64::from(total));
        self.count(line, &format!("documents with {term}"), documents, containing as u64);
    }

    /// `` `path` · N lines · N words · key terms: a (1), b (2) ``
    fn document(&mut self, line: usize, text: &str) {
        let parts: Vec<&str> = text.split(" · ").collect();
        let [path, lines, words, terms] = parts.as_slice() else {
            return self.problem(line, "a document's line is not in its form".to_owned());
        };
        let path = path.trim_matches('`');
        let Some(source) = self.sources.get(path) else {
            return self.problem(line, format!("{path} is no document"));
        };
        let counted =
            source.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        let (line_count, word_count) = (source.lines().count() as u64, counted.count() as u64);
        self.count(line, &format!("lines of {path}"), lines.trim_end_matches(" lines"), line_count);
        self.count(line, &format!("words of {path}"), words.trim_end_matches(" words"), word_count);
        let terms = terms.trim_start_matches("key terms: ");
        for entry in terms.split(", ").filter(|entry| *entry != "none") {
            let Some((term, count)) = entry.trim_end_matches(')').split_once(" (") else {
                self.problem(line, format!("{entry} has no count"));
                continue;
            };
            let found = u64::from(occurrences(source, term));
            self.count(line, &format!("{term} in {path}"), count, found);
        }
    }

    fn count(&mut self, line: usize, what: &str, said: &str, found: u64) {
        if said.parse() == Ok(found) {
            self.report.counts += 1;
        } else {
            self.problem(line, format!("{what}: the digest says {said}, the source has {found}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::analyse::{Analysis, Weights, analyse};
    use super::super::compose::compose;
    use super::super::split::{SourceFile, manifest};
    use super::*;

    const LOG: &str = "# The log\n\n> The **log** is the [truth](x.md#a) and every commit\n> appends `events` to streams. More of the same log follows in this place.\n";

    fn made() -> (String, Manifest, BTreeMap<String, String>) {
        let files = vec![SourceFile { path: "docs/log.md".into(), text: LOG.into() }];
        let manifest = manifest("/notes", files, BTreeMap::new(), 1);
        let weights = Weights::of(&manifest);
        let documents = manifest.documents.iter().map(|document| analyse(document, LOG, &weights));
        let analysis = Analysis { documents: documents.collect() };
        let digest = compose(&manifest, &[analysis]);
        let sources = BTreeMap::from([("docs/log.md".to_owned(), LOG.to_owned())]);
        (digest.markdown, manifest, sources)
    }

    #[test]
    fn an_honest_digest_passes_and_everything_is_counted() {
        let (markdown, manifest, sources) = made();
        let report = verify(&markdown, &manifest, &sources).unwrap();
        assert!(
            report.citations >= 2 && report.statements >= 1 && report.files == 1,
            "{report:?}\n{markdown}"
        );
        assert!(report.counts >= 3, "{report:?}");
    }

    #[test]
    fn every_kind_of_untruth_is_found() {
        let (markdown, manifest, sources) = made();
        let line = markdown.lines().find(|line| line.starts_with("- The log")).unwrap();
        for (from, to, finding) in [
            (line.to_owned(), line.replace("truth", "lie"), "is not at docs/log.md:3"),
            (line.to_owned(), line.replace(":3]", ":4]"), "is not at docs/log.md:4"),
            (line.to_owned(), line.replace(":3]", ":99]"), "is not at docs/log.md:99"),
            (line.to_owned(), line.replace("docs/log.md", "docs/no.md"), "no document"),
            (line.to_owned(), line.split(" [").next().unwrap().to_owned(), "without citation"),
            ("log (3)".to_owned(), "log (4)".to_owned(), "the source has 3"),
            (" lines · ".to_owned(), "0 lines · ".to_owned(), "lines of docs/log.md"),
        ] {
            assert!(markdown.contains(&from), "{from} is not in {markdown}");
            let problems = verify(&markdown.replace(&from, &to), &manifest, &sources).unwrap_err();
            assert!(problems.iter().any(|problem| problem.what.contains(finding)), "{to}: {problems:?}");
        }
    }

    #[test]
    fn a_source_that_changed_or_went_away_is_found() {
        let (markdown, manifest, mut sources) = made();
        sources.insert("docs/log.md".to_owned(), format!("{LOG}x"));
        let problems = verify(&markdown, &manifest, &sources).unwrap_err();
        assert!(problems[0].what.contains("has changed"), "{problems:?}");
        sources.clear();
        let problems = verify(&markdown, &manifest, &sources).unwrap_err();
        assert!(problems[0].what.contains("is gone"), "{problems:?}");
    }

    #[test]
    fn an_empty_digest_is_not_verified() {
        let (_, manifest, sources) = made();
        assert!(verify("# Digest\n", &manifest, &sources).is_err());
    }

    #[test]
    fn a_sentence_is_at_its_line_whatever_the_markup() {
        let lines: Vec<&str> =
            "a\n- **Bold** [words](http://x (y)) and `code`\n  go on. Next one.".lines().collect();
        assert!(is_at(&lines, 2, "Bold words and `code` go on."));
        assert!(is_at(&lines, 3, "Next one."));
        assert!(!is_at(&lines, 2, "Next one."), "it starts on the line after");
        assert!(!is_at(&lines, 1, "Bold words and `code` go on."));
        assert!(!is_at(&lines, 2, ""));
    }
}
