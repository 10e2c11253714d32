//! The engine over a real store that fails on purpose, with real replicas.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod world;

mod approvals;
mod calls;
mod faults;
mod notifications;
mod races;
mod sessions;
mod told;
mod watches;
