//! Texts for fields: such as the rules ask for, and such as attackers send.

use crate::dice::Dice;
use crate::rules::Rules;
use crate::words::{Side, Words, absent};

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

/// What has broken parsers, logs, shells, databases and terminals before.
const HOSTILE: [&str; 24] = [
    "\0",
    "a\0b",
    "\u{feff}a",
    "\u{202e}txt.exe",
    "\u{1b}[31mred\u{7}",
    "a\r\nx-injected: 1",
    "'; DROP TABLE task; --",
    "\" OR 1=1 --",
    "$1",
    "{}{:?}%s%n%x",
    "../../../../etc/passwd",
    "/",
    ".",
    " ",
    "\t\n",
    "-1",
    "NaN",
    "null",
    "{\"a\":",
    "=1+1",
    "🦀👩‍👩‍👧‍👦e\u{301}\u{301}\u{301}",
    "ﬁ Å Å İ ß",
    "\u{e000}\u{10ffff}",
    "*",
];

/// A text that its rules take, if one was found.
pub fn right(rules: &Rules, field: &str, side: Side, words: &Words, dice: &mut Dice) -> String {
    let named = words.of(side, field);
    let text = match dice.below(100) {
        // What comes first is what goes together with the first of others.
        0..40 if !named.is_empty() => named[0].clone(),
        40..75 if !named.is_empty() => dice.pick(named).clone(),
        // A foreign text must stay one: nothing else is drawn for that side.
        _ if side == Side::Foreign && !named.is_empty() => dice.pick(named).clone(),
        75..83 if !named.is_empty() => {
            let known = dice.pick(named).clone();
            absent(&known, dice)
        }
        83..92 => dice.pick_or(words.of(Side::Foreign, field)),
        92..95 => words.any(Side::Own, dice).unwrap_or_default(),
        _ => plain(rules, dice),
    };
    if rules.takes(&text) { text } else { plain(rules, dice) }
}

impl Dice {
    fn pick_or(&mut self, from: &[String]) -> String {
        if from.is_empty() { String::new() } else { self.pick(from).clone() }
    }
}

/// A text that nobody knows and that the rules take; empty where none was found.
fn plain(rules: &Rules, dice: &mut Dice) -> String {
    for _ in 0..24 {
        let text = guess(rules, dice);
        if rules.takes(&text) {
            return text;
        }
    }
    String::new()
}

fn guess(rules: &Rules, dice: &mut Dice) -> String {
    let length = 2 + dice.below(8);
    let word: String = (0..length).map(|_| char::from(*dice.pick(LETTERS))).collect();
    match dice.below(10) {
        0 => String::new(),
        1 => format!("{word}-{}", dice.below(100)),
        2 => word.to_uppercase(),
        3 => format!("A_{}", dice.below(10)),
        4 => (*dice.pick(&["text/plain", "application/json", "text/csv; charset=utf-8"])).to_owned(),
        5 => format!("Some {word}, with ünïcödé"),
        6 => word[..1].repeat(rules.least.clamp(1, 1_000)),
        7 => word[..1].repeat(rules.most.unwrap_or(10).clamp(1, 5_000)),
        _ => word,
    }
}

/// A text that should be refused, or do no harm.
pub fn hostile(rules: &Rules, field: &str, room: usize, words: &Words, dice: &mut Dice) -> String {
    let named = words.of(Side::Own, field);
    match dice.below(12) {
        0 => String::new(),
        1 => "a".repeat(rules.most.map_or(70_000, |most| most + 1).min(room)),
        2 => "ä".repeat(rules.most.unwrap_or(1_000).saturating_add(1).min(room / 2)),
        3 => "x".repeat((*dice.pick(&[10_000, 70_000, 262_145, 1_000_000])).min(room)),
        4 => words.any(Side::Own, dice).unwrap_or_default(),
        5 => words.any(Side::Foreign, dice).unwrap_or_default(),
        6 if !named.is_empty() => dice.pick(named).to_uppercase(),
        7 if !named.is_empty() => format!("{}\0", dice.pick(named)),
        8 if !named.is_empty() => {
            let text = dice.pick(named);
            text.chars().take(text.chars().count() / 2).collect()
        }
        9 if !named.is_empty() => format!("{} ", dice.pick(named)),
        _ => (*dice.pick(&HOSTILE)).to_owned(),
    }
}
