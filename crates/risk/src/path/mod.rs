//! Paths: canonical, and whose they are.
//!
//! - [`canonical`]: `.`, `..`, `~`, doubled slashes, `file://`, other writings of letters
//! - [`table`]: what is known of places, from `data/paths.toml`
//! - [`operate`]: what reading, writing, appending and deleting do there
//!
//! Invariant: pure. Links are not followed and nothing is looked up; what depends on the
//! machine is taken for the worse.

mod canonical;
mod operate;
mod table;
#[cfg(test)]
mod tests;
mod wild;

use crate::model::{Context, Found, Scope};
pub use canonical::canonical;
pub use operate::operation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Read,
    Write,
    Append,
    Delete,
}

/// A path without `.`, `..`, doubled slashes and `~`, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: String,
    pub scope: Scope,
    /// Holds secrets: keys, tokens, password stores, `.env`.
    pub secret: bool,
    /// Runs at login, boot, by a timer, or at a later command.
    pub persistent: bool,
    /// Version control or a build brings it back (a source file, `target/`, `node_modules/`).
    pub rebuildable: bool,
}

/// Where a path leads. Pure: links are not followed.
pub fn locate(path: &str, context: &Context) -> Place {
    table::Facts::of(path, context).place
}

/// What every effect on a path is called, and gaps about its writing.
fn doubts(path: &str) -> Found {
    canonical::doubts(path)
}
