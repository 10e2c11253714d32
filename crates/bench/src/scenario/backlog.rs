//! Tasks pile up while no agent is there; then agents come and work them off.
//! Before and after, the same agents with no backlog: what a task costs must not
//! depend on how many wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use tokio::time::timeout;

use super::{DISK_BUDGET, OVERHEAD, seconds};
use crate::agents::Agents;
use crate::arguments::{Place, StoreKind};
use crate::bed::Bed;
use crate::clock;
use crate::connect::CONNECTIONS;
use crate::load::{self, Job, Measured};
use crate::phase::{self, Mark, Phase, Rate};
use crate::report::{self, Figures, rounded, row};
use crate::statistics::ratio;

/// Slowest rate that is waited for, tasks a second.
const RATE_MIN: u64 = 200;
/// Parts of the work whose rate is told apart.
const PARTS: u64 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Clone, Debug, Args)]
pub struct Backlog {
    #[command(flatten)]
    place: Place,
    /// Tasks that pile up, of one step each.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(10..=2_000_000))]
    tasks: u64,
    /// Tasks under way at any time where there is no backlog, and requests while it is made.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    concurrency: u32,
    /// Length of the measurements without a backlog.
    #[arg(long, value_name = "S", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Seconds of load before each of those.
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=600))]
    warmup: u32,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    store: StoreKind,
    tasks: u64,
    concurrency: u32,
    /// The same load without a backlog, on the same server: creating and doing at once.
    before: Rate,
    after: Rate,
    created_per_s: f64,
    create_server_us_per_task: f64,
    /// From the first agent's coming to the last acknowledged completion.
    drained_per_s: f64,
    drain_server_us_per_task: f64,
    /// The same for each fifth of the tasks, in order: steady unless the depth matters.
    drained_per_s_by_fifth: Vec<f64>,
    /// From the first agent's coming to the first acknowledged completion.
    first_after_ms: f64,
    /// Draining compared with the mean of before and after.
    drain_ratio: f64,
    /// Creating and draining, one after the other, compared with that mean.
    whole_ratio: f64,
    /// Server's processor time for creating and draining a task, compared with the
    /// mean of before and after.
    server_cpu_ratio: f64,
    server_rss_full_mib: f64,
    server_rss_end_mib: f64,
    mean_batch: f64,
    errors: u64,
}

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, or anything went wrong under load.
pub async fn run(arguments: Backlog) -> Result<()> {
    let phases = 2 * (seconds(arguments.warmup) + seconds(arguments.seconds));
    let limit = phases + 2 * work_limit(arguments.tasks) + OVERHEAD;
    report::conclude(&arguments.place, limit, measure(&arguments)).await
}

fn work_limit(tasks: u64) -> Duration {
    Duration::from_secs(60 + tasks / RATE_MIN)
}

async fn measure(arguments: &Backlog) -> Result<(Report, String)> {
    let mut bed = Bed::start(&arguments.place, CONNECTIONS, DISK_BUDGET).await?;
    let before = steady(arguments, &mut bed).await?;

    let job = Job::single(arguments.concurrency);
    let limit = work_limit(arguments.tasks);
    let from = Mark::now(&bed).await?;
    let tasks = load::create(&bed.connections, &job, &bed.board, arguments.tasks, limit).await?;
    let made = from.until(Mark::now(&bed).await?, Measured::new()?);
    let full = bed.cluster.resident()?.now;

    let drained = timeout(limit, drain(&mut bed, &job, tasks.len() as u64)).await;
    let drained = drained.context("the backlog was not worked off in time")??;
    let missing = tasks.iter().filter(|task| !bed.board.flights.take(task)).count();
    bed.board.problems.add_many(missing as u64, "a task of the backlog was not finished");
    bed.audit().await?;
    let end = bed.cluster.resident()?.now;

    let after = steady(arguments, &mut bed).await?;
    bed.audit_thoroughly().await?;
    let (errors, problems) = bed.stop().await?;

    let count = tasks.len() as f64;
    let per_task = |phase: &Phase| phase.used.server.as_secs_f64() * 1e6 / count.max(1.0);
    let (created_per_s, drained_per_s) = (count / made.seconds, count / drained.phase.seconds);
    let whole_per_s = count / (made.seconds + drained.phase.seconds);
    let mean = f64::midpoint(before.tasks_per_s, after.tasks_per_s);
    let mean_us = f64::midpoint(before.server_us_per_step, after.server_us_per_step);
    let report = Report {
        scenario: "backlog",
        store: arguments.place.store,
        tasks: tasks.len() as u64,
        concurrency: arguments.concurrency,
        before,
        after,
        created_per_s: rounded(created_per_s, 1),
        create_server_us_per_task: rounded(per_task(&made), 1),
        drained_per_s: rounded(drained_per_s, 1),
        drain_server_us_per_task: rounded(per_task(&drained.phase), 1),
        drained_per_s_by_fifth: drained.by_part,
        first_after_ms: rounded(drained.first.as_secs_f64() * 1_000.0, 1),
        drain_ratio: rounded(ratio(drained_per_s, mean), 3),
        whole_ratio: rounded(ratio(whole_per_s, mean), 3),
        server_cpu_ratio: rounded(ratio(per_task(&made) + per_task(&drained.phase), mean_us), 3),
        server_rss_full_mib: full,
        server_rss_end_mib: end,
        mean_batch: rounded(drained.phase.counters.mean_batch(), 1),
        errors,
    };
    Ok((report, problems))
}

async fn steady(arguments: &Backlog, bed: &mut Bed) -> Result<Rate> {
    let job = Job::single(arguments.concurrency);
    let crew = phase::crew(bed, &job);
    let (warmup, window) = (seconds(arguments.warmup), seconds(arguments.seconds));
    Ok(phase::during(bed, &job, &crew, warmup, window).await?.rate())
}

struct Drained {
    phase: Phase,
    by_part: Vec<f64>,
    first: Duration,
}

/// Lets the agents come and waits until they have done `tasks`.
async fn drain(bed: &mut Bed, job: &Job, tasks: u64) -> Result<Drained> {
    let board = Arc::clone(&bed.board);
    let before = board.finished.load(Ordering::Relaxed);
    let from = Mark::now(bed).await?;
    let crew = phase::crew(bed, job);
    let agents = Agents::start(&bed.connections, &bed.board, &crew).await?;
    let (mut first, mut ends, mut looks) = (None, Vec::new(), 0_u32);
    let parts = PARTS.min(tasks);
    while (ends.len() as u64) < parts {
        let (done, at) = (board.finished.load(Ordering::Relaxed) - before, clock::now());
        if done > 0 {
            first.get_or_insert(at - from.at);
        }
        while (ends.len() as u64) < parts && done >= tasks * (ends.len() as u64 + 1) / parts {
            ends.push((done, (at - from.at).as_secs_f64()));
        }
        looks += 1;
        if looks.is_multiple_of(200) {
            bed.cluster.check()?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let phase = from.until(Mark::now(bed).await?, Measured::new()?);
    agents.stop(&bed.board).await;
    bed.cluster.check()?;
    let mut last = (0, 0.0);
    let by_part = ends.into_iter().map(|end| {
        let rate = ratio((end.0 - last.0) as f64, end.1 - last.1);
        last = end;
        rounded(rate, 1)
    });
    Ok(Drained { phase, by_part: by_part.collect(), first: first.unwrap_or_default() })
}

impl Figures for Report {
    fn errors(&self) -> u64 {
        self.errors
    }

    fn rows(&self) -> Vec<(String, String)> {
        let fifths: Vec<String> =
            self.drained_per_s_by_fifth.iter().map(|rate| format!("{rate:.0}")).collect();
        vec![
            row("run", format!("backlog of {} tasks on {}", self.tasks, self.store.words())),
            row(
                "tasks/s without",
                format!("{:.0} before, {:.0} after", self.before.tasks_per_s, self.after.tasks_per_s),
            ),
            row("created/s", format!("{:.0}", self.created_per_s)),
            row("drained/s", format!("{:.0}; by fifths {}", self.drained_per_s, fifths.join(", "))),
            row("first after, ms", format!("{:.1}", self.first_after_ms)),
            row(
                "compared with without",
                format!("drain {:.2}, create and drain {:.2}", self.drain_ratio, self.whole_ratio),
            ),
            row(
                "server's time a task, us",
                format!(
                    "create {:.0} + drain {:.0}; without {:.0} and {:.0} (ratio {:.2})",
                    self.create_server_us_per_task,
                    self.drain_server_us_per_task,
                    self.before.server_us_per_step,
                    self.after.server_us_per_step,
                    self.server_cpu_ratio
                ),
            ),
            row(
                "server's memory, MiB",
                format!("{:.0} full, {:.0} drained", self.server_rss_full_mib, self.server_rss_end_mib),
            ),
            row("mean batch of the drain", format!("{:.1}", self.mean_batch)),
            row("errors", self.errors.to_string()),
        ]
    }
}
