//! The Rust client of Quarterdeck: everything the contract offers, made safe to
//! use over a network that breaks.
//!
//! - [`Client`] calls the services. Mutations carry a request id and are repeated
//!   under one deadline; lists are walked page by page; watches resume themselves.
//! - [`worker::Worker`] is an agent: it holds a session, runs a handler per step and
//!   loses no completion when a connection breaks.
//! - [`Payload`], [`to_json`] and [`from_json`] translate between messages and JSON.
//!
//! What it does not do: read the environment or files (the caller does), cache
//! answers, or hide what the server sent: an event that came twice is shown twice.

mod ambient;
mod channel;
mod client;
mod config;
mod error;
mod json;
mod payload;
mod retry;
mod services;
mod watch;
pub mod worker;

pub use quarterdeck_api as api;
pub use tokio_util::sync::CancellationToken;
pub use tonic::Code;

pub use ambient::request_id;
pub use channel::Authorized;
pub use client::Client;
pub use config::Config;
pub use error::{Error, FieldViolation, Origin, Reason};
pub use json::{from_json, to_json};
pub use payload::Payload;
pub use services::{Health, Items};
pub use watch::{Frame, FrameKind, Watch};
pub use worker::{
    Authorization, Ended, StartedAction, StepContext, StepError, Worker, WorkerBuilder, WorkerState,
    WorkerStatus,
};

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
