//! The methods of [`Client`](crate::Client), one file a service.

mod agents;
mod health;
mod keys;
mod page;
mod projects;
mod tasks;

pub use health::Health;
pub use page::Items;
