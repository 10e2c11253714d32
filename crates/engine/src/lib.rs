//! Use cases of Quarterdeck, between the edge and the store.
//!
//! - [`engine`]: the parts together, starting and stopping
//! - [`tasks`], [`projects`], [`keys`], [`agents`], [`auth`]: what callers ask
//! - [`approvals`]: actions that need a yes; [`audit`], [`sealer`]: the record of it
//! - [`notifications`]: telling webhooks of approvals
//! - [`aggregate`] and [`round`]: mailboxes, and deciding a round as one commit
//! - [`committer`]: group commit
//! - [`dispatcher`], [`pump`]: free slots, and giving steps to them
//! - [`sessions`], [`inbound`], [`session`]: agents' connections and what they say
//! - [`acquire`], [`words`]: the same for agents that call
//! - [`hub`], [`task_watch`], [`project_watch`]: live tails with cursors
//! - [`sweeper`]: everything that hints forgot
//! - [`ports`], [`bus`]: the world as the engine sees it
//!
//! Invariants: an answer follows its commit; nothing depends on a hint; no
//! replica holds a truth that the tables do not.

mod acquire;
pub mod agents;
mod aggregate;
mod announce;
pub mod approvals;
mod audit;
pub mod auth;
pub mod bus;
mod committer;
pub mod cursor;
mod dispatcher;
pub mod engine;
pub mod error;
mod events;
mod hub;
pub mod inbound;
pub mod keys;
pub mod metrics;
pub mod notifications;
pub mod options;
pub mod payloads;
pub mod ports;
pub mod project_watch;
pub mod projects;
mod pump;
mod record;
mod revoke;
mod round;
pub mod sealer;
pub mod session;
pub mod sessions;
mod sweeper;
pub mod task_watch;
pub mod tasks;
mod words;

pub use auth::{Principal, Secrets};
pub use bus::{Bus, Hint, Letter, LocalBus};
pub use engine::Engine;
pub use error::{Error, Noun};
pub use options::Options;
pub use ports::{Clock, Entropy, Ports};
