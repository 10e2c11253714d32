//! What is hidden of an action: by its shape, by the field it is in, by the flag before it.
//!
//! Invariant: a name alone hides one word at most, and none that a shell would do
//! anything with: nothing that runs can be hidden by calling it a password.

use std::collections::BTreeSet;
use std::ops::Range;

use quarterdeck_core::action::Action;

use super::json;
use super::layout::{Field, Layout, Part};
use crate::redact::{self, Mark};

/// The kind of what is hidden for its name.
pub const VALUE: &str = "secret:named";

/// Headers that carry credentials, in small letters.
const HEADERS: [&str; 12] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "api-key",
    "apikey",
    "private-token",
    "job-token",
    "circle-token",
    "dd-api-key",
    "dd-application-key",
    "x-registry-auth",
];

/// Endings of names whose values are secret, in small letters with `-` for `_`.
const NAMES: [&str; 16] = [
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "token",
    "secret",
    "api-key",
    "apikey",
    "access-key",
    "secret-key",
    "auth-key",
    "private-key-data",
    "credential",
    "credentials",
    "bearer",
];

/// Programs, their short flag for a password, and whether the value is the rest of the word.
const SHORT: [(&str, &str, bool); 16] = [
    ("sshpass", "-p", true),
    ("sshpass", "-p", false),
    ("mysql", "-p", true),
    ("mysqldump", "-p", true),
    ("mysqladmin", "-p", true),
    ("mariadb", "-p", true),
    ("mariadb-dump", "-p", true),
    ("mongosh", "-p", false),
    ("mongo", "-p", false),
    ("mongodump", "-p", false),
    ("login", "-p", false),
    ("redis-cli", "-a", false),
    ("ldapsearch", "-w", false),
    ("sqlcmd", "-P", false),
    ("unzip", "-P", false),
    ("zip", "-P", false),
];

/// Programs whose `-u name:password` holds a password behind the colon.
const USERS: [&str; 3] = ["curl", "wget", "http"];

/// The same action with tokens for its secrets and personal data.
pub fn masked(action: &Action) -> Action {
    let layout = Layout::of(action);
    let marks = marks(&layout);
    let mut texts = layout.parts.iter().zip(&marks).map(|(part, marks)| applied(&part.raw, marks));
    let mut next = || texts.next().unwrap_or_default();
    let place = |text: &str| applied(text, &plain(text));
    match action {
        Action::Command { argv, cwd, environment, .. } => Action::Command {
            argv: argv.iter().map(|_| next()).collect(),
            script: if argv.is_empty() { next() } else { String::new() },
            cwd: place(cwd),
            environment: environment.iter().map(|name| place(name)).collect(),
        },
        Action::File { operation, destination, .. } => Action::File {
            path: next(),
            operation: *operation,
            destination: if destination.is_empty() { String::new() } else { next() },
            diff: next(),
        },
        Action::Code { language, .. } => Action::Code { language: place(language), source: next() },
        Action::Sql { dialect, .. } => Action::Sql { dialect: place(dialect), text: next() },
        Action::Http { headers, .. } => Action::Http {
            method: next(),
            url: next(),
            headers: headers.iter().map(|_| (next(), next())).collect(),
            body: next(),
        },
        Action::Git { arguments, cwd } => {
            Action::Git { arguments: arguments.iter().map(|_| next()).collect(), cwd: place(cwd) }
        }
        Action::Workflow { operation, .. } => {
            Action::Workflow { name: next(), operation: *operation, definition: next() }
        }
        Action::Tool { arguments, .. } => Action::Tool { name: next(), arguments: json::masked(arguments) },
    }
}

/// What findings of an action say that they are on, without what is masked in it.
pub struct Targets(BTreeSet<String>);

/// Most secrets that are looked for in targets.
const SECRETS_MAX: usize = 200;

impl Targets {
    pub fn of(action: &Action) -> Self {
        let layout = Layout::of(action);
        Self::within(&layout, &marks(&layout))
    }

    /// What may be a word like others, a host or a path is not hidden for having been
    /// called a password somewhere.
    pub(crate) fn within(layout: &Layout<'_>, hidden: &[Vec<Mark>]) -> Self {
        let secrets = layout.parts.iter().zip(hidden).flat_map(|(part, marks)| {
            let secret = marks.iter().filter(|mark| mark.kind.starts_with("secret"));
            secret.filter_map(|mark| part.raw.get(mark.range.clone()))
        });
        let odd = |text: &&str| {
            text.len() >= 8 && text.contains(|c: char| c.is_ascii_digit()) && !text.contains(['/', '.'])
        };
        Self(secrets.filter(odd).take(SECRETS_MAX).map(str::to_owned).collect())
    }

    /// The target with tokens for what is masked in the action.
    pub(crate) fn without_known(&self, target: &str) -> String {
        let mut text = target.to_owned();
        for secret in self.0.iter().filter(|secret| target.contains(secret.as_str())) {
            text = text.replace(secret.as_str(), "[secret:named]");
        }
        text
    }

    /// The target with tokens for all that is secret or personal in it.
    pub fn masked(&self, target: &str) -> String {
        let text = self.without_known(target);
        applied(&text, &plain(&text))
    }
}

/// What is hidden in each part, in bytes of its raw field.
pub fn marks(layout: &Layout<'_>) -> Vec<Vec<Mark>> {
    let mut all: Vec<Vec<Mark>> = Vec::with_capacity(layout.parts.len());
    let mut header = "";
    for part in &layout.parts {
        let text: &str = &part.raw;
        all.push(match part.field {
            Field::HeaderValue if secret_header(header) && !text.is_empty() => {
                vec![Mark { range: 0..text.len(), kind: "secret:header".into() }]
            }
            Field::Arguments | Field::Body => json::marks(text),
            Field::Script => merged([plain(text), of_script(text)].concat()),
            _ => plain(text),
        });
        header = if part.field == Field::HeaderName { text } else { "" };
    }
    of_words(&layout.parts, &mut all);
    all
}

/// What is hidden wherever it stands, also where characters that cannot be seen cut it.
pub fn plain(text: &str) -> Vec<Mark> {
    let marks = redact::marks(text);
    if text.is_ascii() || !text.chars().any(crate::preview::unseen) {
        return marks;
    }
    let mut places = Vec::with_capacity(text.len() + 1);
    let mut seen = String::with_capacity(text.len());
    for (at, letter) in text.char_indices().filter(|(_, c)| !crate::preview::unseen(*c)) {
        places.extend(at..at + letter.len_utf8());
        seen.push(letter);
    }
    let last = |at: usize| at.checked_sub(1).and_then(|at| places.get(at)).map_or(0, |at| at + 1);
    let first = |at: usize| places.get(at).copied().unwrap_or(text.len());
    let through = redact::marks(&seen).into_iter();
    let through =
        through.map(|Mark { range, kind }| Mark { range: first(range.start)..last(range.end), kind });
    merged(marks.into_iter().chain(through).collect())
}

/// In order, and one for those that lie over each other.
pub fn merged(mut marks: Vec<Mark>) -> Vec<Mark> {
    marks.retain(|mark| mark.range.start < mark.range.end);
    marks.sort_by_key(|mark| (mark.range.start, std::cmp::Reverse(mark.range.end)));
    let mut apart: Vec<Mark> = Vec::with_capacity(marks.len());
    for mark in marks {
        match apart.last_mut().filter(|last| mark.range.start < last.range.end) {
            Some(last) => last.range.end = last.range.end.max(mark.range.end),
            None => apart.push(mark),
        }
    }
    apart
}

fn applied(text: &str, marks: &[Mark]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for mark in marks {
        out.push_str(text.get(at..mark.range.start).unwrap_or_default());
        out.push_str(&format!("[{}]", mark.kind));
        at = mark.range.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Whether a header's value is a credential, whatever it looks like.
pub fn secret_header(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    let own = name.starts_with("x-") && secret_name(&name);
    own || HEADERS.contains(&name.as_str())
}

/// Whether a thing of this name is secret.
pub fn secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let ends = |ending: &&str| match name.strip_suffix(*ending) {
        // `bypass` and `tokens` are other words; `--no-password` says that there is none.
        // `PWD` alone is a directory.
        Some(head) => {
            head.is_empty() && *ending != "pwd" || head.ends_with(['-', '.']) && !head.ends_with("no-")
        }
        None => false,
    };
    NAMES.iter().any(ends)
}

/// Whether a value is what it looks like: no stand-in, and nothing that a shell runs.
pub fn stands_for_itself(value: &str) -> bool {
    !value.is_empty() && !value.starts_with(['$', '-', '[', '<', '{', '%'])
}

fn inert(value: &str) -> bool {
    stands_for_itself(value) && !value.contains(|c: char| c.is_whitespace() || ";|&<>()$`'\"\\".contains(c))
}

/// Values next to flags in the words of an argument list.
fn of_words(parts: &[Part<'_>], all: &mut [Vec<Mark>]) {
    let mut flags = Flags::default();
    for (part, marks) in parts.iter().zip(all).filter(|(part, _)| part.field == Field::Word) {
        if let Some(range) = flags.hides(&part.raw, stands_for_itself) {
            marks.push(Mark { range, kind: VALUE.into() });
            *marks = merged(std::mem::take(marks));
        }
    }
}

/// Values next to flags in a script, where words can be told without a shell.
fn of_script(text: &str) -> Vec<Mark> {
    let mut flags = Flags::default();
    let mut marks = Vec::new();
    for word in script_words(text) {
        let Some(word) = word else {
            flags = Flags::default();
            continue;
        };
        let Some(raw) = text.get(word.clone()) else { continue };
        if let Some(range) = flags.hides(raw, inert) {
            let range = word.start + range.start..word.start + range.end;
            marks.push(Mark { range, kind: VALUE.into() });
        }
    }
    marks
}

/// What the words so far say of the next.
#[derive(Default)]
struct Flags {
    /// The next word is a secret.
    next: bool,
    /// The next word is a name, a colon and a password.
    user: bool,
    short: Vec<(&'static str, bool)>,
    users: bool,
}

impl Flags {
    /// The part of the word that is hidden.
    fn hides(&mut self, word: &str, fits: fn(&str) -> bool) -> Option<Range<usize>> {
        let (next, user) = (std::mem::take(&mut self.next), std::mem::take(&mut self.user));
        let whole = (next && fits(word)).then_some(0..word.len());
        let colon = || user.then(|| word.find(':')).flatten().map(|at| at + 1..word.len());
        let behind = whole.or_else(colon).or_else(|| self.attached(word));
        if behind.is_none() {
            self.learn(word);
        }
        behind.filter(|range| word.get(range.clone()).is_some_and(fits))
    }

    /// A value that stands in one word with its name.
    fn attached(&self, word: &str) -> Option<Range<usize>> {
        if let Some((name, value)) = word.split_once('=') {
            let name = name.trim_start_matches('-');
            let known =
                secret_name(name) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            return known.then(|| word.len() - value.len()..word.len());
        }
        if let Some((name, value)) = word.split_once(':')
            && secret_header(name)
        {
            let value = value.trim_start();
            return Some(word.len() - value.len()..word.len());
        }
        let attached = self.short.iter().filter(|(_, attached)| *attached);
        let mut values = attached.filter_map(|(flag, _)| word.strip_prefix(flag));
        values.find(|value| !value.is_empty()).map(|value| word.len() - value.len()..word.len())
    }

    fn learn(&mut self, word: &str) {
        let program = word.rsplit('/').next().unwrap_or_default();
        let known = SHORT.iter().filter(|(name, ..)| *name == program);
        self.short.extend(known.map(|(_, flag, attached)| (*flag, *attached)));
        self.short.truncate(SHORT.len());
        self.users |= USERS.contains(&program);
        let long = word.strip_prefix('-').map(|rest| rest.trim_start_matches('-'));
        self.next = long.is_some_and(|name| name.len() > 1 && secret_name(name))
            || self.short.iter().any(|(flag, attached)| !attached && *flag == word);
        self.user = self.users && matches!(word, "-u" | "--user" | "-a" | "--auth");
    }
}

/// Words of a script without their outer quotes; `None` where a command ends.
fn script_words(text: &str) -> Vec<Option<Range<usize>>> {
    let bytes = text.as_bytes();
    let mut words = Vec::new();
    let (mut start, mut quote, mut at) = (None, None, 0);
    while let Some(byte) = bytes.get(at).copied() {
        let parts = quote.is_none() && b" \t\n;|&()".contains(&byte);
        if parts {
            words.extend(start.take().map(|start| Some(unquoted(bytes, start..at))));
            words.extend((!b" \t".contains(&byte)).then_some(None));
        } else {
            start = start.or(Some(at));
        }
        match (byte, quote) {
            (b'\\', None | Some(b'"')) => at += 1,
            (b'\'' | b'"', None) => quote = Some(byte),
            (_, Some(open)) if open == byte => quote = None,
            _ => {}
        }
        at += 1;
    }
    words.extend(start.map(|start| Some(unquoted(bytes, start..bytes.len()))));
    words
}

fn unquoted(bytes: &[u8], word: Range<usize>) -> Range<usize> {
    let (first, last) = (bytes.get(word.start), bytes.get(word.end.saturating_sub(1)));
    match word.len() >= 2 && first == last && matches!(first, Some(b'\'' | b'"')) {
        true => word.start + 1..word.end - 1,
        false => word,
    }
}
