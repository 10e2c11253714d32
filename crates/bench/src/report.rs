//! What is printed: one line of JSON, or a table of the same figures.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::arguments::{Place, StoreKind};
use crate::ceiling::StoreCeiling;
use crate::cluster::Used;

/// Figures of one run. Field names are an interface: scripts read them.
pub trait Figures: Serialize {
    /// Lines of the table, by name.
    fn rows(&self) -> Vec<(String, String)>;

    /// Everything that went wrong; the other figures mean nothing unless this is 0.
    fn errors(&self) -> u64;
}

/// Waits for a run, at most for `limit`, and prints its figures. `running` answers
/// them with its problems in words.
///
/// # Errors
/// When it fails, when anything went wrong under load (the figures are printed all
/// the same), or when it takes far too long.
pub async fn conclude<F: Figures>(
    place: &Place,
    limit: Duration,
    running: impl Future<Output = Result<(F, String)>>,
) -> Result<()> {
    let ended = tokio::time::timeout(limit, Box::pin(running)).await;
    let (figures, problems) = ended.with_context(|| format!("the run did not end within {limit:?}"))??;
    if place.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        let rows = figures.rows().into_iter().map(|(name, figure)| format!("{name:<28}{figure}"));
        println!("{}", rows.collect::<Vec<_>>().join("\n"));
    }
    if figures.errors() > 0 {
        bail!("{} errors under load:\n{problems}", figures.errors());
    }
    Ok(())
}

/// A line of the table.
pub fn row(name: impl Into<String>, figure: impl Into<String>) -> (String, String) {
    (name.into(), figure.into())
}

/// The figures of `lifecycle` and `chain`.
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
    /// Tasks a second by the one before.
    pub ratio_to_rpc_ceiling: f64,
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
    pub max: f64,
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
        Self { p50: at(0.50), p90: at(0.90), p99: at(0.99), max: at(1.0) }
    }

    pub fn words(&self) -> String {
        format!("p50 {:.2}  p90 {:.2}  p99 {:.2}  max {:.2}", self.p50, self.p90, self.p99, self.max)
    }
}

impl Cpu {
    pub fn of(used: &Used) -> Self {
        let seconds = |time: Duration| rounded(time.as_secs_f64(), 2);
        Self {
            server_cpu_s: seconds(used.server),
            generator_cpu_s: seconds(used.generator),
            database_cpu_s: used.database.map(seconds),
        }
    }

    pub fn words(&self) -> String {
        let database = self.database_cpu_s.map(|used| format!(", database {used:.1}")).unwrap_or_default();
        format!("server {:.1}, generator {:.1}{database}", self.server_cpu_s, self.generator_cpu_s)
    }
}

impl StoreKind {
    pub fn words(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// `value` with so many decimals.
pub fn rounded(value: f64, decimals: i32) -> f64 {
    let factor = 10f64.powi(decimals);
    (value * factor).round() / factor
}

impl Figures for Report {
    fn errors(&self) -> u64 {
        self.errors
    }

    fn rows(&self) -> Vec<(String, String)> {
        let share = 100.0 * self.ratio_to_rpc_ceiling;
        vec![
            row(
                "run",
                format!(
                    "{} on {}, {} steps a task, concurrency {}, {:.1} s",
                    self.scenario,
                    self.store.words(),
                    self.steps,
                    self.concurrency,
                    self.seconds
                ),
            ),
            row("tasks/s", format!("{:.0}  ({share:.1} % of the RPC ceiling)", self.tasks_per_s)),
            row("steps/s", format!("{:.0}", self.steps_per_s)),
            row("create to assigned, ms", self.create_to_assigned_ms.words()),
            row("create to complete, ms", self.create_to_complete_ms.words()),
            row("commits", format!("{}, {:.1} a transaction", self.commits, self.mean_batch)),
            row("disk sync, ms", format!("{:.3}", self.disk_sync_ms)),
            row("RPC ceiling/s", format!("{:.0}", self.rpc_ceiling_per_s)),
            row(
                "store ceiling/s",
                format!(
                    "{:.0} batched, {:.0} unbatched",
                    self.store_ceiling.batched_per_s, self.store_ceiling.unbatched_per_s
                ),
            ),
            row("processor, s", self.cpu.words()),
            row("errors", self.errors.to_string()),
        ]
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
