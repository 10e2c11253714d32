//! One seed, from its beginning to its verdict.

use std::fmt::Write as _;

use quarterdeck_core::{Span, Timestamp};
use quarterdeck_store::sql::SqliteOptions;
use quarterdeck_store::{SqlStore, StoreError};

use crate::aftermath;
use crate::agent::Agent;
use crate::checks::{self, Evidence, text};
use crate::client::{Client, Crowd};
use crate::dice::Dice;
use crate::executor::Executor;
use crate::history::{Answer, Entry, Fact, lines};
use crate::inline::{Inline, finish};
use crate::nemesis;
use crate::ports::EPOCH;
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
    /// About how many things clients do.
    pub ops: usize,
    #[cfg(feature = "canary")]
    pub canary: Option<crate::canary::Canary>,
}

impl Setup {
    pub fn new(seed: u64, ops: usize) -> Self {
        Self {
            seed,
            ops,
            #[cfg(feature = "canary")]
            canary: None,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// Calls of clients, and how many of them had a definite answer.
    pub calls: usize,
    pub answered: usize,
    pub tasks: usize,
    pub turns: u64,
    pub violations: Vec<String>,
    /// Why this run proves nothing.
    pub void: Option<String>,
    /// Everything that happened, one line each; the same for the same seed.
    pub log: String,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.void.is_none()
    }
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
    let (crowd, watchers) = people(&world, &dice, setup);

    while crowd.left() > 0 && executor.now() < WORK_MAX.as_micros() {
        executor.run_for(SLICE);
    }
    let mut violations = Vec::new();
    if crowd.left() > 0 {
        violations.push(format!("stuck: {} clients are still waiting", crowd.left()));
    }
    world.heal();
    let end = executor.now() + HEAL_MAX.as_micros();
    let mut left = vec!["never looked".to_owned()];
    while !left.is_empty() && executor.now() < end {
        executor.run_for(SLICE);
        left = unfinished(&store, &watchers)?;
    }
    violations.extend(left.into_iter().map(|what| format!("stuck after healing: {what}")));
    violations.extend(executor.panics().into_iter().map(|why| format!("panic: {why}")));

    let tasks = finish(aftermath::tasks(&store, &mut violations))?;
    let evidence = Evidence { entries: world.history.entries(), tasks };
    let turns = executor.turns();
    world.shut_down();
    violations.extend(checks::violations(&evidence));
    Ok(report(setup, turns, &evidence, violations))
}

#[cfg(feature = "canary")]
fn base(setup: &Setup, store: &Inline, dice: Dice) -> Inline {
    store.with(setup.canary.map(|canary| crate::canary::Planted { canary, dice }))
}

#[cfg(not(feature = "canary"))]
fn base(_setup: &Setup, store: &Inline, _dice: Dice) -> Inline {
    store.clone()
}

fn people(world: &World, dice: &Dice, setup: &Setup) -> (Crowd, Watchers) {
    for index in 0..world.replicas() {
        world.start(index);
    }
    let agents = dice.between(3, 8) as usize;
    for index in 0..agents {
        Agent::new(world.clone(), index, dice.fork()).send_off();
    }
    let (crowd, watchers) = (Crowd::default(), Watchers::default());
    let clients = dice.between(4, 10) as usize;
    for index in 0..clients {
        let (world, crowd, watchers) = (world.clone(), crowd.clone(), watchers.clone());
        Client { world, crowd, watchers, index, dice: dice.fork() }.send_off(setup.ops.div_ceil(clients));
    }
    nemesis::let_loose(world, dice.fork());
    (crowd, watchers)
}

/// What has not come to its end.
fn unfinished(store: &Inline, watchers: &Watchers) -> Result<Vec<String>, StoreError> {
    let mut left = finish(aftermath::unfinished(store))?;
    if watchers.open() > 0 {
        left.push(format!("{} watchers have not seen the end", watchers.open()));
    }
    Ok(left)
}

fn report(setup: &Setup, turns: u64, evidence: &Evidence, violations: Vec<String>) -> Report {
    let (calls, answered) = count(&evidence.entries);
    let void = if calls < setup.ops / 2 {
        Some(format!("only {calls} calls of about {}", setup.ops))
    } else if answered * 2 < calls {
        Some(format!("only {answered} of {calls} calls had an answer"))
    } else {
        None
    };
    let mut log = lines(&evidence.entries);
    for (id, task) in &evidence.tasks {
        let _ = writeln!(log, "{id} {:?}", task.state);
        for event in &task.events {
            let _ = writeln!(log, "  {}", text(event));
        }
    }
    let _ = writeln!(log, "seed {} turns {turns} calls {calls} answered {answered}", setup.seed);
    for violation in &violations {
        let _ = writeln!(log, "VIOLATION {violation}");
    }
    let tasks = evidence.tasks.len();
    Report { seed: setup.seed, calls, answered, tasks, turns, violations, void, log }
}

fn count(entries: &[Entry]) -> (usize, usize) {
    let calls = entries.iter().filter(|entry| matches!(entry.fact, Fact::Invoked { .. })).count();
    let answered = entries.iter().filter(|entry| match &entry.fact {
        Fact::Answered { answer, .. } => !matches!(answer, Answer::Failed(_) | Answer::Silence),
        _ => false,
    });
    (calls, answered.count())
}
