//! Seeds that hold, and logs that come out the same twice.

#![allow(clippy::unwrap_used)]

use quarterdeck_sim::{Report, Setup, run};

const OPS: usize = 400;

fn broken(seeds: impl Iterator<Item = u64>) -> Vec<String> {
    let setup = |seed| Setup { log: false, ..Setup::new(seed, OPS) };
    let reports = seeds.map(|seed| run(&setup(seed)).unwrap());
    let line = |report: &Report| format!("seed {} {:?} {:?}", report.seed, report.void, report.violations);
    reports.filter(|report| !report.is_good()).map(|report| line(&report)).collect()
}

#[test]
fn every_promise_holds_under_faults_for_even_seeds() {
    assert_eq!(broken((0..48).step_by(2)), Vec::<String>::new());
}

#[test]
fn every_promise_holds_under_faults_for_odd_seeds() {
    assert_eq!(broken((1..48).step_by(2)), Vec::<String>::new());
}

#[test]
fn one_seed_gives_one_log() {
    for seed in [7, 1_000, u64::MAX] {
        let (first, second) = (run(&Setup::new(seed, OPS)).unwrap(), run(&Setup::new(seed, OPS)).unwrap());
        assert!(first.log == second.log, "seed {seed} gave two logs");
        assert!(first.log.lines().count() > 300, "seed {seed}: too little happened");
    }
    let other = run(&Setup::new(8, OPS)).unwrap();
    assert_ne!(run(&Setup::new(7, OPS)).unwrap().log, other.log);
}
