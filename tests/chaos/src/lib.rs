//! Three replicas of the real binary on a real PostgreSQL and Redis, with agents
//! and clients on real sockets, while processes are killed and frozen, databases
//! restarted and connections cut; then a verdict by the simulator's checkers.
//!
//! - [`plan`]: what will happen and when, from the seed alone
//! - [`site`], [`nemesis`]: what it happens to, and who does it
//! - [`world`], [`record`]: how people reach replicas, and what they saw
//! - [`agent`], [`worker`], [`client`], [`watcher`], [`feed`]: the people
//! - [`line`], [`wire`], [`shape`]: their messages, to and from the wire
//! - [`run`], [`verdict`]: one run from its beginning to what is wrong with it
//!
//! Invariants: whatever is started ends with this process, however it ends; the
//! plan is the same for the same seed, though what comes of it is not; an answer
//! that did not come may have happened, so checkers take it as a maybe.
//!
//! It reads the final log from the database, not from the server.

#![allow(clippy::disallowed_methods, reason = "real processes live in real time")]

pub mod agent;
pub mod client;
pub mod feed;
pub mod line;
pub mod nemesis;
pub mod plan;
pub mod record;
pub mod run;
pub mod shape;
pub mod site;
pub mod verdict;
pub mod watcher;
pub mod wire;
pub mod worker;
pub mod world;

pub use run::{Report, Setup, run};
