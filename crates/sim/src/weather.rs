//! How bad things are at the moment: what befalls calls to the store, letters
//! between replicas, and calls of clients.

use std::sync::{Arc, Mutex, PoisonError};

use quarterdeck_store::faults::Fault;

use crate::dice::Dice;
use crate::executor::Executor;

/// Probabilities, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odds {
    pub refuse: f64,
    pub lose_request: f64,
    pub lose_answer: f64,
    /// A call to the store that takes its time, at most `slow_ms`.
    pub slow: f64,
    pub slow_ms: i64,
    /// A call of a client that is lost on the way there or back.
    pub cut: f64,
}

impl Odds {
    /// Nothing fails, but everything takes a moment.
    pub const HEALED: Self =
        Self { refuse: 0.0, lose_request: 0.0, lose_answer: 0.0, slow: 0.5, slow_ms: 4, cut: 0.0 };
    /// An ordinary day.
    pub const CALM: Self =
        Self { refuse: 0.004, lose_request: 0.004, lose_answer: 0.004, slow: 0.6, slow_ms: 8, cut: 0.01 };

    pub fn storm(dice: &Dice) -> Self {
        let some = || dice.between(0, 300) as f64 / 1_000.0;
        Self {
            refuse: some(),
            lose_request: some() / 2.0,
            lose_answer: some(),
            slow: 0.8,
            slow_ms: dice.between(5, 400),
            cut: some(),
        }
    }
}

/// What befalls letters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Post {
    pub lose: f64,
    pub double: f64,
    pub delay_ms: i64,
}

impl Post {
    pub const HEALED: Self = Self { lose: 0.0, double: 0.0, delay_ms: 2 };
    pub const CALM: Self = Self { lose: 0.05, double: 0.05, delay_ms: 20 };
    pub const BAD: Self = Self { lose: 0.7, double: 0.2, delay_ms: 1_500 };
}

/// The weather at one replica, or of the post; clones are the same.
#[derive(Clone)]
pub struct Weather<T>(Arc<Mutex<T>>);

impl<T: Copy> Weather<T> {
    pub fn new(now: T) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    pub fn get(&self) -> T {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, now: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

/// What befalls the next call to the store.
pub fn fault(weather: &Weather<Odds>, dice: &Dice, executor: &Executor) -> Fault {
    let odds = weather.get();
    if dice.chance(odds.refuse) {
        return Fault::Refuse;
    }
    if dice.chance(odds.lose_request) {
        return Fault::LoseRequest;
    }
    if dice.chance(odds.lose_answer) {
        return Fault::LoseAnswer;
    }
    if dice.chance(odds.slow) {
        let wait = Box::pin(executor.sleep(dice.millis(0, odds.slow_ms)));
        return if dice.chance(0.5) { Fault::Before(wait) } else { Fault::After(wait) };
    }
    Fault::Pass
}
