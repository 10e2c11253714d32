//! The writer's work: one digest in Markdown with a citation behind every statement.
//!
//! The form is fixed, because `verify` reads it back from the finished text:
//! - a statement is a list item `- <sentence> [<n>: <path>:<line>]` (or `1. ...`);
//! - a document opens with `### <title>` and a line
//!   `` `<path>` · <n> lines · <n> words · key terms: <term> (<count>), ... ``;
//! - a top term is a table row `| <term> | <occurrences> | <documents> |`.
//!
//! Invariants: the same sentence has the same number everywhere; numbers grow in the
//! order of the text; the digest fits into one payload.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::analyse::{Analysed, Analysis, Pick, REPEATS, Weights, overlap, stems};
use super::split::Manifest;

/// First line of every digest; the reader skips files that begin with it.
pub const MARK: &str = "<!-- quarterdeck digest: quotations, each with [number: file:line] -->";
/// Statements in the section on what is central.
const CENTRAL: usize = 5;
/// Rows of the table of top terms.
const TOP_TERMS: usize = 12;

/// What the writer hands on.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Digest {
    /// The text.
    pub markdown: String,
    /// Documents in it.
    pub documents: u32,
    /// Sentences that were looked at to choose from.
    pub sentences: u32,
    /// Distinct statements quoted.
    pub citations: u32,
}

/// Composes the digest.
pub fn compose(manifest: &Manifest, analyses: &[Analysis]) -> Digest {
    let mut documents: Vec<&Analysed> = analyses.iter().flat_map(|analysis| &analysis.documents).collect();
    documents.sort_by(|a, b| a.path.cmp(&b.path));
    let sentences: u32 = documents.iter().map(|document| document.considered).sum();
    let mut writer = Writer::default();
    writer.head(manifest, sentences);
    writer.central(&central(&documents, &Weights::of(manifest)));
    writer.top_terms(manifest);
    writer.line("## The documents");
    let shown = match documents.len() {
        0..=20 => 4,
        21..=60 => 3,
        _ => 2,
    };
    for analysed in &documents {
        writer.document(manifest, analysed, shown);
    }
    writer.line(
        "_Every statement above is quoted from the file and line behind it; counts are whole words in the \
         file, upper and lower case alike, as `grep -oiw` finds them._",
    );
    Digest {
        markdown: writer.text,
        documents: u32::try_from(documents.len()).unwrap_or(u32::MAX),
        sentences,
        citations: u32::try_from(writer.numbers.len()).unwrap_or(u32::MAX),
    }
}

#[derive(Default)]
struct Writer {
    text: String,
    /// Number of each cited place and sentence.
    numbers: BTreeMap<(String, u32, String), usize>,
}

impl Writer {
    /// One block and the blank line after it.
    fn line(&mut self, words: &str) {
        self.text.push_str(words);
        self.text.push_str("\n\n");
    }

    fn head(&mut self, manifest: &Manifest, sentences: u32) {
        let name = manifest.root.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let name = if name.is_empty() { "/" } else { name };
        let words: u64 = manifest.documents.iter().map(|document| u64::from(document.words)).sum();
        self.line(MARK);
        self.line(&format!("# Digest of {name}"));
        let count = manifest.documents.len();
        let plural = if count == 1 { "document" } else { "documents" };
        self.line(&format!("{count} {plural}, {words} words, {sentences} sentences looked at."));
        if !manifest.skipped.is_empty() {
            let each: Vec<String> =
                manifest.skipped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            self.line(&format!("Files left out: {}.", each.join(", ")));
        }
    }

    fn central(&mut self, picks: &[(&str, &Pick)]) {
        if picks.is_empty() {
            return;
        }
        self.line("## What is most central");
        for (place, (path, pick)) in picks.iter().enumerate() {
            self.statement(&format!("{}.", place + 1), path, pick);
        }
        self.text.push('\n');
    }

    fn top_terms(&mut self, manifest: &Manifest) {
        let terms = top_terms(manifest);
        if terms.is_empty() {
            return;
        }
        self.line("## Top terms");
        self.text.push_str("| term | occurrences | documents |\n|---|---:|---:|\n");
        for (term, count, documents) in terms {
            let _ = writeln!(self.text, "| {term} | {count} | {documents} |");
        }
        self.text.push('\n');
    }

    fn document(&mut self, manifest: &Manifest, analysed: &Analysed, shown: usize) {
        let Some(document) = manifest.documents.iter().find(|document| document.path == analysed.path) else {
            return;
        };
        self.line(&format!("### {}", document.title));
        let terms: Vec<String> =
            analysed.terms.iter().map(|(term, count)| format!("{term} ({count})")).collect();
        let terms = if terms.is_empty() { "none".to_owned() } else { terms.join(", ") };
        self.line(&format!(
            "`{}` · {} lines · {} words · key terms: {terms}",
            document.path, document.lines, document.words
        ));
        let mut picks: Vec<&Pick> = analysed.sentences.iter().take(shown).collect();
        // Chosen by weight, shown in the order of the document.
        picks.sort_by_key(|pick| pick.line);
        for pick in &picks {
            self.statement("-", &analysed.path, pick);
        }
        if picks.is_empty() {
            self.text.push_str("No full sentence to quote.\n");
        }
        self.text.push('\n');
    }

    fn statement(&mut self, bullet: &str, path: &str, pick: &Pick) {
        let next = self.numbers.len() + 1;
        let key = (path.to_owned(), pick.line, pick.text.clone());
        let number = *self.numbers.entry(key).or_insert(next);
        let _ = writeln!(self.text, "{bullet} {} [{number}: {path}:{}]", pick.text, pick.line);
    }
}

/// Words that are frequent in several documents without being everywhere, one of each singular and plural.
fn top_terms(manifest: &Manifest) -> Vec<(String, u32, u32)> {
    let weights = Weights::of(manifest);
    let mut ranked: Vec<_> = manifest
        .vocabulary
        .iter()
        .map(|word| {
            // A topic comes back within a document; what stands once in each is a form.
            let again = (f64::from(word.prose) - 0.8 * f64::from(word.documents)).max(0.0);
            (word, again * weights.idf(&word.word) * f64::from(word.documents).ln_1p())
        })
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.word.cmp(&b.0.word)));
    let mut seen = BTreeSet::new();
    ranked
        .into_iter()
        .filter(|(word, _)| stems(&word.word).into_iter().all(|stem| seen.insert(stem)))
        .map(|(word, _)| (word.word.clone(), word.count, word.documents))
        .take(TOP_TERMS)
        .collect()
}

/// Statements that say what many others are about: the sum of cosines with the key
/// sentences of other documents (degree centrality, after LexRank, Erkan and Radev 2004).
fn central<'a>(documents: &[&'a Analysed], weights: &Weights) -> Vec<(&'a str, &'a Pick)> {
    let mut candidates: Vec<Vector<'a>> = Vec::new();
    for document in documents {
        // The second best of each is enough to choose from, and keeps this quadratic step small.
        for pick in document.sentences.iter().take(2) {
            candidates.push(Vector::new(document, pick, weights));
        }
    }
    let longest = documents.iter().map(|document| document.considered).max().unwrap_or(0);
    let best = candidates.iter().map(|candidate| candidate.pick.score).fold(f64::MIN_POSITIVE, f64::max);
    let mut ranked: Vec<(f64, usize)> = Vec::with_capacity(candidates.len());
    for (index, candidate) in candidates.iter().enumerate() {
        let others = candidates.iter().filter(|other| other.path != candidate.path);
        let degree: f64 = others.map(|other| candidate.cosine(other)).sum();
        // A long document has more to say than a page of three sentences.
        let weight = f64::from(candidate.considered).ln_1p() / f64::from(longest).ln_1p();
        ranked.push(((degree + 0.05) * (0.5 + candidate.pick.score / best) * weight, index));
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut chosen: Vec<&Vector<'a>> = Vec::new();
    for (_, index) in ranked {
        let candidate = &candidates[index];
        let repeats = chosen.iter().any(|other| overlap(&other.stems, &candidate.stems) >= REPEATS);
        // One a document, as long as there are enough documents.
        let same = documents.len() >= CENTRAL && chosen.iter().any(|other| other.path == candidate.path);
        if !repeats && !same {
            chosen.push(candidate);
        }
        if chosen.len() == CENTRAL {
            break;
        }
    }
    chosen.into_iter().map(|vector| (vector.path, vector.pick)).collect()
}

/// A sentence as a unit vector over its terms.
struct Vector<'a> {
    path: &'a str,
    /// Sentences of its document.
    considered: u32,
    pick: &'a Pick,
    stems: BTreeSet<String>,
    weights: BTreeMap<String, f64>,
}

impl<'a> Vector<'a> {
    fn new(document: &'a Analysed, pick: &'a Pick, weights: &Weights) -> Self {
        let stems = stems(&pick.text);
        let raw: Vec<(String, f64)> = stems.iter().map(|stem| (stem.clone(), weights.idf(stem))).collect();
        let norm = raw.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        let weights = raw.into_iter().map(|(stem, weight)| (stem, weight / norm)).collect();
        Self { path: &document.path, considered: document.considered, pick, stems, weights }
    }

    fn cosine(&self, other: &Self) -> f64 {
        let shared = self.weights.iter().filter_map(|(stem, a)| other.weights.get(stem).map(|b| a * b));
        shared.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::analyse::analyse;
    use super::super::split::{SourceFile, manifest};
    use super::*;

    fn digest(files: &[(&str, &str)]) -> Digest {
        let sources: Vec<_> = files
            .iter()
            .map(|(path, text)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() })
            .collect();
        let manifest = manifest("/home/me/notes", sources, BTreeMap::new(), 2);
        let weights = Weights::of(&manifest);
        let analyses: Vec<Analysis> = (1..=2)
            .map(|shard| Analysis {
                documents: manifest
                    .documents
                    .iter()
                    .filter(|document| document.shard == shard)
                    .map(|document| {
                        let text = files.iter().find(|(path, _)| *path == document.path).unwrap().1;
                        analyse(document, text, &weights)
                    })
                    .collect(),
            })
            .collect();
        compose(&manifest, &analyses)
    }

    const LOG: &str = "# The log\n\nThe log is the truth and every commit appends events to streams.\n";
    const WATCH: &str = "# Watches\n\nA watch follows the log and shows every event of a stream once.\n";

    #[test]
    fn a_digest_has_a_title_central_statements_terms_and_documents() {
        let digest = digest(&[("log.md", LOG), ("watch.md", WATCH)]);
        assert_eq!(digest.documents, 2);
        assert_eq!(digest.citations, 2);
        let expected = "- The log is the truth and every commit appends events to streams. [";
        for part in
            [MARK, "# Digest of notes", "## What is most central", "## Top terms", "### The log", expected]
        {
            assert!(digest.markdown.contains(part), "{part} is missing in {}", digest.markdown);
        }
    }

    #[test]
    fn the_same_sentence_has_the_same_number_everywhere() {
        let digest = digest(&[("log.md", LOG), ("watch.md", WATCH)]);
        let cited: Vec<&str> = digest
            .markdown
            .lines()
            .filter(|line| line.contains("The log is the truth"))
            .filter_map(|line| line.rsplit('[').next())
            .collect();
        assert_eq!(cited.len(), 2);
        assert_eq!(cited[0], cited[1]);
    }

    #[test]
    fn other_documents_give_another_digest() {
        assert_ne!(digest(&[("log.md", LOG)]).markdown, digest(&[("watch.md", WATCH)]).markdown);
        assert_eq!(digest(&[("log.md", LOG)]), digest(&[("log.md", LOG)]));
    }
}
