//! Texts as languages write, format and decode them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};

use super::value::{HOLE, Value};

/// `"..." % x`: what is put in is a hole, unless it is known.
pub fn formatted(left: &Value, right: &Value) -> Value {
    let Value::Text(pattern) = left else { return Value::Unknown };
    let mut values = match right {
        Value::List(values) => values.clone().into_iter(),
        one => vec![one.clone()].into_iter(),
    };
    let mut text = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
        } else if let Some(kind) = letters.by_ref().find(|c| c.is_ascii_alphabetic() || *c == '%') {
            match kind {
                '%' => text.push('%'),
                _ => text.push_str(&values.next().map_or(HOLE.to_string(), |value| value.partial())),
            }
        }
    }
    Value::Text(text)
}

/// `"...{x}...".format(...)`: what is put in is a hole of this value.
pub fn braces(text: &str, value: &Value) -> String {
    let hole = value.partial();
    let mut parts = text.split('{');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(&hole);
        plain.push_str(part.split_once('}').map_or("", |(_, rest)| rest));
    }
    plain
}

pub fn decoded(text: &str) -> Value {
    let text = text.trim();
    let bytes =
        STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).or_else(|_| URL_SAFE.decode(text));
    match bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Value::Text(text),
        None => Value::Unknown,
    }
}

pub fn unhexed(text: &str) -> Value {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok();
    let bytes = digits.chunks(2).map(byte).collect::<Option<Vec<_>>>();
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Value::Text(text),
        None => Value::Unknown,
    }
}

pub fn letters(args: &[Value]) -> Value {
    let letter = |value: &Value| value.text()?.parse::<u32>().ok().and_then(char::from_u32);
    match args.iter().map(letter).collect::<Option<String>>() {
        Some(text) => Value::Text(text),
        None => Value::Unknown,
    }
}

pub fn unquoted(text: &str) -> &str {
    let text = text.trim_start_matches(['r', 'b', 'f', 'u', 'R', 'B', '#']).trim_end_matches('#');
    let text = text.strip_prefix("\"\"\"").and_then(|text| text.strip_suffix("\"\"\"")).unwrap_or(text);
    let quote = |c: char| matches!(c, '"' | '\'' | '`');
    let inner = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inner.unwrap_or(text)
}

/// One escape of the usual kind.
pub fn unescaped(escape: &str) -> String {
    let rest = escape.strip_prefix('\\').unwrap_or(escape);
    let code =
        |digits: &str| u32::from_str_radix(digits.trim_matches(['{', '}']), 16).ok().and_then(char::from_u32);
    let letter = match rest.chars().next() {
        Some('n') => Some('\n'),
        Some('t') => Some('\t'),
        Some('r') => Some('\r'),
        Some('x' | 'u' | 'U') => rest.get(1..).and_then(code),
        Some('0'..='7') => u32::from_str_radix(rest, 8).ok().and_then(char::from_u32),
        Some('\n') => None,
        other => other,
    };
    letter.map(String::from).unwrap_or_default()
}
