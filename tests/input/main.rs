//! Bad input by descriptor: every RPC of every service, from the descriptors that
//! the contract exports, so that a new RPC is covered without an edit here.
//!
//! [`messages`] fires generated messages, [`framing`] breaks what is around a
//! message, [`credentials`] tries every kind of credential. What must hold: no
//! panic, no INTERNAL, no answer late, bounded memory, nothing written by what was
//! refused, nothing seen or changed of another project, and neighbours that notice
//! nothing.
//!
//! Everything drawn comes from one seed, which is printed:
//! - `QUARTERDECK_TEST_INPUT_SEED` (a number, or `random`) sets it;
//! - `QUARTERDECK_TEST_INPUT_MESSAGES` sets how many messages a method gets;
//! - `QUARTERDECK_TEST_INPUT_ONLY` (part of a path, or `part#index`) picks a method,
//!   or one call, which is then told in full.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]

#[allow(dead_code, reason = "written for the other end-to-end tests, of which these need a part")]
#[path = "../e2e/agent.rs"]
mod agent;
#[allow(dead_code, reason = "as above")]
#[path = "../e2e/expect.rs"]
mod expect;
#[allow(dead_code, reason = "as above")]
#[path = "../e2e/plans.rs"]
mod plans;
#[allow(dead_code, reason = "as above")]
#[path = "../e2e/raw.rs"]
mod raw;

mod contract;
mod damage;
mod dice;
mod judge;
mod ledger;
mod make;
mod neighbour;
mod rules;
mod scene;
mod server;
mod settings;
mod shot;
mod text;
mod volley;
mod wire;
mod wishes;
mod words;

mod credentials;
mod framing;
mod messages;
mod secrets;
mod tokens;
