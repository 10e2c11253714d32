//! Streams, events and payloads.

use async_trait::async_trait;
use bytes::Bytes;
use quarterdeck_core::stream::Kind;
use quarterdeck_core::{CommitId, Digest, ProjectId, StreamId, Timestamp};

use super::changes::Changes;
use super::db::{Db, Row};
use super::stmt::{Fragment, Part, Stmt};
use super::store::SqlStore;
use super::template::Type::{Bytes as Blob, Int, Text, Uuid};
use super::value::{Arg, Cell, Reader, Rows, stored};
use super::{commit, requests};
use crate::commit::{Append, Commit, Outcome, RequestKey, RequestRecord};
use crate::error::StoreError;
use crate::port::{Followed, Log, Result};
use crate::rows::EventRow;

/// Plain: another who opens the same stream at the same time makes this fail.
pub(crate) static OPENED: Fragment = Fragment::new(
    Part::Opened,
    &[("id", Uuid), ("kind", Int), ("project", Uuid), ("head", Int)],
    "INSERT INTO stream (id, kind, project, head)
     SELECT r.id, r.kind, r.project, r.head FROM {rows} {live}",
);

/// The rows are there, and locked: this never inserts.
pub(crate) static ADVANCED: Fragment = Fragment::new(
    Part::Advanced,
    &[("id", Uuid), ("kind", Int), ("project", Uuid), ("head", Int)],
    "INSERT INTO stream (id, kind, project, head)
     SELECT r.id, r.kind, r.project, r.head FROM {rows} {live}
     ON CONFLICT (id) DO UPDATE SET head = excluded.head",
);

pub(crate) static EVENTS: Fragment = Fragment::new(
    Part::Events,
    &[
        ("stream", Uuid),
        ("last_seq", Int),
        ("count", Int),
        ("commit_id", Uuid),
        ("project", Uuid),
        ("kind", Int),
        ("body", Text),
    ],
    "INSERT INTO event (stream, last_seq, count, commit_id, position, at, project, kind, body)
     SELECT r.stream, r.last_seq, r.count, r.commit_id, {position}, {at}, r.project, r.kind, r.body
     FROM {rows} {live}",
);

/// Content is its digest, so whoever was first wrote the same.
pub(crate) static PAYLOADS: Fragment = Fragment::new(
    Part::Payloads,
    &[("digest", Blob), ("bytes", Blob)],
    "INSERT INTO payload (digest, bytes)
     SELECT r.digest, r.bytes FROM {rows} {live}
     ON CONFLICT (digest) DO NOTHING",
);

static LOAD: Stmt = Stmt::new(
    "log.load",
    "SELECT stream, last_seq, count, position, at, body FROM event
     WHERE stream = $1 AND last_seq > $2 ORDER BY last_seq LIMIT $3",
);

static HEADS: Stmt = Stmt::new("log.heads", "SELECT id, head FROM stream WHERE id {in $1 uuid}");

static LOAD_SHORT: Stmt = Stmt::new(
    "log.load_short",
    "SELECT stream, last_seq, count, position, at, body FROM event
     WHERE stream {in $1 uuid} ORDER BY stream, last_seq LIMIT 10000",
);

/// The kind stands in the text, because the indexes are over one kind each.
macro_rules! follow {
    ($name:literal, $kind:literal, $rest:literal) => {
        Stmt::new(
            $name,
            concat!(
                "SELECT stream, last_seq, count, position, at, body FROM event
                 WHERE project = $1 AND kind = ",
                $kind,
                " AND position ",
                $rest
            ),
        )
    };
}

static FOLLOW_TASKS: Stmt = follow!("log.follow_tasks", 1, "> $2 ORDER BY position LIMIT $3");
static FOLLOW_APPROVALS: Stmt = follow!("log.follow_approvals", 4, "> $2 ORDER BY position LIMIT $3");

/// What one commit did to a project's tasks, or approvals.
static ONE_OF_TASKS: Stmt = follow!("log.one_of_tasks", 1, "= $2");
static ONE_OF_APPROVALS: Stmt = follow!("log.one_of_approvals", 4, "= $2");

static POSITION: Stmt = Stmt::new("log.position", "SELECT coalesce(max(position), 0) FROM event");

static PAYLOAD: Stmt = Stmt::new("log.payload", "SELECT bytes FROM payload WHERE digest = $1");

static FIND_COMMIT: Stmt = Stmt::new(
    "log.find_commit",
    "SELECT commit_id, last_seq, count, at, position FROM event
     WHERE stream = $1 AND last_seq > $2 ORDER BY last_seq LIMIT 1",
);

/// Which of these commits are in the log. By scalar subqueries, which can only be
/// one look-up each, however little the planner knows.
pub(crate) static FIND_COMMITS: Stmt = Stmt::over(
    "log.find_commits",
    &[("commit_id", Uuid), ("stream", Uuid), ("last_seq", Int)],
    "SELECT item, at, position FROM (
         SELECT r.item,
             (SELECT e.at FROM event e WHERE e.stream = r.stream AND e.last_seq = r.last_seq
                 AND e.commit_id = r.commit_id) AS at,
             (SELECT e.position FROM event e WHERE e.stream = r.stream AND e.last_seq = r.last_seq
                 AND e.commit_id = r.commit_id) AS position
         FROM {rows}) AS found
     WHERE position IS NOT NULL",
);

static NOW: Stmt = Stmt::new("log.now", "SELECT {now}");

pub(crate) static ALL: &[&Stmt] = &[
    &LOAD,
    &LOAD_SHORT,
    &HEADS,
    &FOLLOW_TASKS,
    &FOLLOW_APPROVALS,
    &ONE_OF_TASKS,
    &ONE_OF_APPROVALS,
    &POSITION,
    &PAYLOAD,
    &FIND_COMMIT,
    &FIND_COMMITS,
    &NOW,
];

pub(crate) fn add_append<'a>(changes: &mut Changes<'a>, item: i64, commit: CommitId, append: &'a Append) {
    let stream = append.stream.as_uuid();
    let kind = i64::from(append.kind.code());
    let project = append.project.as_uuid();
    let last = stored(append.last());
    let part = if append.expected == 0 { Part::Opened } else { Part::Advanced };
    changes.push(part, item, [Cell::Uuid(stream), Cell::Int(kind), Cell::Uuid(project), Cell::Int(last)]);
    changes.push(
        Part::Events,
        item,
        [
            Cell::Uuid(stream),
            Cell::Int(last),
            Cell::Int(i64::from(append.count)),
            Cell::Uuid(commit.as_uuid()),
            Cell::Uuid(project),
            Cell::Int(kind),
            Cell::text(&append.body),
        ],
    );
}

/// Those of the batch's `items` (counted from 0) that are in the log, with when
/// and where. A fresh look: what a commit statement saw may be older.
pub(crate) async fn find_commits(
    db: &Db,
    batch: &[Commit],
    items: &[usize],
) -> Result<Vec<(usize, Timestamp, i64)>> {
    let mut rows = Rows::new(FIND_COMMITS.columns());
    for &item in items {
        let Some((commit, append)) =
            batch.get(item).and_then(|commit| Some((commit, commit.appends.first()?)))
        else {
            continue;
        };
        let stream = Cell::Uuid(append.stream.as_uuid());
        let number = i64::try_from(item).unwrap_or(i64::MAX);
        rows.push(number, [Cell::Uuid(commit.id.as_uuid()), stream, Cell::int(append.last())]);
    }
    let found = db.read_over(&FIND_COMMITS, &rows).await?;
    found
        .iter()
        .map(|row| {
            let mut row = Reader::new(row, "event");
            let item = row.count("item")?;
            Ok((item, Timestamp::from_micros(row.int("at")?), row.int("position")?))
        })
        .collect()
}

fn event_row(row: &Row) -> Result<EventRow> {
    let mut row = Reader::new(row, "event");
    Ok(EventRow {
        stream: StreamId::from_uuid(row.uuid("stream")?),
        last: row.count("last_seq")?,
        count: row.count("count")?,
        position: row.int("position")?,
        at: Timestamp::from_micros(row.int("at")?),
        body: row.text("body")?,
    })
}

fn event_rows(rows: &[Row]) -> Result<Vec<EventRow>> {
    rows.iter().map(event_row).collect()
}

#[async_trait]
impl Log for SqlStore {
    async fn commit(&self, batch: &[Commit]) -> Result<Vec<Outcome>> {
        commit::commit(self.db(), batch).await
    }

    async fn load(&self, stream: StreamId, after: u64, limit: u32) -> Result<Vec<EventRow>> {
        let args = vec![Arg::Uuid(stream.as_uuid()), Arg::Int(stored(after)), Arg::Int(limit.into())];
        event_rows(&self.db().read(&LOAD, args).await?)
    }

    async fn heads(&self, streams: &[StreamId]) -> Result<Vec<(StreamId, u64)>> {
        let ids = streams.iter().map(|stream| stream.as_uuid()).collect();
        let rows = self.db().read(&HEADS, vec![Arg::Uuids(ids)]).await?;
        rows.iter()
            .map(|row| {
                let mut row = Reader::new(row, "stream");
                Ok((StreamId::from_uuid(row.uuid("id")?), row.count("head")?))
            })
            .collect()
    }

    async fn load_short(&self, streams: &[StreamId]) -> Result<Vec<EventRow>> {
        let ids = streams.iter().map(|stream| stream.as_uuid()).collect();
        event_rows(&self.db().read(&LOAD_SHORT, vec![Arg::Uuids(ids)]).await?)
    }

    async fn follow(
        &self,
        project: ProjectId,
        followed: Followed,
        position: i64,
        limit: u32,
    ) -> Result<Vec<EventRow>> {
        debug_assert_eq!((Kind::Task.code(), Kind::Approval.code()), (1, 4), "the statements say so");
        let (follow, one) = match followed {
            Followed::Tasks => (&FOLLOW_TASKS, &ONE_OF_TASKS),
            Followed::Approvals => (&FOLLOW_APPROVALS, &ONE_OF_APPROVALS),
        };
        let project = Arg::Uuid(project.as_uuid());
        let args = vec![project.clone(), Arg::Int(position), Arg::Int(limit.into())];
        let mut events = event_rows(&self.db().read(follow, args).await?)?;
        let full = events.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        if let Some(last) = events.last().map(|event| event.position).filter(|_| full) {
            events.retain(|event| event.position != last);
            let rest = self.db().read(one, vec![project, Arg::Int(last)]).await?;
            events.extend(event_rows(&rest)?);
        }
        events.sort_by_key(|event| (event.position, event.stream));
        Ok(events)
    }

    async fn position(&self) -> Result<i64> {
        let rows = self.db().read(&POSITION, Vec::new()).await?;
        rows.first().map_or(Ok(0), |row| Reader::new(row, "event").int("position"))
    }

    async fn payload(&self, digest: Digest) -> Result<Option<Bytes>> {
        let rows = self.db().read(&PAYLOAD, vec![Arg::Bytes(digest.as_bytes().to_vec())]).await?;
        rows.first().map(|row| Reader::new(row, "payload").bytes("bytes").map(Bytes::from)).transpose()
    }

    async fn request(&self, key: &RequestKey) -> Result<Option<RequestRecord>> {
        requests::find(self.db(), key).await
    }

    async fn forget_requests(&self, before: Timestamp, limit: u32) -> Result<u64> {
        requests::forget(self.db(), before, limit).await
    }

    async fn find_commit(
        &self,
        id: CommitId,
        stream: StreamId,
        expected: u64,
    ) -> Result<Option<(Timestamp, i64)>> {
        let args = vec![Arg::Uuid(stream.as_uuid()), Arg::Int(stored(expected))];
        let rows = self.db().read(&FIND_COMMIT, args).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut row = Reader::new(row, "event");
        let same = row.uuid("commit_id")? == id.as_uuid();
        let (last, count) = (row.int("last_seq")?, row.int("count")?);
        let (at, position) = (row.int("at")?, row.int("position")?);
        let follows = last - count == stored(expected);
        Ok((same && follows).then_some((Timestamp::from_micros(at), position)))
    }

    async fn now(&self) -> Result<Timestamp> {
        let rows = self.db().read(&NOW, Vec::new()).await?;
        match rows.first() {
            Some(row) => Ok(Timestamp::from_micros(Reader::new(row, "clock").int("now")?)),
            None => Err(StoreError::Unavailable("the database did not tell the time".to_owned())),
        }
    }

    fn epoch(&self) -> u32 {
        self.current_epoch()
    }
}
