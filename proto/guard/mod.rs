//! The wire guard: one pass over the bytes of a message *before* it is decoded.
//!
//! It refuses bytes that are not the message ([`Broken::Malformed`]) and messages
//! that break the `buf.validate` rules of the contract ([`Broken::Rules`]), so
//! that behind the codec every request is known to be well-formed and bounded.
//! Looking before decoding matters: 4 MiB on the wire may become hundreds in
//! memory. Why our own: docs/adr/0002-own-wire-guard.md.
//!
//! Invariants:
//! - Whatever passes can be decoded by prost.
//! - No allocation for a message that passes, but for `repeated.unique`.
//! - A rule in a descriptor that the guard does not know fails [`compile`], hence
//!   the start of the server; no rule is ever silently ignored.
//!
//! Differences from protovalidate, all on the strict side:
//! - A singular scalar that occurs several times is checked at each occurrence,
//!   not only the last; map pairs count before equal keys are merged.
//! - A singular *message* that occurs several times is malformed: merging the
//!   parts could build what no part shows (1,000 steps and 1,000 more).
//! - Strings with NUL (`string.nul`; databases cannot store them), invalid
//!   `Duration` and `Timestamp` (`duration.valid`, `timestamp.valid`) are refused
//!   everywhere. Lists and maps without a rule are capped at [`MAX_ELEMENTS`].
//!
//! Not here: rules across fields (the DAG of a plan, the size of JSON) and the
//! size of the whole message, which the transport limits before the codec.

mod broken;
mod checks;
mod compile;
mod lists;
mod path;
mod stated;
mod table;
#[cfg(test)]
mod tests;
mod walk;
mod wire;

pub use broken::{Broken, Violation};
pub use compile::compile;
pub use table::{Guard, MessageRules, require_complete, rules};
pub use walk::{MAX_DEPTH, MAX_ELEMENTS, MAX_FIELDS, MAX_VIOLATIONS, check};

#[cfg(test)]
pub(crate) use tests::compile::pool_with;
