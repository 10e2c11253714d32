//! The approval: one action that was assessed, and what became of it.
//!
//! - [`event`]: what can happen to it, and what it was asked with
//! - [`state`]: what it is after some of its events
//! - [`command`]: what can be asked of it
//! - [`decide`]: the only place that turns asking into happening
//! - [`seat`]: who may decide, and in whose place
//!
//! Invariants, walked by `tests` over every order of everything that can be said:
//! an approval leaves `Pending` once, and `Granted` once; nobody who asked for it,
//! owns its task or wrote its action counts; a person counts once, however many
//! credentials and delegations there are; only what is granted, for exactly its
//! digest, under the policy and environment that it was granted under, before its
//! time is over, is redeemed, and that once.

pub mod apply;
pub mod command;
pub mod decide;
pub mod event;
pub mod seat;
pub mod state;

#[cfg(test)]
mod model;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;

pub use apply::{apply, opened};
pub use command::{Command, Redeemer, Voter};
pub use decide::{decide, open};
pub use event::{
    Assessment, Effect, Escalation, Event, Finding, Grantor, Invalid, Level, Origin, Parties, Reason,
    Requested, Terms, Verdict, Vote, Wait,
};
pub use state::{Approval, Delegation, Phase, Report, Voted};
