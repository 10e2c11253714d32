//! Agents: a session with the server, and a handler that runs each step it is given.
//!
//! What the two sides may rely on is written at `WorkerService.Session` in the
//! contract. In this module:
//!
//! - `lease` is the book of what the agent holds and has not had acknowledged.
//!   It knows no network and no clock.
//! - `link` is one connection's stream: opening, sending, pinging.
//! - `session` ties book, link and running handlers together over reconnects.
//! - `authorize` is what handlers wait for while people decide.
//! - `context`, `builder`, `outcome` are what the author of an agent sees.

mod authorize;
mod builder;
mod context;
mod lease;
mod link;
mod outcome;
mod running;
mod session;

pub use authorize::{Authorization, StartedAction};
pub use builder::{Worker, WorkerBuilder};
pub use context::StepContext;
pub use outcome::StepError;
pub use session::{Ended, WorkerState, WorkerStatus};
