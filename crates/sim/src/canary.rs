//! Mistakes planted on purpose, to see that the checkers find them.
//!
//! Most are planted below the engine, in what it asks of the store; those that
//! belong into the rules or the engine itself have hooks there
//! (`quarterdeck_core::canary`).

use bytes::Bytes;
use clap::ValueEnum;
use quarterdeck_core::canary::{Mistake, plant};
use quarterdeck_core::{Span, StreamId};
use quarterdeck_store::port::Result;
use quarterdeck_store::rows::{EventRow, RowChange, SessionRow, SessionState};
use quarterdeck_store::{Append, Commit, Log as _, Outcome, Sessions as _, SqlStore};

use crate::dice::Dice;
use crate::inline::finish;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Canary {
    /// A commit that lost its race is written all the same: what it was decided on
    /// (the lease, the state) is not checked within the commit.
    CheckOutsideCommit,
    /// The same for claims alone: a cancel loses to a racing claim.
    CancelLosesToClaim,
    /// A word counts for whatever lease its session holds on the step.
    TokenNotCompared,
    /// A word counts as often as it is said.
    NumberNotCompared,
    /// A watch resumes with the event at its cursor, not after it.
    CursorIncluded,
    /// Resuming within a row of several events skips the rest of the row.
    RowTailSkipped,
    /// Some rows are missing where a project is followed.
    ProjectRowSkipped,
    /// A commit whose outcome is unknown is reported as not done.
    UnknownIsFailure,
    /// What an agent says after partial output may be recorded before it.
    PartialOvertaken,
    /// Some commits are answered and never written.
    AckBeforeCommit,
    /// Granted requests are not remembered.
    RequestForgotten,
    /// Some timers are never written.
    TimerLost,
    /// Some steps become ready without anybody being able to find them.
    ReadyLost,
    /// Some leases are not removed with what ended them.
    LeaseLeft,
    /// Leases of sessions that are over are not taken back.
    OrphansLeft,
    /// A session is resumed whether or not it has expired.
    ExpiredResumed,
    /// Agents get more than their slots.
    SlotsIgnored,
    /// Some payloads come back without their end.
    PayloadTorn,
    /// A yes counts for other bytes than those that were shown.
    DigestNotCompared,
    /// A grant can be redeemed after its time.
    GrantOutlivesItsTime,
    /// Who has a part in a request can decide on it.
    OwnVoteCounts,
    /// A grant can be redeemed under any lease.
    AnyLeaseStarts,
    /// Who waits for an approval hears of it by hints alone.
    DecisionUntold,
    /// What an approval was decided on (the policy, the task) may have moved by the
    /// time it is written.
    PolicyMoves,
    /// A decision that lost its race is written all the same.
    DecisionsCollide,
    /// Some gated steps start without using up their grants.
    RedemptionLost,
    /// Some entries of the audit are never written.
    AuditLost,
}

impl Canary {
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// How a violation begins that the checker reports that is meant for it.
    pub fn caught_by(self) -> &'static str {
        match self {
            Self::CheckOutsideCommit | Self::PartialOvertaken => "legal transitions",
            Self::TokenNotCompared | Self::NumberNotCompared => "words",
            Self::CursorIncluded | Self::RowTailSkipped => "watches",
            Self::ProjectRowSkipped => "projects",
            Self::CancelLosesToClaim
            | Self::UnknownIsFailure
            | Self::AckBeforeCommit
            | Self::RequestForgotten => "requests",
            Self::TimerLost | Self::ReadyLost | Self::LeaseLeft | Self::OrphansLeft => "stuck",
            Self::ExpiredResumed => "sessions",
            Self::SlotsIgnored => "slots",
            Self::PayloadTorn => "outputs",
            Self::DigestNotCompared
            | Self::GrantOutlivesItsTime
            | Self::OwnVoteCounts
            | Self::AnyLeaseStarts
            | Self::DecisionUntold
            | Self::PolicyMoves
            | Self::DecisionsCollide
            | Self::RedemptionLost => "approvals",
            Self::AuditLost => "audit",
        }
    }

    fn mistake(self) -> Option<Mistake> {
        match self {
            Self::TokenNotCompared => Some(Mistake::TokenNotCompared),
            Self::NumberNotCompared => Some(Mistake::NumberNotCompared),
            Self::CursorIncluded => Some(Mistake::CursorIncluded),
            Self::UnknownIsFailure => Some(Mistake::UnknownIsFailure),
            Self::PartialOvertaken => Some(Mistake::PartialOvertaken),
            Self::DigestNotCompared => Some(Mistake::DigestNotCompared),
            Self::GrantOutlivesItsTime => Some(Mistake::GrantOutlivesItsTime),
            Self::OwnVoteCounts => Some(Mistake::OwnVoteCounts),
            Self::AnyLeaseStarts => Some(Mistake::AnyLeaseStarts),
            Self::DecisionUntold => Some(Mistake::DecisionUntold),
            _ => None,
        }
    }
}

/// A planted mistake, and when it strikes.
#[derive(Clone)]
pub struct Planted {
    canary: Canary,
    dice: Dice,
}

impl Planted {
    /// Plants it in this thread; what was there before is gone.
    pub fn new(canary: Option<Canary>, dice: Dice) -> Option<Self> {
        plant(canary.and_then(Canary::mistake));
        canary.map(|canary| Self { canary, dice })
    }

    fn is(&self, canary: Canary) -> bool {
        self.canary == canary
    }

    pub fn commit(&self, store: &SqlStore, batch: &[Commit]) -> Result<Vec<Outcome>> {
        let batch: Vec<Commit> = batch.iter().map(|commit| self.spoil(commit.clone())).collect();
        if self.is(Canary::AckBeforeCommit) && self.dice.chance(0.01) {
            let at = finish(store.now())?;
            return Ok(batch.iter().map(|_| Outcome::Done { at, position: 1 }).collect());
        }
        let mut outcomes = finish(store.commit(&batch))?;
        for (outcome, commit) in outcomes.iter_mut().zip(batch) {
            if *outcome == Outcome::Conflict && self.ignores_race(store, &commit)? {
                *outcome = force(store, commit)?;
            }
        }
        Ok(outcomes)
    }

    fn ignores_race(&self, store: &SqlStore, commit: &Commit) -> Result<bool> {
        let opens = commit.appends.iter().any(|append| append.expected == 0);
        match self.canary {
            _ if opens => Ok(false),
            Canary::CheckOutsideCommit => Ok(true),
            Canary::CancelLosesToClaim => lost_to_cancel(store, commit),
            Canary::DecisionsCollide => Ok(commit.appends.iter().all(is_approval)),
            _ => Ok(false),
        }
    }

    fn spoil(&self, mut commit: Commit) -> Commit {
        let kept = |row: &RowChange| match (self.canary, row) {
            (Canary::TimerLost, RowChange::TimerSet { .. }) => !self.dice.chance(0.1),
            (Canary::ReadyLost, RowChange::ReadyAdded(_))
            | (Canary::LeaseLeft, RowChange::LeaseRemoved(_))
            | (Canary::AuditLost, RowChange::Audited { .. }) => !self.dice.chance(0.02),
            _ => true,
        };
        commit.rows.retain(kept);
        if self.is(Canary::RequestForgotten) {
            commit.request = None;
        }
        if self.is(Canary::GrantOutlivesItsTime) {
            // The rules look at the time, and the commit once more.
            commit.valid_until = None;
        }
        if self.is(Canary::PolicyMoves) && commit.appends.iter().any(is_approval) {
            commit.unchanged.clear();
        }
        if self.is(Canary::RedemptionLost) && commit.appends.len() > 1 && self.dice.chance(0.1) {
            commit.appends.retain(|append| !(is_approval(append) && append.body.contains("\"redeemed\"")));
        }
        commit
    }

    pub fn load(&self, mut rows: Vec<EventRow>, after: u64) -> Vec<EventRow> {
        if self.is(Canary::RowTailSkipped) {
            rows.retain(|row| row.last - u64::from(row.count) >= after);
        }
        rows
    }

    pub fn follow(&self, mut rows: Vec<EventRow>) -> Vec<EventRow> {
        if self.is(Canary::ProjectRowSkipped) {
            rows.retain(|_| !self.dice.chance(0.02));
        }
        rows
    }

    pub fn payload(&self, bytes: Option<Bytes>) -> Option<Bytes> {
        let torn = self.is(Canary::PayloadTorn) && self.dice.chance(0.2);
        bytes.map(|bytes| if torn { bytes.slice(..bytes.len() - 1) } else { bytes })
    }

    pub fn orphans<T>(&self, leases: Vec<T>) -> Vec<T> {
        if self.is(Canary::OrphansLeft) { Vec::new() } else { leases }
    }

    pub fn opened(&self, mut row: SessionRow) -> SessionRow {
        row.slots += if self.is(Canary::SlotsIgnored) { 2 } else { 0 };
        row
    }

    pub fn resume(&self, store: &SqlStore, row: &SessionRow, lease: Span) -> Result<Option<SessionRow>> {
        let resumed = finish(store.resume_session(row, lease))?;
        if resumed.is_some() || !self.is(Canary::ExpiredResumed) {
            return Ok(resumed.map(|row| self.opened(row)));
        }
        let over = finish(store.session(row.session))?;
        Ok(over.map(|known| SessionRow { state: SessionState::Open, replica: row.replica, ..known }))
    }
}

fn is_approval(append: &Append) -> bool {
    append.kind == quarterdeck_core::stream::Kind::Approval
}

/// Whether it claims a step of a task that was cancelled meanwhile.
fn lost_to_cancel(store: &SqlStore, commit: &Commit) -> Result<bool> {
    for append in commit.appends.iter().filter(|append| append.body.contains("\"assigned\"")) {
        let rows = finish(store.load(append.stream, append.expected, u32::MAX))?;
        if rows.iter().any(|row| row.body.contains("\"canceled\"")) {
            return Ok(true);
        }
    }
    Ok(false)
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
