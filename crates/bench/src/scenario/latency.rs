//! One task at a time: how long an otherwise idle server takes from the request to
//! the acknowledged completion, and how many disk syncs that is worth.

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::{DISK_BUDGET, OVERHEAD, seconds};
use crate::arguments::{Place, StoreKind};
use crate::bed::Bed;
use crate::connect::CONNECTIONS;
use crate::disk;
use crate::load::Job;
use crate::phase;
use crate::report::{self, Cpu, Figures, Latency, rounded, row};
use crate::statistics::ratio;

#[derive(Clone, Debug, Args)]
pub struct Single {
    #[command(flatten)]
    place: Place,
    /// Length of the measured window.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Seconds of load before the window.
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=600))]
    warmup: u32,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    store: StoreKind,
    concurrency: u32,
    seconds: f64,
    tasks: u64,
    tasks_per_s: f64,
    /// From sending CreateTask to its answer.
    create_to_answer_ms: Latency,
    create_to_assigned_ms: Latency,
    create_to_complete_ms: Latency,
    commits_per_task: f64,
    /// Mean of the medians before and after the run.
    disk_sync_ms: f64,
    disk_sync_before_ms: f64,
    disk_sync_after_ms: f64,
    /// Median from create to complete, counted in disk syncs.
    p50_in_disk_syncs: f64,
    /// The same less one millisecond: how many syncs explain the rest.
    p50_less_1_ms_in_disk_syncs: f64,
    cpu: Cpu,
    errors: u64,
}

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, or anything went wrong under load.
pub async fn run(arguments: Single) -> Result<()> {
    let limit = seconds(arguments.warmup) + seconds(arguments.seconds) + OVERHEAD;
    report::conclude(&arguments.place, limit, measure(&arguments)).await
}

async fn measure(arguments: &Single) -> Result<(Report, String)> {
    let window = seconds(arguments.seconds);
    let budget = DISK_BUDGET.min(window);
    let mut bed = Bed::start(&arguments.place, CONNECTIONS, budget).await?;
    let job = Job::single(1);
    let crew = phase::crew(&bed, &job);
    let phase = phase::during(&mut bed, &job, &crew, seconds(arguments.warmup), window).await?;
    bed.audit_thoroughly().await?;
    if phase.measured.to_complete.is_empty() && bed.board.problems.count() == 0 {
        bail!("no task was finished within the window; make it longer (--seconds)");
    }
    bed.quiet().await;
    let (before, after) = (bed.disk_sync_ms, disk::sync_ms(bed.cluster.directory(), budget)?);
    let (errors, problems) = bed.stop().await?;
    let sync = f64::midpoint(before, after);
    let to_complete = Latency::of(&phase.measured.to_complete);
    let report = Report {
        scenario: "latency",
        store: arguments.place.store,
        concurrency: job.concurrency,
        seconds: rounded(phase.seconds, 3),
        tasks: phase.measured.to_complete.len(),
        tasks_per_s: rounded(phase.tasks_per_s(), 1),
        create_to_answer_ms: Latency::of(&phase.measured.to_created),
        create_to_assigned_ms: Latency::of(&phase.measured.to_assigned),
        create_to_complete_ms: to_complete,
        commits_per_task: rounded(ratio(phase.counters.commits as f64, phase.tasks as f64), 2),
        disk_sync_ms: rounded(sync, 3),
        disk_sync_before_ms: rounded(before, 3),
        disk_sync_after_ms: rounded(after, 3),
        p50_in_disk_syncs: rounded(ratio(to_complete.p50, sync), 2),
        p50_less_1_ms_in_disk_syncs: rounded(ratio((to_complete.p50 - 1.0).max(0.0), sync), 2),
        cpu: Cpu::of(&phase.used),
        errors,
    };
    Ok((report, problems))
}

impl Figures for Report {
    fn errors(&self) -> u64 {
        self.errors
    }

    fn rows(&self) -> Vec<(String, String)> {
        let run = format!("{} on {}, {} tasks", self.scenario, self.store.words(), self.tasks);
        vec![
            row("run", run),
            row("tasks/s", format!("{:.0}", self.tasks_per_s)),
            row("create to answer, ms", self.create_to_answer_ms.words()),
            row("create to assigned, ms", self.create_to_assigned_ms.words()),
            row("create to complete, ms", self.create_to_complete_ms.words()),
            row("commits a task", format!("{:.2}", self.commits_per_task)),
            row(
                "disk sync, ms",
                format!("{:.3} before, {:.3} after", self.disk_sync_before_ms, self.disk_sync_after_ms),
            ),
            row(
                "p50 in disk syncs",
                format!("{:.1}; less 1 ms {:.1}", self.p50_in_disk_syncs, self.p50_less_1_ms_in_disk_syncs),
            ),
            row("processor, s", self.cpu.words()),
            row("errors", self.errors.to_string()),
        ]
    }
}
