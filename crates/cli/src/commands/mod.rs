//! One file a group of commands; `dispatch` calls them.

pub mod agent;
pub mod approvals;
pub mod audit;
pub mod decide;
pub mod demo;
pub mod dev;
mod dispatch;
pub mod doctor;
pub mod grants;
pub mod health;
#[cfg(feature = "inbox")]
pub mod inbox;
pub mod key;
pub mod migrate;
pub mod policy;
pub mod policy_server;
pub mod project;
pub mod risk;
pub mod serve;
pub mod task;
pub mod webhooks;

pub use dispatch::run;
