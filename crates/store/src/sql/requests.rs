//! Requests that were granted: each happens once.

use quarterdeck_core::{CommitId, Digest, StreamId, Timestamp};

use super::changes::Changes;
use super::db::Db;
use super::stmt::{Fragment, Part, Stmt};
use super::template::Type::{Bytes, Text, Uuid};
use super::value::{Arg, Cell, Reader};
use crate::commit::{RequestKey, RequestRecord};
use crate::port::Result;

/// Plain: somebody who grants the same request at the same time makes this fail,
/// and the next try find a duplicate.
pub(crate) static REQUESTS: Fragment = Fragment::new(
    Part::Requests,
    &[
        ("project", Uuid),
        ("method", Text),
        ("request_id", Text),
        ("digest", Bytes),
        ("stream", Uuid),
        ("commit_id", Uuid),
    ],
    "INSERT INTO request (project, method, request_id, digest, stream, commit_id, at)
     SELECT r.project, r.method, r.request_id, r.digest, r.stream, r.commit_id, {at} FROM {rows} {live}",
);

/// Items whose request was granted before. A scalar subquery, which can only be
/// one look-up each, however little the planner knows.
macro_rules! granted {
    () => {
        "SELECT r.item FROM {rows}
     WHERE (SELECT 1 FROM request q WHERE q.project = r.project AND q.method = r.method
         AND q.request_id = r.request_id) = 1"
    };
}
pub(crate) use granted;

static FIND: Stmt = Stmt::new(
    "requests.find",
    "SELECT stream, digest FROM request WHERE project = $1 AND method = $2 AND request_id = $3",
);

static FORGET: Stmt = Stmt::new(
    "requests.forget",
    "DELETE FROM request WHERE {?ctid~(project, method, request_id)} {any}
         SELECT {?ctid~project, method, request_id} FROM request WHERE at < $1 ORDER BY at LIMIT $2{end}
     RETURNING stream",
);

pub(crate) static ALL: &[&Stmt] = &[&FIND, &FORGET];

pub(crate) fn add<'a>(changes: &mut Changes<'a>, item: i64, commit: CommitId, request: &'a RequestRecord) {
    let RequestRecord { key, digest, stream } = request;
    changes.push(
        Part::Requests,
        item,
        [
            Cell::Uuid(key.project.as_uuid()),
            Cell::text(key.method),
            Cell::text(&key.request_id),
            Cell::bytes(digest.as_bytes()),
            Cell::Uuid(stream.as_uuid()),
            Cell::Uuid(commit.as_uuid()),
        ],
    );
}

pub(crate) async fn find(db: &Db, key: &RequestKey) -> Result<Option<RequestRecord>> {
    let args = vec![
        Arg::Uuid(key.project.as_uuid()),
        Arg::Text(key.method.to_owned()),
        Arg::Text(key.request_id.clone()),
    ];
    let rows = db.read(&FIND, args).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut row = Reader::new(row, "request");
    let stream = StreamId::from_uuid(row.uuid("stream")?);
    Ok(Some(RequestRecord { key: key.clone(), digest: Digest::from_bytes(row.hash("digest")?), stream }))
}

pub(crate) async fn forget(db: &Db, before: Timestamp, limit: u32) -> Result<u64> {
    let args = vec![Arg::Int(before.as_micros()), Arg::Int(limit.into())];
    Ok(db.write(&FORGET, args).await?.len() as u64)
}
