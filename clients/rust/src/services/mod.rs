//! The methods of [`Client`](crate::Client), one file a service.

mod agents;
mod approvals;
mod audit;
mod health;
mod keys;
mod notifications;
mod page;
mod policies;
mod projects;
mod tasks;

pub use health::Health;
pub use page::Items;

pub(crate) use page::required;
