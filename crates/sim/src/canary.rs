//! Mistakes planted on purpose, to see that the checkers find them.
//!
//! These can be planted below the engine, in what it asks of the store. Those
//! that belong into the rules or the engine itself need hooks there.

use clap::ValueEnum;
use quarterdeck_core::StreamId;
use quarterdeck_store::port::Result;
use quarterdeck_store::rows::{EventRow, RowChange};
use quarterdeck_store::{Commit, Log as _, Outcome, SqlStore};

use crate::dice::Dice;
use crate::inline::finish;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Canary {
    /// A commit that lost its race is written all the same: what it was decided on
    /// (the lease, the state) is not checked within the commit.
    CheckOutsideCommit,
    /// The same for claims alone: a cancel loses to a racing claim.
    CancelLosesToClaim,
    /// Resuming within a row of several events skips the rest of the row.
    RowTailSkipped,
    /// Some timers are never written.
    TimerLost,
    /// Granted requests are not remembered.
    RequestForgotten,
    /// Some steps become ready without anybody being able to find them.
    ReadyLost,
    /// Some commits are answered and never written.
    AckBeforeCommit,
    /// Some leases are not removed with what ended them.
    LeaseLeft,
}

impl Canary {
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// A planted mistake, and when it strikes.
#[derive(Clone)]
pub struct Planted {
    pub canary: Canary,
    pub dice: Dice,
}

impl Planted {
    pub fn commit(&self, store: &SqlStore, batch: &[Commit]) -> Result<Vec<Outcome>> {
        let batch: Vec<Commit> = batch.iter().map(|commit| self.spoil(commit.clone())).collect();
        if self.canary == Canary::AckBeforeCommit && self.dice.chance(0.01) {
            let at = finish(store.now())?;
            return Ok(batch.iter().map(|_| Outcome::Done { at, position: 1 }).collect());
        }
        let mut outcomes = finish(store.commit(&batch))?;
        for (outcome, commit) in outcomes.iter_mut().zip(batch) {
            if *outcome == Outcome::Conflict && self.ignores_races_of(&commit) {
                *outcome = force(store, commit)?;
            }
        }
        Ok(outcomes)
    }

    fn ignores_races_of(&self, commit: &Commit) -> bool {
        let claims = || commit.appends.iter().any(|append| append.body.contains("\"assigned\""));
        let opens = commit.appends.iter().any(|append| append.expected == 0);
        match self.canary {
            Canary::CheckOutsideCommit => !opens,
            Canary::CancelLosesToClaim => !opens && claims(),
            _ => false,
        }
    }

    fn spoil(&self, mut commit: Commit) -> Commit {
        match self.canary {
            Canary::TimerLost => {
                commit
                    .rows
                    .retain(|row| !matches!(row, RowChange::TimerSet { .. }) || !self.dice.chance(0.1));
            }
            Canary::ReadyLost => {
                commit.rows.retain(|row| !matches!(row, RowChange::ReadyAdded(_)) || !self.dice.chance(0.02));
            }
            Canary::LeaseLeft => {
                commit
                    .rows
                    .retain(|row| !matches!(row, RowChange::LeaseRemoved(_)) || !self.dice.chance(0.02));
            }
            Canary::RequestForgotten => commit.request = None,
            _ => {}
        }
        commit
    }

    pub fn load(&self, store: &SqlStore, stream: StreamId, after: u64, limit: u32) -> Result<Vec<EventRow>> {
        let mut rows = finish(store.load(stream, after, limit))?;
        if self.canary == Canary::RowTailSkipped {
            rows.retain(|row| row.last - u64::from(row.count) >= after);
        }
        Ok(rows)
    }
}

/// Writes a commit wherever its streams are now.
fn force(store: &SqlStore, mut commit: Commit) -> Result<Outcome> {
    let streams: Vec<StreamId> = commit.appends.iter().map(|append| append.stream).collect();
    let heads = finish(store.heads(&streams))?;
    for append in &mut commit.appends {
        if let Some((_, head)) = heads.iter().find(|(stream, _)| *stream == append.stream) {
            append.expected = *head;
        }
    }
    let outcomes = finish(store.commit(std::slice::from_ref(&commit)))?;
    Ok(outcomes.into_iter().next().unwrap_or(Outcome::Conflict))
}
