//! Deciding in a terminal.
//!
//! - [`state`]: what is known, and what is looked at
//! - [`update`]: from a key or news to a new state and what is to be done
//! - [`draw`]: from a state to a screen
//! - [`screen`]: the terminal itself, the server, the editor
//!
//! Invariants: state changes in `update` alone, which is pure; a yes goes to exactly
//! what was shown to its end, by the digest that was shown, and after a question.

mod draw;
mod screen;
mod state;
#[cfg(test)]
mod tests;
mod update;

pub use screen::run;
