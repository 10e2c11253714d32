//! Full load for minutes: the server's memory is looked at every second, and must
//! not grow once it has found its size.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{DISK_BUDGET, OVERHEAD, seconds};
use crate::agents::Agents;
use crate::arguments::{Place, StoreKind};
use crate::bed::Bed;
use crate::clock::{self, Window};
use crate::cluster::Shares;
use crate::connect::CONNECTIONS;
use crate::load::{self, Amount, Job};
use crate::phase::{self, Mark};
use crate::report::{self, Figures, Latency, rounded, row};
use crate::statistics::slope_per_minute;

const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Within this much, memory may still find its size; in short runs a fifth of them.
const FIRST: u32 = 60;

#[derive(Clone, Debug, Args)]
pub struct Soak {
    #[command(flatten)]
    place: Place,
    /// Tasks under way at any time.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    concurrency: u32,
    /// How long.
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    seconds: u32,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    store: StoreKind,
    concurrency: u32,
    seconds: f64,
    tasks: u64,
    tasks_per_s: f64,
    /// Of each minute; the last may be shorter.
    tasks_per_s_by_minute: Vec<f64>,
    create_to_complete_ms: Latency,
    /// Seconds after which memory counts.
    first_s: u32,
    rss_at_first_mib: f64,
    rss_end_mib: f64,
    rss_peak_mib: f64,
    /// By least squares, from `first_s` on.
    rss_slope_mib_per_min: f64,
    /// The same, from the middle of the run on.
    rss_slope_second_half_mib_per_min: f64,
    cpu_percent: Shares,
    /// Every second.
    rss_mib: Vec<f64>,
    errors: u64,
}

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, or anything went wrong under load.
pub async fn run(arguments: Soak) -> Result<()> {
    let limit = seconds(arguments.seconds) + 2 * OVERHEAD;
    report::conclude(&arguments.place, limit, measure(&arguments)).await
}

struct Sample {
    rss_mib: f64,
    tasks: u64,
}

async fn measure(arguments: &Soak) -> Result<(Report, String)> {
    let mut bed = Bed::start(&arguments.place, CONNECTIONS, DISK_BUDGET).await?;
    let job = Job::single(arguments.concurrency);
    let crew = phase::crew(&bed, &job);
    let agents = Agents::start(&bed.connections, &bed.board, &crew).await?;
    let from = Mark::now(&bed).await?;
    let window = Window::after(Duration::ZERO, seconds(arguments.seconds));
    let load = load::run(&bed.connections, &job, &bed.board, Amount::During(window));
    let looks = async {
        let samples = look(&bed, window, arguments.seconds).await?;
        Ok::<_, anyhow::Error>((samples, Mark::now(&bed).await?))
    };
    let loaded = tokio::try_join!(biased; load, looks);
    agents.stop(&bed.board).await;
    bed.cluster.check()?;
    let (measured, (samples, to)) = loaded?;
    let peak = bed.cluster.resident()?.peak;
    bed.audit_thoroughly().await?;
    let (errors, problems) = bed.stop().await?;

    let phase = from.until(to, measured);
    let first = FIRST.min(arguments.seconds / 5);
    let rss_mib: Vec<f64> = samples.iter().map(|sample| sample.rss_mib).collect();
    let slope = |from: usize| rounded(slope_per_minute(&rss_mib[from.min(rss_mib.len())..], SAMPLE_EVERY), 3);
    let report = Report {
        scenario: "soak",
        store: arguments.place.store,
        concurrency: arguments.concurrency,
        seconds: rounded(phase.seconds, 3),
        tasks: phase.tasks,
        tasks_per_s: rounded(phase.tasks_per_s(), 1),
        tasks_per_s_by_minute: by_minute(&samples),
        create_to_complete_ms: Latency::of(&phase.measured.to_complete),
        first_s: first,
        rss_at_first_mib: rss_mib.get(first as usize).copied().unwrap_or_default(),
        rss_end_mib: rss_mib.last().copied().unwrap_or_default(),
        rss_peak_mib: peak,
        rss_slope_mib_per_min: slope(first as usize),
        rss_slope_second_half_mib_per_min: slope(rss_mib.len() / 2),
        cpu_percent: phase.used.percent(phase.seconds),
        rss_mib,
        errors,
    };
    Ok((report, problems))
}

/// A sample at the beginning and after every second.
async fn look(bed: &Bed, window: Window, count: u32) -> Result<Vec<Sample>> {
    let mut samples = Vec::with_capacity(count as usize + 1);
    for second in 0..=count {
        clock::sleep_until(window.from + second * SAMPLE_EVERY).await;
        let tasks = bed.board.finished.load(Ordering::Relaxed);
        samples.push(Sample { rss_mib: bed.cluster.resident()?.now, tasks });
    }
    Ok(samples)
}

fn by_minute(samples: &[Sample]) -> Vec<f64> {
    let ends: Vec<usize> = (0..samples.len()).step_by(60).chain([samples.len().saturating_sub(1)]).collect();
    let pairs = ends.windows(2).filter(|pair| pair[0] < pair[1]);
    let rate = |pair: &[usize]| {
        let tasks = samples[pair[1]].tasks - samples[pair[0]].tasks;
        rounded(tasks as f64 / (pair[1] - pair[0]) as f64, 1)
    };
    pairs.map(rate).collect()
}

impl Figures for Report {
    fn errors(&self) -> u64 {
        self.errors
    }

    fn rows(&self) -> Vec<(String, String)> {
        let minutes: Vec<String> =
            self.tasks_per_s_by_minute.iter().map(|rate| format!("{rate:.0}")).collect();
        vec![
            row(
                "run",
                format!(
                    "soak on {}, concurrency {}, {:.0} s, {} tasks",
                    self.store.words(),
                    self.concurrency,
                    self.seconds,
                    self.tasks
                ),
            ),
            row("tasks/s", format!("{:.0}; by minute {}", self.tasks_per_s, minutes.join(", "))),
            row("create to complete, ms", self.create_to_complete_ms.words()),
            row(
                "server's memory, MiB",
                format!(
                    "{:.1} after {} s, {:.1} at the end, at most {:.1}",
                    self.rss_at_first_mib, self.first_s, self.rss_end_mib, self.rss_peak_mib
                ),
            ),
            row(
                "its slope, MiB/min",
                format!(
                    "{:.2} from there on, {:.2} in the second half",
                    self.rss_slope_mib_per_min, self.rss_slope_second_half_mib_per_min
                ),
            ),
            row("processor, % of a core", self.cpu_percent.words()),
            row("errors", self.errors.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_may_be_shorter() {
        let samples = |count: u64| -> Vec<Sample> {
            (0..count).map(|second| Sample { rss_mib: 1.0, tasks: second * 10 }).collect()
        };
        for (count, expected) in [(0, vec![]), (1, vec![]), (31, vec![10.0]), (91, vec![10.0, 10.0])] {
            assert_eq!(by_minute(&samples(count)), expected, "{count} samples");
        }
        assert_eq!(by_minute(&samples(121)).len(), 2);
    }
}
