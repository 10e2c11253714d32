//! Understands actions before they happen: from what an agent wants to do to
//! effects, findings and a verdict.
//!
//! - [`model`]: effects, scopes, what could not be resolved
//! - [`assess`]: a written case in, a written answer out
//! - [`shell`], [`code`], [`sql`], [`http`], [`path`]: an analyser each
//! - [`weigh`]: from effects to a level and a verdict, as the shipped policy does
//! - [`redact`]: secrets and personal data become typed tokens
//!
//! Invariants: nothing here does I/O, panics, or takes longer than its limits; what
//! cannot be resolved is said to be so, and is asked; a risk is never taken from what
//! an agent says of its action.

pub mod assess;
pub mod code;
pub mod http;
pub mod model;
pub mod path;
pub mod redact;
pub mod shell;
pub mod sql;
pub mod weigh;
