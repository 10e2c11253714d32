//! One file a scenario: its options, what it does, what it measures, and nothing
//! of how processes are started or load is made.

use std::time::Duration;

pub mod approve;
pub mod assess;
pub mod backlog;
pub mod chain;
mod generated;
pub mod grown;
pub mod idle;
pub mod latency;
pub mod lifecycle;
pub mod plans;
pub mod replicas;
pub mod sessions;
pub mod soak;
pub mod watch;

/// Beyond what a scenario's own lengths add up to, for everything else together.
const OVERHEAD: Duration = Duration::from_secs(300);
/// For measuring the disk.
const DISK_BUDGET: Duration = Duration::from_secs(2);

/// Of an option.
fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}
