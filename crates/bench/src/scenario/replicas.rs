//! The same load on one server and on two, both on one PostgreSQL; agents and
//! submitters are spread evenly. The measurements take turns, so that a machine
//! that changes its mind changes both.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::{DISK_BUDGET, OVERHEAD, seconds};
use crate::arguments::{Place, StoreKind};
use crate::bed::Bed;
use crate::connect::CONNECTIONS;
use crate::load::Job;
use crate::phase::{self, Phase};
use crate::report::{self, Cpu, Figures, Latency, rounded, row};
use crate::statistics::{median, ratio};

#[derive(Clone, Debug, Args)]
pub struct Replicas {
    #[command(flatten)]
    place: Place,
    /// Tasks under way at any time, over all servers together.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    concurrency: u32,
    /// Length of each measurement.
    #[arg(long, value_name = "S", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Seconds of load before each.
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=600))]
    warmup: u32,
    /// Measurements of either.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Leave Redis away: servers find each other's work by sweeping.
    #[arg(long)]
    no_redis: bool,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    store: StoreKind,
    concurrency: u32,
    redis: bool,
    one: Side,
    two: Side,
    /// Median of two servers compared with the median of one.
    ratio: f64,
    disk_sync_ms: f64,
    errors: u64,
}

/// All measurements with one number of servers.
#[derive(Serialize)]
struct Side {
    servers: u32,
    /// In the order of their measuring.
    tasks_per_s: Vec<f64>,
    median_tasks_per_s: f64,
    create_to_complete_ms: Latency,
    mean_batch: f64,
    conflicts_per_task: f64,
    cpu: Cpu,
}

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, or anything went wrong under load.
pub async fn run(arguments: Replicas) -> Result<()> {
    if arguments.place.store != StoreKind::Postgres {
        bail!("a SQLite file has one server; use --store postgres");
    }
    let phase = seconds(arguments.warmup) + seconds(arguments.seconds) + Duration::from_secs(60);
    let limit = 2 * arguments.rounds * phase + OVERHEAD;
    report::conclude(&arguments.place, limit, measure(&arguments)).await
}

async fn measure(arguments: &Replicas) -> Result<(Report, String)> {
    let redis = !arguments.no_redis;
    let mut bed = Bed::with_redis(&arguments.place, CONNECTIONS, DISK_BUDGET, redis).await?;
    let job = Job::single(arguments.concurrency);
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        // One, two; two, one; and so on.
        for servers in if round % 2 == 0 { [1, 2] } else { [2, 1] } {
            have(&mut bed, servers).await?;
            let crew = phase::crew(&bed, &job);
            let (warmup, window) = (seconds(arguments.warmup), seconds(arguments.seconds));
            let phase = phase::during(&mut bed, &job, &crew, warmup, window).await?;
            if servers == 1 { &mut one } else { &mut two }.push(phase);
        }
    }
    bed.audit_thoroughly().await?;
    let disk_sync_ms = rounded(bed.disk_sync_ms, 3);
    let (errors, problems) = bed.stop().await?;
    let (one, two) = (Side::of(1, &one)?, Side::of(2, &two)?);
    let report = Report {
        scenario: "replicas",
        store: arguments.place.store,
        concurrency: arguments.concurrency,
        redis,
        ratio: rounded(ratio(two.median_tasks_per_s, one.median_tasks_per_s), 3),
        one,
        two,
        disk_sync_ms,
        errors,
    };
    Ok((report, problems))
}

/// Makes it so many servers.
async fn have(bed: &mut Bed, servers: usize) -> Result<()> {
    let there = bed.cluster.addresses().len();
    for _ in there..servers {
        bed.cluster.add_server().await?;
    }
    for _ in servers..there {
        bed.cluster.remove_server().await?;
    }
    bed.connect().await
}

impl Side {
    fn of(servers: u32, phases: &[Phase]) -> Result<Self> {
        let mut to_complete = crate::load::histogram()?;
        let (mut used, mut counters) = (crate::cluster::Used::default(), crate::metrics::Counters::default());
        let mut tasks = 0;
        for phase in phases {
            to_complete.add(&phase.measured.to_complete)?;
            used = used.and(phase.used);
            counters = counters.and(phase.counters);
            tasks += phase.tasks;
        }
        let tasks_per_s: Vec<f64> = phases.iter().map(|phase| rounded(phase.tasks_per_s(), 1)).collect();
        Ok(Self {
            servers,
            median_tasks_per_s: median(tasks_per_s.clone()),
            tasks_per_s,
            create_to_complete_ms: Latency::of(&to_complete),
            mean_batch: rounded(counters.mean_batch(), 1),
            conflicts_per_task: rounded(ratio(counters.conflicts as f64, tasks as f64), 4),
            cpu: Cpu::of(&used),
        })
    }

    fn row(&self) -> (String, String) {
        let each: Vec<String> = self.tasks_per_s.iter().map(|rate| format!("{rate:.0}")).collect();
        let figure = format!(
            "{:.0}  ({}); p50 {:.1} ms, p99 {:.1} ms; batch {:.1}; {:.3} conflicts a task",
            self.median_tasks_per_s,
            each.join(", "),
            self.create_to_complete_ms.p50,
            self.create_to_complete_ms.p99,
            self.mean_batch,
            self.conflicts_per_task
        );
        row(format!("tasks/s with {}", self.servers), figure)
    }
}

impl Figures for Report {
    fn errors(&self) -> u64 {
        self.errors
    }

    fn rows(&self) -> Vec<(String, String)> {
        let bus = if self.redis { "with Redis" } else { "without Redis" };
        vec![
            row("run", format!("replicas on {} {bus}, concurrency {}", self.store.words(), self.concurrency)),
            self.one.row(),
            self.two.row(),
            row("two compared with one", format!("{:.3}", self.ratio)),
            row("processor with one, s", self.one.cpu.words()),
            row("processor with two, s", self.two.cpu.words()),
            row("disk sync, ms", format!("{:.3}", self.disk_sync_ms)),
            row("errors", self.errors.to_string()),
        ]
    }
}
