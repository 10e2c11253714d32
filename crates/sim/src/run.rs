//! One seed, from its beginning to its verdict.

use std::fmt::Write as _;

use quarterdeck_core::{Span, Timestamp};
use quarterdeck_store::sql::SqliteOptions;
use quarterdeck_store::{SqlStore, StoreError};

use crate::aftermath;
use crate::agent::Agent;
use crate::checks::{self, Evidence, text};
use crate::client::{Client, Crowd, Zeal};
use crate::dice::Dice;
use crate::executor::Executor;
use crate::history::{Entry, Fact, lines};
use crate::inline::{Inline, finish};
use crate::judge::Judge;
use crate::nemesis;
use crate::ports::EPOCH;
use crate::project_watcher::ProjectWatchers;
use crate::watcher::Watchers;
use crate::world::World;

/// Virtual time after which clients have to be done.
const WORK_MAX: Span = Span::from_secs(1_800);
/// Virtual time after healing within which everything has to end.
const HEAL_MAX: Span = Span::from_secs(180);
const SLICE: Span = Span::from_millis(500);

/// What to run.
#[derive(Clone, Debug)]
pub struct Setup {
    pub seed: u64,
    /// About how many things are asked of replicas before the world heals: calls
    /// of clients, words of agents, connections.
    pub ops: usize,
    /// Whether to write down everything that happened.
    pub log: bool,
    #[cfg(feature = "canary")]
    pub canary: Option<crate::canary::Canary>,
}

impl Setup {
    pub fn new(seed: u64, ops: usize) -> Self {
        Self {
            seed,
            ops,
            log: true,
            #[cfg(feature = "canary")]
            canary: None,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub seed: u64,
    /// Things asked of replicas.
    pub operations: usize,
    /// Calls of clients, and how many of them had a definite answer.
    pub calls: usize,
    pub answered: usize,
    pub tasks: usize,
    /// Approvals, each a race of its own.
    pub approvals: usize,
    pub turns: u64,
    pub violations: Vec<String>,
    /// Why this run proves nothing.
    pub void: Option<String>,
    /// Everything that happened, one line each, if asked for; the same for the same seed.
    pub log: String,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.void.is_none()
    }
}

/// Everybody who uses the world.
struct People {
    crowd: Crowd,
    watchers: Watchers,
    projects: ProjectWatchers,
}

/// Runs one seed. An error is one of the machine, not of what is tested.
pub fn run(setup: &Setup) -> Result<Report, StoreError> {
    let dice = Dice::new(setup.seed);
    let executor = Executor::new(dice.fork());
    let clock = executor.clone();
    let options = SqliteOptions {
        clock: std::sync::Arc::new(move || Timestamp::from_micros(EPOCH + clock.now())),
        ..SqliteOptions::default()
    };
    let store = Inline::new(finish(SqlStore::memory_with(options))?);
    let replicas = dice.between(2, 4) as usize;
    let world = World::new(executor.clone(), dice.fork(), base(setup, &store, dice.fork()), replicas);
    let people = people(&world, &dice, setup);

    while people.crowd.left() > 0 && executor.now() < WORK_MAX.as_micros() {
        executor.run_for(SLICE);
    }
    let mut violations = Vec::new();
    if people.crowd.left() > 0 {
        violations.push(format!("stuck: {} clients are still waiting", people.crowd.left()));
    }
    world.heal();
    violations.extend(heal(&executor, &store, &people)?);
    violations.extend(executor.panics().into_iter().map(|why| format!("panic: {why}")));

    let (operations, turns) = (world.history.operations(), executor.turns());
    let evidence = evidence(&store, world.history.take(), &mut violations)?;
    world.shut_down();
    violations.extend(checks::violations(&evidence));
    Ok(report(setup, Report { operations, turns, violations, ..Report::default() }, &evidence))
}

#[cfg(feature = "canary")]
fn base(setup: &Setup, store: &Inline, dice: Dice) -> Inline {
    store.with(crate::canary::Planted::new(setup.canary, dice))
}

#[cfg(not(feature = "canary"))]
fn base(_setup: &Setup, store: &Inline, _dice: Dice) -> Inline {
    store.clone()
}

fn people(world: &World, dice: &Dice, setup: &Setup) -> People {
    for index in 0..world.replicas() {
        world.start(index);
    }
    let agents = dice.between(3, 8) as usize;
    for index in 0..agents {
        Agent::new(world.clone(), index, dice.fork()).send_off();
    }
    let (crowd, watchers, projects) = (Crowd::default(), Watchers::default(), ProjectWatchers::default());
    let zeal = Zeal { operations: setup.ops, pause: dice.between(50, 250), agents };
    for index in 0..dice.between(4, 10) as usize {
        let (world, crowd, watchers) = (world.clone(), crowd.clone(), watchers.clone());
        Client { world, crowd, watchers, index, dice: dice.fork() }.send_off(zeal);
    }
    for index in 0..dice.between(4, 9) as usize {
        Judge { world: world.clone(), index, dice: dice.fork() }.send_off();
    }
    for watch in 0..dice.between(1, 3) as u64 {
        projects.follow(world, watch, dice.fork());
    }
    nemesis::let_loose(world, dice.fork());
    People { crowd, watchers, projects }
}

/// Runs on until everything has come to its end; what has not.
fn heal(executor: &Executor, store: &Inline, people: &People) -> Result<Vec<String>, StoreError> {
    let end = executor.now() + HEAL_MAX.as_micros();
    let (mut quiet, mut left) = (None, Vec::new());
    while executor.now() < end {
        executor.run_for(SLICE);
        left = unfinished(store, &people.watchers)?;
        if left.is_empty() {
            // Whoever follows the project learns that nothing more comes.
            let quiet = *quiet.get_or_insert(executor.now() + SLICE.as_micros());
            match people.projects.behind(quiet) {
                0 => break,
                behind => left.push(format!("{behind} watchers of the project hear nothing")),
            }
        }
    }
    Ok(left.into_iter().map(|what| format!("stuck after healing: {what}")).collect())
}

/// What has not come to its end.
fn unfinished(store: &Inline, watchers: &Watchers) -> Result<Vec<String>, StoreError> {
    let mut left = finish(aftermath::unfinished(store))?;
    if watchers.open() > 0 {
        left.push(format!("{} watchers have not seen the end", watchers.open()));
    }
    Ok(left)
}

/// The history, and all tasks as the store has them.
fn evidence(
    store: &Inline,
    entries: Vec<Entry>,
    violations: &mut Vec<String>,
) -> Result<Evidence, StoreError> {
    let tasks = finish(aftermath::tasks(store, violations))?;
    let contents = finish(aftermath::contents(store, &tasks))?;
    let (approvals, policy) = finish(aftermath::approvals(store, violations))?;
    let order = finish(aftermath::order(store))?;
    let audit = finish(aftermath::audit(store))?;
    Ok(Evidence { entries, tasks, order, contents, approvals, policy, audit })
}

fn report(setup: &Setup, so_far: Report, evidence: &Evidence) -> Report {
    let (calls, answered) = count(&evidence.entries);
    let Report { operations, turns, violations, .. } = so_far;
    let void = if operations < setup.ops {
        Some(format!("only {operations} operations of {}", setup.ops))
    } else if answered * 4 < calls {
        Some(format!("only {answered} of {calls} calls had an answer"))
    } else {
        None
    };
    let (tasks, approvals) = (evidence.tasks.len(), evidence.approvals.len());
    let report = Report {
        seed: setup.seed,
        operations,
        calls,
        answered,
        tasks,
        approvals,
        turns,
        violations,
        void,
        log: String::new(),
    };
    let log = if setup.log { written(&report, evidence) } else { String::new() };
    Report { log, ..report }
}

/// Everything that happened, the logs of all tasks, and what is wrong.
fn written(report: &Report, evidence: &Evidence) -> String {
    let mut log = lines(&evidence.entries);
    for (id, task) in &evidence.tasks {
        let _ = writeln!(log, "{id} {:?}", task.state);
        for event in &task.events {
            let _ = writeln!(log, "  {}", text(event));
        }
    }
    let Report { seed, turns, calls, answered, .. } = report;
    let _ = writeln!(log, "seed {seed} turns {turns} calls {calls} answered {answered}");
    for violation in &report.violations {
        let _ = writeln!(log, "VIOLATION {violation}");
    }
    log
}

fn count(entries: &[Entry]) -> (usize, usize) {
    let calls = entries.iter().filter(|entry| matches!(entry.fact, Fact::Invoked { .. })).count();
    let answered = entries.iter().filter(|entry| match &entry.fact {
        Fact::Answered { answer, .. } => !answer.is_open(),
        _ => false,
    });
    (calls, answered.count())
}
