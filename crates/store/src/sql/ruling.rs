//! The commit on SQLite: the same parts as on PostgreSQL, one statement each,
//! within a transaction that nobody else writes beside.
//!
//! Each time the driver's thread is asked costs more than most statements do, so
//! it is asked twice: for all there is to know, and to write all parts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::changes::Changes;
use super::db::{Ruling, Verdict};
use super::failure::Failure;
use super::registry::FRAGMENTS;
use super::requests::{REQUESTS, granted};
use super::schema::ADVANCE_META;
use super::sqlite::{Bound, Sqlite, bind, fetch};
use super::stmt::{Part, Stmt};
use super::template::Dialect;
use super::value::{Cell, Rows, ids_to_json};

/// Begins, and answers what there is to know: position and time of the last commit,
/// heads of streams, items whose request was granted.
pub(crate) static LOOK: Stmt = Stmt::over(
    "ruling.look",
    REQUESTS.columns,
    concat!(
        "BEGIN IMMEDIATE;
         SELECT 0, position, clock, NULL FROM store_meta WHERE one = 1
         UNION ALL SELECT 1, head, NULL, id FROM stream WHERE id {in $2 uuid}
         UNION ALL SELECT 2, item, NULL, NULL FROM (",
        granted!(),
        ")"
    ),
);

/// What all parts write, by which parts have rows, and the commit: `$1` is the time,
/// `$2` the position, then come the rows of each part.
#[derive(Debug, Default)]
pub(crate) struct Writes(Mutex<BTreeMap<u32, &'static str>>);

impl Writes {
    /// A bit a part. There are as many texts as shapes occur, some tens; each is
    /// made once and kept for good.
    pub fn of(&self, shape: u32) -> &'static str {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.entry(shape).or_insert_with(|| {
            let parts = FRAGMENTS.iter().enumerate().filter(|(place, _)| shape & 1 << place != 0);
            let texts = parts.zip(3..).map(|((_, part), first)| part.expanded(Dialect::Sqlite, first));
            let all: Vec<String> = texts.chain([ADVANCE_META, "COMMIT"].map(str::to_owned)).collect();
            Box::leak(all.join(";\n").into_boxed_str())
        })
    }
}

/// What was found before anything is written.
#[derive(Default)]
pub(crate) struct Found {
    position: i64,
    clock: i64,
    heads: BTreeMap<Uuid, i64>,
    granted: BTreeSet<i64>,
}

/// What becomes of every item.
pub(crate) struct Ruled {
    pub verdicts: Vec<Verdict>,
    /// Of the last item that applies.
    position: i64,
    at: i64,
}

/// Rules on every item, under the lock.
pub(crate) fn rule(db: &Sqlite, changes: &Changes<'_>, found: Found) -> Ruled {
    let Found { mut position, clock, heads, granted } = found;
    // Read after the locks, which here is the one lock there is.
    db.not_before(clock);
    let at = db.now();
    let moved = moved(changes, &heads);
    let verdicts = (1..).zip(&changes.valid_until).map(|(item, valid_until)| {
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
    });
    Ruled { verdicts: verdicts.collect(), position, at }
}

impl Ruled {
    pub fn is_nothing(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.position == 0)
    }

    /// Carries out what applies, and commits.
    pub async fn write(
        &self,
        db: &Sqlite,
        connection: &mut SqliteConnection,
        changes: &Changes<'_>,
    ) -> Result<(), Failure> {
        // Items are counted from 1.
        let live = |item: i64| {
            let verdict = self.verdicts.get(usize::try_from(item - 1).ok()?)?;
            (verdict.position > 0).then_some(verdict.position)
        };
        let (mut shape, mut values) = (0, vec![Bound::Int(self.at), Bound::Int(self.position)]);
        for (place, rows) in changes.parts.iter().enumerate() {
            if let Some(json) = rows.to_json(live) {
                shape |= 1 << place;
                values.push(Bound::Text(json));
            }
        }
        fetch(connection, db.writes().of(shape), bind(values)?).await.map(drop)
    }
}

/// Begins, and finds what there is to know.
pub(crate) async fn look(connection: &mut SqliteConnection, changes: &Changes<'_>) -> Result<Found, Failure> {
    let streams: Vec<Uuid> = [&changes.appends, &changes.guards]
        .into_iter()
        .flat_map(streams_and_heads)
        .map(|(_, id, _)| id)
        .collect();
    let requests = changes.part(Part::Requests).to_json(Some).unwrap_or_else(|| "[]".to_owned());
    let bound = bind(vec![Bound::Text(requests), Bound::Text(ids_to_json(&streams))])?;
    let rows = fetch(connection, LOOK.sql(Dialect::Sqlite), bound).await?;
    let (mut found, mut advanced) = (Found::default(), false);
    for row in &rows {
        let number = read(row.int(1))?;
        match read(row.int(0))? {
            0 => (advanced, found.position, found.clock) = (true, number, read(row.int(2))?),
            1 => drop(found.heads.insert(read(row.uuid(3))?, number)),
            _ => drop(found.granted.insert(number)),
        }
    }
    if !advanced {
        return Err(Failure::Schema("store_meta is empty".to_owned()));
    }
    Ok(found)
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
