//! Texts that try to make an analyser slow, large or panic: one for each construct that
//! can nest, repeat or grow, and bytes changed at random.
//!
//! Tests, fuzzing and benchmarks share them, so that a shape found by one is kept by all.
//! Invariant: the same seed and size give the same text.

use crate::assess::Case;
use crate::code::CODE_MAX;

mod shapes;

use shapes::{CODE, COMMAND, HTTP, PATH, SQL, Shape, TEXT};

/// A text with the shape it was made by.
#[derive(Clone, Debug)]
pub struct Hostile {
    pub shape: String,
    pub case: Case,
}

/// Every shape at about `size` bytes, never more.
pub fn cases(size: usize) -> Vec<Hostile> {
    let groups = [("command", COMMAND), ("sql", SQL), ("http", HTTP), ("path", PATH)];
    let plain = groups
        .into_iter()
        .flat_map(|(kind, shapes)| shapes.iter().map(move |shape| made(kind, None, shape, size)));
    // The largest that is looked at is the worst.
    let most = size.min(CODE_MAX);
    let code = CODE.iter().flat_map(|(languages, shapes)| {
        languages.iter().flat_map(move |language| {
            let each = move |shape: &Shape| {
                [made("code", Some(language), shape, most), lined(language, shape, most)]
            };
            shapes.iter().flat_map(each)
        })
    });
    plain.chain(code).chain(noises(size)).collect()
}

/// Texts for the search for secrets and personal data.
pub fn texts(size: usize) -> Vec<(String, String)> {
    TEXT.iter().map(|shape| (shape.name.to_owned(), shape.text(size))).collect()
}

fn made(kind: &str, language: Option<&str>, shape: &Shape, size: usize) -> Hostile {
    let name = match language {
        Some(language) => format!("{kind} {language} {}", shape.name),
        None => format!("{kind} {}", shape.name),
    };
    let lang = language.map(str::to_owned);
    let case = Case { id: name.clone(), kind: kind.to_owned(), text: shape.text(size), lang };
    Hostile { shape: name, case }
}

/// The same with line ends between the pieces: some limits look at lines.
fn lined(language: &str, shape: &Shape, size: usize) -> Hostile {
    let mut hostile = made("code", Some(language), shape, size - size / 30);
    let text = std::mem::take(&mut hostile.case.text);
    let mut length = 0;
    for letter in text.chars() {
        hostile.case.text.push(letter);
        length = if letter == '\n' { 0 } else { length + 1 };
        if length >= 60 && !letter.is_alphanumeric() {
            hostile.case.text.push('\n');
            length = 0;
        }
    }
    hostile.shape.push_str(" in lines");
    hostile.case.id.clone_from(&hostile.shape);
    hostile
}

/// The kinds of actions, each with the languages that its analyser tells apart.
pub const KINDS: [(&str, Option<&str>); 10] = [
    ("command", None),
    ("path", None),
    ("http", None),
    ("sql", None),
    ("code", Some("python")),
    ("code", Some("javascript")),
    ("code", Some("typescript")),
    ("code", Some("go")),
    ("code", Some("rust")),
    ("code", Some("ruby")),
];

type Noise = fn(&mut Dice, usize) -> String;

/// Letters and marks in no order, for each kind.
fn noises(size: usize) -> Vec<Hostile> {
    let noises: [(&str, Noise); 3] = [("marks", marks), ("words", words), ("unicode", unicode)];
    let each = |(kind, language): (&str, Option<&str>)| {
        noises.map(|(name, noise)| {
            let head = if kind == "path" { "write " } else { "" };
            let size = if kind == "code" { size.min(CODE_MAX) } else { size };
            let text = head.to_owned() + &noise(&mut Dice::new(7), size.saturating_sub(head.len()));
            let shape = format!("{kind} {} {name}", language.unwrap_or("noise"));
            let lang = language.map(str::to_owned);
            Hostile { case: Case { id: shape.clone(), kind: kind.to_owned(), text, lang }, shape }
        })
    };
    KINDS.into_iter().flat_map(each).collect()
}

/// Numbers that only look random (splitmix64, Steele et al. 2014), so that a run repeats.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.roll() % end).unwrap_or_default()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.get(self.below(from.len())).copied().unwrap_or_default()
    }
}

fn marks(dice: &mut Dice, size: usize) -> String {
    let marks: Vec<char> = "(){}[]<>\"'`$\\|&;:,.?!#*+-=/%@^~ \n\tab01".chars().collect();
    (0..size).filter_map(|_| marks.get(dice.below(marks.len())).copied()).collect()
}

const WORDS: [&str; 40] = [
    "rm",
    "-rf",
    "$(",
    ")",
    "`",
    "if",
    "then",
    "fi",
    "do",
    "done",
    "for",
    "in",
    "case",
    "esac",
    "{",
    "}",
    "<<A",
    "\n",
    "'",
    "\"",
    "select",
    "from",
    "where",
    "(",
    "import",
    "def",
    "x",
    "=",
    "eval",
    "|",
    "&&",
    "function",
    "${a",
    "://",
    "python3 -c",
    "sh -c",
    "1",
    "+",
    "[",
    "]",
];

fn words(dice: &mut Dice, size: usize) -> String {
    let mut text = String::new();
    loop {
        let word = dice.pick(&WORDS);
        if text.len() + word.len() + 1 > size {
            return text;
        }
        text.push_str(word);
        text.push(' ');
    }
}

fn unicode(dice: &mut Dice, size: usize) -> String {
    let mut text = String::new();
    loop {
        let limit = if dice.below(4) == 0 { 0x11_0000 } else { 0x2000 };
        let letter = u32::try_from(dice.below(limit)).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
        if text.len() + letter.len_utf8() > size {
            return text;
        }
        text.push(letter);
    }
}

/// The text with some of its bytes changed, doubled, dropped, or replaced by a piece of `other`.
pub fn mutated(text: &str, other: &str, dice: &mut Dice) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len());
        let end = (at + 1 + dice.below(12)).min(bytes.len());
        match dice.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.drain(at.min(end)..end).for_each(drop),
            2 => bytes.insert(at, (dice.roll() & 0xff) as u8),
            3 => {
                let piece = bytes.get(at..end).unwrap_or_default().repeat(1 + dice.below(40));
                bytes.splice(at..at, piece);
            }
            4 => {
                let from = dice.below(other.len());
                let piece = other.as_bytes().get(from..(from + 24).min(other.len())).unwrap_or_default();
                bytes.splice(at..at, piece.iter().copied());
            }
            5 => bytes.splice(at..at, dice.pick(&WORDS).bytes()).for_each(drop),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TEXT_MAX;

    #[test]
    fn no_text_is_larger_than_it_was_asked_to_be() {
        for size in [512, 4096, TEXT_MAX] {
            for hostile in cases(size) {
                assert!(hostile.case.text.len() <= size, "{}", hostile.shape);
            }
        }
    }

    #[test]
    fn shapes_have_names_of_their_own() {
        let names: std::collections::BTreeSet<String> =
            cases(64).into_iter().map(|case| case.shape).collect();
        assert_eq!(names.len(), cases(64).len());
    }

    #[test]
    fn a_seed_repeats() {
        let one = mutated("rm -rf /", "ls", &mut Dice::new(1));
        assert_eq!(one, mutated("rm -rf /", "ls", &mut Dice::new(1)));
    }
}
