//! The submitters: a fixed number of closed loops, each creating a task, waiting
//! until its last completion has been acknowledged, and then creating the next.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_engine::ports::{Entropy, SystemEntropy};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::agents::{Board, CAPABILITY};
use crate::clock::{self, Window};
use crate::connect::{CONNECTIONS, Connections};
use crate::flights::Landed;

/// Wait after a refused request, so that a broken server is not hammered.
const PAUSE: Duration = Duration::from_millis(20);
/// For the tasks that are under way when the window closes.
const DRAIN: Duration = Duration::from_secs(30);
/// Longest latency that is told apart, in microseconds.
const LATENCY_MAX: u64 = 120_000_000;

/// What to create.
pub struct Job {
    pub concurrency: u32,
    pub steps: u32,
    pub request_ids: bool,
}

impl Job {
    /// A chain of steps, each after the one before.
    pub fn plan(&self) -> pb::Plan {
        let step = |place| pb::PlanStep {
            key: key(place),
            capability: CAPABILITY.to_owned(),
            after: if place == 0 { Vec::new() } else { vec![key(place - 1)] },
            ..pb::PlanStep::default()
        };
        pb::Plan { steps: (0..self.steps).map(step).collect(), timeout: None }
    }

    /// Key of the step that begins the task.
    pub fn first_key(&self) -> String {
        key(0)
    }

    /// Key of the step that ends it.
    pub fn last_key(&self) -> String {
        key(self.steps - 1)
    }
}

fn key(place: u32) -> String {
    format!("step-{place}")
}

/// What the submitters measured within the window.
pub struct Measured {
    pub to_complete: Histogram<u64>,
    pub to_assigned: Histogram<u64>,
}

impl Measured {
    fn new() -> Result<Self> {
        // Three digits are far below the noise.
        let histogram = || Histogram::new_with_bounds(1, LATENCY_MAX, 3);
        Ok(Self { to_complete: histogram()?, to_assigned: histogram()? })
    }

    fn record(&mut self, started: Instant, landed: &Landed) {
        let micros = |at: Instant| at.saturating_duration_since(started).as_micros() as u64;
        self.to_complete.saturating_record(micros(landed.acknowledged));
        if let Some(assigned) = landed.assigned {
            self.to_assigned.saturating_record(micros(assigned));
        }
    }
}

/// One closed loop.
struct Submitter {
    connection: usize,
    connections: Arc<Connections>,
    job: Arc<Job>,
    board: Arc<Board>,
    window: Window,
    ids: Arc<RequestIds>,
    measured: Arc<Mutex<Measured>>,
}

/// Request ids of one run.
struct RequestIds {
    run: String,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        let run = SystemEntropy.draw()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { run, next: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        format!("{}-{:012}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Runs the submitters until the window has closed and their tasks have landed.
/// What goes wrong is on the board.
///
/// # Errors
/// Only if nothing can be measured at all.
pub async fn run(
    connections: Arc<Connections>,
    job: Arc<Job>,
    board: Arc<Board>,
    window: Window,
) -> Result<Measured> {
    let ids = Arc::new(RequestIds::new());
    // One a connection, so that few wait for one another to record.
    let measured: Result<Vec<_>> =
        (0..CONNECTIONS).map(|_| Ok(Arc::new(Mutex::new(Measured::new()?)))).collect();
    let measured = measured?;
    let mut running = JoinSet::new();
    for index in 0..job.concurrency as usize {
        let submitter = Submitter {
            connection: index % CONNECTIONS,
            connections: Arc::clone(&connections),
            job: Arc::clone(&job),
            board: Arc::clone(&board),
            window,
            ids: Arc::clone(&ids),
            measured: Arc::clone(&measured[index % CONNECTIONS]),
        };
        running.spawn(submitter.run());
    }
    clock::sleep_until(window.to).await;
    let drained = timeout(DRAIN, async {
        while let Some(ended) = running.join_next().await {
            ended.context("a submitter failed")?;
        }
        Ok::<(), anyhow::Error>(())
    });
    match drained.await {
        Ok(ended) => ended?,
        Err(_) => {
            let words = format!("a task was not finished {DRAIN:?} after the window");
            board.problems.add_many(running.len() as u64, words);
        }
    }
    // An assignment that came twice, or a completion of a task that was refused.
    let unclaimed = board.flights.len() as u64;
    board.problems.add_many(unclaimed, "an agent was given a task that nobody waited for");
    let mut all = Measured::new()?;
    for part in measured {
        let part = part.lock().unwrap_or_else(PoisonError::into_inner);
        all.to_complete.add(&part.to_complete)?;
        all.to_assigned.add(&part.to_assigned)?;
    }
    Ok(all)
}

impl Submitter {
    async fn run(self) {
        let mut stub = self.connections.tasks(self.connection);
        let mut request =
            pb::CreateTaskRequest { plan: Some(self.job.plan()), ..pb::CreateTaskRequest::default() };
        loop {
            let started = clock::now();
            if started >= self.window.to {
                return;
            }
            if self.job.request_ids {
                request.request_id = self.ids.next();
            }
            let task = match stub.create_task(request.clone()).await {
                Ok(response) => response.into_inner().task.unwrap_or_default().id,
                Err(status) => {
                    let words = format!("CreateTask: {:?}: {}", status.code(), status.message());
                    self.board.problems.add(words);
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(landed) = self.board.flights.wait(&task).await else {
                return self.board.problems.add("a task was forgotten");
            };
            if landed.assigned.is_none() {
                self.board.problems.add("a task ended without having been assigned");
            }
            if self.window.contains(landed.acknowledged) {
                let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
                measured.record(started, &landed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_is_a_chain() {
        let job = Job { concurrency: 1, steps: 3, request_ids: true };
        let plan = job.plan();
        let after: Vec<_> = plan.steps.iter().map(|step| step.after.join(",")).collect();
        assert_eq!(after, ["", "step-0", "step-1"]);
        assert_eq!(plan.steps.last().map(|step| step.key.clone()), Some(job.last_key()));
    }
}
