//! Where in a message something is, as a chain on the stack of the walk.
//!
//! Costs nothing until it is rendered, in protovalidate's style:
//! `plan.steps[3].key`, `labels["x"]`.

use std::fmt::Write as _;

use super::checks::Scalar;

/// Longest rendered path in bytes. Paths travel in response headers.
const MAX_TEXT: usize = 256;

/// Longest part of a map key that a path shows, in characters.
const MAX_KEY: usize = 64;

/// A message, field, element or map value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Root,
    Field(&'p str),
    Index(u32),
    Key(Scalar<'p>),
}

impl<'p> Path<'p> {
    /// The message itself.
    pub(super) const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    pub(super) fn field(&'p self, name: &'p str) -> Self {
        self.then(Step::Field(name))
    }

    pub(super) fn index(&'p self, index: u32) -> Self {
        self.then(Step::Index(index))
    }

    pub(super) fn key(&'p self, key: Scalar<'p>) -> Self {
        self.then(Step::Key(key))
    }

    fn then(&'p self, step: Step<'p>) -> Self {
        Self { parent: Some(self), step }
    }

    /// The path in words; empty for the message itself.
    pub(super) fn text(&self) -> String {
        let mut steps = Vec::new();
        let mut next = Some(self);
        while let Some(path) = next {
            steps.push(path.step);
            next = path.parent;
        }
        let mut text = String::new();
        for step in steps.into_iter().rev() {
            if text.len() > MAX_TEXT {
                break;
            }
            // Invariant: writing to a String cannot fail.
            let _ = match step {
                Step::Root => Ok(()),
                Step::Field(name) if text.is_empty() => write!(text, "{name}"),
                Step::Field(name) => write!(text, ".{name}"),
                Step::Index(index) => write!(text, "[{index}]"),
                Step::Key(Scalar::Text(key)) => write!(text, "[\"{}\"]", shown(key)),
                Step::Key(Scalar::Bool(key)) => write!(text, "[{key}]"),
                Step::Key(Scalar::Int(key)) => write!(text, "[{key}]"),
                Step::Key(_) => write!(text, "[?]"),
            };
        }
        if text.len() > MAX_TEXT {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text.push_str("...");
        }
        text
    }
}

/// A caller's text made fit for an error: without control characters, cut.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_KEY).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_KEY).is_some() {
        shown.push_str("...");
    }
    shown
}
