//! Replicas, agents and clients in one thread, from one seed, over the real
//! rules, engine and SQL; and checkers that read only what was recorded.
//!
//! - [`dice`], [`executor`], [`ports`]: randomness, tasks and time from the seed
//! - [`inline`]: the SQL store, polled to its end at every call
//! - [`world`], [`bus`], [`weather`], [`nemesis`]: replicas and what befalls them
//! - [`agent`], [`client`], [`judge`], [`watcher`], [`project_watcher`]: those who use them;
//!   [`stream`]: how watches reach them
//! - [`history`]: what they saw; [`aftermath`]: what the store has in the end;
//!   [`checks`]: what must hold of both
//! - [`run`]: one seed from its beginning to its verdict
//! - [`canary`]: mistakes planted on purpose (feature `canary`)
//!
//! Invariants: nothing reads the machine's clock, its entropy or the order in
//! which its threads run, so one seed gives one log; no checker asks the engine.

pub mod aftermath;
pub mod agent;
pub mod bus;
#[cfg(feature = "canary")]
pub mod canary;
pub mod checks;
pub mod client;
pub mod dice;
pub mod executor;
pub mod history;
pub mod inline;
pub mod judge;
pub mod nemesis;
pub mod ports;
pub mod project_watcher;
pub mod run;
pub mod stream;
pub mod watcher;
pub mod weather;
pub mod workload;
pub mod world;

pub use run::{Report, Setup, run};
