//! Lines, as many and as long as people can be shown.
//!
//! Invariants: at most the room it was given; a line holds at most [`LINE_MAX`] bytes and
//! goes on in the next; what finds no room is counted.

use super::model::{Line, Mark, Span};

/// Most lines of a preview.
pub const LINES_MAX: usize = 2_000;
/// Most bytes of a line.
pub const LINE_MAX: usize = 4 * 1024;

const GOES_ON: &str = "(same line) ";

#[derive(Default)]
pub struct Page {
    lines: Vec<Line>,
    line: Line,
    size: usize,
    room: usize,
    pub left: Left,
    /// Pieces that stand for characters that are not what they seem.
    pub unseen: u32,
    pub masked: u32,
}

/// What found no room.
#[derive(Clone, Copy, Default)]
pub struct Left {
    pub lines: usize,
    pub bytes: usize,
}

impl Page {
    pub fn new(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    /// Adds a piece that is shown whole, on this line or the next.
    pub fn piece(&mut self, text: &str, mark: Mark) {
        match mark {
            Mark::Invisible => self.unseen += 1,
            Mark::Masked => self.masked += 1,
            _ => {}
        }
        self.fit(text.len());
        self.put(text, mark);
    }

    /// Adds text that may be broken between letters.
    pub fn text(&mut self, mut text: &str, mark: Mark) {
        while self.size + text.len() > LINE_MAX {
            let end = text.floor_char_boundary(LINE_MAX.saturating_sub(self.size));
            let (head, rest) = text.split_at(end);
            self.put(head, mark);
            text = rest;
            self.fit(LINE_MAX);
        }
        self.put(text, mark);
    }

    /// Goes on in the next line where this one has no room for so many bytes.
    fn fit(&mut self, size: usize) {
        if self.size > GOES_ON.len() && self.size + size > LINE_MAX {
            self.end();
            self.put(GOES_ON, Mark::Label);
        }
    }

    fn put(&mut self, text: &str, mark: Mark) {
        if text.is_empty() {
            return;
        }
        self.size += text.len();
        if self.lines.len() >= self.room {
            self.left.bytes += text.len();
            return;
        }
        match self.line.spans.last_mut().filter(|last| last.mark == mark) {
            Some(last) => last.text.push_str(text),
            None => self.line.spans.push(Span { text: text.to_owned(), mark }),
        }
    }

    /// Ends the line.
    pub fn end(&mut self) {
        self.size = 0;
        match self.lines.len() < self.room {
            true => self.lines.push(std::mem::take(&mut self.line)),
            false => self.left.lines += 1,
        }
    }

    /// A line of one piece that is none of the action's.
    pub fn label(&mut self, text: &str) {
        self.text(text, Mark::Label);
        self.end();
    }

    /// Says so where something found no room; the line is over the room.
    pub fn close(mut self) -> Finished {
        if self.left.lines > 0 {
            let text = format!("NOT SHOWN: {} here", self.left.words());
            self.lines.push(Line { spans: vec![Span { text, mark: Mark::Risky }] });
        }
        Finished { lines: self.lines, left: self.left, unseen: self.unseen, masked: self.masked }
    }
}

pub struct Finished {
    pub lines: Vec<Line>,
    pub left: Left,
    pub unseen: u32,
    pub masked: u32,
}

impl Left {
    pub fn words(self) -> String {
        format!("{} more lines ({} bytes)", self.lines, self.bytes)
    }
}
