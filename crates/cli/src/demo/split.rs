//! The reader's work: files become documents with sections, shares for the analysts and one vocabulary.
//!
//! Invariants: the manifest depends on the files alone (not on their order); it fits
//! into one payload whatever the files are; every document is in exactly one shard.
//!
//! What it does not do: carry the text. Payloads are small, so later steps read the
//! files again and refuse those whose SHA-256 has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::prose::{self, Format};

/// Words kept in the vocabulary; those that are left out count as occurring in one document.
const VOCABULARY: usize = 3_000;
/// Sections kept over all documents.
const SECTIONS: usize = 1_000;
/// Characters kept of a title or heading.
const HEADING: usize = 60;

/// A file as it was read.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Path below the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// What the reader hands on: the documents and what they have in common.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Manifest {
    /// Absolute path of the directory.
    pub root: String,
    /// Documents by path.
    pub documents: Vec<Document>,
    /// Words by document frequency.
    pub vocabulary: Vec<Word>,
    /// Files that were not taken, by reason.
    pub skipped: BTreeMap<String, u32>,
}

/// One document.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Document {
    /// Path below the root.
    pub path: String,
    /// First heading, or the file's name.
    pub title: String,
    /// Which analyst step looks at it, from 1.
    pub shard: u32,
    /// Lines.
    pub lines: u32,
    /// Words.
    pub words: u32,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// First line and heading of each section.
    pub sections: Vec<(u32, String)>,
}

/// One word and how it is spread.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Word {
    /// The word in lower case.
    pub word: String,
    /// Documents that contain it.
    pub documents: u32,
    /// Occurrences, code included, as `grep -oiw` counts them.
    pub count: u32,
    /// Occurrences in sentences.
    pub prose: u32,
}

/// Splits files into documents and deals them to `shards` analysts.
pub fn manifest(
    root: &str,
    mut files: Vec<SourceFile>,
    skipped: BTreeMap<String, u32>,
    shards: u32,
) -> Manifest {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut vocabulary: BTreeMap<String, Word> = BTreeMap::new();
    let mut documents = Vec::with_capacity(files.len());
    let per_document = (SECTIONS / files.len().max(1)).clamp(4, 60);
    for file in &files {
        let prose = prose::split(&file.text, Format::of(&file.path));
        count(&file.text, &prose, &mut vocabulary);
        let sections = prose.headings.iter().take(per_document);
        documents.push(Document {
            path: file.path.clone(),
            title: title(&file.path, &prose),
            shard: 0,
            lines: u32::try_from(file.text.lines().count()).unwrap_or(u32::MAX),
            words: u32::try_from(prose::words(&file.text).count()).unwrap_or(u32::MAX),
            sha256: sha256(&file.text),
            sections: sections.map(|heading| (heading.line, shorten(&heading.text))).collect(),
        });
    }
    deal(&mut documents, shards.max(1));
    Manifest { root: root.to_owned(), documents, vocabulary: most_spread(vocabulary), skipped }
}

/// SHA-256 of a text, in hex.
pub fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn title(path: &str, prose: &prose::Prose) -> String {
    let highest = prose.headings.iter().find(|heading| heading.level == 1);
    match highest.or(prose.headings.first()).map(|heading| shorten(&heading.text)) {
        Some(title) if !title.is_empty() => title,
        _ => shorten(path.rsplit('/').next().unwrap_or(path)),
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= HEADING {
        return text.to_owned();
    }
    let kept: String = text.chars().take(HEADING - 1).collect();
    format!("{}…", kept.trim_end())
}

/// Largest first, each to the shard with the least so far.
fn deal(documents: &mut [Document], shards: u32) {
    let mut order: Vec<usize> = (0..documents.len()).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(documents[*index].words), *index));
    let mut load = vec![0_u64; shards as usize];
    for index in order {
        let lightest = (0..load.len()).min_by_key(|shard| (load[*shard], *shard)).unwrap_or(0);
        load[lightest] += u64::from(documents[index].words) + 1;
        documents[index].shard = u32::try_from(lightest).unwrap_or(0) + 1;
    }
}

fn count(text: &str, prose: &prose::Prose, vocabulary: &mut BTreeMap<String, Word>) {
    let mut seen = BTreeSet::new();
    for word in prose::words(text).filter(|word| is_term(word)) {
        let first = seen.insert(word.clone());
        let entry = vocabulary.entry(word).or_insert_with_key(|word| Word {
            word: word.clone(),
            documents: 0,
            count: 0,
            prose: 0,
        });
        entry.count += 1;
        entry.documents += u32::from(first);
    }
    for sentence in &prose.sentences {
        for word in prose::words(&prose::without_code(&sentence.text)) {
            if let Some(entry) = vocabulary.get_mut(&word) {
                entry.prose += 1;
            }
        }
    }
}

fn most_spread(vocabulary: BTreeMap<String, Word>) -> Vec<Word> {
    let spread = |word: &Word| word.prose > 0 && (word.documents > 1 || word.prose > 2);
    let mut words: Vec<Word> = vocabulary.into_values().filter(spread).collect();
    words.sort_by(|a, b| (b.documents, b.prose, &a.word).cmp(&(a.documents, a.prose, &b.word)));
    words.truncate(VOCABULARY);
    words
}

/// True for words that can stand for a topic.
pub fn is_term(word: &str) -> bool {
    let length = word.chars().count();
    (3..=30).contains(&length)
        && word.chars().all(char::is_alphabetic)
        && STOP_WORDS.binary_search(&word).is_err()
}

/// English words without a topic, sorted. Other languages rely on the document frequency.
#[rustfmt::skip]
const STOP_WORDS: &[&str] = &[
    "about", "above", "after", "again", "against", "all", "already", "also", "although", "always",
    "among", "and", "another", "any", "are", "around", "away", "back", "because", "been", "before",
    "behind", "being", "below", "besides", "best", "better", "between", "both", "but", "can", "cannot",
    "come", "comes", "could", "did", "does", "doing", "done", "down", "during", "each", "either",
    "else", "enough", "etc", "even", "ever", "every", "everything", "few", "first", "for", "from",
    "further", "get", "gets", "give", "given", "gives", "goes", "got", "had", "has", "have", "having",
    "her", "here", "hers", "him", "his", "how", "however", "http", "https", "instead", "into", "its",
    "itself", "just", "keep", "kept", "last", "least", "less", "let", "like", "made", "make", "makes",
    "many", "may", "means", "might", "more", "most", "much", "must", "need", "needs", "neither",
    "never", "new", "next", "none", "nor", "not", "nothing", "now", "off", "often", "once", "one",
    "only", "onto", "other", "others", "otherwise", "our", "out", "over", "own", "per", "put", "rather",
    "really", "same", "say", "says", "see", "she", "should", "since", "some", "something", "still",
    "such", "take", "taken", "takes", "than", "that", "the", "their", "them", "then", "there", "these",
    "they", "thing", "things", "this", "those", "though", "through", "thus", "together", "too", "two",
    "under", "until", "unto", "upon", "use", "used", "uses", "using", "very", "via", "want", "was",
    "way", "well", "were", "what", "when", "where", "whether", "which", "while", "who", "whole",
    "whose", "why", "will", "with", "within", "without", "would", "yes", "yet", "you", "your",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn stop_words_are_sorted_so_that_they_are_found() {
        assert!(STOP_WORDS.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(!is_term("the") && !is_term("ab") && !is_term("lease_token") && is_term("lease"));
    }

    #[test]
    fn the_manifest_does_not_depend_on_the_order_of_files() {
        let files = vec![
            file("b.md", "# Bee\n\nThe lease ends. A lease starts.\n"),
            file("a.txt", "Plain lease words.\n"),
        ];
        let mut reversed = files.clone();
        reversed.reverse();
        let one = manifest("/r", files, BTreeMap::new(), 2);
        assert_eq!(one, manifest("/r", reversed, BTreeMap::new(), 2));
        assert_eq!(one.documents[0].title, "a.txt");
        assert_eq!(one.documents[1].title, "Bee");
        assert_eq!(one.documents[1].sections, vec![(1, "Bee".to_owned())]);
        let lease = one.vocabulary.iter().find(|word| word.word == "lease").unwrap();
        assert_eq!((lease.documents, lease.count, lease.prose), (2, 3, 3));
    }

    #[test]
    fn every_document_is_in_one_shard_and_shards_are_balanced() {
        let files: Vec<_> = (1..=40).map(|n| file(&format!("{n}.md"), &"word and ".repeat(n * 10))).collect();
        let manifest = manifest("/r", files, BTreeMap::new(), 4);
        let mut load = BTreeMap::<u32, u32>::new();
        for document in &manifest.documents {
            *load.entry(document.shard).or_default() += document.words;
        }
        assert_eq!(load.keys().copied().collect::<Vec<_>>(), vec![1, 2, 3, 4]);
        let (least, most) = (load.values().min().unwrap(), load.values().max().unwrap());
        assert!(most - least < most / 10, "{load:?}");
    }

    #[test]
    fn the_manifest_of_the_largest_input_fits_into_one_payload() {
        // 200 files with long paths, many headings and 2 MB of ever different words.
        let letters = |mut n: usize| {
            let mut word = String::from("vocab");
            for _ in 0..6 {
                word.push(char::from(b'a' + u8::try_from(n % 26).unwrap()));
                n /= 26;
            }
            word
        };
        let files: Vec<_> = (0..200)
            .map(|n| {
                let mut text = String::new();
                for k in 0..400 {
                    let _ = writeln!(
                        text,
                        "## {} heading\n\n{}.\n",
                        letters(k).repeat(9),
                        letters(k * 7 + n % 50)
                    );
                }
                text.truncate(10_000);
                file(&format!("{}/{n}.md", "long-directory-name/".repeat(10)), &text)
            })
            .collect();
        let manifest = manifest(&"/root".repeat(50), files, BTreeMap::new(), 4);
        let size = serde_json::to_vec(&manifest).unwrap().len();
        assert!(size < 262_144, "{size} bytes");
    }
}
