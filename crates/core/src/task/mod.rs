//! The task: a plan being carried out, step by step, by agents.
//!
//! - [`state`]: what a task is after some of its events
//! - [`event`]: what can happen to it
//! - [`command`]: what can be asked of it, and [`decide`], the only place that
//!   turns asking into happening
//! - [`apply`]: what an event does; also where steps move between being
//!   unavailable, ready and leased, which is what projections follow
//! - [`lease`]: the token that binds an agent's word to one attempt
//! - [`partial`]: the text that an attempt shows while it is at work
//! - [`deadline`]: everything that happens by time alone
//!
//! Invariants, walked by `tests`: an ended task takes no event; a step is leased
//! at most once at a time; a lease's word counts only with its token, session
//! and next number; a step succeeds once; a task ends when, and only when, its
//! steps say so, somebody cancels it, or its time is up.

pub mod apply;
pub mod command;
pub mod deadline;
pub mod decide;
pub mod event;
pub mod lease;
pub mod partial;
pub mod state;

#[cfg(test)]
mod tests;

pub use apply::{Move, Place, apply, opened};
pub use command::{Command, NewTask, Report};
pub use deadline::next_deadline;
pub use decide::{create, decide, retry};
pub use event::{Event, Failure, FailureCode, Next, StopCode, StopReason};
pub use lease::LeaseToken;
pub use partial::Partial;
pub use state::{Closed, LastWord, Lease, Phase, Progress, State, Step, StepGrant, Task};

/// A step that loses its agent this often fails: something about it kills agents.
pub const LOSSES_MAX: u32 = 10;

/// Of several words on progress within this time one is recorded.
pub const PROGRESS_EVERY: crate::Span = crate::Span::from_millis(250);

/// How long a refused step waits before it is offered again.
pub const REFUSAL_PAUSE: crate::Span = crate::Span::from_millis(250);
