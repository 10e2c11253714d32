//! What people are shown of an action, made from the action itself.
//!
//! - [`model`]: lines in pieces, each with a mark
//! - [`render`]: what is shown of each kind, and what it does
//! - [`draw`]: from a field to pieces: what is masked, what is risky
//! - [`page`]: lines, as many as people can be shown
//! - [`visible`]: which letters are not what they seem
//!
//! Invariants: no text of a preview holds a character that a terminal or a browser acts
//! on; nothing that is masked is in it; what is not shown is said to be so; nothing that
//! an agent says of its action is part of it.

mod draw;
mod model;
mod page;
mod render;
#[cfg(test)]
mod tests;
mod visible;

pub use model::{Line, Mark, Preview, Section, Span};
pub use page::{LINE_MAX, LINES_MAX};
pub use render::preview;
pub(crate) use visible::unseen;
pub use visible::visible;
