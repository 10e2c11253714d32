//! One writing for each path.

use unicode_normalization::UnicodeNormalization;

use crate::model::{Context, Found, Unresolved};

/// Longest path that is looked at, in bytes (`PATH_MAX` of Linux).
const PATH_MAX: usize = 4096;

/// The path from its root, without `.`, `..`, `~`, doubled slashes; `None` where it
/// begins with what only the machine knows (`$DIR/x`, `~other/x` of nobody known).
///
/// Invariant: `..` never leads above `/`, and an answer begins with `/`, with a drive
/// letter or with a scheme.
pub fn canonical(path: &str, context: &Context) -> Option<String> {
    let plain = plain(path);
    if let Some(scheme) = scheme(&plain) {
        return Some(scheme);
    }
    let rooted = rooted(&plain, context)?;
    Some(unalias(&resolve(&rooted), context))
}

/// What makes the writing itself doubtful: letters that hide or look like others.
pub fn doubts(path: &str) -> Found {
    let mut found = Found::default();
    if path.chars().any(hidden) {
        found.gap(Unresolved::new("path.hidden", "the path holds characters that cannot be seen"));
    }
    if path.nfkc().collect::<String>().chars().filter(|c| matches!(c, '.' | '/' | '~')).count()
        != path.chars().filter(|c| matches!(c, '.' | '/' | '~')).count()
    {
        found.gap(Unresolved::new(
            "path.compatible",
            "letters of the path stand for dots or slashes elsewhere",
        ));
    }
    let small = path.to_ascii_lowercase();
    if !small.starts_with("file:") && (small.contains("%2e") || small.contains("%2f")) {
        found.gap(Unresolved::new("path.percent", "the path writes dots or slashes with percent signs"));
    }
    if path.split('/').any(mixed) {
        found.gap(Unresolved::new("path.confusable", "the path mixes alphabets whose letters look alike"));
    }
    if path.len() > PATH_MAX {
        found.gap(Unresolved::new("limit.path", "the path is longer than a system takes"));
    }
    found
}

/// Control, formatting, bidirectional and zero-width characters.
fn hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether one name mixes Latin with Greek or Cyrillic letters.
fn mixed(name: &str) -> bool {
    let latin = name.chars().any(|c| c.is_ascii_alphabetic());
    latin && name.chars().any(|c| matches!(c, '\u{370}'..='\u{52f}'))
}

/// Without what cannot be seen, in the compatible writing, with `/` between names.
fn plain(path: &str) -> String {
    let text: String = path.chars().take(PATH_MAX).filter(|c| !hidden(*c)).nfkc().collect();
    let text = match text.get(..7).filter(|head| head.eq_ignore_ascii_case("file://")) {
        Some(_) => of_file_url(text.get(7..).unwrap_or_default()),
        None => text,
    };
    let windows = text.starts_with('%') || text.starts_with("$env:");
    match drive(&text)
        || text.contains("..\\")
        || text.starts_with("\\\\")
        || text.starts_with("~\\")
        || (windows && text.contains('\\'))
    {
        true => text.replace('\\', "/"),
        false => text,
    }
}

/// The path of a `file:` URL: after its host, percent signs decoded.
fn of_file_url(rest: &str) -> String {
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or(rest);
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn drive(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.next() == Some(':')
        && letters.next().is_some_and(|c| matches!(c, '/' | '\\'))
}

/// `s3://bucket/key` and the like, with dots resolved behind the host.
fn scheme(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let named = !scheme.is_empty()
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    named.then(|| format!("{}:/{}", scheme.to_ascii_lowercase(), resolve(rest)))
}

/// From `/` or a drive on.
fn rooted(text: &str, context: &Context) -> Option<String> {
    if text.starts_with('/') || drive(text) {
        return Some(text.to_owned());
    }
    if let Some(rest) = text.strip_prefix('~') {
        return Some(of_user(rest, context));
    }
    match variable(text) {
        Some((name, rest)) => known(name, context).map(|value| format!("{value}/{rest}")),
        None => Some(format!("{}/{text}", context.cwd)),
    }
}

/// `~`, `~/x`, `~user/x`, `~+`.
fn of_user(rest: &str, context: &Context) -> String {
    let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
    match user {
        "" => format!("{}/{rest}", context.home),
        "+" => format!("{}/{rest}", context.cwd),
        "root" => format!("/root/{rest}"),
        user => format!("/home/{user}/{rest}"),
    }
}

/// The variable a path begins with, and what follows it; what stands for it where it is
/// not set (`${X:-~/y}`) does not count for a name that is known.
fn variable(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix("${") {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        return tail.rsplit_once('}').map(|(_, rest)| (name, rest));
    }
    if let Some(rest) = text.strip_prefix("$env:") {
        return rest.split_once('/');
    }
    if let Some(rest) = text.strip_prefix('%') {
        return rest.split_once('%');
    }
    let rest = text.strip_prefix('$')?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// Values that every session has.
fn known(name: &str, context: &Context) -> Option<String> {
    let below = match name.to_ascii_uppercase().as_str() {
        "HOME" | "USERPROFILE" | "HOMEPATH" => "",
        "XDG_CONFIG_HOME" => "/.config",
        "XDG_DATA_HOME" => "/.local/share",
        "XDG_STATE_HOME" => "/.local/state",
        "XDG_CACHE_HOME" => "/.cache",
        "APPDATA" => "/AppData/Roaming",
        "LOCALAPPDATA" => "/AppData/Local",
        "CARGO_HOME" => "/.cargo",
        "GNUPGHOME" => "/.gnupg",
        "PWD" => return Some(context.cwd.clone()),
        "TMPDIR" | "TEMP" | "TMP" => return Some("/tmp".to_owned()),
        _ => return None,
    };
    Some(format!("{}{below}", context.home))
}

/// Dots and doubled slashes resolved by their names alone.
fn resolve(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    match names.first().is_some_and(|first| first.len() == 2 && first.ends_with(':')) {
        true => names.join("/"),
        false => format!("/{}", names.join("/")),
    }
}

/// Other names of the same places: the process's own root and directory, macOS's `/private`.
fn unalias(path: &str, context: &Context) -> String {
    let mut path = path.to_owned();
    for _ in 0..4 {
        match once(&path, context) {
            Some(next) => path = resolve(&next),
            None => break,
        }
    }
    path
}

fn once(path: &str, context: &Context) -> Option<String> {
    if let Some(rest) = path.strip_prefix("/private/") {
        return Some(format!("/{rest}"));
    }
    let rest = path.strip_prefix("/proc/")?;
    let (_process, rest) = rest.split_once('/')?;
    let (what, rest) = rest.split_once('/').unwrap_or((rest, ""));
    match what {
        "root" => Some(format!("/{rest}")),
        "cwd" => Some(format!("{}/{rest}", context.cwd)),
        _ => None,
    }
}
