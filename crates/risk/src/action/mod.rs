//! The contract's actions: what one does, the one text that findings point into, and
//! the same without its secrets.
//!
//! - [`layout`]: the text, and which field stands where in it
//! - [`effects`], [`tool`]: from each kind of action to effects and gaps
//! - [`mask`]: what is hidden in which field
//! - [`json`]: arguments of tools, token by token
//!
//! Invariants: spans of [`found`] lie in [`text`], on letters' borders; a kind of action
//! that no analyser knows leaves a gap, whatever its arguments look like; nothing that
//! [`masked`] hides is seen in a preview.

mod effects;
mod json;
pub(crate) mod layout;
pub(crate) mod mask;
#[cfg(test)]
pub(crate) mod tests;
mod tool;

pub use effects::found;
pub use layout::text;
pub use mask::{Targets, masked};

/// Which analysers found it. The number behind the slash grows with every change that
/// may find something else in the same action, or show it otherwise.
pub const ANALYSER: &str = concat!("quarterdeck-risk ", env!("CARGO_PKG_VERSION"), "/1");
