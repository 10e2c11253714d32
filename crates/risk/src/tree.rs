//! Trees of source texts.
//!
//! Parsers are kept by the thread that made them: making one costs more than most texts.
//! Invariant: a parse ends after an amount of work that is bounded, whatever the text.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use tree_sitter::{Language, ParseOptions, ParseState, Parser, Tree};

use crate::work;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    Bash,
    Go,
    JavaScript,
    Python,
    Ruby,
    Rust,
    Tsx,
    TypeScript,
}

/// Grammars that there are.
const GRAMMARS: usize = 8;
/// Units of [`work`] for a hundred steps of the parser.
const LOOK: usize = 14_000;
/// An honest text takes fewer than a hundred steps for so many bytes; a parser that takes more
/// tries much at once because it has lost its way, and each such step is dear.
const LOOK_BYTES: usize = 70;
/// The same where bytes are read more than [`READS`] times as well.
const LOOK_BYTES_READ: usize = 160;
const READS: usize = 3;
const LOOK_LOST: usize = 1_000_000;
/// Looks and bytes that are no sign of anything.
const LOOK_FREE: usize = 4;
const READS_FREE: usize = 500;
/// Bytes that the parser is handed at once. It asks again whenever it goes back or further
/// than that: few enough that what is read again and again is counted.
const READ_BYTES: usize = 8;
/// Units for a byte that the parser reads: some tokens are looked for in all that follows,
/// again and again.
const READ: usize = 12;
/// Units a byte: the text is read, and its tree is walked by whoever asked for it.
const BYTE: usize = 20;
/// Heads of a longer text that are parsed first: finding a way through what is no program
/// takes a hundred times as long as parsing one.
const HEADS: [usize; 2] = [4 * 1024, 16 * 1024];
/// Bytes of a line of code; longer ones are data, made by programs, or made to be slow. The
/// shell's here-documents hold such lines, and its grammar copes.
const LINE_MAX: usize = 4 * 1024;
/// Brackets within brackets, wherever they stand: closing them all at once is dear.
const BRACKETS_MAX: usize = 400;
/// Errors in the first half of such a head that end the parse.
const ERRORS_MAX: usize = 8;

thread_local! {
    static PARSERS: RefCell<[Option<Parser>; GRAMMARS]> = const { RefCell::new([const { None }; GRAMMARS]) };
}

impl Grammar {
    fn language(self) -> Language {
        match self {
            Self::Bash => tree_sitter_bash::LANGUAGE.into(),
            Self::Go => tree_sitter_go::LANGUAGE.into(),
            Self::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
            Self::Python => tree_sitter_python::LANGUAGE.into(),
            Self::Ruby => tree_sitter_ruby::LANGUAGE.into(),
            Self::Rust => tree_sitter_rust::LANGUAGE.into(),
            Self::Tsx => tree_sitter_typescript::LANGUAGE_TSX.into(),
            Self::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
        }
    }

    fn parser(self) -> Option<Parser> {
        let mut parser = Parser::new();
        parser.set_language(&self.language()).ok().map(|()| parser)
    }
}

/// What bash's grammar may be handed: its scanner asks C's `isdigit` of any letter, which
/// reads outside its table above 255 and can end the process. To bash every letter that is
/// not ASCII is part of a word, so the tree is the same; texts are read from the original.
fn ascii(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte.is_ascii() { byte } else { b'x' }).collect()
}

/// The tree of a text; `None` where making it takes more work than is left, where a line is
/// too long, or where a long text is clearly no program of the language.
pub fn parse(grammar: Grammar, text: &str) -> Option<Tree> {
    let long = grammar != Grammar::Bash && text.lines().any(|line| line.len() > LINE_MAX);
    if long || brackets(text) > BRACKETS_MAX || !work::spend(text.len().saturating_mul(BYTE)) {
        return None;
    }
    let safe = (grammar == Grammar::Bash && !text.is_ascii()).then(|| ascii(text));
    let text = safe.as_deref().unwrap_or(text.as_bytes());
    PARSERS.with_borrow_mut(|parsers| {
        let place = parsers.get_mut(grammar as usize)?;
        if place.is_none() {
            *place = grammar.parser();
        }
        let parser = place.as_mut()?;
        for head in HEADS.into_iter().filter(|head| text.len() > 2 * head) {
            let tree = bounded(parser, text.get(..head)?)?;
            if errors(&tree, head / 2) > ERRORS_MAX {
                return None;
            }
        }
        bounded(parser, text)
    })
}

fn bounded(parser: &mut Parser, text: &[u8]) -> Option<Tree> {
    let reads = Cell::new(0_usize);
    let mut looks = 0;
    let mut look = |state: &ParseState| {
        looks += 1;
        let at = state.current_byte_offset();
        let often = reads.get() > READS_FREE + READS * at && looks > LOOK_FREE + at / LOOK_BYTES_READ;
        let lost = often || looks > LOOK_FREE + at / LOOK_BYTES;
        match work::spend(if lost { LOOK_LOST } else { LOOK }) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    };
    // A few bytes at a time, so that they are counted; nothing more is to be read when the meter
    // is empty, so that a token ends as well.
    let mut read = |at: usize, _| {
        let bytes = text.get(at..text.len().min(at.saturating_add(READ_BYTES))).unwrap_or_default();
        reads.set(reads.get() + bytes.len());
        match work::spend(READ * bytes.len()) {
            true => bytes,
            false => &[],
        }
    };
    let options = ParseOptions::new().progress_callback(&mut look);
    let tree = parser.parse_with_options(&mut read, None, Some(options));
    if tree.is_none() {
        // Else the next text would go on where this one was left.
        parser.reset();
    }
    tree.filter(|_| !work::spent())
}

/// How deep brackets lie within each other, quoted or not.
fn brackets(text: &str) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// Errors that begin before a place, counted up to one more than [`ERRORS_MAX`].
fn errors(tree: &Tree, end: usize) -> usize {
    let mut count = 0;
    let mut waiting = vec![tree.root_node()];
    while let Some(node) = waiting.pop() {
        count += usize::from(node.is_error() || node.is_missing());
        if count > ERRORS_MAX {
            break;
        }
        let mut cursor = node.walk();
        let below = node.children(&mut cursor).filter(|child| child.has_error() && child.start_byte() < end);
        waiting.extend(below);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_forgets_a_text_that_it_left() {
        let watch = work::watch();
        assert!(parse(Grammar::Python, &"(".repeat(60_000)).is_none());
        drop(watch);
        let _watch = work::watch();
        let tree = parse(Grammar::Python, "x = 1\n").expect("a tree");
        assert!(!tree.root_node().has_error());
    }
}
