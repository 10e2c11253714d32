//! The rules of Quarterdeck.
//!
//! Everything that must be provably right is a plain function here:
//! `decide` turns a state and a command into events or a refusal, `apply` turns
//! a state and an event into the next state. Time and entropy come in as [`Ctx`].
//!
//! Invariant: nothing in this crate awaits, does I/O, reads a clock, draws
//! randomness, or knows SQL or protobuf.

pub mod action;
pub mod approval;
pub mod canary;
pub mod context;
pub mod digest;
pub mod id;
pub mod key;
pub mod merkle;
pub mod payload;
pub mod plan;
pub mod policy;
pub mod project;
pub mod refusal;
pub mod stream;
pub mod task;
pub mod time;
pub mod webhook;

pub use action::Action;
pub use context::Ctx;
pub use digest::Digest;
pub use id::{ApprovalId, CommitId, GrantId, KeyId, ProjectId, SessionId, StreamId, TaskId, WebhookId};
pub use payload::Payload;
pub use plan::Plan;
pub use refusal::Refusal;
pub use time::{Span, Timestamp};
