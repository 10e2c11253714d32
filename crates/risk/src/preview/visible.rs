//! Which letters are not what they seem.
//!
//! Invariant: what [`harmless`] lets through moves no cursor, turns no text around, takes
//! up room, and is a letter that is given out.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Marks on one letter before they are taken for something painted over its neighbours.
const STACKED: usize = 2;

/// Characters without a shape of their own, and those that change how others are shown:
/// control and format characters, directions, joiners, fillers, tags, selectors, blanks
/// beside the usual one (Unicode's `Default_Ignorable_Code_Point`, `Bidi_Control`, `White_Space`).
pub fn unseen(letter: char) -> bool {
    if letter.is_ascii() {
        return letter.is_control() && !matches!(letter, '\n' | '\t');
    }
    letter.is_control()
        || letter.is_whitespace()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a letter may be shown as it is, as far as that hangs on itself alone.
pub fn harmless(letter: char) -> bool {
    if letter.is_ascii() {
        return !letter.is_control();
    }
    // Private and unassigned characters look like whatever the font makes of them.
    !unseen(letter) && (is_combining_mark(letter) || !matches!(letter.escape_debug().next(), Some('\\')))
}

/// Whether a line with this letter is laid out from right to left, in part.
pub fn right_to_left(letter: char) -> bool {
    !unseen(letter)
        && matches!(letter, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// The piece that stands for a letter.
pub fn piece(letter: char) -> String {
    format!("<U+{:04X}>", u32::from(letter))
}

/// Any text in one line, with pieces for what a terminal or a browser would act on.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut stacked = 0;
    for letter in text.chars() {
        stacked = if is_combining_mark(letter) { stacked + 1 } else { 0 };
        match harmless(letter) && stacked <= STACKED {
            true => out.push(letter),
            false => out.push_str(&piece(letter)),
        }
    }
    out
}

/// Where letters stand that look like others, within words that they make into others.
/// `strict`: names of hosts, paths and programs, where no letter may only look alike.
pub fn lookalikes(text: &str, strict: bool) -> Vec<usize> {
    let mut odd = Vec::new();
    if text.is_ascii() {
        return odd;
    }
    let mut start = 0;
    let wordy = |c: char| c.is_alphanumeric() || unseen(c) || is_combining_mark(c);
    for (at, letter) in text.char_indices().filter(|(_, c)| !wordy(*c)) {
        of_word(text, start..at, strict, &mut odd);
        if strict && stands_for_ascii(letter) {
            odd.push(at);
        }
        start = at + letter.len_utf8();
    }
    of_word(text, start..text.len(), strict, &mut odd);
    odd
}

fn of_word(text: &str, range: Range<usize>, strict: bool, odd: &mut Vec<usize>) {
    let Some(word) = text.get(range.clone()).filter(|word| !word.is_ascii()) else { return };
    let latin = word.chars().any(|c| c.is_ascii_alphabetic());
    let foreign = |c: char| foreign(c) && !is_combining_mark(c);
    let alike = word.chars().filter(|c| foreign(*c)).all(lookalike);
    let mixed = latin || strict && alike;
    let mut stacked = 0;
    for (at, letter) in word.char_indices() {
        stacked = if is_combining_mark(letter) { stacked + 1 } else { 0 };
        let looks = mixed && foreign(letter) || (strict || latin) && stands_for_ascii(letter);
        let lone = stacked > 0 && (at == 0 || strict && latin && stacked == 1 && overlaid(letter));
        if looks || lone || stacked > STACKED {
            odd.push(range.start + at);
        }
    }
}

/// Marks that strike a letter out rather than stand above it.
fn overlaid(letter: char) -> bool {
    matches!(letter, '\u{334}'..='\u{338}' | '\u{20d2}'..='\u{20ea}')
}

/// Letters of scripts that share shapes with Latin: Greek, Cyrillic, Armenian, Cherokee,
/// Coptic, Lisu and Deseret among them (Unicode Technical Standard 39, confusables).
fn foreign(letter: char) -> bool {
    matches!(letter, '\u{370}'..='\u{58f}' | '\u{13a0}'..='\u{13fd}' | '\u{1c80}'..='\u{1c8f}'
        | '\u{1f00}'..='\u{1fff}' | '\u{2c80}'..='\u{2cff}' | '\u{2d00}'..='\u{2d2f}' | '\u{2de0}'..='\u{2dff}'
        | '\u{a4d0}'..='\u{a4ff}' | '\u{a640}'..='\u{a69f}' | '\u{ab70}'..='\u{abbf}' | '\u{10400}'..='\u{1044f}')
}

/// Foreign letters that a reader takes for a Latin one.
fn lookalike(letter: char) -> bool {
    "аеорсухіјѕԁһԛԝҽүѵӏкмтнвгьАВЕЗКМНОРСТУХІЈЅԌԚԜҮѴӀαονρικτυχωγΑΒΕΖΗΙΚΜΝΟΡΤΥΧ".contains(letter)
        || matches!(letter, '\u{13a0}'..='\u{13fd}' | '\u{a4d0}'..='\u{a4ff}' | '\u{2c80}'..='\u{2cff}')
}

/// Other writings of ASCII: full width, mathematical, small capitals of a font, and
/// slashes, colons and dots that are none.
fn stands_for_ascii(letter: char) -> bool {
    if letter.is_ascii() {
        return false;
    }
    let alike = matches!(
        letter,
        '\u{2044}'
            | '\u{2215}'
            | '\u{29f8}'
            | '\u{2571}'
            | '\u{589}'
            | '\u{a789}'
            | '\u{2236}'
            | '\u{2024}'
            | '\u{131}'
            | '\u{251}'
            | '\u{261}'
            | '\u{26a}'
    );
    alike || std::iter::once(letter).nfkc().all(|c| c.is_ascii())
}
