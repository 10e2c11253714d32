//! Understands actions before they happen: from what an agent wants to do to
//! effects, findings and a verdict.
//!
//! - [`model`]: effects, scopes, what could not be resolved
//! - [`action`]: the contract's actions: what one does, its text, and the same masked
//! - [`preview`]: what people are shown of an action
//! - [`assess`]: a written case in, a written answer out
//! - [`shell`], [`code`], [`sql`], [`http`], [`path`]: an analyser each
//! - [`weigh`]: from effects to a level
//! - [`policy`]: from facts to a verdict, by rules that people write
//! - [`redact`]: secrets and personal data become typed tokens
//!
//! Invariants: nothing here does I/O, panics, or takes longer than its limits; what
//! cannot be resolved is said to be so, and is asked; a risk is never taken from what
//! an agent says of its action.

pub mod action;
pub mod assess;
pub mod code;
#[doc(hidden)]
pub mod hostile;
pub mod http;
pub mod model;
pub mod path;
pub mod policy;
pub mod preview;
pub mod redact;
pub mod shell;
pub mod sql;
mod tree;
pub mod weigh;
mod work;
