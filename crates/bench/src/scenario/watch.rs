//! One task, many watchers: an agent speaks of its progress, and every watcher is
//! to have each event soon after its commit.
//!
//! Three delays of the same receptions: since the event's own time (the database's
//! clock when the commit began, so the disk sync is in it), since the agent had its
//! acknowledgement, and since the agent spoke. Generator, server and database share
//! one machine and its clock.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::session_request::Message as Up;
use quarterdeck_api::orchestration::v1::session_response::Message as Down;
use quarterdeck_api::orchestration::v1::task_event::Kind;
use quarterdeck_engine::ports::{Clock, SystemClock};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout};

use super::{DISK_BUDGET, OVERHEAD, seconds};
use crate::agents::Line;
use crate::arguments::{Place, StoreKind};
use crate::bed::Bed;
use crate::clock;
use crate::cluster::Shares;
use crate::load::{self, Job, Shape};
use crate::report::{self, Figures, Latency, rounded, row};
use crate::watchers::{self, Heartbeats};

const LIMIT: Duration = Duration::from_secs(60);
/// Between two words on one step: of those within a quarter of a second only the
/// last is recorded, and the machine may be late.
const WORD_EVERY: f64 = 0.5;

#[derive(Clone, Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    place: Place,
    /// Watchers of the one task.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    watchers: u32,
    /// Connections that they share; each takes at most 1,024 of them.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=8_000))]
    sockets: u32,
    /// Events of the task each second.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=200))]
    events_per_s: u32,
    /// Seconds for which the agent speaks.
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    store: StoreKind,
    watchers: u32,
    sockets: u32,
    seconds: f64,
    /// Words of the agent that were recorded as events.
    events: u64,
    /// Words that were not, because a later one came too soon.
    coalesced: u64,
    /// Events times watchers: each had each exactly once.
    deliveries: u64,
    deliveries_per_s: f64,
    commit_to_seen_ms: Latency,
    ack_to_seen_ms: Latency,
    sent_to_seen_ms: Latency,
    cpu_percent: Shares,
    server_rss_mib: f64,
    disk_sync_ms: f64,
    errors: u64,
}

/// Runs it and prints the figures.
///
/// # Errors
/// When a process does not start or ends early, or a watcher misses an event.
pub async fn run(arguments: Watch) -> Result<()> {
    let limit = seconds(arguments.seconds) + 4 * LIMIT + OVERHEAD;
    report::conclude(&arguments.place, limit, measure(&arguments)).await
}

/// One word of the agent.
struct Word {
    sent: Instant,
    acknowledged: Option<Instant>,
}

/// One reception of it.
struct Seen {
    word: usize,
    at: Instant,
    /// Since the event's own time.
    micros: u64,
}

async fn measure(arguments: &Watch) -> Result<(Report, String)> {
    ensure!(arguments.watchers.div_ceil(arguments.sockets) < 1_000, "use more --sockets");
    let mut bed = Bed::start(&arguments.place, arguments.sockets as usize, DISK_BUDGET).await?;
    let steps = (f64::from(arguments.events_per_s) * WORD_EVERY).ceil().max(1.0) as u32;
    let job = Job { steps, shape: Shape::Wide, ..Job::single(1) };
    let task = load::create(&bed.connections, &job, &bed.board, 1, LIMIT).await?.pop();
    let task = task.context("the task was not created")?;
    let agent = Line::open(&bed.connections, 0, steps).await?;
    let mut speaker = timeout(LIMIT, Speaker::given(agent, steps)).await.context("steps did not come")??;

    let heartbeats = Heartbeats::default();
    let tasks = std::iter::repeat_n(task, arguments.watchers as usize);
    let expected = (arguments.events_per_s * arguments.seconds) as usize;
    let mut following = JoinSet::new();
    for watcher in watchers::open(&bed.connections, tasks, &heartbeats).await? {
        following.spawn(async move {
            let mut seen = Vec::with_capacity(expected);
            watcher.follow(|event| seen.extend(received(event))).await.map(|_| seen)
        });
    }

    let (begun, used) = (clock::now(), bed.cluster.used());
    let limit = seconds(arguments.seconds) + LIMIT;
    let speaking = speaker.speak(expected, f64::from(arguments.events_per_s));
    timeout(limit, speaking).await.context("the agent was not acknowledged in time")??;
    let (used, length) = (bed.cluster.used().since(used), begun.elapsed().as_secs_f64());
    let server_rss_mib = bed.cluster.resident()?.now;
    timeout(LIMIT, speaker.finish()).await.context("the steps could not be finished")??;
    bed.board.steps.fetch_add(steps.into(), Ordering::Relaxed);
    bed.board.finished.fetch_add(1, Ordering::Relaxed);

    let delays = timeout(LIMIT, collect(&bed, following, &speaker.words)).await;
    let delays = delays.context("a watch did not end with its task")??;
    timeout(LIMIT, speaker.line.bye()).await.context("the session did not end after Bye")?;
    bed.cluster.check()?;
    bed.audit_thoroughly().await?;
    let disk_sync_ms = rounded(bed.disk_sync_ms, 3);
    let (errors, problems) = bed.stop().await?;
    let report = Report {
        scenario: "watch",
        store: arguments.place.store,
        watchers: arguments.watchers,
        sockets: arguments.sockets,
        seconds: rounded(length, 3),
        events: delays.events,
        coalesced: (expected as u64).saturating_sub(delays.events),
        deliveries: delays.commit.len(),
        deliveries_per_s: rounded(delays.commit.len() as f64 / length, 0),
        commit_to_seen_ms: Latency::of(&delays.commit),
        ack_to_seen_ms: Latency::of(&delays.acknowledgement),
        sent_to_seen_ms: Latency::of(&delays.sent),
        cpu_percent: used.percent(length),
        server_rss_mib,
        disk_sync_ms,
        errors,
    };
    Ok((report, problems))
}

/// What a watcher keeps of an event: words of the agent carry their number.
fn received(event: &pb::TaskEvent) -> Option<Seen> {
    let (at, wall) = (clock::now(), SystemClock.now().as_micros());
    let Some(Kind::StepProgressed(progressed)) = &event.kind else { return None };
    let time = event.time.as_ref()?;
    let committed = time.seconds * 1_000_000 + i64::from(time.nanos / 1_000);
    let micros = u64::try_from(wall - committed).unwrap_or(0);
    Some(Seen { word: progressed.message.parse().ok()?, at, micros })
}

struct Delays {
    events: u64,
    commit: Histogram<u64>,
    acknowledgement: Histogram<u64>,
    sent: Histogram<u64>,
}

/// Brings together what was said and what was seen.
async fn collect(bed: &Bed, mut following: JoinSet<Result<Vec<Seen>>>, words: &[Word]) -> Result<Delays> {
    let mut delays = Delays {
        events: 0,
        commit: load::histogram()?,
        acknowledgement: load::histogram()?,
        sent: load::histogram()?,
    };
    let mut first = true;
    while let Some(followed) = following.join_next().await {
        let seen = match followed? {
            Ok(seen) => seen,
            Err(error) => {
                bed.board.problems.add(format!("a watch broke: {error:#}"));
                continue;
            }
        };
        if std::mem::take(&mut first) {
            delays.events = seen.len() as u64;
        }
        if delays.events != seen.len() as u64 {
            bed.board.problems.add("two watchers saw different numbers of events");
        }
        for Seen { word, at, micros } in seen {
            let word = words.get(word).context("an event speaks of a word that was never said")?;
            let since = |then: Instant| at.saturating_duration_since(then).as_micros() as u64;
            delays.commit.saturating_record(micros);
            delays.sent.saturating_record(since(word.sent));
            if let Some(acknowledged) = word.acknowledged {
                delays.acknowledgement.saturating_record(since(acknowledged));
            }
        }
    }
    Ok(delays)
}

/// The agent that holds all steps of the task.
struct Speaker {
    line: Line,
    leases: Vec<String>,
    /// Numbers used so far, by lease.
    numbers: HashMap<String, i64>,
    /// Number and place in `words` of what is not acknowledged yet, by lease.
    open: HashMap<String, Vec<(i64, usize)>>,
    words: Vec<Word>,
}

impl Speaker {
    /// Waits until so many steps were given.
    async fn given(mut line: Line, steps: u32) -> Result<Self> {
        let mut leases = Vec::new();
        while leases.len() < steps as usize {
            let message = line.incoming.message().await?.context("the server ended the session")?;
            match message.message {
                Some(Down::Assign(assign)) => leases.push(assign.lease_token),
                Some(Down::Pong(_)) | None => {}
                Some(other) => bail!("the agent was told {other:?}"),
            }
        }
        Ok(Self { line, leases, numbers: HashMap::new(), open: HashMap::new(), words: Vec::new() })
    }

    /// Speaks `words` times, evenly, of one step after the other; returns when all
    /// of it is acknowledged.
    async fn speak(&mut self, words: usize, per_s: f64) -> Result<()> {
        let mut turn = tokio::time::interval(Duration::from_secs_f64(1.0 / per_s));
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.words.len() < words || !self.open.is_empty() {
            tokio::select! {
                biased;
                message = self.line.incoming.message() => self.told(message?)?,
                _ = self.line.ping.tick() => self.send(Up::Ping(pb::Ping {})).await?,
                _ = turn.tick(), if self.words.len() < words => {
                    let word = self.words.len();
                    let (lease_token, number) = self.next(word);
                    let fraction = word as f64 / words as f64;
                    let message = word.to_string();
                    self.words.push(Word { sent: clock::now(), acknowledged: None });
                    let progress = pb::Progress { lease_token, number, fraction, message, ..pb::Progress::default() };
                    self.send(Up::Progress(progress)).await?;
                }
            }
        }
        Ok(())
    }

    /// Completes all steps; returns when that is acknowledged.
    async fn finish(&mut self) -> Result<()> {
        for place in 0..self.leases.len() {
            let (lease_token, number) = self.next(place);
            self.words.push(Word { sent: clock::now(), acknowledged: None });
            self.send(Up::Complete(pb::Complete { lease_token, number, output: None })).await?;
        }
        while !self.open.is_empty() {
            let message = self.line.incoming.message().await?;
            self.told(message)?;
        }
        Ok(())
    }

    /// The lease whose turn it is, and the number of its next message.
    fn next(&mut self, turn: usize) -> (String, i64) {
        let lease = self.leases[turn % self.leases.len()].clone();
        let number = self.numbers.entry(lease.clone()).or_default();
        *number += 1;
        self.open.entry(lease.clone()).or_default().push((*number, self.words.len()));
        (lease, *number)
    }

    fn told(&mut self, message: Option<pb::SessionResponse>) -> Result<()> {
        let at = clock::now();
        match message.context("the server ended the session")?.message {
            Some(Down::Ack(ack)) => {
                let Some(open) = self.open.get_mut(&ack.lease_token) else {
                    bail!("a lease was acknowledged that nothing was said of");
                };
                for (number, word) in std::mem::take(open) {
                    if number > ack.up_to {
                        open.push((number, word));
                    } else if let Some(word) = self.words.get_mut(word) {
                        word.acknowledged = Some(at);
                    }
                }
                if open.is_empty() {
                    self.open.remove(&ack.lease_token);
                }
            }
            Some(Down::Pong(_)) | None => {}
            Some(other) => bail!("the agent was told {other:?}"),
        }
        Ok(())
    }

    async fn send(&self, message: Up) -> Result<()> {
        ensure!(self.line.send(message).await, "the session's connection is gone");
        Ok(())
    }
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
                    "watch on {}, {} watchers over {} sockets, {} events in {:.1} s",
                    self.store.words(),
                    self.watchers,
                    self.sockets,
                    self.events,
                    self.seconds
                ),
            ),
            row("commit to seen, ms", self.commit_to_seen_ms.words()),
            row("acknowledged to seen, ms", self.ack_to_seen_ms.words()),
            row("said to seen, ms", self.sent_to_seen_ms.words()),
            row("deliveries", format!("{}, {:.0}/s", self.deliveries, self.deliveries_per_s)),
            row("words coalesced", self.coalesced.to_string()),
            row("processor, % of a core", self.cpu_percent.words()),
            row("server's memory, MiB", format!("{:.0}", self.server_rss_mib)),
            row("disk sync, ms", format!("{:.3}", self.disk_sync_ms)),
            row("errors", self.errors.to_string()),
        ]
    }
}
