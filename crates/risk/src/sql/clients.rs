//! What of the text is not SQL: lines for the client, and comments that a server runs.

use std::borrow::Cow;

use super::table::{Client, Table};
use crate::model::{Context, Found, Unresolved};
use crate::shell;

/// The text without the client's lines, and what those do. The SQL keeps its lines, so
/// that places stay true.
pub fn apart<'a>(text: &'a str, context: &Context) -> (Cow<'a, str>, Found) {
    let mut found = Found::default();
    let text = revealed(text);
    let separate = |line: &str| line.trim().eq_ignore_ascii_case("go");
    if !text.lines().any(|line| word(line).is_some() || separate(line)) {
        return (text, found);
    }
    let mut rest = String::with_capacity(text.len());
    for line in text.lines() {
        match word(line) {
            Some((word, arguments)) => found.extend(client(word, arguments, context)),
            None if separate(line) => rest.push(';'),
            None => rest.push_str(line),
        }
        rest.push('\n');
    }
    (Cow::Owned(rest), found)
}

/// The command of a line for the client, and what follows it.
fn word(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let rest = line.strip_prefix('\\').or_else(|| line.strip_prefix('.'))?;
    if let Some(program) = rest.strip_prefix('!') {
        return Some(("!", program));
    }
    let rest = rest.trim_end_matches(';');
    let (word, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let named = word == "?" || word.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    named.then_some((word, arguments))
}

fn client(word: &str, arguments: &str, context: &Context) -> Found {
    match Table::get().client(word) {
        Client::Harmless => match arguments.contains(['|', '`']) {
            true => Unresolved::new("sql.client.pipe", "the client hands its answer to a program").into(),
            false => Found::default(),
        },
        Client::Program => {
            let inner = Context { depth: context.depth.saturating_add(1), ..context.clone() };
            shell::script(arguments.trim(), &inner)
        }
        Client::Unknown => Unresolved::new("sql.client", "a command of the client that is not known").into(),
    }
}

/// Oracle's `EXPLAIN PLAN FOR` is another writing of `EXPLAIN`; blanks keep the places true.
pub fn planned(text: &str) -> Cow<'_, str> {
    let small = text.to_ascii_lowercase();
    if !small.contains("explain") || !small.contains("plan") {
        return Cow::Borrowed(text);
    }
    let mut words = Vec::new();
    let mut at = 0;
    for word in small.split(|c: char| c.is_ascii_whitespace()) {
        if !word.is_empty() && words.len() < 2_000 {
            words.push((at, word));
        }
        at += word.len() + 1;
    }
    let mut plain = text.to_owned();
    for window in words.windows(3) {
        let [(start, first), (_, second), (_, third)] = window else { continue };
        let head = first.rsplit(';').next().unwrap_or(first);
        if head == "explain" && *second == "plan" && *third == "for" {
            let from = start + first.len();
            let end = window.last().map_or(from, |(at, word)| at + word.len());
            plain.replace_range(from..end, &" ".repeat(end - from));
        }
    }
    Cow::Owned(plain)
}

/// MySQL runs what stands in `/*! ... */`: the marks become blanks.
fn revealed(text: &str) -> Cow<'_, str> {
    if !text.contains("/*!") && !text.contains("/*M!") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("/*!").or_else(|| rest.find("/*M!")) {
        let (before, comment) = rest.split_at(at);
        let (inner, after) = comment.split_once("*/").unwrap_or((comment, ""));
        let inner = inner.trim_start_matches("/*").trim_start_matches('M').trim_start_matches('!');
        shown.push_str(before);
        shown.push(' ');
        shown.push_str(inner.trim_start_matches(|c: char| c.is_ascii_digit()));
        shown.push(' ');
        rest = after;
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// One `PRAGMA name(x)` that only asks, or `name = x` that takes no guard away; the parser
/// takes no names as values.
pub fn asking_pragma(text: &str) -> bool {
    let text = text.trim().trim_end_matches(';').trim();
    let Some((word, rest)) = text.split_once(char::is_whitespace) else { return false };
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '(' | ')' | '\'' | '"' | '=' | ' ');
    let (name, value) = rest.split_once(['(', '=']).unwrap_or((rest, ""));
    let (name, value) = (name.trim(), value.trim_matches([' ', ')']));
    let guarded = Table::get().pragma(name) && !Table::get().tightens(name, value);
    word.eq_ignore_ascii_case("pragma") && rest.chars().all(plain) && !guarded
}
