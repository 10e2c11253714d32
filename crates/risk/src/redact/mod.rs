//! Secrets and personal data become typed tokens before anything is stored or shown.
//!
//! - [`secret`]: keys, tokens, passwords by their makers' shapes, names and randomness
//! - [`personal`]: mail, phones, cards, IBANs, addresses, numbers of persons
//!
//! Invariants: what is replaced leaves only its kind behind; epoch milliseconds, UUIDs,
//! hashes and ids stay; the text outside the tokens is not changed, and redacting again
//! changes nothing (but for long texts where more than seven kinds touch one another in a row).

mod personal;
mod secret;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// How often a long text is looked through at most, and how many bytes of a short one.
const ROUNDS: usize = 8;
const LOOKED_AT: usize = 256 * 1024;

/// Something to be hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub range: Range<usize>,
    /// `secret:github-token`, `email`, `phone`, `card`, `iban`, `ip`, `ssn`.
    pub kind: Cow<'static, str>,
}

/// The text with a token for each secret and each piece of personal data.
pub fn text(text: &str) -> String {
    hidden(text, marks, replaced)
}

/// The text with a token for each secret; personal data stays, as where a person is named
/// on purpose.
pub fn secrets(text: &str) -> String {
    hidden(text, |text| apart(secret::marks(text)), replaced)
}

/// The text with each secret and each piece of personal data written over, byte by byte:
/// what is put together by places within it stays together.
pub fn blotted(text: &str) -> String {
    hidden(text, marks, |text, marks| {
        let mut bytes = text.as_bytes().to_vec();
        for mark in marks {
            if let Some(hidden) = bytes.get_mut(mark.range) {
                hidden.fill(b'*');
            }
        }
        String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
    })
}

fn replaced(text: &str, marks: Vec<Mark>) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut at = 0;
    for mark in marks {
        redacted.push_str(text.get(at..mark.range.start).unwrap_or_default());
        redacted.push('[');
        redacted.push_str(&mark.kind);
        redacted.push(']');
        at = mark.range.end;
    }
    redacted.push_str(text.get(at..).unwrap_or_default());
    redacted
}

/// What would be hidden, in order, none over another; secrets go first.
pub fn marks(text: &str) -> Vec<Mark> {
    apart(secret::marks(text).into_iter().chain(personal::marks(text)))
}

/// Hides what is found until nothing is: some are only seen for what they are once their
/// neighbour is a token, as a number that another one touches is none.
fn hidden(text: &str, find: impl Fn(&str) -> Vec<Mark>, hide: impl Fn(&str, Vec<Mark>) -> String) -> String {
    let mut text = Cow::Borrowed(text);
    let mut left = LOOKED_AT.max(text.len() * ROUNDS);
    while let Some(rest) = left.checked_sub(text.len().max(1)) {
        left = rest;
        let marks = find(&text);
        if marks.is_empty() {
            break;
        }
        text = Cow::Owned(hide(&text, marks));
    }
    text.into_owned()
}

fn apart(found: impl IntoIterator<Item = Mark>) -> Vec<Mark> {
    // By where they begin: of the marks kept, none reaches over another.
    let mut marks: BTreeMap<usize, Mark> = BTreeMap::new();
    for mark in found {
        let Range { start, end } = mark.range;
        let before = marks.range(..end).next_back();
        if start < end && before.is_none_or(|(_, before)| before.range.end <= start) {
            marks.insert(start, mark);
        }
    }
    marks.into_values().collect()
}

/// Whether a secret is in the text.
pub fn holds_secret(text: &str) -> bool {
    !secret::marks(text).is_empty()
}
