//! Planted mistakes are found, each by the checker that is meant for it
//! (`cargo test -p quarterdeck-sim --features canary --test canaries -- --nocapture`).

#![cfg(feature = "canary")]
#![allow(clippy::unwrap_used)]

use quarterdeck_sim::canary::Canary;
use quarterdeck_sim::{Setup, run};

/// Seeds within which each has to be found.
const SEEDS: u64 = 500;
const OPS: usize = 400;

/// The first seed that shows it to its checker, and how many others saw it before.
fn find(canary: Canary) -> Option<(u64, usize)> {
    let mut others = 0;
    for seed in 0..SEEDS {
        let report = run(&Setup { canary: Some(canary), log: false, ..Setup::new(seed, OPS) }).unwrap();
        if report.violations.iter().any(|found| found.starts_with(canary.caught_by())) {
            return Some((seed, others));
        }
        others += usize::from(!report.violations.is_empty());
    }
    None
}

fn found(canaries: impl Iterator<Item = &'static Canary>) -> Vec<String> {
    let mut lost = Vec::new();
    for &canary in canaries {
        let name = canary.name();
        match find(canary) {
            Some((seed, others)) => {
                let by = canary.caught_by();
                println!("{name}: found in seed {seed} by `{by}`; {others} seeds before showed it to others");
            }
            None => lost.push(name),
        }
    }
    lost
}

#[test]
fn every_planted_mistake_is_found_even() {
    assert_eq!(found(Canary::all().iter().step_by(2)), Vec::<String>::new());
}

#[test]
fn every_planted_mistake_is_found_odd() {
    assert_eq!(found(Canary::all().iter().skip(1).step_by(2)), Vec::<String>::new());
}
