//! The text of an action, and which field stands where in it.

use std::borrow::Cow;
use std::ops::Range;

use quarterdeck_core::action::Action;

use super::json;

/// The one text that spans of findings point into.
pub fn text(action: &Action) -> String {
    Layout::of(action).text
}

/// An action's text with its fields in order.
pub struct Layout<'a> {
    pub text: String,
    pub parts: Vec<Part<'a>>,
}

/// One field of an action within its text.
pub struct Part<'a> {
    pub field: Field,
    pub raw: Cow<'a, str>,
    /// Bytes of the text, quotes included.
    pub at: Range<usize>,
    quoted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A word that no shell looks at.
    Word,
    Script,
    Path,
    Destination,
    /// A diff, or the new content.
    Change,
    Source,
    Statements,
    Method,
    Url,
    HeaderName,
    HeaderValue,
    Body,
    /// Of a workflow or a tool.
    Name,
    Definition,
    /// JSON, an element a line.
    Arguments,
}

impl Part<'_> {
    /// Bytes of the text that stand for these bytes of the field.
    pub fn place(&self, raw: &Range<usize>) -> Range<usize> {
        self.places(std::iter::once(raw)).next().unwrap_or_else(|| self.at.clone())
    }

    /// The same for ranges that come in order.
    pub fn places<'r>(
        &'r self,
        ranges: impl Iterator<Item = &'r Range<usize>>,
    ) -> impl Iterator<Item = Range<usize>> {
        let (mut counted, mut quotes) = (0, 0);
        let mut offset = move |at: usize| {
            if !self.quoted {
                return self.at.start + at;
            }
            let between = self.raw.as_bytes().get(counted..at).unwrap_or_default();
            quotes += between.iter().filter(|byte| **byte == b'\'').count();
            counted = at;
            self.at.start + 1 + at + quotes * (QUOTE.len() - 1)
        };
        ranges.map(move |range| offset(range.start)..offset(range.end))
    }
}

/// A single quote within single quotes.
const QUOTE: &str = r"'\''";

impl<'a> Layout<'a> {
    pub fn of(action: &'a Action) -> Self {
        let mut layout = Self { text: String::new(), parts: Vec::new() };
        match action {
            Action::Command { argv, script, .. } if argv.is_empty() => layout.plain(Field::Script, script),
            Action::Command { argv, .. } => layout.words(argv),
            Action::File { path, operation, destination, diff } => {
                layout.text.push_str(operation.word());
                layout.text.push(' ');
                layout.plain(Field::Path, path);
                if !destination.is_empty() {
                    layout.after(" -> ", Field::Destination, destination);
                }
                if !diff.is_empty() {
                    layout.after("\n", Field::Change, diff);
                }
            }
            Action::Code { source, .. } => layout.plain(Field::Source, source),
            Action::Sql { text, .. } => layout.plain(Field::Statements, text),
            Action::Http { method, url, headers, body } => layout.http(method, url, headers, body),
            Action::Git { arguments, .. } => {
                layout.text.push_str("git");
                layout.words(arguments);
            }
            Action::Workflow { name, operation, definition } => {
                layout.text.push_str(operation.word());
                layout.text.push(' ');
                layout.plain(Field::Name, name);
                if !definition.is_empty() {
                    layout.after("\n", Field::Definition, definition);
                }
            }
            Action::Tool { name, arguments } => {
                layout.plain(Field::Name, name);
                if !arguments.is_empty() {
                    layout.text.push('\n');
                    layout.put(Field::Arguments, Cow::Owned(json::lines(arguments)), false);
                }
            }
        }
        layout
    }

    fn http(&mut self, method: &'a str, url: &'a str, headers: &'a [(String, String)], body: &'a str) {
        self.plain(Field::Method, method);
        self.after(" ", Field::Url, url);
        for (name, value) in headers {
            self.after("\n", Field::HeaderName, name);
            self.after(": ", Field::HeaderValue, value);
        }
        if !body.is_empty() {
            self.after("\n\n", Field::Body, body);
        }
    }

    /// Words as a shell would have to be given them.
    fn words(&mut self, words: &'a [String]) {
        for word in words {
            if !self.text.is_empty() {
                self.text.push(' ');
            }
            self.put(Field::Word, Cow::Borrowed(word), !plain_word(word));
        }
    }

    fn plain(&mut self, field: Field, raw: &'a str) {
        self.put(field, Cow::Borrowed(raw), false);
    }

    fn after(&mut self, between: &str, field: Field, raw: &'a str) {
        self.text.push_str(between);
        self.plain(field, raw);
    }

    fn put(&mut self, field: Field, raw: Cow<'a, str>, quoted: bool) {
        let start = self.text.len();
        match quoted {
            true => {
                self.text.push('\'');
                self.text.push_str(&raw.replace('\'', QUOTE));
                self.text.push('\'');
            }
            false => self.text.push_str(&raw),
        }
        self.parts.push(Part { field, raw, at: start..self.text.len(), quoted });
    }

    /// The first part of this field.
    pub fn part(&self, field: Field) -> Option<&Part<'a>> {
        self.parts.iter().find(|part| part.field == field)
    }

    pub fn all(&self) -> Range<usize> {
        0..self.text.len()
    }

    /// Where bytes of the words, joined by blanks, stand in the text.
    pub fn of_words(&self, joined: &Range<usize>, before: usize) -> Range<usize> {
        let (mut start, mut end) = (None, None);
        let mut at = before;
        for part in &self.parts {
            let word = at..at + part.raw.len();
            if start.is_none() && joined.start <= word.end {
                start = Some(match joined.start.checked_sub(word.start) {
                    None => 0,
                    Some(0) => part.at.start,
                    Some(within) => part.place(&(within..within)).start,
                });
            }
            if end.is_none() && joined.end <= word.end {
                end = Some(match joined.end == word.end {
                    true => part.at.end,
                    false => part.place(&(0..joined.end.saturating_sub(word.start))).end,
                });
            }
            at = word.end + 1;
        }
        start.unwrap_or(0)..end.unwrap_or(self.text.len())
    }
}

/// Whether a shell takes the word as it is.
fn plain_word(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c) || !c.is_ascii();
    !word.is_empty() && word.chars().all(plain)
}
