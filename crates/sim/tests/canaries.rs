//! Planted mistakes are found (feature `canary`).

#![cfg(feature = "canary")]
#![allow(clippy::unwrap_used)]

use quarterdeck_sim::canary::Canary;
use quarterdeck_sim::{Setup, run};

#[test]
fn every_planted_mistake_is_found() {
    let all = [
        Canary::CheckOutsideCommit,
        Canary::CancelLosesToClaim,
        Canary::RowTailSkipped,
        Canary::TimerLost,
        Canary::RequestForgotten,
        Canary::ReadyLost,
        Canary::AckBeforeCommit,
        Canary::LeaseLeft,
    ];
    for canary in all {
        let found = (1_000..1_020).find(|&seed| {
            let setup = Setup { canary: Some(canary), ..Setup::new(seed, 150) };
            !run(&setup).unwrap().violations.is_empty()
        });
        assert!(found.is_some(), "{canary:?} was not found");
    }
}
