//! From a text to pieces.

use std::ops::Range;

use super::model::Mark;
use super::page::Page;
use super::visible::{harmless, lookalikes, piece, right_to_left};
use crate::redact;

/// Blanks in a row that are shown as such: more push what follows out of sight.
const BLANKS: usize = 40;
/// Empty lines in a row that are shown as such.
const EMPTY: usize = 5;
/// Unseen letters of one kind in a row that are shown one by one.
const SAME: usize = 3;

/// A text, and what is known of it. Ranges are in order and apart.
pub struct Ink<'a> {
    text: &'a str,
    masks: &'a [redact::Mark],
    risky: &'a [Range<usize>],
    odd: Vec<usize>,
    ascii: bool,
}

/// How a field is shown.
#[derive(Clone, Copy, PartialEq)]
pub enum Shape {
    /// One line; a line's end within it is visible.
    Word,
    Lines,
    /// Lines that a diff adds or removes.
    Diff,
    /// Lines that are all new.
    New,
}

impl<'a> Ink<'a> {
    /// `strict` as in [`lookalikes`].
    pub fn new(text: &'a str, masks: &'a [redact::Mark], risky: &'a [Range<usize>], strict: bool) -> Self {
        Self { text, masks, risky, odd: lookalikes(text, strict), ascii: text.is_ascii() }
    }

    /// Draws a part of the text; the last line stays open.
    pub fn draw(&self, range: Range<usize>, shape: Shape, page: &mut Page) {
        let mut at = range.start;
        let mut base = self.line(at, shape, page);
        while at < range.end {
            if let Some(mask) = covering(self.masks, at, |mask| &mask.range) {
                page.piece(&format!("[{}]", mask.kind), Mark::Masked);
                at = mask.range.end.max(at + 1);
                continue;
            }
            let end = self.border(at, range.end);
            let risky = covering(self.risky, at, |range| range).is_some();
            let mark = if risky { Mark::Risky } else { base };
            let plain = self.plain(at, end);
            if plain > at {
                page.text(self.slice(at..plain), mark);
                at = plain;
                continue;
            }
            at += match self.slice(at..end).chars().next() {
                Some('\n') if shape != Shape::Word => {
                    let lines = self.newline(at, end, page);
                    base = self.line(at + lines, shape, page);
                    lines
                }
                Some('\n') => self.broken(at, end, page),
                Some(' ' | '\t') => self.blanks(at, end, shape, mark, page),
                Some(letter) => self.unseen(letter, at, end, page),
                None => 1,
            };
        }
    }

    fn slice(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    /// The next place where something else may hold.
    fn border(&self, at: usize, end: usize) -> usize {
        let mask = self.masks.get(self.masks.partition_point(|mask| mask.range.start <= at));
        let risky = self.risky.get(self.risky.partition_point(|range| range.start <= at));
        let inner = covering(self.risky, at, |range| range).map_or(end, |range| range.end);
        let mask = mask.map_or(end, |mask| mask.range.start);
        end.min(inner).min(mask).min(risky.map_or(end, |range| range.start)).max(at + 1)
    }

    /// Up to where letters can be shown as they are.
    fn plain(&self, at: usize, end: usize) -> usize {
        let odd = |at: usize| !self.odd.is_empty() && self.odd.binary_search(&at).is_ok();
        let mut blank = false;
        for (offset, letter) in self.slice(at..end).char_indices() {
            let wide = letter == ' ' && (blank || offset == 0);
            if wide || !harmless(letter) || odd(at + offset) {
                // A single blank is let through; the row that begins with one is not.
                return at + offset - usize::from(wide && blank && offset > 0);
            }
            blank = letter == ' ';
        }
        end
    }

    fn blanks(&self, at: usize, end: usize, shape: Shape, mark: Mark, page: &mut Page) -> usize {
        let row = self.slice(at..end).bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let tab = self.slice(at..at + row).bytes().position(|byte| byte == b'\t');
        match (row, tab) {
            (row, _) if row > BLANKS => page.piece(&format!("<{row} blanks>"), Mark::Invisible),
            (_, Some(0)) if shape == Shape::Word => {
                page.piece(&piece('\t'), Mark::Invisible);
                return 1;
            }
            (_, Some(0)) => {
                page.text("    ", mark);
                return 1;
            }
            (_, Some(tab)) => {
                page.text(self.slice(at..at + tab), mark);
                return tab;
            }
            (_, None) => page.text(self.slice(at..at + row), mark),
        }
        row
    }

    /// A letter that is not what it seems, or a row of the same.
    fn unseen(&self, letter: char, at: usize, end: usize, page: &mut Page) -> usize {
        let row = self.slice(at..end).chars().take_while(|c| *c == letter).count();
        if row <= SAME {
            page.piece(&piece(letter), Mark::Invisible);
            return letter.len_utf8();
        }
        page.piece(&format!("<U+{:04X}, {row} times>", u32::from(letter)), Mark::Invisible);
        row * letter.len_utf8()
    }

    /// A line's end within a word, or a row of them with blanks between.
    fn broken(&self, at: usize, end: usize, page: &mut Page) -> usize {
        let (lines, row) = self.empty(at, end);
        let row = if lines > EMPTY { row } else { 0 };
        match row {
            0 => page.piece(&piece('\n'), Mark::Invisible),
            _ => page.piece(&format!("<U+000A, {} times, and blanks>", lines + 1), Mark::Invisible),
        }
        page.end();
        page.piece("(same word) ", Mark::Label);
        row + 1
    }

    /// Ends the line; a long row of empty ones becomes a single line that says so.
    fn newline(&self, at: usize, end: usize, page: &mut Page) -> usize {
        page.end();
        let (lines, row) = self.empty(at, end);
        if lines <= EMPTY {
            return 1;
        }
        page.piece(&format!("<{lines} empty lines>"), Mark::Invisible);
        page.end();
        row + 1
    }

    /// Empty lines after a line's end, and the bytes up to the last of their ends.
    fn empty(&self, at: usize, end: usize) -> (usize, usize) {
        let rest = self.slice(at..end);
        let blank = rest.bytes().take_while(|byte| matches!(byte, b'\n' | b' ' | b'\t')).count();
        let row = rest.get(..blank).and_then(|row| row.rfind('\n')).unwrap_or(0);
        (rest.bytes().take(row).filter(|byte| *byte == b'\n').count(), row)
    }

    /// Begins a line: how its letters are marked, and whether it runs the other way.
    fn line(&self, at: usize, shape: Shape, page: &mut Page) -> Mark {
        let line = self.text.get(at..).unwrap_or_default();
        if !self.ascii && line.chars().take_while(|c| *c != '\n').any(right_to_left) {
            page.piece("<written from right to left>", Mark::Invisible);
        }
        match (shape, line.as_bytes()) {
            (Shape::New, _) => Mark::Added,
            (Shape::Diff, [b'+', rest @ ..]) if !rest.starts_with(b"++ ") => Mark::Added,
            (Shape::Diff, [b'-', rest @ ..]) if !rest.starts_with(b"-- ") => Mark::Removed,
            _ => Mark::Plain,
        }
    }
}

/// The one of ordered ranges that the place lies in.
fn covering<T>(all: &[T], at: usize, range: impl Fn(&T) -> &Range<usize>) -> Option<&T> {
    let next = all.partition_point(|one| range(one).end <= at);
    all.get(next).filter(|one| range(one).start <= at)
}
