//! The commit on SQLite: the same parts as on PostgreSQL, one statement each,
//! within a transaction that nobody else writes beside.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::changes::Changes;
use super::db::{Row, Ruling, Verdict};
use super::failure::Failure;
use super::registry::FRAGMENTS;
use super::requests::GRANTED;
use super::schema::{ADVANCE_META, META};
use super::sqlite::{Bound, Sqlite, bind, fetch};
use super::stmt::{Part, Stmt};
use super::template::Dialect;
use super::value::{Cell, Rows, ids_to_json};

pub(crate) static HEADS: Stmt =
    Stmt::new("ruling.heads", "SELECT id, head FROM stream WHERE id {in $1 uuid}");

/// Rules on every item and carries out those that apply. The caller commits.
pub(crate) async fn apply(
    db: &Sqlite,
    connection: &mut SqliteConnection,
    changes: &Changes<'_>,
) -> Result<Vec<Verdict>, Failure> {
    let heads = heads(connection, changes).await?;
    let granted = granted(connection, changes).await?;
    let (mut position, clock) = meta(connection).await?;
    // Read after the locks, which here is the one lock there is.
    db.not_before(clock);
    let at = db.now();
    let moved = moved(changes, &heads);
    let verdicts: Vec<Verdict> = (1..)
        .zip(&changes.valid_until)
        .map(|(item, valid_until)| {
            let ruling = if moved.contains(&item) {
                Ruling::Conflict
            } else if valid_until.is_some_and(|until| until <= at) {
                Ruling::Stale
            } else if granted.contains(&item) {
                Ruling::Duplicate
            } else {
                Ruling::Done
            };
            let done = ruling == Ruling::Done;
            position += i64::from(done);
            Verdict { ruling, at, position: if done { position } else { 0 } }
        })
        .collect();
    if verdicts.iter().all(|verdict| verdict.position == 0) {
        return Ok(verdicts);
    }
    // Items are counted from 1.
    let live = |item: i64| {
        let verdict = verdicts.get(usize::try_from(item - 1).ok()?)?;
        (verdict.position > 0).then_some(verdict.position)
    };
    for (fragment, rows) in FRAGMENTS.iter().zip(&changes.parts) {
        if let Some(json) = rows.to_json(live) {
            fetch(connection, fragment.sqlite(), bind([Bound::Text(json), Bound::Int(at)])?).await?;
        }
    }
    let bound = bind([Bound::Int(position), Bound::Int(at)])?;
    fetch(connection, ADVANCE_META.sql(Dialect::Sqlite), bound).await?;
    Ok(verdicts)
}

async fn heads(
    connection: &mut SqliteConnection,
    changes: &Changes<'_>,
) -> Result<BTreeMap<Uuid, i64>, Failure> {
    let streams: Vec<Uuid> = [&changes.appends, &changes.guards]
        .into_iter()
        .flat_map(streams_and_heads)
        .map(|(_, id, _)| id)
        .collect();
    let bound = bind([Bound::Text(ids_to_json(&streams))])?;
    let rows = fetch(connection, HEADS.sql(Dialect::Sqlite), bound).await?;
    rows.iter().map(|row| Ok((read(row.uuid(0))?, read(row.int(1))?))).collect()
}

async fn granted(connection: &mut SqliteConnection, changes: &Changes<'_>) -> Result<BTreeSet<i64>, Failure> {
    let Some(json) = changes.part(Part::Requests).to_json(Some) else { return Ok(BTreeSet::new()) };
    let rows = fetch(connection, GRANTED.sql(Dialect::Sqlite), bind([Bound::Text(json)])?).await?;
    rows.iter().map(|row| read(row.int(0))).collect()
}

/// Position and time of the last commit.
async fn meta(connection: &mut SqliteConnection) -> Result<(i64, i64), Failure> {
    let rows = fetch(connection, META.sql(Dialect::Sqlite), bind([])?).await?;
    let row: &Row = rows.first().ok_or_else(|| Failure::Schema("store_meta is empty".to_owned()))?;
    Ok((read(row.int(0))?, read(row.int(1))?))
}

/// Items of which a stream is not where it should be.
fn moved(changes: &Changes<'_>, heads: &BTreeMap<Uuid, i64>) -> BTreeSet<i64> {
    let appends = streams_and_heads(&changes.appends)
        .filter(|(_, stream, expected)| heads.get(stream).copied().unwrap_or(0) != *expected);
    // A guard must exist: nothing is at head 0.
    let guards =
        streams_and_heads(&changes.guards).filter(|(_, stream, head)| heads.get(stream) != Some(head));
    appends.chain(guards).map(|(item, ..)| item).collect()
}

fn streams_and_heads<'r>(rows: &'r Rows<'_>) -> impl Iterator<Item = (i64, Uuid, i64)> + 'r {
    rows.items.iter().zip(rows.cells.chunks(2)).filter_map(|(&item, cells)| match cells {
        [Cell::Uuid(stream), Cell::Int(head)] => Some((item, *stream, *head)),
        _ => None,
    })
}

fn read<T>(value: Result<T, sqlx::Error>) -> Result<T, Failure> {
    value.map_err(|error| Failure::NotDone(error.to_string()))
}
