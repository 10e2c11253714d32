//! Policies: what runs by itself, what is asked, of whom, and what never happens.
//!
//! - [`facts`]: what a policy may look at
//! - [`judge`]: facts in; a verdict, terms and reasons out
//! - [`terms`]: what is asked of people
//! - [`decide`]: who may decide, override and administer
//! - [`explain`], [`simulate`]: why, and what another policy would change
//! - [`pattern`]: remembered decisions
//! - [`compile`], [`fault`]: from a file to a policy, or what is wrong with it
//!
//! The language is Cedar: nothing is permitted unless said so, a forbid beats every
//! permit, there are no loops, and a policy decides on typed facts, never on text.

mod annotation;
mod compile;
mod decide;
mod example;
mod explain;
mod facts;
mod fault;
mod judge;
mod names;
mod pattern;
mod scan;
mod simulate;
mod statement;
mod step;
mod terms;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use decide::{DecideAct, Decider, DeciderKind, RequestFacts};
pub use example::Example;
pub use explain::{Explanation, Part, Said};
pub use facts::{Act, Asker, Facts, Kind};
pub use fault::{FILE_MAX, Fault, PolicyError, Problem};
pub use judge::{Effect, Judgement, Reason};
pub use names::Named;
pub use pattern::{Allowed, Parts, Pattern, PatternError};
pub use simulate::{Change, Count, Simulation, simulate};
use statement::Statement;
pub use statement::{DEFAULT, Policy, Summary};
pub use step::Step;
pub use terms::{Escalation, Obligations, Terms};
pub use vocabulary::SCHEMA;
