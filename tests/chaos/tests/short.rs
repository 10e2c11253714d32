//! A short run, for those who change something: about ten kills. The long one is
//! `cargo run -p quarterdeck-chaos`.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use quarterdeck_chaos::plan::{Target, Trouble, plan};
use quarterdeck_chaos::{Setup, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_holds_through_ten_kills() {
    let keep = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos");
    let setup = Setup { seed: 7, length: Duration::from_secs(36), keep };
    let report = Box::pin(run(&setup)).await.unwrap();
    assert!(
        report.is_good(),
        "{report}\n{:?}\n{:?}\nkept in {:?}",
        report.violations,
        report.void,
        report.kept
    );
    println!("{report}");
}

#[test]
fn the_same_seed_plans_the_same_and_enough_of_everything() {
    let length = Duration::from_secs(240);
    for seed in 0..20 {
        let strikes = plan(seed, length);
        assert_eq!(strikes, plan(seed, length));
        let count = |pick: fn(&Target, &Trouble) -> bool| {
            strikes.iter().filter(|strike| pick(&strike.target, &strike.trouble)).count()
        };
        let kills =
            count(|target, trouble| matches!((target, trouble), (Target::Replica(_), Trouble::Kill(_))));
        assert!((60..120).contains(&kills), "seed {seed}: {kills}");
        assert!(count(|_, trouble| matches!(trouble, Trouble::Freeze(_))) >= 20);
        assert!(count(|target, _| matches!(target, Target::Redis)) >= 12);
        assert!(count(|target, _| matches!(target, Target::Postgres)) >= 9);
        assert!(count(|_, trouble| matches!(trouble, Trouble::Hold { .. })) >= 10);
        assert!(strikes.is_sorted_by_key(|strike| strike.at));
    }
    assert_ne!(plan(1, length), plan(2, length));
}
