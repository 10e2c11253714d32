//! How much slower new tasks are where many finished ones are stored.
//!
//! The finished tasks come through the API, by agents like any other, so that all
//! their rows are as they would be. Databases with many of them are filled once and
//! kept; those with none or few are made anew for each measurement, because a
//! measurement itself adds tens of thousands. The measurements take turns, each
//! when all databases are quiet.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::{DISK_BUDGET, OVERHEAD, seconds};
use crate::arguments::{Place, StoreKind};
use crate::bed::Bed;
use crate::connect::CONNECTIONS;
use crate::load::Job;
use crate::phase::{self, Rate};
use crate::report::{self, Figures, rounded, row};
use crate::statistics::{median, ratio};

/// From so many on a database is kept from one measurement to the next.
const KEPT_FROM: u64 = 200_000;
/// Slowest rate of filling that is waited for, tasks a second.
const RATE_MIN: u64 = 500;
/// Tasks under way at any time while filling.
const FILLING: u32 = 512;

#[derive(Clone, Debug, Args)]
pub struct Grown {
    #[command(flatten)]
    place: Place,
    /// Numbers of stored tasks to compare with none.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "10000,1000000", value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    stored: Vec<u64>,
    /// Tasks under way at any time.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    concurrency: u32,
    /// Length of each measurement.
    #[arg(long, value_name = "S", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Seconds of load before each.
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=600))]
    warmup: u32,
    /// Measurements of each.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    store: StoreKind,
    concurrency: u32,
    filled_by: &'static str,
    disk_sync_ms: f64,
    stages: Vec<Stage>,
    errors: u64,
}

#[derive(Serialize)]
struct Stage {
    /// Finished tasks before the first measurement.
    stored: u64,
    /// Tasks a second while they were stored; 0 where nothing was.
    filled_per_s: f64,
    /// In the order of their measuring.
    tasks_per_s: Vec<f64>,
    median_tasks_per_s: f64,
    /// Percent by which the median is below that of the empty store.
    slower_percent: f64,
    median_server_us_per_task: f64,
    median_database_us_per_task: Option<f64>,
    median_p99_ms: f64,
    server_rss_mib: f64,
    #[serde(skip)]
    rates: Vec<Rate>,
    #[serde(skip)]
    kept: Option<Bed>,
}

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, or anything went wrong under load.
pub async fn run(arguments: Grown) -> Result<()> {
    if arguments.place.database_url.is_some() && arguments.place.store == StoreKind::Postgres {
        bail!("this scenario needs several databases and makes them itself; leave --database-url away");
    }
    let fills = arguments.stored.iter().map(|&stored| fill_limit(stored)).sum::<Duration>();
    let phase = seconds(arguments.warmup) + seconds(arguments.seconds) + Duration::from_secs(240);
    let phases = arguments.rounds * (arguments.stored.len() as u32 + 1) * phase;
    report::conclude(&arguments.place, fills + phases + 2 * OVERHEAD, measure(&arguments)).await
}

fn fill_limit(stored: u64) -> Duration {
    Duration::from_secs(60 + stored / RATE_MIN)
}

/// What went wrong, over all beds.
#[derive(Default)]
struct Errors {
    count: u64,
    words: String,
}

impl Errors {
    fn add(&mut self, (count, words): (u64, String)) {
        self.count += count;
        if !words.is_empty() {
            self.words += &words;
            self.words.push('\n');
        }
    }
}

async fn measure(arguments: &Grown) -> Result<(Report, String)> {
    let mut errors = Errors::default();
    let mut stages: Vec<Stage> =
        std::iter::once(0).chain(arguments.stored.iter().copied()).map(Stage::new).collect();
    let mut disk_sync_ms = Vec::new();
    // The big ones first: filling leaves work behind that must not fall into a measurement.
    for stage in stages.iter_mut().filter(|stage| stage.stored >= KEPT_FROM) {
        stage.kept = Some(stage.filled(arguments).await?);
    }
    for _ in 0..arguments.rounds {
        for place in 0..stages.len() {
            let mut bed = match stages[place].kept.take() {
                Some(bed) => bed,
                None => stages[place].filled(arguments).await?,
            };
            for other in stages.iter().filter_map(|stage| stage.kept.as_ref()).chain([&bed]) {
                other.quiet().await;
            }
            let stage = &mut stages[place];
            stage.measure(arguments, &mut bed).await?;
            disk_sync_ms.push(bed.disk_sync_ms);
            if stage.stored >= KEPT_FROM {
                stage.kept = Some(bed);
            } else {
                bed.audit_thoroughly().await?;
                errors.add(bed.stop().await?);
            }
        }
    }
    for stage in &mut stages {
        if let Some(bed) = stage.kept.take() {
            bed.audit_thoroughly().await?;
            errors.add(bed.stop().await?);
        }
    }
    let mut empty = None;
    for stage in &mut stages {
        stage.conclude(&mut empty);
    }
    let report = Report {
        scenario: "grown",
        store: arguments.place.store,
        concurrency: arguments.concurrency,
        filled_by: "the API, each task done by an agent",
        disk_sync_ms: rounded(median(disk_sync_ms), 3),
        stages,
        errors: errors.count,
    };
    Ok((report, errors.words))
}

impl Stage {
    fn new(stored: u64) -> Self {
        Self {
            stored,
            filled_per_s: 0.0,
            tasks_per_s: Vec::new(),
            median_tasks_per_s: 0.0,
            slower_percent: 0.0,
            median_server_us_per_task: 0.0,
            median_database_us_per_task: None,
            median_p99_ms: 0.0,
            server_rss_mib: 0.0,
            rates: Vec::new(),
            kept: None,
        }
    }

    /// A new bed with as many finished tasks as this stage is about.
    async fn filled(&mut self, arguments: &Grown) -> Result<Bed> {
        let mut bed = Bed::start(&arguments.place, CONNECTIONS, DISK_BUDGET).await?;
        if self.stored > 0 {
            let job = Job::single(FILLING);
            let crew = phase::crew(&bed, &job);
            let filled = phase::of_tasks(&mut bed, &job, &crew, self.stored, fill_limit(self.stored)).await?;
            self.filled_per_s = rounded(filled.tasks_per_s(), 1);
        }
        Ok(bed)
    }

    async fn measure(&mut self, arguments: &Grown, bed: &mut Bed) -> Result<()> {
        let job = Job::single(arguments.concurrency);
        let crew = phase::crew(bed, &job);
        let (warmup, window) = (seconds(arguments.warmup), seconds(arguments.seconds));
        let rate = phase::during(bed, &job, &crew, warmup, window).await?.rate();
        self.tasks_per_s.push(rate.tasks_per_s);
        self.rates.push(rate);
        self.server_rss_mib = bed.cluster.resident()?.now;
        Ok(())
    }

    fn conclude(&mut self, empty: &mut Option<f64>) {
        let each = |of: &dyn Fn(&Rate) -> f64| median(self.rates.iter().map(of).collect());
        self.median_tasks_per_s = each(&|rate| rate.tasks_per_s);
        self.median_server_us_per_task = each(&|rate| rate.server_us_per_step);
        self.median_p99_ms = each(&|rate| rate.create_to_complete_ms.p99);
        let database = self.rates.iter().filter_map(|rate| rate.database_us_per_step);
        let database: Vec<f64> = database.collect();
        self.median_database_us_per_task = (!database.is_empty()).then(|| median(database));
        let empty = *empty.get_or_insert(self.median_tasks_per_s);
        self.slower_percent = rounded(100.0 * (1.0 - ratio(self.median_tasks_per_s, empty)), 1);
    }
}

impl Figures for Report {
    fn errors(&self) -> u64 {
        self.errors
    }

    fn rows(&self) -> Vec<(String, String)> {
        let run = format!("grown on {}, concurrency {}", self.store.words(), self.concurrency);
        let mut rows = vec![row("run", run), row("filled by", self.filled_by)];
        for stage in &self.stages {
            let each: Vec<String> = stage.tasks_per_s.iter().map(|rate| format!("{rate:.0}")).collect();
            let database = stage.median_database_us_per_task.map(|used| format!(" + database {used:.0}"));
            let figure = format!(
                "{:.0} tasks/s ({}), slower by {:.1} %; server {:.0}{} us a task, p99 {:.1} ms, {:.0} MiB",
                stage.median_tasks_per_s,
                each.join(", "),
                stage.slower_percent,
                stage.median_server_us_per_task,
                database.unwrap_or_default(),
                stage.median_p99_ms,
                stage.server_rss_mib
            );
            rows.push(row(format!("{} stored", stage.stored), figure));
        }
        rows.push(row("disk sync, ms", format!("{:.3}", self.disk_sync_ms)));
        rows.push(row("errors", self.errors.to_string()));
        rows
    }
}
