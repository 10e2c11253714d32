//! What a task costs by the number of agents' sessions: the same load, the same
//! sockets and about the same number of slots, shared by few sessions or by many.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{DISK_BUDGET, OVERHEAD, seconds};
use crate::agents::{Crew, SLOTS_MAX};
use crate::arguments::{Place, StoreKind};
use crate::bed::Bed;
use crate::connect::CONNECTIONS;
use crate::load::Job;
use crate::phase::{self, Rate};
use crate::report::{self, Figures, rounded, row};
use crate::statistics::{median, ratio};

#[derive(Clone, Debug, Args)]
pub struct Sessions {
    #[command(flatten)]
    place: Place,
    /// Numbers of sessions to compare; the first is what others are compared with.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,100,1000", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    counts: Vec<u32>,
    /// Slots of all sessions together, at least one each and at most 1,000 each.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    slots: u32,
    /// Tasks under way at any time.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    concurrency: u32,
    /// Length of each measurement.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Seconds of load before each.
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=600))]
    warmup: u32,
    /// Measurements of each number.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    store: StoreKind,
    concurrency: u32,
    sockets: usize,
    cells: Vec<Cell>,
    errors: u64,
}

#[derive(Serialize)]
struct Cell {
    sessions: u32,
    slots_each: u32,
    median_tasks_per_s: f64,
    /// Compared with the first cell.
    ratio: f64,
    median_server_us_per_task: f64,
    server_rss_mib: f64,
    rounds: Vec<Rate>,
}

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, or anything went wrong under load.
pub async fn run(arguments: Sessions) -> Result<()> {
    let phase = seconds(arguments.warmup) + seconds(arguments.seconds) + Duration::from_secs(60);
    let limit = arguments.counts.len() as u32 * arguments.rounds * phase + OVERHEAD;
    report::conclude(&arguments.place, limit, measure(&arguments)).await
}

async fn measure(arguments: &Sessions) -> Result<(Report, String)> {
    let mut bed = Bed::start(&arguments.place, CONNECTIONS, DISK_BUDGET).await?;
    let job = Job::single(arguments.concurrency);
    let cell = |&sessions: &u32| Cell {
        sessions,
        slots_each: (arguments.slots / sessions).clamp(1, SLOTS_MAX),
        median_tasks_per_s: 0.0,
        ratio: 0.0,
        median_server_us_per_task: 0.0,
        server_rss_mib: 0.0,
        rounds: Vec::new(),
    };
    let mut cells: Vec<Cell> = arguments.counts.iter().map(cell).collect();
    for _ in 0..arguments.rounds {
        for cell in &mut cells {
            let begin = CancellationToken::new();
            begin.cancel();
            let crew =
                Crew { sessions: cell.sessions as usize, slots: cell.slots_each, steps: job.steps, begin };
            let (warmup, window) = (seconds(arguments.warmup), seconds(arguments.seconds));
            cell.rounds.push(phase::during(&mut bed, &job, &crew, warmup, window).await?.rate());
            cell.server_rss_mib = bed.cluster.resident()?.now;
        }
    }
    bed.audit_thoroughly().await?;
    let (errors, problems) = bed.stop().await?;
    let mut first = None;
    for cell in &mut cells {
        let each = |of: fn(&Rate) -> f64| median(cell.rounds.iter().map(of).collect());
        cell.median_tasks_per_s = each(|rate| rate.tasks_per_s);
        cell.median_server_us_per_task = each(|rate| rate.server_us_per_step);
        let first = *first.get_or_insert(cell.median_tasks_per_s);
        cell.ratio = rounded(ratio(cell.median_tasks_per_s, first), 3);
    }
    let report = Report {
        scenario: "sessions",
        store: arguments.place.store,
        concurrency: arguments.concurrency,
        sockets: CONNECTIONS,
        cells,
        errors,
    };
    Ok((report, problems))
}

impl Figures for Report {
    fn errors(&self) -> u64 {
        self.errors
    }

    fn rows(&self) -> Vec<(String, String)> {
        let run = format!(
            "sessions on {}, concurrency {}, {} sockets",
            self.store.words(),
            self.concurrency,
            self.sockets
        );
        let mut rows = vec![row("run", run)];
        for cell in &self.cells {
            let last = cell.rounds.last().map(|rate| rate.create_to_complete_ms.words()).unwrap_or_default();
            let figure = format!(
                "{:.0} tasks/s (ratio {:.2}), server {:.0} us a task, {:.0} MiB; {last}",
                cell.median_tasks_per_s, cell.ratio, cell.median_server_us_per_task, cell.server_rss_mib
            );
            rows.push(row(format!("{} of {} slots", cell.sessions, cell.slots_each), figure));
        }
        rows.push(row("errors", self.errors.to_string()));
        rows
    }
}
