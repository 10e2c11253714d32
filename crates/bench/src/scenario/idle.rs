//! Everybody is there and nothing happens: each agent's session holds a step that
//! takes long, each watcher waits for the next event of one such task. What the
//! server uses meanwhile is pings, renewals, heartbeats and sweeps.
//!
//! At the end the agents finish, and every watcher must see its task end: sessions
//! and watches that had died unnoticed would show.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{DISK_BUDGET, OVERHEAD, seconds};
use crate::agents::{Agents, Crew, SLOTS_MAX};
use crate::arguments::{Place, StoreKind};
use crate::bed::Bed;
use crate::clock;
use crate::cluster::Shares;
use crate::load::{self, Job};
use crate::report::{self, Figures, rounded, row};
use crate::watchers::{self, Heartbeats};

const JOIN_LIMIT: Duration = Duration::from_secs(120);
/// Creating tasks at a time.
const CREATING: u32 = 64;

#[derive(Clone, Debug, Args)]
pub struct Idle {
    #[command(flatten)]
    place: Place,
    /// Sessions of agents.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: u32,
    /// Watchers, each of a task of its own.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    watchers: u32,
    /// Connections that sessions and watchers share; each takes at most 1,024 of them.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=8_000))]
    sockets: u32,
    /// Length of the measured window.
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Seconds to wait before it, after everybody has come.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=600))]
    settle: u32,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    store: StoreKind,
    sessions: u32,
    watchers: u32,
    sockets: u32,
    seconds: f64,
    cpu_percent: Shares,
    server_rss_mib: f64,
    server_rss_peak_mib: f64,
    /// Answers to pings within the window.
    pongs: u64,
    /// Frames without an event that watchers had within the window.
    heartbeats: u64,
    /// Commits within the window: none is needed.
    commits: u64,
    errors: u64,
}

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, or a session or watch is lost.
pub async fn run(arguments: Idle) -> Result<()> {
    let limit = seconds(arguments.settle) + seconds(arguments.seconds) + 3 * JOIN_LIMIT + OVERHEAD;
    report::conclude(&arguments.place, limit, measure(&arguments)).await
}

async fn measure(arguments: &Idle) -> Result<(Report, String)> {
    let streams = (arguments.sessions + arguments.watchers).div_ceil(arguments.sockets);
    ensure!(streams <= 1_000, "a connection takes at most 1,024 streams; use more --sockets");
    let mut bed = Bed::start(&arguments.place, arguments.sockets as usize, DISK_BUDGET).await?;
    let crew = Crew {
        sessions: arguments.sessions as usize,
        slots: arguments.watchers.div_ceil(arguments.sessions).min(SLOTS_MAX),
        steps: 1,
        begin: CancellationToken::new(),
    };
    let agents = Agents::start(&bed.connections, &bed.board, &crew).await?;
    let job = Job::single(CREATING);
    let tasks =
        load::create(&bed.connections, &job, &bed.board, arguments.watchers.into(), JOIN_LIMIT).await?;
    let board = Arc::clone(&bed.board);
    let given = || board.assigned.load(Ordering::Relaxed) >= tasks.len() as u64;
    clock::until("every step to be with an agent", JOIN_LIMIT, given).await?;
    let heartbeats = Heartbeats::default();
    let mut following = JoinSet::new();
    for watcher in watchers::open(&bed.connections, tasks.iter().cloned(), &heartbeats).await? {
        following.spawn(watcher.follow(|_| {}));
    }

    tokio::time::sleep(seconds(arguments.settle)).await;
    let mut report = quiet(arguments, &bed, &heartbeats).await?;
    bed.cluster.check()?;

    crew.begin.cancel();
    let ended = timeout(JOIN_LIMIT, async {
        while let Some(followed) = following.join_next().await {
            match followed? {
                // The step succeeded, the task ended.
                Ok(2) => {}
                Ok(events) => bed.board.problems.add(format!("a watcher saw {events} events, not 2")),
                Err(error) => bed.board.problems.add(format!("a watch broke: {error:#}")),
            }
        }
        Ok::<_, anyhow::Error>(())
    });
    match ended.await {
        Ok(ended) => ended?,
        Err(_) => bed.board.problems.add_many(following.len() as u64, "a watcher never saw its task end"),
    }
    let board = Arc::clone(&bed.board);
    let landed = || board.finished.load(Ordering::Relaxed) >= tasks.len() as u64;
    clock::until("every completion to be acknowledged", JOIN_LIMIT, landed).await?;
    agents.stop(&bed.board).await;
    let missing = tasks.iter().filter(|task| !bed.board.flights.take(task)).count();
    bed.board.problems.add_many(missing as u64, "a task was not finished");
    bed.audit_thoroughly().await?;
    let (errors, problems) = bed.stop().await?;
    report.errors = errors;
    Ok((report, problems))
}

/// Looks at the quiet server for the length of the window.
async fn quiet(arguments: &Idle, bed: &Bed, heartbeats: &Heartbeats) -> Result<Report> {
    let (board, cluster) = (&bed.board, &bed.cluster);
    let counters = cluster.counters().await?;
    let (pongs, beats) = (board.pongs.load(Ordering::Relaxed), heartbeats.load(Ordering::Relaxed));
    let (begun, used) = (clock::now(), cluster.used());
    tokio::time::sleep(seconds(arguments.seconds)).await;
    let (used, length) = (cluster.used().since(used), begun.elapsed().as_secs_f64());
    let resident = cluster.resident()?;
    let pongs = board.pongs.load(Ordering::Relaxed) - pongs;
    let beats = heartbeats.load(Ordering::Relaxed) - beats;
    let now = cluster.counters().await?;
    for (there, expected, what) in
        [(now.sessions, arguments.sessions, "sessions"), (now.watches, arguments.watchers, "watches")]
    {
        let words = format!("{there} {what} at the end of the window, not {expected}");
        board.problems.add_many(there.abs_diff(expected.into()), words);
    }
    Ok(Report {
        scenario: "idle",
        store: arguments.place.store,
        sessions: arguments.sessions,
        watchers: arguments.watchers,
        sockets: arguments.sockets,
        seconds: rounded(length, 3),
        cpu_percent: used.percent(length),
        server_rss_mib: resident.now,
        server_rss_peak_mib: resident.peak,
        pongs,
        heartbeats: beats,
        commits: now.since(counters).commits,
        errors: 0,
    })
}

impl Figures for Report {
    fn errors(&self) -> u64 {
        self.errors
    }

    fn rows(&self) -> Vec<(String, String)> {
        vec![
            row(
                "run",
                format!(
                    "idle on {}, {} sessions and {} watchers over {} sockets, {:.0} s",
                    self.store.words(),
                    self.sessions,
                    self.watchers,
                    self.sockets,
                    self.seconds
                ),
            ),
            row("processor, % of a core", self.cpu_percent.words()),
            row(
                "server's memory, MiB",
                format!("{:.0}, at most {:.0}", self.server_rss_mib, self.server_rss_peak_mib),
            ),
            row("pings answered", self.pongs.to_string()),
            row("watchers' heartbeats", self.heartbeats.to_string()),
            row("commits", self.commits.to_string()),
            row("errors", self.errors.to_string()),
        ]
    }
}
