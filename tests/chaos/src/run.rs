//! One run, from its beginning to its verdict.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use quarterdeck_client::CancellationToken;
use quarterdeck_core::task::{Event, State};
use quarterdeck_sim::aftermath;
use quarterdeck_sim::checks::Evidence;
use quarterdeck_sim::dice::Dice;
use quarterdeck_sim::history::{Answer, Fact};
use quarterdeck_store::SqlStore;
use quarterdeck_store::sql::PgOptions;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::agent::Agent;
use crate::client::{Client, Crowd};
use crate::feed::Feed;
use crate::nemesis::{self, Tally};
use crate::plan::{KILLS_DUE, REPLICAS, Strike, plan};
use crate::site::Site;
use crate::verdict;
use crate::worker;
use crate::world::{PATIENCE, World};

const AGENTS: usize = 8;
const CLIENTS: usize = 8;
/// Time after the last mending within which everything has to end.
const HEAL_MAX: Duration = Duration::from_secs(120);
/// Tasks that a minute must have seen ending: far fewer than a slow machine does.
const TASKS_DUE: f64 = 60.0;
/// Violations that are shown with what the record has on them.
const SHOWN: usize = 5;

/// What to run.
#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    /// How long trouble goes on; beginning and verdict come on top.
    pub length: Duration,
    /// Where what is wrong is kept, in a directory named after the seed.
    pub keep: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub tally: Tally,
    /// Tasks, those that succeeded, and steps that did.
    pub tasks: usize,
    pub succeeded: usize,
    pub steps: usize,
    pub retried: usize,
    /// Calls of clients, and how many had no definite answer.
    pub calls: usize,
    pub ambiguous: usize,
    pub watched: usize,
    /// Connections of agents, and how many of them went on with an earlier session.
    pub sessions: usize,
    pub resumed: usize,
    /// From the first strike to the last mending.
    pub trouble: Duration,
    /// From then until everything had ended.
    pub healing: Duration,
    pub violations: Vec<String>,
    /// Why this run proves nothing.
    pub void: Vec<String>,
    /// Where the record and the logs are, if anything is wrong.
    pub kept: Option<PathBuf>,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.void.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { kills, pauses, cuts, redis, postgres, refused_starts } = self.tally;
        write!(
            f,
            "kills {kills} pauses {pauses} cuts {cuts} redis {redis} postgres {postgres} refused_starts \
             {refused_starts}\ntasks {} succeeded {} steps {} attempts_lost {} calls {} ambiguous {} \
             watch_frames {} sessions {} resumed {}\ntrouble for {:.0} s, healed in {:.1} s, violations {}",
            self.tasks,
            self.succeeded,
            self.steps,
            self.retried,
            self.calls,
            self.ambiguous,
            self.watched,
            self.sessions,
            self.resumed,
            self.trouble.as_secs_f64(),
            self.healing.as_secs_f64(),
            self.violations.len()
        )
    }
}

/// Runs it. An error is one of the machine, not of what is tested.
///
/// # Errors
/// When a program is missing or the site does not start.
pub async fn run(setup: &Setup) -> Result<Report> {
    let strikes = plan(setup.seed, setup.length);
    let site = Arc::new(Site::start().await?);
    let world = World::new(site.ports(), site.credential());
    let stop = CancellationToken::new();
    // Dice of their own: what people do is no part of the plan.
    let clients = people(&world, &Dice::new(!setup.seed), &stop).await?;
    let began = Instant::now();
    let (tally, mut violations) = nemesis::haunt(&site, &strikes, &world).await;
    world.enough.cancel();
    world.heal();
    let (trouble, healed) = (began.elapsed(), Instant::now());
    let store = SqlStore::open_postgres(site.database.url(), PgOptions::default()).await?;
    let left = quiet(&store, &world, clients, healed + HEAL_MAX).await;
    violations.extend(left.into_iter().map(|what| format!("stuck after healing: {what}")));
    let healing = healed.elapsed();
    stop.cancel();
    violations.extend(world.send_home().await);

    let tasks = aftermath::tasks(&store, &mut violations).await?;
    store.close().await;
    let evidence = verdict::evidence(world.record.entries(), tasks);
    violations.extend(verdict::violations(&evidence));
    violations.extend(site.stop().await);
    for (replica, log) in site.logs().await?.iter().enumerate() {
        violations.extend(verdict::alarms(replica, log));
    }
    let mut report = Report { tally, trouble, healing, violations, ..count(&evidence) };
    report.void = void(&report, &strikes, setup.length);
    if !report.is_good() {
        report.kept = Some(keep(setup, &site, &evidence, &report).await?);
    }
    Ok(report)
}

/// Sends everybody off; the future ends when all clients have.
async fn people(world: &World, dice: &Dice, stop: &CancellationToken) -> Result<CancellationToken> {
    // The feed's first frame is this task, before anybody works on it.
    let crowd = Crowd::default();
    Client::new(world.clone(), crowd.clone(), CLIENTS, dice.fork()).create().await;
    let (first, told) = oneshot::channel();
    world.spawn(Feed::whole(world.clone(), dice.fork(), first).live());
    timeout(PATIENCE * 3, told).await.context("the feed has no first frame")??;
    world.spawn(Feed::live_again_and_again(world.clone(), dice.fork()));
    for index in 0..AGENTS {
        world.spawn(Agent::new(world.clone(), index, dice.fork()).live());
    }
    for replica in 0..REPLICAS {
        let (world_, dice, stop) = (world.clone(), dice.fork(), stop.clone());
        world.spawn(worker::live(world_, AGENTS + replica, replica, dice, stop));
    }
    let (done, all) = (CancellationToken::new(), Arc::new(tokio::sync::Semaphore::new(CLIENTS)));
    for index in 0..CLIENTS {
        let client = Client::new(world.clone(), crowd.clone(), index, dice.fork());
        let busy = Arc::clone(&all).acquire_owned().await?;
        world.spawn(async move {
            client.live().await;
            drop(busy);
        });
    }
    let told = done.clone();
    world.spawn(async move {
        let _all = all.acquire_many(CLIENTS as u32).await;
        told.cancel();
    });
    Ok(done)
}

/// Waits until nothing is left to do; what is left at the end of the time.
async fn quiet(store: &SqlStore, world: &World, clients: CancellationToken, end: Instant) -> Vec<String> {
    let mut left = vec!["clients are still waiting".to_owned()];
    if tokio::time::timeout_at(end, clients.cancelled()).await.is_err() {
        return left;
    }
    while !left.is_empty() && Instant::now() < end {
        sleep(Duration::from_millis(250)).await;
        left = match unfinished(store, world).await {
            Ok(left) => left,
            Err(error) => vec![format!("the database cannot be read: {error:#}")],
        };
    }
    left
}

async fn unfinished(store: &SqlStore, world: &World) -> Result<Vec<String>> {
    let mut left = aftermath::unfinished(store).await?;
    let watching = world.watching().load(Ordering::Relaxed);
    if watching > 0 {
        left.push(format!("{watching} watchers have not seen the end"));
    }
    if left.is_empty() {
        let (tasks, fed) = (aftermath::count(store).await?, world.fed().load(Ordering::Relaxed));
        if fed < tasks {
            left.push(format!("the project's feed has seen {fed} of {tasks} tasks ending"));
        }
    }
    Ok(left)
}

fn count(evidence: &Evidence) -> Report {
    let mut report = Report { tasks: evidence.tasks.len(), ..Report::default() };
    for task in evidence.tasks.values() {
        report.succeeded += usize::from(task.state == State::Succeeded);
        for event in &task.events {
            report.steps += usize::from(matches!(event.event, Event::Succeeded { .. }));
            report.retried += usize::from(matches!(&event.event, Event::Failed { number: 0, .. }));
        }
    }
    for entry in &evidence.entries {
        match &entry.fact {
            Fact::Invoked { .. } => report.calls += 1,
            Fact::Answered { answer: Answer::Failed(_) | Answer::Silence, .. } => report.ambiguous += 1,
            Fact::WatchEvent { .. } => report.watched += 1,
            Fact::Welcomed { resumed, .. } => {
                report.sessions += 1;
                report.resumed += usize::from(*resumed);
            }
            _ => {}
        }
    }
    report
}

/// Too little trouble or too little work.
fn void(report: &Report, strikes: &[Strike], length: Duration) -> Vec<String> {
    let minutes = length.as_secs_f64() / 60.0;
    let (kills, tasks) = ((KILLS_DUE * minutes).floor() as usize, (TASKS_DUE * minutes).floor() as usize);
    let mut void = Vec::new();
    let mut least = |what: &str, is: usize, due: usize| {
        if is < due {
            void.push(format!("only {is} {what}, {due} are due"));
        }
    };
    let Tally { kills: killed, pauses, cuts, redis, postgres, .. } = report.tally;
    least("strikes", killed + pauses + cuts + redis + postgres, strikes.len());
    least("kills", killed, kills);
    least("tasks that succeeded", report.succeeded, tasks);
    least("sessions resumed", report.resumed, kills / 2);
    void
}

async fn keep(setup: &Setup, site: &Site, evidence: &Evidence, report: &Report) -> Result<PathBuf> {
    let directory = setup.keep.join(format!("seed-{}", setup.seed));
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot write {}", directory.display()))?;
    site.save_logs(&directory).await?;
    let write = |name: &str, text: String| write(&directory, name, &text);
    write("history", verdict::history(evidence))?;
    let mut wrong = String::new();
    for violation in report.violations.iter().take(SHOWN) {
        wrong += &format!("{violation}\n{}", verdict::excerpt(evidence, violation));
    }
    write("violations", report.violations.join("\n") + "\n\n" + &wrong)?;
    println!("{wrong}");
    Ok(directory)
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
