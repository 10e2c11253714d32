//! What Quarterdeck promises, checked from outside: the real binary, real databases,
//! and generated clients only.
//!
//! One module a promise of the contract, one test a sentence of it. A test that is
//! named in `both!` runs on SQLite (`quarterdeck dev`) and on two replicas of
//! `quarterdeck serve` with PostgreSQL and Redis. Those servers are shared by all
//! tests of the process, each in a project of its own; tests that kill or stop
//! something start servers of their own.
//!
//! Rules: no test sleeps to let something happen; it waits for the thing, with a
//! deadline. That something does *not* happen is shown by something else that
//! happens after it. Every history that is read is checked by [`history`].

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]

mod agent;
mod expect;
mod history;
mod plans;
mod poller;
mod raw;
mod stack;
mod world;

mod approvals;
mod approvals_in_step;
mod bad_input;
mod cancel;
mod crash;
mod credentials;
mod demo;
mod example;
mod lifecycle;
mod notifications;
mod operations;
mod outputs;
mod partial;
mod redacted;
mod redis;
mod replicas;
mod requests;
mod stop_reasons;
mod stopping;
mod unary;
mod unary_refusals;
mod vanish;
mod watch;
mod watch_tasks;
