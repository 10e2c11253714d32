//! Personal data that is known by its structure.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::OnceLock;

use regex::Regex;

use super::Mark;
use super::secret::Table;

/// Kinds in the order in which they are looked for, and the shapes of candidates.
const SHAPES: [(&str, &str); 7] = [
    ("email", r"(?i)[a-z0-9][a-z0-9._%+-]{0,63}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,6}\.[a-z]{2,24}\b"),
    ("iban", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{1,4}){3,9}\b"),
    ("card", r"\b[0-9](?:[ -]?[0-9]){12,18}\b"),
    ("ssn", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b"),
    (
        "phone",
        r"\+[0-9]{1,3}(?:[ .-]?\(?[0-9]{1,5}\)?){2,6}|\([0-9]{3}\) ?[0-9]{3}[ .-][0-9]{4}\b|\b[0-9]{3}[.-][0-9]{3}[.-][0-9]{4}\b|\b0[0-9]{2,4}[ /-][0-9]{3,4}[ -][0-9]{3,5}\b|\b1[ .-][0-9]{3}[ .-][0-9]{3}[ .-][0-9]{4}\b",
    ),
    ("ip", r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b"),
    ("ip", r"(?i)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?:\.[0-9]{1,3}){0,3}"),
];

/// What looks like numbers of persons and is none: UUIDs, hashes, times.
const KEPT: &str = r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{32,128}\b|\b[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,18}(?:Z|[+-][0-9]{2}:?[0-9]{2})?|\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b";

fn shapes() -> &'static [(&'static str, Regex)] {
    static SHAPED: OnceLock<Vec<(&'static str, Regex)>> = OnceLock::new();
    SHAPED.get_or_init(|| {
        SHAPES.iter().filter_map(|(kind, shape)| Some((*kind, Regex::new(shape).ok()?))).collect()
    })
}

fn kept(text: &str) -> Vec<Range<usize>> {
    static REGEX: OnceLock<Option<Regex>> = OnceLock::new();
    let regex = REGEX.get_or_init(|| Regex::new(KEPT).ok());
    regex.iter().flat_map(|regex| regex.find_iter(text)).map(|found| found.range()).collect()
}

/// The personal data of a text.
pub fn marks(text: &str) -> Vec<Mark> {
    let kept = kept(text);
    let mut marks = Vec::new();
    for (kind, regex) in shapes() {
        let (mut at, mut free) = (0, 0);
        while let Some(found) = regex.find_at(text, at) {
            let range = found.range();
            // Those kept lie in order, none over another.
            let next = kept.partition_point(|kept| kept.end <= range.start);
            let spared = kept.get(next).is_some_and(|kept| kept.start < range.end) && *kind != "email";
            let held = held(text, &range, kind, free).filter(|_| !spared);
            free = held.as_ref().map_or(free, |held| held.end);
            at = held.as_ref().map_or_else(|| behind(text, &range, kind), |held| held.end);
            marks.extend(held.map(|range| Mark { range, kind: Cow::Borrowed(kind) }));
        }
    }
    marks
}

/// What of a candidate is of its kind. `free`: where the one before ended.
fn held(text: &str, range: &Range<usize>, kind: &str, free: usize) -> Option<Range<usize>> {
    if !alone(text, range, kind, free) {
        return None;
    }
    match text.get(range.clone()).is_some_and(|part| holds(kind, part)) {
        true => Some(range.clone()),
        false => (kind == "iban").then(|| shortened(text, range)).flatten(),
    }
}

/// Where to look on behind what is none. Numbers in a row: another may begin with the second.
fn behind(text: &str, range: &Range<usize>, kind: &str) -> usize {
    let part = text.get(range.clone()).unwrap_or_default();
    match kind {
        "card" | "iban" | "phone" => {
            let head = part.find(|c: char| !c.is_alphanumeric()).filter(|head| *head > 0);
            range.start + head.unwrap_or(part.len())
        }
        _ => range.end,
    }
}

/// An IBAN with blanks may have swallowed the words behind it.
fn shortened(text: &str, range: &Range<usize>) -> Option<Range<usize>> {
    let part = text.get(range.clone())?;
    let ends = part.char_indices().filter(|(_, c)| *c == ' ').map(|(at, _)| at).collect::<Vec<_>>();
    ends.into_iter()
        .rev()
        .find(|end| part.get(..*end).is_some_and(iban))
        .map(|end| range.start..range.start + end)
}

/// Whether nothing before or after makes a part of something else of it.
fn alone(text: &str, range: &Range<usize>, kind: &str, free: usize) -> bool {
    let before = text.get(..range.start).and_then(|text| text.chars().next_back());
    let before = before.filter(|_| range.start > free);
    let mut rest = text.get(range.end..).unwrap_or_default().chars();
    let (after, next) = (rest.next(), rest.next());
    let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if joined(before) || joined(after) {
        return false;
    }
    // A group within a longer row of groups is no number of its own.
    let digit_before = text
        .get(..range.start)
        .is_some_and(|text| text.ends_with(' ') && text.trim_end().ends_with(|c: char| c.is_ascii_digit()));
    let digit_after = after == Some(' ') && next.is_some_and(|c| c.is_ascii_digit());
    let plus = text.get(range.start..).is_some_and(|text| text.starts_with('+'));
    if kind == "phone" && (digit_before && !plus || digit_after) {
        return false;
    }
    let number_after = after == Some('.') && next.is_some_and(|c| c.is_ascii_digit());
    match kind {
        "email" => true,
        "ip" => {
            let longer = after == Some(':') && next == Some(':') || after == Some('-') || number_after;
            let url = text.get(..range.start).is_some_and(|text| text.ends_with("//"));
            !longer && (url || !matches!(before, Some('.' | ':' | '-' | '/')))
        }
        _ => {
            let longer = matches!(after, Some('-' | '/')) || number_after;
            let set = before == Some('=') && kind != "card";
            !longer && (set || !matches!(before, Some('.' | '-' | '/' | '#' | '=')))
        }
    }
}

fn holds(kind: &str, part: &str) -> bool {
    match kind {
        "email" => !part.contains("..") && !part.starts_with("git@"),
        "iban" => iban(part),
        "card" => card(part),
        "ssn" => ssn(part),
        "phone" => phone(part),
        _ => ip(part),
    }
}

fn digits(part: &str) -> Vec<u32> {
    part.chars().filter_map(|c| c.to_digit(10)).collect()
}

/// Makers' ranges and lengths (ISO/IEC 7812), then Luhn.
fn card(part: &str) -> bool {
    let digits = digits(part);
    let head = |count: usize| digits.iter().take(count).fold(0, |number, digit| number * 10 + digit);
    let length = digits.len();
    let known = match head(1) {
        4 => matches!(length, 13 | 16 | 19),
        5 => (51..=55).contains(&head(2)) && length == 16,
        2 => (2221..=2720).contains(&head(4)) && length == 16,
        3 => match head(2) {
            34 | 37 => length == 15,
            36 | 38 | 39 => length == 14,
            30 => length == 14 && head(3) <= 305,
            35 => length == 16 && (3528..=3589).contains(&head(4)),
            _ => false,
        },
        6 => {
            (head(4) == 6011 || head(2) == 65 || (644..=649).contains(&head(3)) || head(2) == 62)
                && (16..=19).contains(&length)
        }
        _ => false,
    };
    known && luhn(&digits)
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != 0)
}

/// Country, length, and the remainder of ISO 7064 (mod 97-10).
fn iban(part: &str) -> bool {
    let letters: Vec<char> = part.chars().filter(|c| *c != ' ').collect();
    let country: String = letters.iter().take(2).collect();
    if Table::get().iban.get(&country) != Some(&letters.len()) {
        return false;
    }
    let moved = letters.iter().skip(4).chain(letters.iter().take(4));
    let rest = moved.filter_map(|c| c.to_digit(36)).fold(0_u32, |rest, value| match value {
        0..=9 => (rest * 10 + value) % 97,
        _ => (rest * 100 + value) % 97,
    });
    rest == 1
}

/// Ranges that the United States never gave out are none.
fn ssn(part: &str) -> bool {
    let mut parts = part.split('-').map(|part| part.parse::<u32>().unwrap_or(0));
    let (area, group, serial) =
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    area != 0 && area != 666 && area < 900 && group != 0 && serial != 0
}

/// Seven to fifteen digits (E.164), and not all the same.
fn phone(part: &str) -> bool {
    let digits = digits(part);
    let varied = digits.iter().any(|digit| Some(digit) != digits.first());
    let least = if part.starts_with('+') { 8 } else { 9 };
    varied && (least..=15).contains(&digits.len())
}

/// Addresses of this machine are nobody's.
fn ip(part: &str) -> bool {
    if let Ok(address) = part.parse::<Ipv4Addr>() {
        return !address.is_loopback() && !address.is_unspecified() && !address.is_broadcast();
    }
    let address = part.parse::<Ipv6Addr>();
    let named = part.chars().any(|c| c.is_ascii_digit());
    address.is_ok_and(|address| !address.is_loopback() && !address.is_unspecified()) && named
}
