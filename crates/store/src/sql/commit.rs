//! A batch, from commits to outcomes.
//!
//! The database refuses a statement as a whole; here a batch that it refuses is
//! halved until the commit at fault stands alone. And what a statement calls a
//! conflict or a duplicate may be this very commit, done by a try whose answer was
//! lost: the log itself says so.

use std::ops::Range;

use super::changes::Changes;
use super::db::{Db, Ruling, Verdict};
use super::failure::Failure;
use super::log::find_commits;
use crate::commit::{Commit, Outcome};
use crate::error::StoreError;
use crate::port::Result;
use quarterdeck_core::Timestamp;

/// Most content in one statement, in bytes; batches beyond become several. A
/// single commit may have more.
const STATEMENT_BYTES: usize = 32 * 1024 * 1024;

/// A part of the batch, to be written in one statement.
struct Piece {
    range: Range<usize>,
    /// It lost a race for a unique key before; the next loss is poison.
    again: bool,
}

pub(crate) async fn commit(db: &Db, batch: &[Commit]) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
    let mut work: Vec<Piece> = pieces(batch);
    work.reverse();
    let whole = work.len() == 1; // an empty batch has no piece
    while let Some(Piece { range, again }) = work.pop() {
        let changes = Changes::of(&batch[range.clone()]);
        let failure = match db.commit(&changes).await {
            Ok(verdicts) => {
                let settled = settle(db, &batch[range.clone()], &verdicts).await?;
                outcomes[range].iter_mut().zip(settled).for_each(|(slot, outcome)| *slot = Some(outcome));
                continue;
            }
            Err(failure) => failure,
        };
        match failure {
            Failure::Poison { raced: true, .. } if !again => work.push(Piece { range, again: true }),
            Failure::Poison { .. } if range.len() > 1 => {
                let middle = range.start + range.len() / 2;
                work.push(Piece { range: middle..range.end, again: false });
                work.push(Piece { range: range.start..middle, again: false });
            }
            failure => {
                let poison = matches!(failure, Failure::Poison { .. });
                let error = failure.of_write();
                // Submitted again, what was done so far is found in the log.
                if error.is_unknown() || (whole && range.len() == batch.len() && !poison) {
                    return Err(error);
                }
                outcomes[range].fill(Some(Outcome::Failed(error)));
            }
        }
    }
    Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect())
}

fn missing() -> Outcome {
    Outcome::Failed(StoreError::Unknown("the database answered fewer items than it was given".to_owned()))
}

/// The batch, cut where statements would become too large.
fn pieces(batch: &[Commit]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (place, commit) in batch.iter().enumerate() {
        let size = size(commit);
        if place > start && bytes + size > STATEMENT_BYTES {
            pieces.push(Piece { range: start..place, again: false });
            (start, bytes) = (place, 0);
        }
        bytes += size;
    }
    if start < batch.len() {
        pieces.push(Piece { range: start..batch.len(), again: false });
    }
    pieces
}

fn size(commit: &Commit) -> usize {
    let bodies: usize = commit.appends.iter().map(|append| append.body.len()).sum();
    let payloads: usize = commit.payloads.iter().map(|(_, bytes)| bytes.len()).sum();
    bodies + payloads + commit.rows.len() * 64
}

/// Outcomes of a piece, after a look into the log for those that may have been
/// done by an earlier try.
async fn settle(db: &Db, piece: &[Commit], verdicts: &[Verdict]) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = verdicts.iter().map(outcome).collect();
    let doubtful: Vec<usize> = verdicts
        .iter()
        .enumerate()
        .filter(|(_, verdict)| matches!(verdict.ruling, Ruling::Conflict | Ruling::Duplicate))
        .map(|(item, _)| item)
        .collect();
    if doubtful.is_empty() {
        return Ok(outcomes);
    }
    // Others of this piece are done: failing to look leaves the batch unknown.
    let found =
        find_commits(db, piece, &doubtful).await.map_err(|error| StoreError::Unknown(error.to_string()))?;
    for (item, at, position) in found {
        if let Some(slot) = outcomes.get_mut(item) {
            *slot = Outcome::Done { at, position };
        }
    }
    Ok(outcomes)
}

fn outcome(verdict: &Verdict) -> Outcome {
    match verdict.ruling {
        Ruling::Done => Outcome::Done { at: Timestamp::from_micros(verdict.at), position: verdict.position },
        Ruling::Conflict => Outcome::Conflict,
        Ruling::Stale => Outcome::Stale,
        Ruling::Duplicate => Outcome::Duplicate,
    }
}
