//! The store on PostgreSQL and SQLite.
//!
//! - [`store`]: the store as it is opened; [`schema`]: its migrations
//! - areas, each with its statements and its part of the commit: [`log`],
//!   [`requests`], [`tasks`], [`dispatch`], [`sessions`], [`catalog`],
//!   [`approvals`], [`audit`], [`webhooks`]
//! - the commit: [`changes`] turns commits into rows, [`commit`] batches into
//!   outcomes; [`compose`] is the statement on PostgreSQL, [`ruling`] the same
//!   steps on SQLite
//! - the seam: [`template`] and [`stmt`] for texts, [`value`] for what goes in and
//!   comes out, [`failure`] for what errors mean; [`db`], [`postgres`], [`sqlite`]
//!   are all that knows of drivers; [`check`] prepares every statement there is
//!
//! Invariants: nothing locks a row of a projection before its stream's head; no
//! statement joins a table with an array, because plans are made without statistics.

mod approvals;
mod audit;
mod catalog;
mod changes;
mod check;
mod commit;
mod compose;
mod db;
mod dispatch;
mod failure;
mod log;
#[cfg(all(test, feature = "conformance"))]
mod plans;
mod postgres;
mod registry;
mod requests;
mod ruling;
mod schema;
mod sessions;
mod sqlite;
mod stmt;
mod store;
mod tasks;
mod template;
mod value;
mod webhooks;

pub use postgres::PgOptions;
pub use schema::{Migration, SchemaStatus};
pub use sqlite::{Clock, SqliteOptions, Synchronous};
pub use store::SqlStore;
