//! JSON, token by token: nothing of it is lost, doubled keys and long numbers included.
//!
//! Invariant: what is not JSON is handed back as it is.

use std::ops::Range;

use crate::redact::Mark;

use super::mask;

/// Levels that begin lines of their own; deeper ones stay on one line, so that the text
/// grows by no more than a factor.
const INDENTED: usize = 12;
/// Longest key that is looked at, in bytes.
const KEY_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Open,
    Close,
    Comma,
    Colon,
    Text,
    /// Numbers, `true`, `false`, `null`.
    Plain,
}

fn valid(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// The tokens of a text that is JSON; of any other, none.
pub fn tokens(text: &str) -> Vec<(Token, Range<usize>)> {
    let mut tokens = Vec::new();
    if !valid(text) {
        return tokens;
    }
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        at += 1;
        let token = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'{' | b'[' => Token::Open,
            b'}' | b']' => Token::Close,
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => {
                at = closing(bytes, at);
                Token::Text
            }
            _ => {
                while bytes.get(at).is_some_and(|byte| !b" \t\n\r,]}".contains(byte)) {
                    at += 1;
                }
                Token::Plain
            }
        };
        tokens.push((token, start..at));
    }
    tokens
}

/// The end of a text whose opening quote is behind.
fn closing(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// An element a line, texts in their plainest writing.
pub fn lines(text: &str) -> String {
    written(text, true)
}

/// Without blanks, texts in their plainest writing.
fn compact(text: &str) -> String {
    written(text, false)
}

fn written(text: &str, indented: bool) -> String {
    let tokens = tokens(text);
    if tokens.is_empty() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() * 2);
    let (mut deep, mut opened) = (0_usize, false);
    for (token, range) in tokens {
        let piece = text.get(range).unwrap_or_default();
        let closes = token == Token::Close;
        deep -= usize::from(closes && deep > 0);
        let breaks = match token {
            Token::Comma | Token::Colon => false,
            Token::Close => !opened,
            _ => deep > 0 && (opened || out.ends_with(',')),
        };
        if indented && breaks && deep + usize::from(closes) <= INDENTED {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", deep));
        }
        match token {
            Token::Text => out.push_str(&plainest(piece)),
            Token::Colon if indented => out.push_str(": "),
            _ => out.push_str(piece),
        }
        opened = token == Token::Open;
        deep += usize::from(opened);
    }
    out
}

/// A text with no more escapes than it needs: what is hidden by them is seen.
fn plainest(piece: &str) -> String {
    decoded(piece).map_or_else(|| piece.to_owned(), |text| encoded(&text))
}

/// What the text says; half surrogates say nothing.
pub fn decoded(piece: &str) -> Option<String> {
    serde_json::from_str(piece).ok()
}

fn encoded(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// Where ranges of what a text says stand between its quotes, from `inner` on. They come
/// in order.
pub fn within(inner: &str, said: &str, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut letters = said.char_indices().peekable();
    let mut written = 0;
    let mut offset = |to: usize| {
        while let Some((_, c)) = letters.next_if(|(at, _)| *at < to) {
            written += match inner.get(written..).unwrap_or_default().as_bytes() {
                [b'\\', b'u', ..] => 6 * c.len_utf16(),
                [b'\\', ..] => 2,
                _ => c.len_utf8(),
            };
        }
        written
    };
    ranges.iter().map(|range| offset(range.start)..offset(range.end)).collect()
}

/// For each token the one that is its key: a member's own, or that of the list it is in.
pub fn keys(text: &str, tokens: &[(Token, Range<usize>)]) -> Vec<Option<usize>> {
    let mut stack: Vec<Option<usize>> = vec![None];
    let mut pending = None;
    let mut keys = Vec::with_capacity(tokens.len());
    for (at, (token, range)) in tokens.iter().enumerate() {
        let is_key = *token == Token::Text && matches!(tokens.get(at + 1), Some((Token::Colon, _)));
        let outer = stack.last().copied().flatten();
        keys.push(if is_key { None } else { pending.or(outer) });
        match token {
            Token::Text if is_key => pending = Some(at),
            Token::Open => {
                let list = text.get(range.clone()) == Some("[");
                stack.push(pending.take().or(outer).filter(|_| list));
            }
            Token::Close => {
                stack.pop();
            }
            Token::Text | Token::Plain => pending = None,
            Token::Comma | Token::Colon => {}
        }
    }
    keys
}

/// What the key says; long ones are no names of anything.
pub fn key(text: &str, tokens: &[(Token, Range<usize>)], at: Option<usize>) -> Option<String> {
    let (_, range) = tokens.get(at?)?;
    text.get(range.clone()).filter(|piece| piece.len() <= KEY_MAX).and_then(decoded)
}

/// What is hidden in a JSON text: parts of texts, or whole numbers.
pub fn marks(text: &str) -> Vec<Mark> {
    let tokens = tokens(text);
    let whole = mask::plain(text);
    if tokens.is_empty() {
        return whole;
    }
    let keys = keys(text, &tokens);
    let mut marks = Vec::new();
    for ((token, range), at) in tokens.iter().zip(&keys) {
        match token {
            Token::Text => of_text(text, range, key(text, &tokens, *at).as_deref(), &whole, &mut marks),
            Token::Plain => {
                let over = overlapping(&whole, range).first();
                marks.extend(over.map(|mark| Mark { range: range.clone(), kind: mark.kind.clone() }));
            }
            _ => {}
        }
    }
    mask::merged(marks)
}

fn of_text(text: &str, range: &Range<usize>, key: Option<&str>, whole: &[Mark], marks: &mut Vec<Mark>) {
    let inner = range.start + 1..range.end.saturating_sub(1).max(range.start + 1);
    if key.is_some_and(mask::secret_name) && !inner.is_empty() {
        let value = text.get(inner.clone()).unwrap_or_default();
        if mask::stands_for_itself(value) {
            marks.push(Mark { range: inner, kind: mask::VALUE.into() });
            return;
        }
    }
    for mark in overlapping(whole, &inner) {
        let (start, end) = (mark.range.start.max(inner.start), mark.range.end.min(inner.end));
        marks.push(Mark { range: start..end, kind: mark.kind.clone() });
    }
    let piece = text.get(range.clone()).unwrap_or_default();
    if let Some(said) = piece.contains('\\').then(|| decoded(piece)).flatten() {
        let written = text.get(inner.clone()).unwrap_or_default();
        let hidden = mask::plain(&said);
        let ranges: Vec<_> = hidden.iter().map(|mark| mark.range.clone()).collect();
        for (mark, at) in hidden.into_iter().zip(within(written, &said, &ranges)) {
            marks.push(Mark { range: inner.start + at.start..inner.start + at.end, kind: mark.kind });
        }
    }
}

/// Those of the marks, which are in order and apart, that lie over the range.
fn overlapping<'a>(marks: &'a [Mark], range: &Range<usize>) -> &'a [Mark] {
    let start = marks.partition_point(|mark| mark.range.end <= range.start);
    let end = marks.partition_point(|mark| mark.range.start < range.end);
    marks.get(start..end).unwrap_or_default()
}

/// The same JSON with tokens for what is hidden; as it was, where nothing is.
pub fn masked(text: &str) -> String {
    let plain = compact(text);
    let marks = marks(&plain);
    if marks.is_empty() {
        return text.to_owned();
    }
    let tokens = tokens(&plain);
    let mut out = String::with_capacity(plain.len());
    let mut at = 0;
    for mark in marks {
        let token = tokens.binary_search_by_key(&mark.range.start, |(_, range)| range.start).ok();
        let number = matches!(token.and_then(|at| tokens.get(at)), Some((Token::Plain, _)));
        let quote = if number { "\"" } else { "" };
        out.push_str(plain.get(at..mark.range.start).unwrap_or_default());
        out.push_str(&format!("{quote}[{}]{quote}", mark.kind));
        at = mark.range.end;
    }
    out.push_str(plain.get(at..).unwrap_or_default());
    out
}
