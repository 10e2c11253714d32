//! The analyst's work: the key terms and key sentences of one document.
//!
//! Extractive: sentences are quoted, never rewritten. Terms are weighed by TF-IDF with a
//! damped frequency (`sqrt(tf) * ln(1 + N/df)`; Salton and Buckley 1988 compare such
//! dampings), sentences by the weight of their terms, where they stand, how they begin
//! and how much they read like prose; what repeats a chosen sentence is left out.
//!
//! Invariants: the same document and vocabulary give the same picks; every pick can be
//! found at its line again (`verify::is_at`), or it is not picked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::prose::{self, Format, Sentence};
use super::split::{Document, Manifest, is_term};
use super::verify;

/// Key sentences picked from a document; the writer may show fewer.
const SENTENCES: usize = 4;
/// Key terms picked from a document.
const TERMS: usize = 6;
/// Words of a sentence worth quoting.
const LENGTH: std::ops::RangeInclusive<usize> = 6..=45;
/// Longest quotation in bytes.
const QUOTE: usize = 280;
/// Share of small words (articles, prepositions and the like) that English prose has at least.
const PROSE: f64 = 0.35;
/// Share of a sentence's terms (Jaccard) from which it repeats another.
pub const REPEATS: f64 = 0.5;

/// What an analyst hands on.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Analysis {
    /// Documents of its shard, by path.
    pub documents: Vec<Analysed>,
}

/// One document's essence.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Analysed {
    /// Path below the root.
    pub path: String,
    /// Key terms, weightiest first, with their occurrences in the file.
    pub terms: Vec<(String, u32)>,
    /// Key sentences, best first.
    pub sentences: Vec<Pick>,
    /// Sentences looked at.
    pub considered: u32,
}

/// A sentence worth quoting.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Pick {
    /// The sentence.
    pub text: String,
    /// Line on which it starts, from 1.
    pub line: u32,
    /// Higher is better; comparable within one run.
    pub score: f64,
}

/// How much a word says, given how many documents use it.
pub struct Weights {
    documents: f64,
    frequency: BTreeMap<String, u32>,
}

impl Weights {
    /// From the reader's vocabulary.
    pub fn of(manifest: &Manifest) -> Self {
        let words = manifest.vocabulary.iter();
        Self {
            documents: manifest.documents.len() as f64,
            frequency: words.map(|word| (word.word.clone(), word.documents)).collect(),
        }
    }

    /// Inverse document frequency: `ln(1 + N/df)`.
    pub fn idf(&self, word: &str) -> f64 {
        let df = self.frequency.get(word).copied().unwrap_or(1).max(1);
        (1.0 + self.documents / f64::from(df)).ln()
    }
}

/// Picks key terms and key sentences.
pub fn analyse(document: &Document, text: &str, weights: &Weights) -> Analysed {
    let prose = prose::split(text, Format::of(&document.path));
    let terms = term_weights(&prose.sentences, weights);
    let lines: Vec<&str> = text.lines().collect();
    let mut candidates: Vec<Candidate> = Vec::new();
    for (index, sentence) in prose.sentences.iter().enumerate() {
        if !is_quotable(sentence) || !verify::is_at(&lines, sentence.line, &sentence.text) {
            continue;
        }
        let place = index as f64 / prose.sentences.len().max(1) as f64;
        let section = section_of(document, sentence.line);
        candidates.push(Candidate::new(sentence, place, section, document, &terms));
    }
    let sentences = choose(candidates);
    let considered = u32::try_from(prose.sentences.len()).unwrap_or(u32::MAX);
    Analysed { path: document.path.clone(), terms: key_terms(text, &terms), sentences, considered }
}

/// Distinct terms of a sentence with plural and singular as one.
pub fn stems(text: &str) -> BTreeSet<String> {
    prose::words(text).filter(|word| is_term(word)).map(|word| stem(&word)).collect()
}

/// Share of terms that two sentences have in common (Jaccard).
pub fn overlap(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    let shared = a.intersection(b).count() as f64;
    let all = a.union(b).count() as f64;
    if all == 0.0 { 0.0 } else { shared / all }
}

/// Folds English plurals; good enough to see repetition.
fn stem(word: &str) -> String {
    match word {
        _ if word.ends_with("ies") && word.len() > 4 => format!("{}y", &word[..word.len() - 3]),
        _ if word.ends_with("sses") || word.ends_with("xes") => word[..word.len() - 2].to_owned(),
        _ if word.ends_with('s')
            && !word.ends_with("ss")
            && !word.ends_with("us")
            && !word.ends_with("is") =>
        {
            word[..word.len() - 1].to_owned()
        }
        _ => word.to_owned(),
    }
}

/// TF-IDF of each word of the prose.
fn term_weights(sentences: &[Sentence], weights: &Weights) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for sentence in sentences {
        for word in prose::words(&prose::without_code(&sentence.text)).filter(|word| is_term(word)) {
            *counts.entry(word).or_default() += 1;
        }
    }
    let weigh = |(word, tf): (String, u32)| {
        let weight = f64::from(tf).sqrt() * weights.idf(&word);
        (word, weight)
    };
    counts.into_iter().map(weigh).collect()
}

fn key_terms(text: &str, weights: &BTreeMap<String, f64>) -> Vec<(String, u32)> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for word in prose::words(text) {
        *counts.entry(word).or_default() += 1;
    }
    let repeated = weights.keys().any(|word| counts.get(word).is_some_and(|count| *count > 1));
    let mut ranked: Vec<(&String, f64)> = weights.iter().map(|(word, weight)| (word, *weight)).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let mut seen = BTreeSet::new();
    ranked
        .into_iter()
        .filter(|(word, _)| seen.insert(stem(word)))
        .map(|(word, _)| (word.clone(), counts.get(word).copied().unwrap_or(0)))
        // A word that occurs once is no topic, except where no word occurs twice.
        .filter(|(_, count)| *count > 1 || !repeated)
        .take(TERMS)
        .collect()
}

fn section_of(document: &Document, line: u32) -> usize {
    document.sections.partition_point(|(first, _)| *first <= line)
}

/// False for fragments, link collections and what would not read well on its own.
fn is_quotable(sentence: &Sentence) -> bool {
    let text = &sentence.text;
    let words = prose::words(text).count();
    let letters = text.chars().filter(|c| c.is_alphabetic() || c.is_whitespace()).count();
    sentence.closed
        && LENGTH.contains(&words)
        && text.len() <= QUOTE
        && letters * 4 >= text.chars().count() * 3
        && text.matches('`').count().is_multiple_of(2)
        && text.matches('(').count() == text.matches(')').count()
        && !text.contains("http")
        && !text.contains(['<', '|', '\\'])
        && text.starts_with(|c: char| !c.is_lowercase() && (c.is_alphanumeric() || "`\"“«'(".contains(c)))
}

/// Openings that lean on the sentence before.
#[rustfmt::skip]
const LEANING: &[&str] = &[
    "also", "and", "both", "but", "he", "hence", "it", "its", "otherwise", "she", "so", "that", "their",
    "then", "therefore", "these", "they", "this", "those", "thus",
];

struct Candidate<'a> {
    sentence: &'a Sentence,
    score: f64,
    section: usize,
    stems: BTreeSet<String>,
}

impl<'a> Candidate<'a> {
    fn new(
        sentence: &'a Sentence,
        place: f64,
        section: usize,
        document: &Document,
        terms: &BTreeMap<String, f64>,
    ) -> Self {
        let words: Vec<String> = prose::words(&sentence.text).collect();
        let distinct: BTreeSet<&String> = words.iter().filter(|word| is_term(word)).collect();
        let weight: f64 = distinct.iter().filter_map(|word| terms.get(*word)).sum();
        // Between a sum, which favours long sentences, and a mean, which favours short ones.
        let length = words.len() as f64;
        let mut score = weight / length.powf(0.65);
        // Lists of names have few of the small words that hold prose together.
        let small =
            words.iter().filter(|word| !is_term(word) && word.chars().all(char::is_alphabetic)).count();
        score *= 0.3 + 0.7 * (small as f64 / length / PROSE).min(1.0);
        // Enumerations and labels (`Words: this (that), ...`) read badly on their own.
        let marks = sentence.text.matches([',', ';', ':', '(', '/', '=']).count();
        score /= 1.0 + 0.15 * marks.saturating_sub(2) as f64;
        if sentence.text.find(": ").is_some_and(|at| at < 25) {
            score *= 0.6;
        }
        score *= match place {
            0.0 => 1.5,
            place if sentence.opens => 1.25 - 0.25 * place,
            place => 1.0 - 0.2 * place,
        };
        let topic = stems(&document.title);
        let own = stems(&sentence.text);
        if !topic.is_empty() && topic.intersection(&own).next().is_some() {
            score *= 1.15;
        }
        if words.first().is_some_and(|word| LEANING.binary_search(&word.as_str()).is_ok()) {
            score *= 0.7;
        }
        if sentence.text.ends_with('?') {
            score *= 0.6;
        }
        Self { sentence, score, section, stems: own }
    }
}

/// The best sentences that neither repeat each other nor all come from one section.
fn choose(mut candidates: Vec<Candidate<'_>>) -> Vec<Pick> {
    candidates
        .sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.sentence.line.cmp(&b.sentence.line)));
    let sections: BTreeSet<usize> = candidates.iter().map(|candidate| candidate.section).collect();
    let per_section = if sections.len() > 1 { SENTENCES.div_ceil(2) } else { SENTENCES };
    let mut chosen: Vec<Candidate<'_>> = Vec::new();
    for candidate in candidates {
        let same_section = chosen.iter().filter(|other| other.section == candidate.section).count();
        let repeats = chosen.iter().any(|other| overlap(&other.stems, &candidate.stems) >= REPEATS);
        if same_section < per_section && !repeats {
            chosen.push(candidate);
        }
        if chosen.len() == SENTENCES {
            break;
        }
    }
    let pick = |candidate: Candidate<'_>| Pick {
        text: candidate.sentence.text.clone(),
        line: candidate.sentence.line,
        // Six digits survive JSON everywhere.
        score: (candidate.score * 1e6).round() / 1e6,
    };
    chosen.into_iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::super::split::{SourceFile, manifest};
    use super::*;

    const LEASES: &str = "# Leases\n\nA lease gives one step to one session until it expires. It is renewed every five seconds by the replica.\n\n```\nA lease lease lease in code is never quoted here.\n```\n\n## Tokens\n\nThe fencing token of a lease is the sequence of the assigning event. Words without much to them stand here as well today.\n\n- fragment without an end\n\nA lease gives a step to one session until it expires.\n";
    const OTHER: &str = "# Weather\n\nRain falls mainly on the plain in every season of the year.\n";

    fn analysed(path: &str) -> (Analysed, Manifest) {
        let files = vec![
            SourceFile { path: "leases.md".into(), text: LEASES.into() },
            SourceFile { path: "weather.md".into(), text: OTHER.into() },
        ];
        let manifest = manifest("/r", files, BTreeMap::new(), 1);
        let document = manifest.documents.iter().find(|document| document.path == path).unwrap();
        let text = if path == "leases.md" { LEASES } else { OTHER };
        (analyse(document, text, &Weights::of(&manifest)), manifest)
    }

    #[test]
    fn key_sentences_are_quoted_from_prose_without_repetition() {
        let (found, _) = analysed("leases.md");
        let texts: Vec<_> = found.sentences.iter().map(|pick| (pick.line, pick.text.as_str())).collect();
        assert!(texts.contains(&(3, "A lease gives one step to one session until it expires.")), "{texts:?}");
        assert!(
            texts.contains(&(11, "The fencing token of a lease is the sequence of the assigning event.")),
            "{texts:?}"
        );
        let all: String = texts.iter().map(|(_, text)| *text).collect();
        assert!(!all.contains("in code") && !all.contains("fragment"), "{all}");
        assert_eq!(all.matches("until it expires").count(), 1, "{all}");
    }

    #[test]
    fn term_counts_are_those_of_the_whole_file() {
        let (found, _) = analysed("leases.md");
        let lease = found.terms.iter().find(|(term, _)| term == "lease").unwrap();
        // Five in prose, three in the code block; "Leases" is another word.
        assert_eq!(lease.1, 6, "{:?}", found.terms);
        assert!(found.terms.len() <= TERMS);
    }

    #[test]
    fn the_same_document_gives_the_same_picks() {
        assert_eq!(analysed("leases.md").0, analysed("leases.md").0);
        assert_ne!(analysed("leases.md").0.terms, analysed("weather.md").0.terms);
    }

    #[test]
    fn plurals_fold_into_their_singular() {
        for (plural, singular) in
            [("leases", "lease"), ("policies", "policy"), ("class", "class"), ("status", "status")]
        {
            assert_eq!(stem(plural), singular);
        }
    }

    #[test]
    fn leaning_openings_are_sorted_so_that_they_are_found() {
        let mut sorted = LEANING.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        for word in LEANING {
            assert!(LEANING.contains(word) && sorted.binary_search(word).is_ok());
        }
        assert_eq!(sorted, LEANING);
    }
}
