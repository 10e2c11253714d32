//! Text filters whose input is known are computed; others blur what they are given.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::escape::unescape;
use super::invoke::Command;
use super::state::State;
use super::stream::{Stream, UNKNOWN, known};
use crate::work;

/// Bytes of a word into which others are put.
const FILLED_MAX: usize = 16 * 1024;

impl State {
    /// What a filter prints; `None` for programs that are none.
    pub fn filter(&mut self, command: &Command<'_>) -> Option<Stream> {
        let greps = command.name.ends_with("grep") || command.name == "rg";
        if let Some(names) = greps.then(|| matching_files(command)).flatten() {
            return Some(Stream::names(&names));
        }
        let input = match command.args.operands.first() {
            Some(path) if takes_files(command.name) => {
                let streams: Vec<Stream> =
                    command.args.operands.iter().map(|path| self.content(path, command.stdin)).collect();
                let _ = path;
                streams.into_iter().reduce(|all, more| all.then(&more)).unwrap_or_else(Stream::none)
            }
            _ => command.stdin.clone(),
        };
        work::spend(input.text.len() * 8);
        let text = compute(command, &input)?;
        // What it reads instead lies elsewhere.
        let text = text.filter(|_| !input.absent);
        let Some(text) = text.filter(|_| input.exact && known(&input.text)) else {
            let passes = command.name == "cat" || command.name == "tee";
            let names = !input.exact
                && ["grep", "egrep", "fgrep", "sort", "uniq", "head", "tail"].contains(&command.name);
            return Some(if passes || names { input } else { input.blurred() });
        };
        Some(Stream { text, ..input })
    }

    fn content(&self, path: &str, stdin: &Stream) -> Stream {
        if path == "-" || path == "/dev/stdin" {
            return stdin.clone();
        }
        let place = self.canonical(path);
        self.files.get(&place).cloned().unwrap_or_else(|| Stream::unknown(super::stream::Origin::Local))
    }
}

/// The files that `grep -l` names lie where it looks.
fn matching_files(command: &Command<'_>) -> Option<Vec<String>> {
    let args = command.args;
    if !args.has("-l -L --files-with-matches --files-without-match") {
        return None;
    }
    let skip = usize::from(!args.has("-e --regexp -f --file"));
    let places = args.operands.get(skip..).filter(|places| !places.is_empty());
    let Some(places) = places else { return command.stdin.absent.then(|| vec!["./*".to_owned()]) };
    let deep = args.has("-r -R --recursive") || command.name == "rg";
    let inside =
        |place: &String| if deep { format!("{}/*", place.trim_end_matches('/')) } else { place.clone() };
    Some(places.iter().map(inside).collect())
}

/// Filters whose operands are files to be read.
fn takes_files(name: &str) -> bool {
    ["cat", "base64", "base32", "rev", "tac", "xxd", "sort", "zcat", "gunzip"].contains(&name)
}

/// `None`: not a filter; `Some(None)`: one, but what it prints is not computed.
fn compute(command: &Command<'_>, input: &Stream) -> Option<Option<String>> {
    let text = input.text.as_str();
    let args = command.args;
    Some(match command.name {
        "cat" | "tee" | "pv" | "sponge" | "col" | "expand" | "unexpand" => Some(text.to_owned()),
        "base64" | "base32" | "openssl" => {
            let decodes = args.has("-d -D --decode -base64 -a");
            match (decodes, command.name) {
                (true, "base64") => decode64(text),
                (true, "openssl") if args.exactly("-d") && args.has("-base64 -a") => decode64(text),
                (true, "base32") => decode32(text),
                _ => None,
            }
        }
        "rev" => Some(text.lines().map(|line| line.chars().rev().collect::<String>() + "\n").collect()),
        "tac" => Some(text.lines().rev().map(|line| line.to_owned() + "\n").collect()),
        "xxd" if args.has("-r -revert") => unhex(text, args.has("-p -ps -plain")),
        "tr" => translate(text, args.operands.as_slice(), args),
        "sort" | "uniq" | "head" | "tail" | "cut" | "grep" | "egrep" | "fgrep" | "sed" | "awk" | "gawk"
        | "xxd" | "zcat" | "gunzip" | "gzip" | "od" | "hexdump" | "jq" | "yq" | "fold" | "fmt" | "nl"
        | "paste" => None,
        _ => return None,
    })
}

fn decode64(text: &str) -> Option<String> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let bytes = GeneralPurpose::new(&STANDARD, lenient).decode(compact).ok()?;
    String::from_utf8(bytes).ok()
}

fn decode32(text: &str) -> Option<String> {
    let mut bits: u64 = 0;
    let mut count = 0;
    let mut bytes = Vec::new();
    for c in text.chars().filter(|c| !c.is_whitespace() && *c != '=') {
        let value = match c {
            'A'..='Z' => u64::from(c) - u64::from('A'),
            '2'..='7' => u64::from(c) - u64::from('2') + 26,
            _ => return None,
        };
        bits = (bits << 5 | value) & 0xffff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    String::from_utf8(bytes).ok()
}

/// `xxd -r -p`; without `-p` the columns of addresses and letters are left out.
fn unhex(text: &str, bare: bool) -> Option<String> {
    let mut digits = String::new();
    for line in text.lines() {
        let line = if bare { line } else { line.split_once(':').map_or(line, |(_, rest)| rest) };
        let line = if bare { line } else { line.split("  ").next().unwrap_or("") };
        digits.extend(line.chars().filter(char::is_ascii_hexdigit));
    }
    let pairs: Vec<char> = digits.chars().collect();
    let bytes =
        pairs.chunks_exact(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

fn translate(text: &str, sets: &[String], args: &super::args::Args) -> Option<String> {
    if args.has("-c -C --complement -s --squeeze-repeats") {
        return None;
    }
    let from = set(sets.first()?);
    work::spend(text.len() * from.len() / 2);
    if args.has("-d --delete") {
        return Some(text.chars().filter(|c| !from.contains(c)).collect());
    }
    let to = set(sets.get(1)?);
    let last = to.last().copied()?;
    let change = |c: char| match from.iter().rposition(|from| *from == c) {
        Some(at) => to.get(at).copied().unwrap_or(last),
        None => c,
    };
    Some(text.chars().map(change).collect())
}

/// A set of `tr`: ranges, classes, escapes.
fn set(text: &str) -> Vec<char> {
    let classes = [("[:upper:]", 'A', 'Z'), ("[:lower:]", 'a', 'z'), ("[:digit:]", '0', '9')];
    for (name, from, to) in classes {
        if text == name {
            return (from..=to).collect();
        }
    }
    let chars: Vec<char> = unescape(text, false).chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        match (chars.get(at + 1), chars.get(at + 2)) {
            (Some('-'), Some(&end)) if end >= c && u32::from(end) - u32::from(c) < 256 => {
                out.extend(c..=end);
                at += 3;
            }
            _ => {
                out.push(c);
                at += 1;
            }
        }
    }
    out
}

/// A shell's pattern over a text: `*`, `?`, `[...]`; linear but for one step back.
pub fn glob_match(pattern: &str, text: &str) -> bool {
    if !pattern.contains(['*', '?', '[']) {
        return pattern == text;
    }
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if !work::spend(4) {
            return false;
        }
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => class(pattern.get(p..).unwrap_or_default(), text.get(t).copied()),
            Some(c) if Some(c) == text.get(t) => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((at, from))) => {
                p = at + 1;
                t = from + 1;
                star = Some((at, from + 1));
            }
            (None, None) => return false,
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

/// How long a class is that holds the letter.
fn class(pattern: &[char], letter: Option<char>) -> Option<usize> {
    let letter = letter?;
    let close = pattern.iter().skip(2).position(|c| *c == ']')? + 2;
    let inner = pattern.get(1..close)?;
    let (not, inner) = match inner.split_first() {
        Some(('!' | '^', rest)) => (true, rest),
        _ => (false, inner),
    };
    let mut holds = false;
    let mut at = 0;
    while let Some(&from) = inner.get(at) {
        match (inner.get(at + 1), inner.get(at + 2)) {
            (Some('-'), Some(&to)) => {
                holds |= (from..=to).contains(&letter);
                at += 3;
            }
            _ => {
                holds |= from == letter;
                at += 1;
            }
        }
    }
    (holds != not).then_some(close + 1)
}

/// `${value#pattern}` and its like.
pub fn trim_pattern(value: &str, pattern: &str, front: bool, long: bool) -> String {
    if !known(pattern) || value.len() > 4096 || pattern.len() > 256 {
        return UNKNOWN.to_string();
    }
    let cuts: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    let fits = |cut: &&usize| {
        work::spend(4 * value.len() + 4 * pattern.len());
        let part = if front { value.get(..**cut) } else { value.get(**cut..) };
        part.is_some_and(|part| glob_match(pattern, part))
    };
    // The shortest part in front is the first cut, the shortest behind the last one.
    let cut = match front != long {
        true => cuts.iter().find(fits),
        false => cuts.iter().rev().find(fits),
    };
    let kept = cut.and_then(|cut| if front { value.get(*cut..) } else { value.get(..*cut) });
    kept.unwrap_or(value).to_owned()
}

/// The word with `text` for each `mark`; what grows too long is not known.
pub fn filled(word: &str, mark: &str, text: &str) -> String {
    let marks = word.matches(mark).count();
    match word.len().saturating_add(marks.saturating_mul(text.len())) > FILLED_MAX {
        true => UNKNOWN.to_string(),
        false => word.replace(mark, text),
    }
}
