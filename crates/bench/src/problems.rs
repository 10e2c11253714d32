//! What went wrong during a run: all of it counted, the first few in words.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Different words that are kept.
const KINDS_MAX: usize = 8;

#[derive(Debug, Default)]
pub struct Problems(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    count: u64,
    kinds: BTreeMap<String, u64>,
}

impl Problems {
    pub fn add(&self, words: impl Into<String>) {
        self.add_many(1, words);
    }

    pub fn add_many(&self, count: u64, words: impl Into<String>) {
        if count == 0 {
            return;
        }
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.count += count;
        let words = words.into();
        if book.kinds.len() < KINDS_MAX || book.kinds.contains_key(&words) {
            *book.kinds.entry(words).or_default() += count;
        }
    }

    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// One line a kind.
    pub fn words(&self) -> String {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> =
            book.kinds.iter().map(|(words, count)| format!("  {count} times: {words}")).collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_only_a_few_kept() {
        let problems = Problems::default();
        for kind in 0..100 {
            problems.add(format!("kind {kind}"));
        }
        problems.add_many(5, "kind 0");
        assert_eq!(problems.count(), 105);
        assert_eq!(problems.words().lines().count(), KINDS_MAX);
        assert!(problems.words().contains("6 times: kind 0"));
    }
}
