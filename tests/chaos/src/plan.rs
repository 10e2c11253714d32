//! What will happen, to whom and when: all from the seed.
//!
//! Strikes of one kind are spread evenly and then shaken, so that no part of a run
//! is calm and none is only chaos. What befalls one target happens one after the
//! other; different targets suffer at the same time.

use std::fmt;
use std::time::Duration;

use quarterdeck_sim::dice::Dice;

/// Lease of sessions; pauses are longer.
pub const LEASE: Duration = Duration::from_secs(2);
pub const REPLICAS: usize = 3;
/// Nothing happens at first, so that there is work to be disturbed.
const CALM: Duration = Duration::from_secs(2);
/// Kills that a minute must have seen, and those that are planned.
pub const KILLS_DUE: f64 = 15.0;
const KILLS: f64 = 17.0;
const PAUSES: f64 = 5.0;
const EDGES: f64 = 10.0;
const DATABASES: f64 = 5.0;
const BUSES: f64 = 4.0;
const REDIS: f64 = 4.0;
const POSTGRES: f64 = 3.0;

/// Who suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Replica(usize),
    /// Between everybody and a replica.
    Edge(usize),
    /// Between a replica and PostgreSQL.
    Database(usize),
    /// Between a replica and Redis.
    Bus(usize),
    Redis,
    Postgres,
}

/// From what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// SIGKILL; started again after so long. Of Redis, too.
    Kill(Duration),
    /// SIGSTOP for so long. Of Redis, too.
    Freeze(Duration),
    /// FLUSHALL.
    Flush,
    /// Stopped in order, started again after so long.
    Restart(Duration),
    /// Stopped as in a crash, started again after so long.
    Crash(Duration),
    /// All its connections are terminated.
    Terminate,
    /// Connections are reset.
    Reset,
    /// Connections are half open for so long, then reset.
    HalfOpen(Duration),
    /// Connections are forgotten on the way for so long, then reset.
    Silence(Duration),
    /// Connections are reset and nobody gets through for so long.
    Shut(Duration),
    /// One direction, or both, stands still for so long; then goes on, or is reset.
    Hold { up: bool, down: bool, span: Duration, reset: bool },
    /// Every piece takes this much longer, for so long.
    Slow { up: Duration, down: Duration, span: Duration },
}

/// Trouble for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Since the beginning; later where the target still suffers from another.
    pub at: Duration,
    pub target: Target,
    pub trouble: Trouble,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8.3} {:?}: {:?}", self.at.as_secs_f64(), self.target, self.trouble)
    }
}

/// Draws one strike, or several at the same time.
type Draw = fn(&Dice) -> Vec<(Target, Trouble)>;

/// The plan of a run of this length, in order of time.
pub fn plan(seed: u64, length: Duration) -> Vec<Strike> {
    let dice = Dice::new(seed);
    let mut strikes = Vec::new();
    let kinds: [(f64, Draw); 7] = [
        (KILLS, kill),
        (PAUSES, pause),
        (EDGES, |dice| vec![(Target::Edge(dice.below(REPLICAS)), link(dice, 5_000))]),
        (DATABASES, |dice| vec![(Target::Database(dice.below(REPLICAS)), link(dice, 3_000))]),
        (BUSES, |dice| vec![(Target::Bus(dice.below(REPLICAS)), link(dice, 3_000))]),
        (REDIS, redis),
        (POSTGRES, postgres),
    ];
    for (a_minute, draw) in kinds {
        let dice = dice.fork();
        let time = length.saturating_sub(CALM);
        let count = (a_minute * length.as_secs_f64() / 60.0).ceil().max(1.0);
        for place in 0..count as u32 {
            let part = (f64::from(place) + dice.between(0, 999) as f64 / 1_000.0) / count;
            let at = CALM + time.mul_f64(part);
            strikes.extend(draw(&dice).into_iter().map(|(target, trouble)| Strike { at, target, trouble }));
        }
    }
    strikes.sort_by_key(|strike| (strike.at, strike.target));
    strikes
}

fn millis(dice: &Dice, low: i64, high: i64) -> Duration {
    dice.millis(low, high).as_std()
}

/// Of one replica; now and then of all at once.
fn kill(dice: &Dice) -> Vec<(Target, Trouble)> {
    let all = dice.chance(0.08);
    let one = dice.below(REPLICAS);
    let replicas = (0..REPLICAS).filter(|&replica| all || replica == one);
    replicas.map(|replica| (Target::Replica(replica), Trouble::Kill(millis(dice, 0, 2_000)))).collect()
}

/// Mostly for longer than a lease.
fn pause(dice: &Dice) -> Vec<(Target, Trouble)> {
    let lease = LEASE.as_millis() as i64;
    let span = match dice.chance(0.8) {
        true => millis(dice, lease + 300, lease * 2),
        false => millis(dice, lease / 4, lease),
    };
    vec![(Target::Replica(dice.below(REPLICAS)), Trouble::Freeze(span))]
}

fn link(dice: &Dice, longest: i64) -> Trouble {
    let span = millis(dice, 300, longest);
    match dice.below(10) {
        0 | 1 => Trouble::Reset,
        2 => Trouble::HalfOpen(span),
        3 => Trouble::Silence(span),
        4 => Trouble::Shut(span),
        5..8 => {
            let (up, down) = [(true, false), (false, true), (true, true)][dice.below(3)];
            Trouble::Hold { up, down, span, reset: dice.chance(0.5) }
        }
        _ => Trouble::Slow { up: millis(dice, 0, 150), down: millis(dice, 0, 150), span },
    }
}

fn redis(dice: &Dice) -> Vec<(Target, Trouble)> {
    let trouble = match dice.below(3) {
        0 => Trouble::Kill(millis(dice, 0, 3_000)),
        1 => Trouble::Flush,
        _ => Trouble::Freeze(millis(dice, 300, 3_000)),
    };
    vec![(Target::Redis, trouble)]
}

fn postgres(dice: &Dice) -> Vec<(Target, Trouble)> {
    let trouble = match dice.below(3) {
        0 => Trouble::Restart(millis(dice, 0, 1_500)),
        1 => Trouble::Crash(millis(dice, 0, 1_500)),
        _ => Trouble::Terminate,
    };
    vec![(Target::Postgres, trouble)]
}
