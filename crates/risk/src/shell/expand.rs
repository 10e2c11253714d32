//! From the text of a word to the fields that the shell makes of it: quoting, parameters,
//! substitutions, braces and word splitting, as the bash manual's chapter 3.5 orders them.
//!
//! Invariant: what is not known leaves [`UNKNOWN`] in the field, never nothing.

use std::ops::Range;

use tree_sitter::Node;

use super::brace::{CLOSE, COMMA, OPEN, braces, plain};
use super::escape::unescape;
use super::eval::{Run, named};
use super::filter::{filled, trim_pattern};
use super::stream::{SECRET, Stream, UNKNOWN};
use crate::work;

/// Bytes of one field; a longer one is not known.
const FIELD_MAX: usize = 16 * 1024;
/// Expansions within expansions.
const NEST_MAX: usize = 24;

/// Fields in the making.
#[derive(Default)]
struct Fields {
    done: Vec<String>,
    current: String,
    open: bool,
}

impl Fields {
    fn push(&mut self, text: &str) {
        self.open = true;
        work::spend(2 + text.len());
        if self.current.len() + text.len() > FIELD_MAX {
            self.current = UNKNOWN.to_string();
        } else {
            self.current.push_str(text);
        }
    }

    fn cut(&mut self) {
        if self.open {
            self.done.push(std::mem::take(&mut self.current));
        }
        self.open = false;
    }

    /// An expansion that nobody quoted falls into words.
    fn split(&mut self, text: &str, separators: &str) {
        for (at, part) in text.split(|c: char| separators.contains(c)).enumerate() {
            if at > 0 {
                self.cut();
            }
            if !part.is_empty() {
                self.push(part);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Bare,
    Double,
    Heredoc,
}

/// How a word is read: whether expansions fall into words, and how deep it lies.
#[derive(Clone, Copy)]
struct How {
    mode: Mode,
    split: bool,
    nest: usize,
}

impl<'t> Run<'_, 't> {
    /// The fields of a word.
    pub fn fields(&mut self, range: Range<usize>) -> Vec<String> {
        let mut fields = Fields::default();
        self.scan(range, How { mode: Mode::Bare, split: true, nest: 0 }, &mut fields);
        fields.cut();
        fields.done.into_iter().flat_map(|field| braces(&field)).collect()
    }

    /// A word that stays one: an assignment's value, a redirection's target.
    pub fn single(&mut self, range: Range<usize>) -> String {
        self.one(range, How { mode: Mode::Bare, split: false, nest: 0 })
    }

    pub fn heredoc_text(&mut self, range: Range<usize>) -> String {
        self.one(range, How { mode: Mode::Heredoc, split: false, nest: 0 })
    }

    fn one(&mut self, range: Range<usize>, how: How) -> String {
        let mut fields = Fields::default();
        self.scan(range, how, &mut fields);
        fields.cut();
        plain(&fields.done.join(" "))
    }

    fn scan(&mut self, range: Range<usize>, how: How, out: &mut Fields) {
        if how.nest > NEST_MAX {
            out.push(&UNKNOWN.to_string());
            return;
        }
        let mut at = range.start;
        while at < range.end && !work::spent() {
            let Some(c) = self.source(at..range.end).chars().next() else { return };
            let next = at + c.len_utf8();
            at = match (c, how.mode) {
                ('\\', _) => self.backslash(next, range.end, how.mode, out),
                ('\'', Mode::Bare) => {
                    let end = self.until(next, range.end, '\'');
                    out.push(self.source(next..end));
                    end + 1
                }
                ('"', Mode::Bare) => self.double(next, range.end, how, out),
                ('$', _) => self.dollar(at, range.end, how, out),
                ('`', _) => self.substitution(at, range.end, how, out),
                ('<' | '>', Mode::Bare) if self.source(next..range.end).starts_with('(') => {
                    self.substitution(at, range.end, how, out)
                }
                ('{', Mode::Bare) => push(out, OPEN, next),
                (',', Mode::Bare) => push(out, COMMA, next),
                ('}', Mode::Bare) => push(out, CLOSE, next),
                _ => push(out, c, next),
            };
        }
    }

    fn until(&self, from: usize, end: usize, stop: char) -> usize {
        self.source(from..end).find(stop).map_or(end, |at| from + at)
    }

    fn backslash(&mut self, at: usize, end: usize, mode: Mode, out: &mut Fields) -> usize {
        let Some(c) = self.source(at..end).chars().next() else {
            out.push("\\");
            return at;
        };
        let special = match mode {
            Mode::Bare => true,
            Mode::Double => "$`\"\\\n".contains(c),
            Mode::Heredoc => "$`\\\n".contains(c),
        };
        if !special {
            out.push("\\");
        }
        if c != '\n' || !special {
            out.push(c.encode_utf8(&mut [0; 4]));
        }
        at + c.len_utf8()
    }

    /// From behind an opening double quote to behind the closing one.
    fn double(&mut self, from: usize, end: usize, how: How, out: &mut Fields) -> usize {
        let close = self.closing(from, end, '"', 0);
        out.push("");
        self.scan(from..close, How { mode: Mode::Double, nest: how.nest + 1, ..how }, out);
        (close + 1).min(end.max(close))
    }

    /// Where a quote, brace or parenthesis closes, over whatever is quoted or nested in it.
    fn closing(&self, from: usize, end: usize, close: char, nest: usize) -> usize {
        let mut at = from;
        while at < end && work::spend(4) {
            let rest = self.source(at..end);
            let Some(c) = rest.chars().next() else { return end };
            let next = at + c.len_utf8();
            if c == close {
                return at;
            }
            at = match c {
                _ if nest > NEST_MAX => next,
                '\\' => next + self.source(next..end).chars().next().map_or(0, char::len_utf8),
                '\'' if close != '"' => self.until(next, end, '\'') + 1,
                '"' if close != '"' => self.closing(next, end, '"', nest + 1) + 1,
                '`' if close != '`' => self.closing(next, end, '`', nest + 1) + 1,
                '$' if rest.starts_with("$(") => self.closing(at + 2, end, ')', nest + 1) + 1,
                '$' if rest.starts_with("${") => self.closing(at + 2, end, '}', nest + 1) + 1,
                '(' if close == ')' => self.closing(next, end, ')', nest + 1) + 1,
                _ => next,
            };
        }
        end
    }

    fn dollar(&mut self, at: usize, end: usize, how: How, out: &mut Fields) -> usize {
        let rest = self.source(at + 1..end);
        let Some(c) = rest.chars().next() else {
            out.push("$");
            return at + 1;
        };
        match c {
            '\'' if how.mode == Mode::Bare => {
                let close = self.closing_ansi(at + 2, end);
                out.push(&unescape(self.source(at + 2..close), false));
                close + 1
            }
            '"' if how.mode == Mode::Bare => self.double(at + 2, end, how, out),
            '(' => self.substitution(at, end, how, out),
            '{' => {
                let close = self.closing(at + 2, end, '}', 0);
                let values = self.parameter(at + 2..close, how);
                self.insert(values, how, out);
                close + 1
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let length =
                    rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                let values = self.state.values(rest.get(..length).unwrap_or(""));
                let all = values.into_iter().next().map(|first| vec![first]).unwrap_or_default();
                self.insert(Values { list: all, many: false }, how, out);
                at + 1 + length
            }
            c if c.is_ascii_digit() || "@*#?$!-".contains(c) => {
                let list = self.state.values(&c.to_string());
                self.insert(Values { list, many: c == '@' || c == '*' }, how, out);
                at + 2
            }
            _ => {
                out.push("$");
                at + 1
            }
        }
    }

    fn closing_ansi(&self, from: usize, end: usize) -> usize {
        let mut skip = false;
        for (at, c) in self.source(from..end).char_indices() {
            match c {
                _ if skip => skip = false,
                '\\' => skip = true,
                '\'' => return from + at,
                _ => {}
            }
        }
        end
    }

    fn insert(&mut self, values: Values, how: How, out: &mut Fields) {
        let quoted = how.mode != Mode::Bare;
        let separators = match self.state.vars.get("IFS") {
            Some(own) => own.first().cloned().unwrap_or_default(),
            None => " \t\n".to_owned(),
        };
        for (at, value) in values.list.iter().enumerate() {
            if at > 0 {
                match how.split && (values.many || !quoted) {
                    true => out.cut(),
                    false => out.push(" "),
                }
            }
            match quoted || !how.split {
                true => out.push(value),
                false => out.split(value, &separators),
            }
        }
    }

    /// `$(...)`, backquotes, `<(...)`, `$((...))`: the text they become, after walking them.
    fn substitution(&mut self, at: usize, end: usize, how: How, out: &mut Fields) -> usize {
        let Some(node) = self.node_at(at).filter(|_| work::spend(work::STEP)) else {
            return self.loose(at, end, how, out);
        };
        let close = node.end_byte().min(end.max(at + 1));
        let text = match node.kind() {
            "arithmetic_expansion" => {
                for child in named(node) {
                    self.statement(child, &Stream::none());
                }
                arithmetic(self.source(node.byte_range()))
            }
            "process_substitution" => {
                let feeds = self.source(at..end).starts_with('>');
                let stdin =
                    if feeds { Stream::unknown(super::stream::Origin::Local) } else { Stream::none() };
                let stream = self.statements(node, &stdin);
                self.state.descriptor(stream)
            }
            _ => {
                let text = self.captured(node);
                self.insert(Values { list: vec![text], many: false }, how, out);
                return close;
            }
        };
        out.push(&text);
        close
    }

    fn captured(&mut self, node: Node<'t>) -> String {
        let vars = self.state.vars.clone();
        let cwd = self.state.context.cwd.clone();
        let mut stream = Stream::none();
        for child in named(node) {
            let more = match child.kind() {
                // `$(< file)`
                "file_redirect" => {
                    let path =
                        named(child).last().map(|word| self.single(word.byte_range())).unwrap_or_default();
                    let span = self.place(child.byte_range());
                    self.state.read_file(&path, &span)
                }
                _ => self.statement(child, &Stream::none()),
            };
            stream = stream.then(&more);
        }
        self.state.vars = vars;
        self.state.context.cwd = cwd;
        self.state.captured(&stream)
    }

    /// A substitution that the tree does not know at this place: its text is walked by itself.
    fn loose(&mut self, at: usize, end: usize, how: How, out: &mut Fields) -> usize {
        let rest = self.source(at..end);
        let (from, close) = match rest.starts_with('`') {
            true => (at + 1, '`'),
            false => (at + 2, ')'),
        };
        let stop = self.closing(from, end, close, 0);
        let span = self.place(at..stop);
        let text = self.source(from.min(stop)..stop).to_owned();
        let stream = self.state.run_text(&text, Some(span), &Stream::none());
        let text = self.state.captured(&stream);
        self.insert(Values { list: vec![text], many: false }, how, out);
        stop + 1
    }

    /// The substitution of the tree that begins exactly here.
    fn node_at(&self, at: usize) -> Option<Node<'t>> {
        let mut node = self.root.descendant_for_byte_range(at, at + 1)?;
        for _ in 0..4 {
            let kind = node.kind();
            let wanted =
                ["command_substitution", "process_substitution", "arithmetic_expansion"].contains(&kind);
            if wanted && node.start_byte() == at && !node.has_error() {
                return Some(node);
            }
            node = node.parent()?;
        }
        None
    }

    /// `${...}`: `body` is what lies between the braces.
    fn parameter(&mut self, body: Range<usize>, how: How) -> Values {
        let text = self.source(body.clone());
        if let Some(name) = text.strip_prefix('#').filter(|name| !name.is_empty()) {
            let values = self.state.values(name.trim_end_matches("[@]"));
            return Values::one(values.first().map_or(0, |value| value.chars().count()).to_string());
        }
        let (indirect, text) = match text.strip_prefix('!') {
            Some(rest) if !rest.is_empty() => (true, rest),
            _ => (false, text),
        };
        let length = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        let length = if length == 0 { text.chars().next().map_or(0, char::len_utf8) } else { length };
        let (name, mut rest) = text.split_at_checked(length).unwrap_or((text, ""));
        let mut list = self.state.values(name);
        let mut many = name == "@" || name == "*";
        if let Some(end) = rest.strip_prefix('[').and_then(|inner| inner.find(']')) {
            let index = rest.get(1..=end).unwrap_or("");
            (list, many) = element(list, index);
            rest = rest.get(end + 2..).unwrap_or("");
        } else if !many {
            list.truncate(1);
        }
        if indirect {
            let target = list.first().cloned().unwrap_or_default();
            list = if super::stream::known(&target) { self.state.values(&target) } else { list };
        }
        let at = body.end - rest.len();
        self.operate(name, Values { list, many }, at..body.end, how)
    }

    fn operate(&mut self, name: &str, values: Values, operator: Range<usize>, how: How) -> Values {
        let text = self.source(operator.clone());
        if text.is_empty() {
            return values;
        }
        let colon = text.starts_with(':');
        let sign = text.chars().nth(usize::from(colon)).unwrap_or(' ');
        let tail = operator.start + usize::from(colon) + sign.len_utf8();
        let unknown = values.list.iter().any(|value| !super::stream::known(value));
        let empty = values.list.iter().all(String::is_empty);
        if !"-=+?".contains(sign) {
            return self.transform(values, operator, how);
        }
        let how = How { mode: Mode::Double, split: false, nest: how.nest + 1 };
        let word = self.word_in(tail.min(operator.end)..operator.end, how);
        match sign {
            // A secret is one, whatever stands for it where it is not set.
            '-' if values.list.iter().any(|value| value.contains(SECRET)) => values,
            '-' | '=' if unknown => Values::one(UNKNOWN.to_string()),
            '-' if empty => Values::one(word),
            '=' if empty => {
                self.state.vars.one(name, word.clone());
                Values::one(word)
            }
            '+' if unknown => Values::one(UNKNOWN.to_string()),
            '+' if empty => Values::one(String::new()),
            '+' => Values::one(word),
            _ => values,
        }
    }

    /// The word behind `:-` and its like keeps quotes of its own.
    fn word_in(&mut self, range: Range<usize>, how: How) -> String {
        self.one(range, How { mode: Mode::Bare, ..how })
    }

    fn transform(&mut self, values: Values, operator: Range<usize>, how: How) -> Values {
        let text = self.source(operator.clone());
        let how = How { mode: Mode::Bare, split: false, nest: how.nest + 1 };
        let many = values.many;
        let tail = |skip: usize| (operator.start + skip).min(operator.end)..operator.end;
        let list = match text.chars().next() {
            Some('#' | '%') => {
                let long = text.starts_with("##") || text.starts_with("%%");
                let front = text.starts_with('#');
                let pattern = self.word_in(tail(1 + usize::from(long)), how);
                values.list.iter().map(|value| trim_pattern(value, &pattern, front, long)).collect()
            }
            Some('/') => self.replaced(&values, operator.clone(), how),
            Some('^') => {
                let all = text.starts_with("^^");
                values.list.iter().map(|value| cased(value, all, true)).collect()
            }
            Some(',') => {
                let all = text.starts_with(",,");
                values.list.iter().map(|value| cased(value, all, false)).collect()
            }
            Some(':') if many => values.list,
            Some(':') => {
                let parts: Vec<String> =
                    self.word_in(tail(1), how).split(':').map(|part| part.trim().to_owned()).collect();
                values.list.iter().map(|value| substring(value, &parts)).collect()
            }
            // `${x@P}` and its like run or quote what the value holds.
            _ => vec![UNKNOWN.to_string()],
        };
        Values { list, many }
    }

    fn replaced(&mut self, values: &Values, operator: Range<usize>, how: How) -> Vec<String> {
        let text = self.source(operator.clone());
        let all = text.starts_with("//");
        let from = operator.start + 1 + usize::from(all);
        let stop = self.closing(from, operator.end, '/', 0);
        let pattern = self.word_in(from..stop, how);
        let with = self.word_in((stop + 1).min(operator.end)..operator.end, how);
        let plain = !pattern.contains(['*', '?', '[']) && !pattern.starts_with(['#', '%']);
        let replace = |value: &String| match (plain && super::stream::known(&pattern), all) {
            (true, true) if !pattern.is_empty() => filled(value, &pattern, &with),
            (true, false) => value.replacen(&pattern, &with, 1),
            _ => UNKNOWN.to_string(),
        };
        values.list.iter().map(replace).collect()
    }
}

struct Values {
    list: Vec<String>,
    /// `$@`: each a field of its own, even within quotes.
    many: bool,
}

impl Values {
    fn one(value: String) -> Self {
        Self { list: vec![value], many: false }
    }
}

fn push(out: &mut Fields, c: char, next: usize) -> usize {
    out.push(c.encode_utf8(&mut [0; 4]));
    next
}

fn element(list: Vec<String>, index: &str) -> (Vec<String>, bool) {
    match (index, index.parse::<usize>()) {
        ("@", _) => (list, true),
        ("*", _) => (vec![list.join(" ")], false),
        (_, Ok(at)) => (vec![list.get(at).cloned().unwrap_or_default()], false),
        _ => (vec![UNKNOWN.to_string()], false),
    }
}

fn cased(value: &str, all: bool, upper: bool) -> String {
    let change = |text: &str| if upper { text.to_uppercase() } else { text.to_lowercase() };
    let first = value.chars().next().map_or(0, char::len_utf8);
    match (all, value.split_at_checked(first)) {
        (false, Some((head, rest))) => change(head) + rest,
        _ => change(value),
    }
}

fn substring(value: &str, parts: &[String]) -> String {
    let chars: Vec<char> = value.chars().collect();
    let number = |at: usize| parts.get(at).map(|part| part.parse::<i64>());
    let (Some(Ok(start)), true) = (number(0), super::stream::known(value)) else {
        return UNKNOWN.to_string();
    };
    let from =
        if start < 0 { chars.len().saturating_sub(start.unsigned_abs() as usize) } else { start as usize };
    let to = match number(1) {
        None => chars.len(),
        Some(Ok(length)) if length >= 0 => from.saturating_add(length as usize).min(chars.len()),
        Some(Ok(length)) => chars.len().saturating_sub(length.unsigned_abs() as usize),
        Some(Err(_)) => return UNKNOWN.to_string(),
    };
    chars.get(from.min(to)..to).unwrap_or_default().iter().collect()
}

/// Integers of one operation, or a lone number; anything else is unknown.
fn arithmetic(text: &str) -> String {
    let inner = text.trim_start_matches("$((").trim_end_matches("))").trim();
    let parts: Vec<&str> = inner.split_whitespace().collect();
    let value = match parts.as_slice() {
        [one] => one.parse::<i64>().ok(),
        [left, operator, right] => {
            let (left, right) = (left.parse::<i64>().ok(), right.parse::<i64>().ok());
            left.zip(right).and_then(|(left, right)| match *operator {
                "+" => left.checked_add(right),
                "-" => left.checked_sub(right),
                "*" => left.checked_mul(right),
                _ => None,
            })
        }
        _ => None,
    };
    value.map_or_else(|| UNKNOWN.to_string(), |value| value.to_string())
}

impl super::state::State {
    /// What a substitution leaves of a stream: text without its last line ends.
    fn captured(&self, stream: &Stream) -> String {
        stream.text.trim_end_matches('\n').to_owned()
    }
}
