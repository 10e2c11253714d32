//! Approvals as people read them, in lines of pieces that the terminal's two ways of
//! showing them share.
//!
//! - [`piece`]: a line, and how its pieces are told apart
//! - [`sheet`]: all that is known of one approval, with its preview
//! - [`row`]: one approval in a list
//!
//! Invariant: no text of the server, an agent or a person reaches the terminal with a
//! character in it that the terminal acts on.

mod piece;
mod row;
mod sheet;
#[cfg(test)]
pub mod tests;

#[cfg(feature = "inbox")]
pub use piece::{Line, Tone};
pub use piece::{painted, plain};
#[cfg(feature = "inbox")]
pub use row::level_tone;
pub use row::{left, level, state, summary};
pub use sheet::{hex, sheet};
