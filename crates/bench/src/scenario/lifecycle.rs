//! Durable create, assign, complete: a fixed number of tasks is under way, agents
//! finish each step at once, and what is left is the cost of Quarterdeck itself.
//!
//! Order: the disk; server and database; calls at best; the load; calls at best
//! again; commits at best, without the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::agents::{Agents, Board};
use crate::arguments::Lifecycle;
use crate::clock::{self, Window};
use crate::cluster::{Cluster, Used};
use crate::connect::Connections;
use crate::data::Directory;
use crate::load::{self, Job, Measured};
use crate::metrics::Commits;
use crate::report::{Cpu, Latency, Report, rounded};
use crate::{ceiling, disk};

/// Beyond warm-up and window, for everything else together.
const OVERHEAD: Duration = Duration::from_secs(300);
/// Samples of the calls' ceiling before, and as many after.
const SAMPLES: usize = 3;
const DISK_BUDGET: Duration = Duration::from_secs(2);

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, when anything went wrong under
/// load (the figures are printed all the same), or when it takes far too long.
pub async fn run(arguments: Lifecycle) -> Result<()> {
    let limit = arguments.warmup() + arguments.window() + OVERHEAD;
    let running = Box::pin(measure(&arguments));
    let report = tokio::time::timeout(limit, running).await;
    let (report, problems) = report.with_context(|| format!("the run did not end within {limit:?}"))??;
    report.print(arguments.place.json)?;
    if report.errors > 0 {
        bail!("{} errors under load:\n{problems}", report.errors);
    }
    Ok(())
}

/// What was seen from outside between the ends of the window.
struct Observed {
    commits: Commits,
    used: Used,
    steps: u64,
    seconds: f64,
}

async fn measure(arguments: &Lifecycle) -> Result<(Report, String)> {
    let place = &arguments.place;
    let data = Directory::make(place.data.as_deref(), place.store)?;
    let disk_sync_ms = disk::sync_ms(data.path(), DISK_BUDGET.min(arguments.window()))?;
    let mut cluster = Cluster::start(place, data).await?;
    let connections =
        Arc::new(Connections::open(cluster.address.address, &cluster.address.credential).await?);

    let mut calls = Vec::new();
    sample_calls(&connections, arguments.sample(), &mut calls).await?;
    let board = Arc::new(Board::default());
    let loaded = under_load(arguments, &mut cluster, &connections, &board).await;
    cluster.check()?;
    let (measured, observed) = loaded?;
    sample_calls(&connections, arguments.sample(), &mut calls).await?;
    drop(connections);

    cluster.stop_server().await?;
    let store_ceiling =
        ceiling::commits_per_s(&cluster.ceiling_store(), place.store, arguments.sample()).await?;
    cluster.stop().await?;

    let errors = board.problems.count();
    if measured.to_complete.is_empty() && errors == 0 {
        bail!("no task was finished within the window; make it longer than a task takes (--seconds)");
    }
    let report = report(arguments, &measured, &observed, disk_sync_ms, median(calls), store_ceiling, errors);
    Ok((report, board.problems.words()))
}

async fn sample_calls(connections: &Connections, sample: Duration, calls: &mut Vec<f64>) -> Result<()> {
    for _ in 0..SAMPLES {
        calls.push(ceiling::calls_per_s(connections, sample).await?);
    }
    Ok(())
}

/// Agents, submitters, and a look at both ends of the window.
async fn under_load(
    arguments: &Lifecycle,
    cluster: &mut Cluster,
    connections: &Arc<Connections>,
    board: &Arc<Board>,
) -> Result<(Measured, Observed)> {
    let job = Arc::new(Job {
        concurrency: arguments.concurrency,
        steps: arguments.steps,
        request_ids: !arguments.no_request_ids,
    });
    let agents = Agents::start(connections, board, &job).await?;
    let window = Window::after(arguments.warmup(), arguments.window());
    let load = load::run(Arc::clone(connections), job, Arc::clone(board), window);
    let loaded = tokio::try_join!(biased; load, observe(cluster, board, window));
    agents.stop().await;
    loaded
}

async fn observe(cluster: &Cluster, board: &Board, window: Window) -> Result<Observed> {
    let metrics = cluster.address.metrics;
    clock::sleep_until(window.from).await;
    let begun = clock::now();
    let (steps, used) = (board.steps.load(Ordering::Relaxed), cluster.used());
    let commits = Commits::read(metrics).await?;
    clock::sleep_until(window.to).await;
    let seconds = begun.elapsed().as_secs_f64();
    let (steps_then, used_then) = (board.steps.load(Ordering::Relaxed), cluster.used());
    let commits_then = Commits::read(metrics).await?;
    Ok(Observed {
        commits: commits_then.since(commits),
        used: used_then.since(used),
        steps: steps_then - steps,
        seconds,
    })
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    match samples.len() {
        0 => 0.0,
        length if length % 2 == 1 => samples[middle],
        _ => f64::midpoint(samples[middle - 1], samples[middle]),
    }
}

fn report(
    arguments: &Lifecycle,
    measured: &Measured,
    observed: &Observed,
    disk_sync_ms: f64,
    calls_per_s: f64,
    store_ceiling: ceiling::StoreCeiling,
    errors: u64,
) -> Report {
    let seconds = |time: Duration| rounded(time.as_secs_f64(), 2);
    Report {
        scenario: "lifecycle",
        store: arguments.place.store,
        concurrency: arguments.concurrency,
        steps: arguments.steps,
        seconds: rounded(observed.seconds, 3),
        tasks_per_s: rounded(measured.to_complete.len() as f64 / arguments.window().as_secs_f64(), 1),
        steps_per_s: rounded(observed.steps as f64 / observed.seconds, 1),
        create_to_complete_ms: Latency::of(&measured.to_complete),
        create_to_assigned_ms: Latency::of(&measured.to_assigned),
        commits: observed.commits.commits,
        mean_batch: rounded(observed.commits.mean_batch(), 1),
        disk_sync_ms: rounded(disk_sync_ms, 3),
        rpc_ceiling_per_s: rounded(calls_per_s, 0),
        store_ceiling: ceiling::StoreCeiling {
            batched_per_s: rounded(store_ceiling.batched_per_s, 0),
            unbatched_per_s: rounded(store_ceiling.unbatched_per_s, 0),
        },
        cpu: Cpu {
            server_cpu_s: seconds(observed.used.server),
            generator_cpu_s: seconds(observed.used.generator),
            database_cpu_s: observed.used.database.map(seconds),
        },
        errors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        for (samples, expected) in
            [(vec![], 0.0), (vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 3.0, 2.0], 2.5)]
        {
            assert!((median(samples) - expected).abs() < f64::EPSILON);
        }
    }
}
