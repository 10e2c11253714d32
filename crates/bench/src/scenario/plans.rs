//! What a step costs by the size and the shape of the plan that it belongs to.
//!
//! All cells keep about the same number of steps under way: chains of any length
//! have one ready step a task, wide plans have all of theirs. Processor time is
//! counted a step, which depends on the machine's mood less than a rate does.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{DISK_BUDGET, OVERHEAD};
use crate::agents::{Crew, SLOTS_MAX};
use crate::arguments::{Place, StoreKind};
use crate::bed::Bed;
use crate::connect::CONNECTIONS;
use crate::load::{Job, Shape};
use crate::phase::{self, Rate};
use crate::report::{self, Figures, rounded, row};
use crate::statistics::ratio;

/// Slowest rate that is waited for, steps a second.
const RATE_MIN: u64 = 100;

#[derive(Clone, Debug, Args)]
pub struct Plans {
    #[command(flatten)]
    place: Place,
    /// Steps of a plan, to compare.
    #[arg(long, value_name = "K,...", value_delimiter = ',', default_value = "1,10,100,1000", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    sizes: Vec<u32>,
    /// Only plans of this shape.
    #[arg(long, value_enum)]
    shape: Option<Shape>,
    /// Steps under way at any time: a plan that is wider is alone.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    parallel: u32,
    /// Steps to do in each cell, at least; rounded up to whole tasks, and to as many as are under way.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    steps: u64,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    store: StoreKind,
    cells: Vec<Cell>,
    errors: u64,
}

#[derive(Serialize)]
struct Cell {
    shape: Shape,
    steps_per_task: u32,
    tasks: u64,
    concurrency: u32,
    /// Processor time of servers and database a step, compared with the first cell of this shape.
    cost_ratio: f64,
    commits_per_step: f64,
    server_rss_peak_mib: f64,
    #[serde(flatten)]
    rate: Rate,
}

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, or anything went wrong under load.
pub async fn run(arguments: Plans) -> Result<()> {
    let cells = cells(&arguments);
    let limits = cells.iter().map(|cell| limit(cell.0.steps, cell.1)).sum::<Duration>();
    report::conclude(&arguments.place, limits + OVERHEAD, measure(&arguments, cells)).await
}

/// What to do, and how many tasks of it.
fn cells(arguments: &Plans) -> Vec<(Job, u64)> {
    let mut cells = Vec::new();
    for shape in [Shape::Chain, Shape::Wide] {
        if arguments.shape.is_some_and(|only| only != shape) {
            continue;
        }
        for &steps in &arguments.sizes {
            let width = if shape == Shape::Wide { steps } else { 1 };
            let concurrency = (arguments.parallel / width).max(1);
            let tasks = arguments.steps.div_ceil(steps.into()).max(concurrency.into());
            cells.push((Job { steps, shape, ..Job::single(concurrency) }, tasks));
        }
    }
    cells
}

fn limit(steps: u32, tasks: u64) -> Duration {
    Duration::from_secs(60 + tasks * u64::from(steps) / RATE_MIN)
}

async fn measure(arguments: &Plans, jobs: Vec<(Job, u64)>) -> Result<(Report, String)> {
    let mut bed = Bed::start(&arguments.place, CONNECTIONS, DISK_BUDGET).await?;
    let mut cells: Vec<Cell> = Vec::new();
    for (job, tasks) in jobs {
        let begin = CancellationToken::new();
        begin.cancel();
        // As many slots everywhere, and one for each step of the widest plan.
        let widest = arguments.sizes.iter().max().copied().unwrap_or(1).max(arguments.parallel);
        let slots = (2 * widest).div_ceil(CONNECTIONS as u32).clamp(2, SLOTS_MAX);
        let crew = Crew { sessions: CONNECTIONS, slots, steps: job.steps, begin };
        let phase = phase::of_tasks(&mut bed, &job, &crew, tasks, limit(job.steps, tasks)).await?;
        let rate = phase.rate();
        let cost = |rate: &Rate| rate.server_us_per_step + rate.database_us_per_step.unwrap_or_default();
        let first = cells.iter().find(|cell| cell.shape == job.shape).map_or(rate, |cell| cell.rate);
        cells.push(Cell {
            shape: job.shape,
            steps_per_task: job.steps,
            tasks,
            concurrency: job.concurrency,
            cost_ratio: rounded(ratio(cost(&rate), cost(&first)), 2),
            commits_per_step: rounded(ratio(phase.counters.commits as f64, phase.steps as f64), 2),
            server_rss_peak_mib: bed.cluster.resident()?.peak,
            rate,
        });
    }
    bed.audit_thoroughly().await?;
    let (errors, problems) = bed.stop().await?;
    let report = Report { scenario: "plans", store: arguments.place.store, cells, errors };
    Ok((report, problems))
}

impl Figures for Report {
    fn errors(&self) -> u64 {
        self.errors
    }

    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![row("run", format!("plans on {}", self.store.words()))];
        for cell in &self.cells {
            let (rate, name) = (&cell.rate, if cell.shape == Shape::Chain { "chain" } else { "wide" });
            let database =
                rate.database_us_per_step.map(|used| format!(" + database {used:.0}")).unwrap_or_default();
            let figure = format!(
                "{:.0} steps/s, server {:.0}{database} us a step (ratio {:.2}), {:.2} commits a step, \
                 batch {:.1}, task p50 {:.0} ms, {} tasks",
                rate.steps_per_s,
                rate.server_us_per_step,
                cell.cost_ratio,
                cell.commits_per_step,
                rate.mean_batch,
                rate.create_to_complete_ms.p50,
                cell.tasks
            );
            rows.push(row(format!("{name} of {}", cell.steps_per_task), figure));
        }
        rows.push(row("errors", self.errors.to_string()));
        rows
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    #[test]
    fn cells_keep_the_same_number_of_steps_under_way() {
        let words = ["bench", "plans", "--store", "sqlite", "--sizes", "1,10,1000", "--steps", "20000"];
        let Command::Plans(arguments) = Arguments::parse_from(words).command else {
            panic!("another command")
        };
        let found: Vec<_> =
            cells(&arguments).iter().map(|(job, tasks)| (job.steps, job.concurrency, *tasks)).collect();
        let expected = [
            (1, 64, 20_000),
            (10, 64, 2_000),
            (1_000, 64, 64),
            (1, 64, 20_000),
            (10, 6, 2_000),
            (1_000, 1, 20),
        ];
        assert_eq!(found, expected);
    }
}
