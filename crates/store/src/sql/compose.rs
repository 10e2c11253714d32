//! The commit on PostgreSQL: one statement, composed of the parts that have rows.
//!
//! All parts of a statement see one snapshot, and no change of each other. What
//! makes it right nevertheless:
//!
//! 1. `heads` and `guards` lock their rows; a row that was locked is read in its
//!    newest version, whatever the snapshot says. They hold until the end.
//! 2. `gate` takes the log's lock once it is known that anything may apply, so
//!    that positions become visible in order. It is taken after all row locks, and
//!    all writes come after it: whoever waits for a row never holds the log.
//! 3. `clock` is read after that, under all locks.
//! 4. Whatever a snapshot cannot see (a stream opened, a request granted by another
//!    meanwhile) breaks a unique key: the statement fails as a whole, certainly,
//!    and the next try sees it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::changes::Changes;
use super::registry::FRAGMENTS;
use super::requests::granted;
use super::stmt::Part;
use super::template::{Dialect, expand, rows};

/// The log's advisory lock: any number nobody else uses in this database.
const LOG_LOCK: i64 = 0x7175_6172_7465_7201;

/// Statements by shape: which parts they have.
#[derive(Debug, Default)]
pub(crate) struct Composer(Mutex<BTreeMap<u32, &'static str>>);

/// A bit for the guards, then one a part. (Appends are always there.)
fn shape(changes: &Changes<'_>) -> u32 {
    let parts = changes.parts.iter().enumerate().filter(|(_, rows)| !rows.is_empty());
    parts.fold(u32::from(!changes.guards.is_empty()), |shape, (place, _)| shape | 2 << place)
}

impl Composer {
    /// The statement for these changes. There are as many as shapes occur, some
    /// tens; each is made once and kept for good.
    pub fn statement(&self, changes: &Changes<'_>) -> &'static str {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.entry(shape(changes)).or_insert_with(|| Box::leak(compose(changes).into_boxed_str()))
    }
}

fn compose(changes: &Changes<'_>) -> String {
    // $1 and $2 are items and their valid_until; then one array a column.
    let mut next = 3;
    let mut place = |columns: usize| {
        let first = next;
        next += columns + 1;
        first
    };
    let appends = place(changes.appends.columns.len());
    let guards = (!changes.guards.is_empty()).then(|| place(changes.guards.columns.len()));
    let mut inserts = String::new();
    let mut granted = None;
    for (fragment, part) in FRAGMENTS.iter().zip(&changes.parts) {
        if part.is_empty() {
            continue;
        }
        let first = place(part.columns.len());
        if fragment.part == Part::Requests {
            let source = rows(Dialect::Postgres, part.columns, first);
            granted = Some(expand(Dialect::Postgres, &granted!().replace("{rows}", &source)));
        }
        let name = format!("{:?}", fragment.part).to_lowercase();
        inserts.push_str(&format!(",\n{name} AS (\n{}\n)", fragment.expanded(Dialect::Postgres, first)));
    }
    let locks = locks(appends, guards);
    let granted = granted.unwrap_or_else(|| "SELECT 0::bigint AS item WHERE false".to_owned());
    let ruling = expand(Dialect::Postgres, RULING).replace("{log_lock}", &LOG_LOCK.to_string());
    format!("{locks},\ngranted AS MATERIALIZED ({granted}),\n{ruling}{inserts}\n{ANSWER}")
}

/// Locks heads in the order of their ids, appends exclusively and guards shared,
/// and finds the items one of whose streams has moved.
fn locks(appends: usize, guards: Option<usize>) -> String {
    let (stream, expected) = (appends + 1, appends + 2);
    let mut locks = format!(
        "WITH heads AS MATERIALIZED (
    SELECT id, head FROM stream WHERE id = ANY(${stream}::uuid[]) ORDER BY id FOR UPDATE
)"
    );
    // FULL, though LEFT would do, and a condition that keeps it so: that cannot be
    // planned as a loop over all pairs.
    let mut moved = format!(
        "SELECT a.item FROM unnest(${appends}::bigint[], ${stream}::uuid[], ${expected}::bigint[])
        AS a(item, stream, expected)
    FULL JOIN heads h ON h.id = a.stream WHERE coalesce(h.head, 0) IS DISTINCT FROM a.expected"
    );
    if let Some(guards) = guards {
        let (stream, head) = (guards + 1, guards + 2);
        locks.push_str(&format!(
            ",
guards AS MATERIALIZED (
    SELECT id, head FROM stream WHERE id = ANY(${stream}::uuid[]) ORDER BY id FOR SHARE
)"
        ));
        moved.push_str(&format!(
            "
    UNION ALL
    SELECT g.item FROM unnest(${guards}::bigint[], ${stream}::uuid[], ${head}::bigint[])
        AS g(item, stream, head)
    FULL JOIN guards h ON h.id = g.stream WHERE h.head IS DISTINCT FROM g.head"
        ));
    }
    format!("{locks},\nmoved AS MATERIALIZED (\n    {moved}\n)")
}

/// From locked heads to verdicts. `MATERIALIZED` everywhere: each step is taken
/// once, after those it reads from.
const RULING: &str = "candidate AS MATERIALIZED (
    SELECT i.item, i.valid_until, i.item IN (SELECT item FROM moved) AS moved,
        i.item IN (SELECT item FROM granted) AS granted
    FROM unnest($1::bigint[], $2::bigint[]) AS i(item, valid_until)
),
gate AS MATERIALIZED (
    SELECT pg_advisory_xact_lock({log_lock})
    FROM (SELECT 1 FROM candidate WHERE NOT moved AND NOT granted LIMIT 1) AS any_candidate
),
clock AS MATERIALIZED (
    SELECT {now} AS at
    FROM (SELECT count(*) FROM gate) AS passed
),
verdict AS MATERIALIZED (
    SELECT c.item, clock.at,
        CASE WHEN c.moved THEN 1 WHEN c.valid_until <= clock.at THEN 2 WHEN c.granted THEN 3 ELSE 0 END AS ruling
    FROM candidate c CROSS JOIN clock
),
drawn AS MATERIALIZED (
    SELECT item, at, ruling, CASE WHEN ruling = 0 THEN nextval('log_position') ELSE 0 END AS position
    FROM (SELECT item, at, ruling FROM verdict ORDER BY item) AS in_order
),
ok AS MATERIALIZED (
    SELECT array_agg(position ORDER BY item) AS position, max(at) AS at FROM drawn
)";

const ANSWER: &str = "SELECT ruling::bigint, position, at FROM drawn ORDER BY item";
