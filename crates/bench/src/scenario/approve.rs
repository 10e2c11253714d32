//! Agents that ask before they act: how long an answer to Authorize takes at a steady
//! rate, and how long after a person's decision the agent that waits for it knows.
//!
//! Calls are due at fixed times and are measured from when they were due, so that a
//! server that falls behind is not asked less.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use quarterdeck_api::approvals::v1 as pb;
use quarterdeck_api::approvals::v1::approval_service_client::ApprovalServiceClient;
use quarterdeck_api::operations::v1::CreateKeyRequest;
use quarterdeck_api::options::v1::Role;
use quarterdeck_api::orchestration::v1::{AcquireStepsRequest, Assign};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{DISK_BUDGET, OVERHEAD, seconds};
use crate::agents::CAPABILITY;
use crate::arguments::{Place, StoreKind};
use crate::bed::Bed;
use crate::clock;
use crate::connect::{Authorized, Connections};
use crate::load::{self, Job, histogram};
use crate::problems::Problems;
use crate::report::{self, Figures, Latency, rounded, row};

/// Steps under whose leases is asked.
const LEASES: u32 = 100;
const JOIN_LIMIT: Duration = Duration::from_secs(120);
const HOUR: i64 = 3_600;
/// Longest wait of one AwaitApproval, in seconds, by the contract.
const WAIT: i64 = 55;
/// Calls on one connection at a time, below the 1,024 that a server allows.
const STREAMS: u32 = 800;

#[derive(Clone, Debug, Args)]
pub struct Approve {
    #[command(flatten)]
    place: Place,
    /// Authorize calls a second.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Agents that wait for a decision at any time.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    waiting: u32,
    /// Decisions a second.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    decisions: u32,
    /// Length of each of the two measured windows.
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    store: StoreKind,
    /// Of Authorize; every second action is granted at once by policy, the others wait
    /// for people.
    rate: u32,
    authorized: u64,
    /// From when a call was due to its answer.
    authorize_ms: Latency,
    /// Agents that waited when the first decision was made.
    waiting: u32,
    decided: u64,
    /// From when a decision was due until the waiting agent had its answer.
    decision_to_agent_ms: Latency,
    server_rss_mib: f64,
    errors: u64,
}

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, or a call fails.
pub async fn run(arguments: Approve) -> Result<()> {
    let limit = 2 * seconds(arguments.seconds) + 4 * JOIN_LIMIT + OVERHEAD;
    report::conclude(&arguments.place, limit, measure(&arguments)).await
}

async fn measure(arguments: &Approve) -> Result<(Report, String)> {
    let decisions = u64::from(arguments.decisions) * u64::from(arguments.seconds);
    ensure!(
        decisions <= u64::from(arguments.waiting),
        "{decisions} decisions need as many agents that wait; use more --waiting"
    );
    let sockets = arguments.waiting.div_ceil(STREAMS).max(16);
    let bed = Bed::start(&arguments.place, sockets as usize, DISK_BUDGET).await?;
    let leases = leases(&bed).await?;
    let rate = Rate { each_second: arguments.rate, length: seconds(arguments.seconds) };
    let (authorized, authorize) = authorize(&bed, &leases, rate).await?;
    bed.quiet().await;
    let approvals = ask(&bed, &leases, arguments.waiting).await?;
    let rate = Rate { each_second: arguments.decisions, length: seconds(arguments.seconds) };
    let (decided, decision) = decide(&bed, &approvals, rate).await?;
    let resident = bed.cluster.resident()?.now;
    let (errors, problems) = bed.stop().await?;
    let report = Report {
        scenario: "approve",
        store: arguments.place.store,
        rate: arguments.rate,
        authorized,
        authorize_ms: Latency::of(&authorize),
        waiting: arguments.waiting,
        decided,
        decision_to_agent_ms: Latency::of(&decision),
        server_rss_mib: rounded(resident, 1),
        errors,
    };
    Ok((report, problems))
}

#[derive(Clone, Copy)]
struct Rate {
    each_second: u32,
    length: Duration,
}

impl Rate {
    /// Each call as it is due.
    fn due(self) -> mpsc::Receiver<Instant> {
        let (from, each) = (clock::now(), Duration::from_secs(1) / self.each_second);
        let count = self.each_second * self.length.as_secs() as u32;
        clock::each((0..count).map(move |place| from + each * place))
    }
}

/// Steps that an agent has taken and works on.
async fn leases(bed: &Bed) -> Result<Arc<Vec<String>>> {
    let job = Job::single(16);
    load::create(&bed.connections, &job, &bed.board, LEASES.into(), JOIN_LIMIT).await?;
    let mut request = AcquireStepsRequest {
        agent: "bench".to_owned(),
        capabilities: vec![CAPABILITY.to_owned()],
        max_steps: LEASES as i32,
        lease: Some(prost_types::Duration { seconds: HOUR, nanos: 0 }),
        wait: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
        ..AcquireStepsRequest::default()
    };
    let mut held: Vec<Assign> = Vec::new();
    let end = clock::now() + JOIN_LIMIT;
    while held.len() < LEASES as usize {
        ensure!(clock::now() < end, "only {} of {LEASES} steps were given out", held.len());
        let answer = bed.connections.worker(0).acquire_steps(request.clone()).await?.into_inner();
        held.extend(answer.steps);
        request.session_token = answer.session_token;
        request.held_leases = held.iter().map(|assign| assign.lease_token.clone()).collect();
        request.max_steps = LEASES as i32 - held.len() as i32;
    }
    Ok(Arc::new(held.into_iter().map(|assign| assign.lease_token).collect()))
}

fn action(risky: bool, place: usize) -> pb::Action {
    let script = match risky {
        true => format!("rm -rf /var/lib/postgresql/{place}"),
        false => format!("git log --oneline -n {place}"),
    };
    let command = pb::CommandAction { script, ..pb::CommandAction::default() };
    pb::Action { kind: Some(pb::action::Kind::Command(command)) }
}

/// One Authorize.
async fn ask_once(
    connections: Arc<Connections>,
    leases: Arc<Vec<String>>,
    what: &'static str,
    place: usize,
    risky: bool,
) -> Result<pb::Approval> {
    let request = pb::AuthorizeRequest {
        lease_token: leases[place % leases.len()].clone(),
        request_key: format!("{what}-{place}"),
        action: Some(action(risky, place)),
        comment: String::new(),
    };
    let answer = connections.gate(place).authorize(request).await?.into_inner();
    let approval = answer.approval.context("an answer without an approval")?;
    let expected = if risky { pb::ApprovalState::Pending } else { pb::ApprovalState::Granted };
    ensure!(approval.state() == expected, "{:?}, not {expected:?}", approval.state());
    Ok(approval)
}

/// Calls at a steady rate; how many, and how long each took.
async fn authorize(bed: &Bed, leases: &Arc<Vec<String>>, rate: Rate) -> Result<(u64, Histogram<u64>)> {
    let mut running = JoinSet::new();
    let (mut calls, mut place) = (rate.due(), 0);
    while let Some(due) = calls.recv().await {
        let (connections, leases) = (Arc::clone(&bed.connections), Arc::clone(leases));
        running.spawn(async move {
            ask_once(connections, leases, "timed", place, place % 2 == 0).await?;
            Ok::<_, anyhow::Error>(due.elapsed())
        });
        place += 1;
    }
    collect(running, &bed.board.problems).await
}

async fn collect(
    mut running: JoinSet<Result<Duration>>,
    problems: &Problems,
) -> Result<(u64, Histogram<u64>)> {
    let mut times = histogram()?;
    while let Some(ended) = running.join_next().await {
        match ended? {
            Ok(took) => times.saturating_record(took.as_micros() as u64),
            Err(error) => problems.add(format!("a call failed: {error:#}")),
        }
    }
    Ok((times.len(), times))
}

/// So many that wait for people.
async fn ask(bed: &Bed, leases: &Arc<Vec<String>>, count: u32) -> Result<Vec<pb::Approval>> {
    let mut asked = Vec::with_capacity(count as usize);
    let mut running = JoinSet::new();
    for place in 0..count as usize {
        if running.len() >= 64
            && let Some(ended) = running.join_next().await
        {
            asked.push(ended??);
        }
        let (connections, leases) = (Arc::clone(&bed.connections), Arc::clone(leases));
        running.spawn(ask_once(connections, leases, "waiting", place, true));
    }
    while let Some(ended) = running.join_next().await {
        asked.push(ended??);
    }
    Ok(asked)
}

/// Decides on the first of them at a steady rate while all of them are waited for.
async fn decide(bed: &Bed, approvals: &[pb::Approval], rate: Rate) -> Result<(u64, Histogram<u64>)> {
    let (seen, mut sightings) = mpsc::channel(approvals.len());
    let mut waiting = JoinSet::new();
    for (place, approval) in approvals.iter().enumerate() {
        let (connections, seen, id) = (Arc::clone(&bed.connections), seen.clone(), approval.id.clone());
        waiting.spawn(async move {
            match wait(&connections, place, id).await {
                Ok(at) => drop(seen.send((place, Ok(at))).await),
                Err(error) => drop(seen.send((place, Err(error))).await),
            }
        });
    }
    // Until all of them wait.
    tokio::time::sleep(Duration::from_secs(3)).await;
    bed.quiet().await;
    let person = person(bed).await?;
    let mut deciding = JoinSet::new();
    let mut due_at = Vec::new();
    let mut calls = rate.due();
    while let Some(due) = calls.recv().await {
        let (person, approval) = (person.clone(), &approvals[due_at.len()]);
        due_at.push(due);
        let target = pb::DecisionTarget { approval_id: approval.id.clone(), digest: approval.digest.clone() };
        deciding.spawn(vote(person, target));
    }
    let mut times = histogram()?;
    let end = clock::now() + JOIN_LIMIT;
    for _ in 0..due_at.len() {
        let left = end.saturating_duration_since(clock::now());
        let sighting = tokio::time::timeout(left, sightings.recv()).await;
        let (place, at) =
            sighting.context("an agent never heard of its decision")?.context("nobody waits")?;
        match (at, due_at.get(place)) {
            (Ok(at), Some(due)) => times.saturating_record((at - *due).as_micros() as u64),
            (Ok(_), None) => bed.board.problems.add("an agent heard of a decision that nobody made"),
            (Err(error), _) => bed.board.problems.add(format!("a wait failed: {error:#}")),
        }
    }
    while let Some(ended) = deciding.join_next().await {
        if let Err(error) = ended? {
            bed.board.problems.add(format!("a decision failed: {error:#}"));
        }
    }
    waiting.shutdown().await;
    Ok((times.len(), times))
}

async fn vote(mut person: ApprovalServiceClient<Authorized>, target: pb::DecisionTarget) -> Result<()> {
    let request = pb::DecideApprovalsRequest {
        targets: vec![target],
        vote: pb::Vote::Approve.into(),
        ..pb::DecideApprovalsRequest::default()
    };
    let answer = person.decide_approvals(request).await?.into_inner();
    let granted = answer.approvals.iter().all(|one| one.state() == pb::ApprovalState::Granted);
    ensure!(granted, "one yes was not enough");
    Ok(())
}

/// Waits as an agent does, call after call; when it knew.
async fn wait(connections: &Connections, place: usize, id: String) -> Result<Instant> {
    loop {
        let wait = Some(prost_types::Duration { seconds: WAIT, nanos: 0 });
        let request = pb::AwaitApprovalRequest { approval_id: id.clone(), wait };
        let answer = connections.gate(place).await_approval(request).await?.into_inner();
        match answer.approval.map(|approval| approval.state()) {
            Some(pb::ApprovalState::Pending) => {}
            Some(pb::ApprovalState::Granted) => return Ok(clock::now()),
            other => anyhow::bail!("{other:?} instead of a grant"),
        }
    }
}

/// Somebody who may decide.
async fn person(bed: &Bed) -> Result<ApprovalServiceClient<Authorized>> {
    let request = CreateKeyRequest {
        display_name: "decider".to_owned(),
        roles: vec![Role::Approver.into()],
        all_projects: true,
        person: "decider".to_owned(),
        ..CreateKeyRequest::default()
    };
    let secret = bed.connections.keys(0).create_key(request).await?.into_inner().secret;
    let own = Connections::open(&bed.cluster.addresses(), &secret, 1).await?;
    Ok(own.approvals(0))
}

impl Figures for Report {
    fn errors(&self) -> u64 {
        self.errors
    }

    fn rows(&self) -> Vec<(String, String)> {
        vec![
            row("run", format!("{} on {}", self.scenario, self.store.words())),
            row(format!("Authorize at {}/s, ms", self.rate), self.authorize_ms.words()),
            row("answered", self.authorized.to_string()),
            row("decision to agent, ms", self.decision_to_agent_ms.words()),
            row("agents that wait", self.waiting.to_string()),
            row("decided", self.decided.to_string()),
            row("server's memory, MiB", format!("{:.0}", self.server_rss_mib)),
            row("errors", self.errors.to_string()),
        ]
    }
}
