//! What is printed: one line of JSON, or a table of the same figures.

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::arguments::StoreKind;
use crate::ceiling::StoreCeiling;

/// The figures of one run. Field names are an interface: scripts read them.
#[derive(Debug, Serialize)]
pub struct Report {
    pub scenario: &'static str,
    pub store: StoreKind,
    /// Tasks under way at any time.
    pub concurrency: u32,
    /// Steps of each task.
    pub steps: u32,
    /// Length of the measured window, to which all that follows belongs.
    pub seconds: f64,
    pub tasks_per_s: f64,
    pub steps_per_s: f64,
    /// From sending CreateTask until the last completion was acknowledged to the agent.
    pub create_to_complete_ms: Latency,
    /// From sending CreateTask until the first step was with an agent.
    pub create_to_assigned_ms: Latency,
    /// Commits to the log, by the server's own count.
    pub commits: u64,
    /// Commits a database transaction, by the server's own count.
    pub mean_batch: f64,
    /// Median of appending 4 KiB and fdatasync on the disk of the data, before the run.
    pub disk_sync_ms: f64,
    /// Median of health checks a second over the same connections, before and after.
    pub rpc_ceiling_per_s: f64,
    /// Bare commits of one small event, after the run.
    pub store_ceiling: StoreCeiling,
    pub cpu: Cpu,
    /// Everything that went wrong; the other figures mean nothing unless this is 0.
    pub errors: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
}

/// Processor seconds during the window.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cpu {
    pub server_cpu_s: f64,
    pub generator_cpu_s: f64,
    /// Of a PostgreSQL that this run started, else null.
    pub database_cpu_s: Option<f64>,
}

impl Latency {
    /// Milliseconds of a histogram of microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| rounded(histogram.value_at_quantile(quantile) as f64 / 1_000.0, 3);
        Self { p50: at(0.50), p90: at(0.90), p99: at(0.99) }
    }
}

/// `value` with so many decimals.
pub fn rounded(value: f64, decimals: i32) -> f64 {
    let factor = 10f64.powi(decimals);
    (value * factor).round() / factor
}

impl Report {
    pub fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
        } else {
            println!("{}", self.table());
        }
        Ok(())
    }

    fn table(&self) -> String {
        let latency = |of: &Latency| format!("p50 {:.2}  p90 {:.2}  p99 {:.2}", of.p50, of.p90, of.p99);
        let share = 100.0 * self.tasks_per_s / self.rpc_ceiling_per_s.max(1.0);
        let database =
            self.cpu.database_cpu_s.map(|used| format!(", database {used:.1}")).unwrap_or_default();
        let store = if self.store == StoreKind::Sqlite { "SQLite" } else { "PostgreSQL" };
        let rows = [
            (
                "run",
                format!(
                    "{} on {store}, {} steps a task, concurrency {}, {:.1} s",
                    self.scenario, self.steps, self.concurrency, self.seconds
                ),
            ),
            ("tasks/s", format!("{:.0}  ({share:.1} % of the RPC ceiling)", self.tasks_per_s)),
            ("steps/s", format!("{:.0}", self.steps_per_s)),
            ("create to assigned, ms", latency(&self.create_to_assigned_ms)),
            ("create to complete, ms", latency(&self.create_to_complete_ms)),
            ("commits", format!("{}, {:.1} a transaction", self.commits, self.mean_batch)),
            ("disk sync, ms", format!("{:.3}", self.disk_sync_ms)),
            ("RPC ceiling/s", format!("{:.0}", self.rpc_ceiling_per_s)),
            (
                "store ceiling/s",
                format!(
                    "{:.0} batched, {:.0} unbatched",
                    self.store_ceiling.batched_per_s, self.store_ceiling.unbatched_per_s
                ),
            ),
            (
                "processor, s",
                format!(
                    "server {:.1}, generator {:.1}{database}",
                    self.cpu.server_cpu_s, self.cpu.generator_cpu_s
                ),
            ),
            ("errors", self.errors.to_string()),
        ];
        rows.map(|(name, figure)| format!("{name:<24}{figure}")).join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_milliseconds_of_recorded_microseconds() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        for micros in 1..=1_000u64 {
            histogram.record(micros * 10).unwrap();
        }
        let latency = Latency::of(&histogram);
        for (found, expected) in [(latency.p50, 5.0), (latency.p90, 9.0), (latency.p99, 9.9)] {
            assert!((found - expected).abs() < 0.02, "{latency:?}");
        }
    }
}
