//! Telling other systems of approvals: webhooks.
//!
//! - [`webhooks`]: creating, listing and deleting them
//! - [`notifier`]: following the audit for each of them, and trying again
//! - [`notice`]: what is sent, and how it is signed
//! - [`address`]: whom the installation allows to be told
//! - [`courier`]: the port that sends
//!
//! The audit is the outbox: its entries are written in the commits that they tell of,
//! so what happened is told, and what is told happened. Invariants: each webhook hears
//! of entries in their order, at least once; nothing is sent but ids and a link.

pub mod address;
pub mod courier;
mod notice;
mod notifier;
mod webhooks;

pub use address::{Address, AllowList, Allowed};
pub use courier::{Courier, Parcel};
pub use webhooks::{NewWebhook, WebhookView};
