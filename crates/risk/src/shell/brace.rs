//! Brace expansion, over marks that the reader of words leaves for braces nobody quoted.

use super::stream::UNKNOWN;
use crate::work;

/// Braces that nobody quoted, until they are expanded.
pub const OPEN: char = '\u{E001}';
pub const COMMA: char = '\u{E002}';
pub const CLOSE: char = '\u{E003}';
/// Words that one word's braces may become.
const BRACES_MAX: usize = 64;

/// The marks of braces as the characters they were.
pub fn plain(text: &str) -> String {
    text.replace(OPEN, "{").replace(COMMA, ",").replace(CLOSE, "}")
}

/// `a{b,c}d` as `abd`, `acd`; `{1..3}` as three words.
pub fn braces(field: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut todo = vec![field.to_owned()];
    while let Some(word) = todo.pop() {
        match first_brace(&word) {
            Some(words) if done.len() + todo.len() + words.len() <= BRACES_MAX => {
                todo.extend(words.into_iter().rev());
            }
            Some(_) => done.push(UNKNOWN.to_string()),
            None => done.push(plain(&word)),
        }
    }
    done
}

/// The words of the first brace that can be expanded.
fn first_brace(word: &str) -> Option<Vec<String>> {
    for (open, _) in word.match_indices(OPEN) {
        // Braces that nothing closes are looked for to the end of the word, each.
        if !work::spend(2 * (word.len() - open)) {
            return None;
        }
        let (mut depth, mut cuts, mut close) = (0, vec![open], None);
        for (at, c) in word.get(open..)?.char_indices() {
            match c {
                OPEN => depth += 1,
                CLOSE => depth -= 1,
                COMMA if depth == 1 => cuts.push(open + at),
                _ => {}
            }
            if depth == 0 {
                close = Some(open + at);
                break;
            }
        }
        let Some(close) = close else { continue };
        let (head, tail) = (word.get(..open)?, word.get(close + CLOSE.len_utf8()..)?);
        if cuts.len() > 1 {
            cuts.push(close);
            let part = |pair: &[usize]| match pair {
                [from, to] => word.get(from + OPEN.len_utf8()..*to),
                _ => None,
            };
            return Some(
                cuts.windows(2).filter_map(part).map(|part| format!("{head}{part}{tail}")).collect(),
            );
        }
        if let Some(items) = sequence(word.get(open + OPEN.len_utf8()..close)?) {
            return Some(items.iter().map(|item| format!("{head}{item}{tail}")).collect());
        }
    }
    None
}

fn sequence(text: &str) -> Option<Vec<String>> {
    let (from, to) = text.split_once("..")?;
    if let (Ok(from), Ok(to)) = (from.parse::<i32>(), to.parse::<i32>()) {
        let (low, high) = (from.min(to), from.max(to));
        let most = i32::try_from(BRACES_MAX).unwrap_or(0) - 4;
        if high.checked_sub(low)? > most {
            return Some(vec!["*".to_owned()]);
        }
        return Some((low..=high).map(|number| number.to_string()).collect());
    }
    let (mut from, mut to) = (from.chars(), to.chars());
    match (from.next(), from.next(), to.next(), to.next()) {
        (Some(a), None, Some(b), None) if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            Some((a.min(b)..=a.max(b)).map(|c| c.to_string()).collect())
        }
        _ => None,
    }
}
