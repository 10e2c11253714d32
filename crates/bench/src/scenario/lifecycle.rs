//! Durable create, assign, complete: a fixed number of tasks is under way, agents
//! finish each step at once, and what is left is the cost of Quarterdeck itself.
//!
//! Order: the disk; server and database; calls at best; the load; calls at best
//! again; commits at best, without the server.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::arguments::Place;
use crate::bed::Bed;
use crate::ceiling;
use crate::load::{Job, Shape};
use crate::phase::{self, Phase};
use crate::report::{self, Cpu, Latency, Report, rounded};
use crate::statistics::{median, ratio};

use super::{DISK_BUDGET, OVERHEAD, seconds};

#[derive(Clone, Debug, Args)]
pub struct Lifecycle {
    #[command(flatten)]
    pub place: Place,
    /// Tasks under way at any time.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub concurrency: u32,
    /// Length of the measured window.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub seconds: u32,
    /// Steps of each task, each after the one before.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub steps: u32,
    /// Seconds of load before the window.
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=600))]
    pub warmup: u32,
    /// Create tasks without a request id; the official clients always send one.
    #[arg(long)]
    pub no_request_ids: bool,
}

/// Samples of the calls' ceiling before, and as many after.
const SAMPLES: usize = 3;

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, or anything went wrong under load.
pub async fn run(arguments: Lifecycle) -> Result<()> {
    named("lifecycle", &arguments).await
}

/// The same load under the name of another scenario.
pub async fn named(scenario: &'static str, arguments: &Lifecycle) -> Result<()> {
    let limit = seconds(arguments.warmup) + seconds(arguments.seconds) + OVERHEAD;
    report::conclude(&arguments.place, limit, measure(scenario, arguments)).await
}

async fn measure(scenario: &'static str, arguments: &Lifecycle) -> Result<(Report, String)> {
    let window = seconds(arguments.seconds);
    let sample = sample(window);
    let mut bed = Bed::start(&arguments.place, crate::connect::CONNECTIONS, DISK_BUDGET.min(window)).await?;
    let mut calls = Vec::new();
    sample_calls(&bed, sample, &mut calls).await?;
    let job = Job {
        concurrency: arguments.concurrency,
        steps: arguments.steps,
        shape: Shape::Chain,
        request_ids: !arguments.no_request_ids,
    };
    let crew = phase::crew(&bed, &job);
    let phase = phase::during(&mut bed, &job, &crew, seconds(arguments.warmup), window).await?;
    sample_calls(&bed, sample, &mut calls).await?;
    bed.audit_thoroughly().await?;
    if phase.measured.to_complete.is_empty() && bed.board.problems.count() == 0 {
        bail!("no task was finished within the window; make it longer than a task takes (--seconds)");
    }
    let disk_sync_ms = bed.disk_sync_ms;
    let Bed { connections, board, mut cluster, .. } = bed;
    drop(connections);
    cluster.stop_servers().await?;
    let store_ceiling =
        ceiling::commits_per_s(&cluster.ceiling_store(), arguments.place.store, sample).await?;
    cluster.stop().await?;
    let report = Report {
        scenario,
        disk_sync_ms: rounded(disk_sync_ms, 3),
        errors: board.problems.count(),
        ..figures(arguments, &phase, median(calls), store_ceiling)
    };
    Ok((report, board.problems.words()))
}

/// Time for one sample of a ceiling: short runs keep to short samples.
pub fn sample(window: Duration) -> Duration {
    (window / 10).clamp(Duration::from_millis(100), Duration::from_millis(1_000))
}

/// Adds a few samples of calls a second.
pub async fn sample_calls(bed: &Bed, sample: Duration, calls: &mut Vec<f64>) -> Result<()> {
    for _ in 0..SAMPLES {
        calls.push(ceiling::calls_per_s(&bed.connections, sample).await?);
    }
    Ok(())
}

fn figures(
    arguments: &Lifecycle,
    phase: &Phase,
    calls_per_s: f64,
    store_ceiling: ceiling::StoreCeiling,
) -> Report {
    let tasks_per_s = phase.measured.to_complete.len() as f64 / f64::from(arguments.seconds);
    Report {
        scenario: "",
        store: arguments.place.store,
        concurrency: arguments.concurrency,
        steps: arguments.steps,
        seconds: rounded(phase.seconds, 3),
        tasks_per_s: rounded(tasks_per_s, 1),
        steps_per_s: rounded(phase.steps_per_s(), 1),
        create_to_complete_ms: Latency::of(&phase.measured.to_complete),
        create_to_assigned_ms: Latency::of(&phase.measured.to_assigned),
        commits: phase.counters.commits,
        mean_batch: rounded(phase.counters.mean_batch(), 1),
        disk_sync_ms: 0.0,
        rpc_ceiling_per_s: rounded(calls_per_s, 0),
        ratio_to_rpc_ceiling: rounded(ratio(tasks_per_s, calls_per_s), 4),
        store_ceiling: ceiling::StoreCeiling {
            batched_per_s: rounded(store_ceiling.batched_per_s, 0),
            unbatched_per_s: rounded(store_ceiling.unbatched_per_s, 0),
        },
        cpu: Cpu::of(&phase.used),
        errors: 0,
    }
}
