//! The store: one append-only log and the tables that follow it.
//!
//! [`port`] says what the engine may ask; [`commit`] what a change is made of;
//! [`sql`] does it on PostgreSQL and SQLite; [`faults`] makes it fail on purpose;
//! [`conformance`] is the suite that every store has to pass.
//!
//! Invariants: a stream's head is the only arbiter between writers; a commit
//! applies whole or not at all; only this crate names SQL.

pub mod commit;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod faults;
pub mod port;
pub mod rows;
pub mod sql;

pub use commit::{Append, Commit, Guard, Outcome, RequestKey, RequestRecord};
pub use error::StoreError;
pub use port::{Approvals, AuditLog, Catalog, Dispatch, Followed, Log, Sessions, Store, Webhooks};
pub use sql::SqlStore;
