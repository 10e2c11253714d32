//! Ready steps, leases and timers: what dispatch and the sweeper peek at.

use async_trait::async_trait;
use quarterdeck_core::{SessionId, TaskId, Timestamp};

use super::changes::{Changes, Net};
use super::db::Row;
use super::stmt::{Fragment, Part, Stmt};
use super::store::SqlStore;
use super::template::Type::{Bytes, Int, Uuid};
use super::value::{Arg, Cell, Reader};
use crate::port::{Dispatch, Result};
use crate::rows::{LeaseRow, QueueKey, ReadyKey, StepRef};

pub(crate) static READY_REMOVED: Fragment = Fragment::new(
    Part::ReadyRemoved,
    &[("key", Bytes)],
    "DELETE FROM ready WHERE key {any}SELECT r.key FROM {rows} {live}{end}",
);

pub(crate) static READY_ADDED: Fragment = Fragment::new(
    Part::ReadyAdded,
    &[("key", Bytes)],
    "INSERT INTO ready (key) SELECT r.key FROM {rows} {live} ON CONFLICT (key) DO NOTHING",
);

pub(crate) static LEASES_REMOVED: Fragment = Fragment::new(
    Part::LeasesRemoved,
    &[("key", Bytes)],
    "DELETE FROM lease WHERE item {any}SELECT r.key FROM {rows} {live}{end}",
);

pub(crate) static LEASES_PUT: Fragment = Fragment::new(
    Part::LeasesPut,
    &[("key", Bytes), ("session", Uuid), ("token", Int)],
    "INSERT INTO lease (item, session, token)
     SELECT r.key, r.session, r.token FROM {rows} {live}
     ON CONFLICT (item) DO UPDATE SET session = excluded.session, token = excluded.token",
);

pub(crate) static TIMERS_CLEARED: Fragment = Fragment::new(
    Part::TimersCleared,
    &[("task", Uuid)],
    "DELETE FROM timer WHERE task {any}SELECT r.task FROM {rows} {live}{end}",
);

pub(crate) static TIMERS_SET: Fragment = Fragment::new(
    Part::TimersSet,
    &[("task", Uuid), ("due", Int)],
    "INSERT INTO timer (task, due) SELECT r.task, r.due FROM {rows} {live}
     ON CONFLICT (task) DO UPDATE SET due = excluded.due",
);

static PEEK: Stmt = Stmt::new(
    "dispatch.peek_ready",
    "SELECT key FROM ready WHERE key > $1 AND key < $2 ORDER BY key LIMIT $3",
);

static DUE: Stmt =
    Stmt::new("dispatch.due_timers", "SELECT task, due FROM timer WHERE due <= $1 ORDER BY due LIMIT $2");

static LEASES_OF: Stmt = Stmt::new(
    "dispatch.leases_of",
    "SELECT session, item, token FROM lease WHERE session {in $1 uuid} ORDER BY item",
);

static ORPHANED: Stmt = Stmt::new(
    "dispatch.orphaned_leases",
    "SELECT l.session, l.item, l.token FROM lease l
     WHERE NOT EXISTS (SELECT 1 FROM session s WHERE s.id = l.session AND s.state < 3) LIMIT $1",
);

pub(crate) static ALL: &[&Stmt] = &[&PEEK, &DUE, &LEASES_OF, &ORPHANED];

pub(crate) fn add(changes: &mut Changes<'_>, item: i64, net: &Net<'_>) {
    for (key, there) in &net.ready {
        let part = if there.is_some() { Part::ReadyAdded } else { Part::ReadyRemoved };
        changes.push(part, item, [Cell::Bytes(key.clone().into())]);
    }
    for (step, lease) in &net.leases {
        let key = Cell::Bytes(step.to_vec().into());
        match lease {
            Some(lease) => {
                let session = Cell::Uuid(lease.session.as_uuid());
                changes.push(Part::LeasesPut, item, [key, session, Cell::int(lease.token)]);
            }
            None => changes.push(Part::LeasesRemoved, item, [key]),
        }
    }
    for (task, due) in &net.timers {
        let task = Cell::Uuid(task.as_uuid());
        match due {
            Some(due) => changes.push(Part::TimersSet, item, [task, Cell::Int(due.as_micros())]),
            None => changes.push(Part::TimersCleared, item, [task]),
        }
    }
}

fn lease_row(row: &Row) -> Result<LeaseRow> {
    let mut row = Reader::new(row, "lease");
    let session = SessionId::from_uuid(row.uuid("session")?);
    let item = row.bytes("item")?;
    let step = StepRef::from_bytes(&item).ok_or_else(|| row.corrupt("item", "not a task and a step"))?;
    Ok(LeaseRow { step, session, token: row.count("token")? })
}

#[async_trait]
impl Dispatch for SqlStore {
    async fn peek_ready(
        &self,
        queue: &QueueKey,
        after: Option<&ReadyKey>,
        limit: u32,
    ) -> Result<Vec<ReadyKey>> {
        let prefix = queue.prefix();
        let mut end = prefix.clone();
        // The prefix ends in the 0 after the capability: 1 is beyond every key of the queue.
        if let Some(last) = end.last_mut() {
            *last = 1;
        }
        let start = after.map_or(prefix, ReadyKey::encode);
        let args = vec![Arg::Bytes(start), Arg::Bytes(end), Arg::Int(limit.into())];
        let rows = self.db().read(&PEEK, args).await?;
        rows.iter()
            .map(|row| {
                let mut row = Reader::new(row, "ready");
                let key = row.bytes("key")?;
                ReadyKey::decode(&key).ok_or_else(|| row.corrupt("key", "not a ready step"))
            })
            .collect()
    }

    async fn due_timers(&self, now: Timestamp, limit: u32) -> Result<Vec<(TaskId, Timestamp)>> {
        let args = vec![Arg::Int(now.as_micros()), Arg::Int(limit.into())];
        let rows = self.db().read(&DUE, args).await?;
        rows.iter()
            .map(|row| {
                let mut row = Reader::new(row, "timer");
                Ok((TaskId::from_uuid(row.uuid("task")?), Timestamp::from_micros(row.int("due")?)))
            })
            .collect()
    }

    async fn leases_of(&self, sessions: &[SessionId]) -> Result<Vec<LeaseRow>> {
        let ids = sessions.iter().map(|session| session.as_uuid()).collect();
        self.db().read(&LEASES_OF, vec![Arg::Uuids(ids)]).await?.iter().map(lease_row).collect()
    }

    async fn orphaned_leases(&self, limit: u32) -> Result<Vec<LeaseRow>> {
        self.db().read(&ORPHANED, vec![Arg::Int(limit.into())]).await?.iter().map(lease_row).collect()
    }
}
