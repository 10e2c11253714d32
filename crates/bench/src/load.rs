//! The submitters: a fixed number of closed loops, each creating a task, waiting
//! until its last completion has been acknowledged, and then creating the next.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::task_service_client::TaskServiceClient;
use quarterdeck_engine::ports::{Entropy, SystemEntropy};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::agents::{Board, CAPABILITY};
use crate::clock::{self, Window};
use crate::connect::{Authorized, Connections};
use crate::flights::Landed;

/// Wait after a refused request, so that a broken server is not hammered.
const PAUSE: Duration = Duration::from_millis(20);
/// For the tasks that are under way when the window closes.
const DRAIN: Duration = Duration::from_secs(60);
/// Longest latency that is told apart, in microseconds.
const LATENCY_MAX: u64 = 600_000_000;
/// Submitters that share a histogram.
const SHARE: usize = 16;

/// How the steps of a plan hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Each step after the one before.
    Chain,
    /// All steps at once.
    Wide,
}

/// What to create.
#[derive(Clone, Debug)]
pub struct Job {
    /// Tasks under way at any time.
    pub concurrency: u32,
    pub steps: u32,
    pub shape: Shape,
    pub request_ids: bool,
}

impl Job {
    /// Tasks of one step.
    pub fn single(concurrency: u32) -> Self {
        Self { concurrency, steps: 1, shape: Shape::Chain, request_ids: true }
    }

    pub fn plan(&self) -> pb::Plan {
        let step = |place| pb::PlanStep {
            key: format!("step-{place}"),
            capability: CAPABILITY.to_owned(),
            after: match self.shape {
                Shape::Chain if place > 0 => vec![format!("step-{}", place - 1)],
                _ => Vec::new(),
            },
            ..pb::PlanStep::default()
        };
        pb::Plan { steps: (0..self.steps).map(step).collect(), timeout: None }
    }

    /// Steps of one task that are ready at a time.
    pub fn width(&self) -> u32 {
        match self.shape {
            Shape::Chain => 1,
            Shape::Wide => self.steps,
        }
    }
}

/// How much to create.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// Until the window closes; what ends within it is measured.
    During(Window),
    /// So many tasks within so much time; all of them are measured.
    Tasks(u64, Duration),
}

/// What the submitters measured.
pub struct Measured {
    /// From sending CreateTask to its answer.
    pub to_created: Histogram<u64>,
    pub to_assigned: Histogram<u64>,
    pub to_complete: Histogram<u64>,
}

impl Measured {
    pub fn new() -> Result<Self> {
        let (to_created, to_assigned, to_complete) = (histogram()?, histogram()?, histogram()?);
        Ok(Self { to_created, to_assigned, to_complete })
    }

    fn record(&mut self, started: Instant, created: Instant, landed: &Landed) {
        let micros = |at: Instant| at.saturating_duration_since(started).as_micros() as u64;
        self.to_created.saturating_record(micros(created));
        self.to_complete.saturating_record(micros(landed.acknowledged));
        if let Some(assigned) = landed.assigned {
            self.to_assigned.saturating_record(micros(assigned));
        }
    }

    pub fn add(&mut self, other: &Self) -> Result<()> {
        self.to_created.add(&other.to_created)?;
        self.to_assigned.add(&other.to_assigned)?;
        self.to_complete.add(&other.to_complete)?;
        Ok(())
    }
}

/// Of microseconds. Three digits are far below the noise.
pub fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_MAX, 3)?)
}

/// What submitters share.
struct Order {
    connections: Arc<Connections>,
    job: Job,
    board: Arc<Board>,
    amount: Amount,
    /// Tasks begun so far.
    begun: AtomicU64,
    /// Random, so that request ids of two runs on one database differ.
    run: String,
}

impl Order {
    fn new(connections: &Arc<Connections>, job: &Job, board: &Arc<Board>, amount: Amount) -> Arc<Self> {
        Arc::new(Self {
            connections: Arc::clone(connections),
            job: job.clone(),
            board: Arc::clone(board),
            amount,
            begun: AtomicU64::new(0),
            run: SystemEntropy.draw()[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// The number of the next task, if there is to be one.
    fn next(&self) -> Option<u64> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        match self.amount {
            Amount::During(window) => clock::now() < window.to,
            Amount::Tasks(tasks, _) => number < tasks,
        }
        .then_some(number)
    }

    fn measures(&self, at: Instant) -> bool {
        match self.amount {
            Amount::During(window) => window.contains(at),
            Amount::Tasks(..) => true,
        }
    }

    /// When everything must have ended.
    fn deadline(&self) -> Instant {
        match self.amount {
            Amount::During(window) => window.to + DRAIN,
            Amount::Tasks(_, limit) => clock::now() + limit,
        }
    }
}

/// Runs the submitters to their end. What goes wrong is on the board.
///
/// # Errors
/// Only if nothing can be measured at all.
pub async fn run(
    connections: &Arc<Connections>,
    job: &Job,
    board: &Arc<Board>,
    amount: Amount,
) -> Result<Measured> {
    let order = Order::new(connections, job, board, amount);
    let parts: Result<Vec<_>> = (0..SHARE).map(|_| Ok(Arc::new(Mutex::new(Measured::new()?)))).collect();
    let parts = parts?;
    let mut running = JoinSet::new();
    for index in 0..job.concurrency as usize {
        let submitter = Submitter { index, order: Arc::clone(&order) };
        running.spawn(submitter.run(Arc::clone(&parts[index % SHARE])));
    }
    finish(&order, running).await?;
    // An assignment that came twice, or a completion of a task that was refused.
    let unclaimed = board.flights.len() as u64;
    board.problems.add_many(unclaimed, "an agent was given a task that nobody waited for");
    let mut all = Measured::new()?;
    for part in parts {
        all.add(&part.lock().unwrap_or_else(PoisonError::into_inner))?;
    }
    Ok(all)
}

/// Creates so many tasks within `limit` and waits for none of them; their ids.
///
/// # Errors
/// Only if a submitter fails altogether; a refused request is on the board.
pub async fn create(
    connections: &Arc<Connections>,
    job: &Job,
    board: &Arc<Board>,
    tasks: u64,
    limit: Duration,
) -> Result<Vec<String>> {
    let order = Order::new(connections, job, board, Amount::Tasks(tasks, limit));
    let ids = Arc::new(Mutex::new(Vec::with_capacity(usize::try_from(tasks)?)));
    let mut running = JoinSet::new();
    for index in 0..job.concurrency as usize {
        let (submitter, ids) = (Submitter { index, order: Arc::clone(&order) }, Arc::clone(&ids));
        running.spawn(async move {
            let mut own = submitter.create_only().await;
            ids.lock().unwrap_or_else(PoisonError::into_inner).append(&mut own);
        });
    }
    finish(&order, running).await?;
    Ok(std::mem::take(&mut ids.lock().unwrap_or_else(PoisonError::into_inner)))
}

async fn finish(order: &Order, mut running: JoinSet<()>) -> Result<()> {
    let left = order.deadline().saturating_duration_since(clock::now());
    let ended = timeout(left, async {
        while let Some(ended) = running.join_next().await {
            ended.context("a submitter failed")?;
        }
        Ok::<(), anyhow::Error>(())
    });
    match ended.await {
        Ok(ended) => ended?,
        Err(_) => {
            let words = format!("a submitter was still waiting for its task after {left:?}");
            order.board.problems.add_many(running.len() as u64, words);
        }
    }
    Ok(())
}

/// One closed loop.
struct Submitter {
    index: usize,
    order: Arc<Order>,
}

impl Submitter {
    async fn run(self, measured: Arc<Mutex<Measured>>) {
        let (order, board) = (&self.order, &self.order.board);
        let mut stub = order.connections.tasks(self.index);
        let mut request = self.request();
        while let Some(number) = order.next() {
            let started = clock::now();
            let Some(task) = self.created(&mut stub, &mut request, number).await else { continue };
            let created = clock::now();
            let Some(landed) = board.flights.wait(&task).await else {
                return board.problems.add("a task was forgotten");
            };
            if landed.assigned.is_none() {
                board.problems.add("a task ended without having been assigned");
            }
            if order.measures(landed.acknowledged) {
                let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
                measured.record(started, created, &landed);
            }
        }
    }

    async fn create_only(self) -> Vec<String> {
        let (mut stub, mut request) = (self.order.connections.tasks(self.index), self.request());
        let mut ids = Vec::new();
        while let Some(number) = self.order.next() {
            ids.extend(self.created(&mut stub, &mut request, number).await);
        }
        ids
    }

    fn request(&self) -> pb::CreateTaskRequest {
        pb::CreateTaskRequest { plan: Some(self.order.job.plan()), ..pb::CreateTaskRequest::default() }
    }

    /// Creates one task; `None` where that was refused.
    async fn created(
        &self,
        stub: &mut TaskServiceClient<Authorized>,
        request: &mut pb::CreateTaskRequest,
        number: u64,
    ) -> Option<String> {
        let (order, board) = (&self.order, &self.order.board);
        if order.job.request_ids {
            request.request_id = format!("{}-{number:012}", order.run);
        }
        match stub.create_task(request.clone()).await {
            Ok(response) => {
                board.created.fetch_add(1, Ordering::Relaxed);
                Some(response.into_inner().task.unwrap_or_default().id)
            }
            Err(status) => {
                board.problems.add(format!("CreateTask: {:?}: {}", status.code(), status.message()));
                sleep(PAUSE).await;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_has_the_shape_that_was_asked_for() {
        for (shape, expected, width) in
            [(Shape::Chain, ["", "step-0", "step-1"], 1), (Shape::Wide, ["", "", ""], 3)]
        {
            let job = Job { steps: 3, shape, ..Job::single(1) };
            let after: Vec<_> = job.plan().steps.iter().map(|step| step.after.join(",")).collect();
            assert_eq!(after, expected);
            assert_eq!(job.width(), width);
        }
    }
}
