//! One stretch of load on a test bed: agents, submitters, a look at both ends, and
//! a comparison of what was counted by either side.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::agents::{Agents, Crew};
use crate::bed::Bed;
use crate::clock::{self, Window};
use crate::cluster::Used;
use crate::load::{self, Amount, Job, Measured};
use crate::metrics::Counters;
use crate::report::{Cpu, Latency, rounded};

/// What was measured.
pub struct Phase {
    pub measured: Measured,
    /// What the servers counted meanwhile.
    pub counters: Counters,
    pub used: Used,
    /// Acknowledged completions.
    pub steps: u64,
    /// Tasks whose last completion was acknowledged.
    pub tasks: u64,
    pub seconds: f64,
}

/// What each scenario prints of a phase.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rate {
    pub seconds: f64,
    pub tasks_per_s: f64,
    pub steps_per_s: f64,
    pub create_to_complete_ms: Latency,
    pub mean_batch: f64,
    /// Processor time of the servers for each step, in microseconds.
    pub server_us_per_step: f64,
    /// The same of the database, where it is a process that this run started.
    pub database_us_per_step: Option<f64>,
    pub cpu: Cpu,
}

impl Phase {
    pub fn tasks_per_s(&self) -> f64 {
        self.tasks as f64 / self.seconds
    }

    pub fn steps_per_s(&self) -> f64 {
        self.steps as f64 / self.seconds
    }

    pub fn rate(&self) -> Rate {
        let per_step = |used: Duration| rounded(used.as_secs_f64() * 1e6 / self.steps.max(1) as f64, 1);
        Rate {
            seconds: rounded(self.seconds, 3),
            tasks_per_s: rounded(self.tasks_per_s(), 1),
            steps_per_s: rounded(self.steps_per_s(), 1),
            create_to_complete_ms: Latency::of(&self.measured.to_complete),
            mean_batch: rounded(self.counters.mean_batch(), 1),
            server_us_per_step: per_step(self.used.server),
            database_us_per_step: self.used.database.map(per_step),
            cpu: Cpu::of(&self.used),
        }
    }
}

/// How things stand at one end of a phase.
#[derive(Clone, Copy)]
pub struct Mark {
    pub at: Instant,
    steps: u64,
    tasks: u64,
    used: Used,
    pub counters: Counters,
}

impl Mark {
    pub async fn now(bed: &Bed) -> Result<Self> {
        let at = clock::now();
        let (steps, tasks) =
            (bed.board.steps.load(Ordering::Relaxed), bed.board.finished.load(Ordering::Relaxed));
        let used = bed.cluster.used();
        Ok(Self { at, steps, tasks, used, counters: bed.cluster.counters().await? })
    }

    /// What lies between this and `later`.
    pub fn until(self, later: Self, measured: Measured) -> Phase {
        Phase {
            measured,
            counters: later.counters.since(self.counters),
            used: later.used.since(self.used),
            steps: later.steps - self.steps,
            tasks: later.tasks - self.tasks,
            seconds: (later.at - self.at).as_secs_f64(),
        }
    }
}

/// Measures `job` with `crew` for the length of `window`, after `warmup`.
///
/// # Errors
/// When agents cannot join or a process has ended; what goes wrong under load is
/// on the board.
pub async fn during(
    bed: &mut Bed,
    job: &Job,
    crew: &Crew,
    warmup: Duration,
    window: Duration,
) -> Result<Phase> {
    let agents = Agents::start(&bed.connections, &bed.board, crew).await?;
    let window = Window::after(warmup, window);
    let load = load::run(&bed.connections, job, &bed.board, Amount::During(window));
    let marks = async {
        clock::sleep_until(window.from).await;
        let from = Mark::now(bed).await?;
        clock::sleep_until(window.to).await;
        Ok::<_, anyhow::Error>((from, Mark::now(bed).await?))
    };
    let loaded = tokio::try_join!(biased; load, marks);
    agents.stop(&bed.board).await;
    bed.cluster.check()?;
    let (measured, (from, to)) = loaded?;
    bed.audit().await?;
    Ok(from.until(to, measured))
}

/// Measures `tasks` of `job` from the first to the last, within `limit`.
///
/// # Errors
/// As [`during`].
pub async fn of_tasks(bed: &mut Bed, job: &Job, crew: &Crew, tasks: u64, limit: Duration) -> Result<Phase> {
    let agents = Agents::start(&bed.connections, &bed.board, crew).await?;
    let loaded = async {
        let from = Mark::now(bed).await?;
        let measured = load::run(&bed.connections, job, &bed.board, Amount::Tasks(tasks, limit)).await?;
        Ok::<_, anyhow::Error>((from, measured, Mark::now(bed).await?))
    };
    let loaded = loaded.await;
    agents.stop(&bed.board).await;
    bed.cluster.check()?;
    let (from, measured, to) = loaded?;
    bed.audit().await?;
    Ok(from.until(to, measured))
}

/// The usual crew of a job on this bed.
pub fn crew(bed: &Bed, job: &Job) -> Crew {
    Crew::of(job, &bed.connections)
}
