//! Sessions: single conditional statements by the database's clock.
//!
//! Invariants: an ended session never lives again; a session whose lease has run
//! out is not renewed, even before anybody marks it; each session is marked as
//! expired by exactly one caller. Conditions stand in the updates themselves, so
//! they are evaluated again once a row's lock is won.

use async_trait::async_trait;
use quarterdeck_core::{ProjectId, SessionId, Span, Timestamp};
use uuid::Uuid;

use super::db::Row;
use super::stmt::Stmt;
use super::store::SqlStore;
use super::value::{Arg, Reader};
use crate::error::StoreError;
use crate::port::{Result, Sessions};
use crate::rows::{Renewed, SessionRow, SessionState};

/// The columns of a session, in the order in which they are read.
macro_rules! session_columns {
    () => {
        "id, project, agent, build, capabilities, slots, principal, resume_hash, replica, state, \
         created_at, expires_at, lease_length"
    };
}

static OPEN: Stmt = Stmt::new(
    "sessions.open",
    concat!(
        "INSERT INTO session (id, project, agent, build, capabilities, slots, principal, resume_hash, replica, \
             state, created_at, expires_at, lease_length)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, 1, c.at, c.at + $10, $10
         FROM (SELECT {now} AS at) AS c WHERE true
         ON CONFLICT (id) DO NOTHING RETURNING ",
        session_columns!()
    ),
);

static RESUME: Stmt = Stmt::new(
    "sessions.resume",
    concat!(
        "UPDATE session SET replica = $3, slots = $4, capabilities = $5, build = $6, expires_at = {now} + $7,
             lease_length = $7
         WHERE id = $1 AND resume_hash = $2 AND state < 3 AND expires_at > {now} RETURNING ",
        session_columns!()
    ),
);

static RENEW: Stmt = Stmt::new(
    "sessions.renew",
    "UPDATE session SET expires_at = {now} + $3
     WHERE id {in $1 uuid} AND replica = $2 AND state < 3 AND expires_at > {now}
     RETURNING id, expires_at, state",
);

static CLOSE: Stmt = Stmt::new(
    "sessions.close",
    "UPDATE session SET state = 3, ended_at = {now} WHERE id = $1 AND replica = $2 AND state < 3 RETURNING id",
);

static EXPIRE: Stmt = Stmt::new(
    "sessions.expire",
    "UPDATE session SET state = 4, ended_at = {now}
     WHERE id {any}SELECT id FROM session WHERE state < 3 AND expires_at <= {now} ORDER BY id LIMIT $1{end}
         AND state < 3 AND expires_at <= {now}
     RETURNING id",
);

static DRAIN: Stmt = Stmt::new(
    "sessions.drain",
    concat!(
        "UPDATE session SET state = 2
         WHERE id {any}SELECT id FROM session
             WHERE project = $1 AND state < 3 AND id = coalesce($2, id) AND agent = coalesce($3, agent)
             ORDER BY id{end}
             AND state < 3 AND expires_at > {now}
         RETURNING ",
        session_columns!()
    ),
);

static GET: Stmt =
    Stmt::new("sessions.get", concat!("SELECT ", session_columns!(), " FROM session WHERE id = $1"));

static LIST: Stmt = Stmt::new(
    "sessions.list",
    concat!(
        "SELECT ",
        session_columns!(),
        ", (SELECT count(*) FROM lease l WHERE l.session = session.id) AS held
         FROM session WHERE project = $1 AND id < $2 AND agent = coalesce($3, agent)
         ORDER BY id DESC LIMIT $4"
    ),
);

static FORGET: Stmt = Stmt::new(
    "sessions.forget",
    "DELETE FROM session WHERE id {any}SELECT s.id FROM session s
         WHERE s.state > 2 AND s.ended_at < $1 AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.session = s.id)
         ORDER BY s.ended_at LIMIT $2{end}
     RETURNING id",
);

pub(crate) static ALL: &[&Stmt] = &[&OPEN, &RESUME, &RENEW, &CLOSE, &EXPIRE, &DRAIN, &GET, &LIST, &FORGET];

fn read_session(row: &mut Reader<'_>) -> Result<SessionRow> {
    let session = SessionId::from_uuid(row.uuid("id")?);
    let project = ProjectId::from_uuid(row.uuid("project")?);
    let agent = row.text("agent")?;
    let build = row.text("build")?;
    let capabilities = row.json("capabilities")?;
    let slots = row.count("slots")?;
    let principal = row.text("principal")?;
    let resume_hash = row.hash("resume_hash")?;
    let replica = row.uuid("replica")?;
    let state = read_state(row)?;
    let created_at = Timestamp::from_micros(row.int("created_at")?);
    let expires_at = Timestamp::from_micros(row.int("expires_at")?);
    let lease = Span::from_micros(row.int("lease_length")?);
    Ok(SessionRow {
        session,
        project,
        agent,
        build,
        capabilities,
        slots,
        principal,
        resume_hash,
        replica,
        state,
        created_at,
        lease,
        expires_at,
    })
}

fn read_state(row: &mut Reader<'_>) -> Result<SessionState> {
    let code = row.int("state")?;
    i16::try_from(code)
        .ok()
        .and_then(SessionState::from_code)
        .ok_or_else(|| row.corrupt("state", format!("{code} is no state")))
}

fn session_row(row: &Row) -> Result<SessionRow> {
    read_session(&mut Reader::new(row, "session"))
}

fn session_id(row: &Row) -> Result<SessionId> {
    Reader::new(row, "session").uuid("id").map(SessionId::from_uuid)
}

fn capabilities_to_json(session: &SessionRow) -> String {
    // A list of texts can always be written.
    serde_json::to_string(&session.capabilities).unwrap_or_default()
}

#[async_trait]
impl Sessions for SqlStore {
    async fn open_session(&self, session: &SessionRow, lease: Span) -> Result<SessionRow> {
        let args = vec![
            Arg::Uuid(session.session.as_uuid()),
            Arg::Uuid(session.project.as_uuid()),
            Arg::Text(session.agent.clone()),
            Arg::Text(session.build.clone()),
            Arg::Text(capabilities_to_json(session)),
            Arg::Int(i64::from(session.slots)),
            Arg::Text(session.principal.clone()),
            Arg::Bytes(session.resume_hash.to_vec()),
            Arg::Uuid(session.replica),
            Arg::Int(lease.as_micros()),
        ];
        if let Some(row) = self.db().write(&OPEN, args).await?.first() {
            return session_row(row);
        }
        // Tried before, with the answer lost?
        match self.session(session.session).await? {
            Some(stored)
                if stored.resume_hash == session.resume_hash && stored.replica == session.replica =>
            {
                Ok(stored)
            }
            _ => Err(StoreError::Poison(format!("{} is taken by another session", session.session))),
        }
    }

    async fn resume_session(&self, session: &SessionRow, lease: Span) -> Result<Option<SessionRow>> {
        let args = vec![
            Arg::Uuid(session.session.as_uuid()),
            Arg::Bytes(session.resume_hash.to_vec()),
            Arg::Uuid(session.replica),
            Arg::Int(i64::from(session.slots)),
            Arg::Text(capabilities_to_json(session)),
            Arg::Text(session.build.clone()),
            Arg::Int(lease.as_micros()),
        ];
        self.db().write(&RESUME, args).await?.first().map(session_row).transpose()
    }

    async fn renew_sessions(
        &self,
        sessions: &[SessionId],
        replica: Uuid,
        lease: Span,
    ) -> Result<Vec<Renewed>> {
        let mut ids: Vec<Uuid> = sessions.iter().map(|session| session.as_uuid()).collect();
        // In one order everywhere, so that two who renew do not wait for each other.
        ids.sort_unstable();
        let args = vec![Arg::Uuids(ids), Arg::Uuid(replica), Arg::Int(lease.as_micros())];
        let rows = self.db().write(&RENEW, args).await?;
        rows.iter()
            .map(|row| {
                let mut row = Reader::new(row, "session");
                let session = SessionId::from_uuid(row.uuid("id")?);
                let expires_at = Timestamp::from_micros(row.int("expires_at")?);
                let draining = read_state(&mut row)? == SessionState::Draining;
                Ok(Renewed { session, expires_at, draining })
            })
            .collect()
    }

    async fn close_session(&self, session: SessionId, replica: Uuid) -> Result<bool> {
        let args = vec![Arg::Uuid(session.as_uuid()), Arg::Uuid(replica)];
        Ok(!self.db().write(&CLOSE, args).await?.is_empty())
    }

    async fn expire_sessions(&self, limit: u32) -> Result<Vec<SessionId>> {
        self.db().write(&EXPIRE, vec![Arg::Int(limit.into())]).await?.iter().map(session_id).collect()
    }

    async fn drain_sessions(
        &self,
        project: ProjectId,
        session: Option<SessionId>,
        agent: Option<&str>,
    ) -> Result<Vec<SessionRow>> {
        let args = vec![
            Arg::Uuid(project.as_uuid()),
            Arg::OptUuid(session.map(SessionId::as_uuid)),
            Arg::OptText(agent.map(str::to_owned)),
        ];
        self.db().write(&DRAIN, args).await?.iter().map(session_row).collect()
    }

    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>> {
        let rows = self.db().read(&GET, vec![Arg::Uuid(session.as_uuid())]).await?;
        rows.first().map(session_row).transpose()
    }

    async fn list_sessions(
        &self,
        project: ProjectId,
        agent: Option<&str>,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<(SessionRow, u32)>> {
        let args = vec![
            Arg::Uuid(project.as_uuid()),
            Arg::Uuid(before.map_or(Uuid::max(), SessionId::as_uuid)),
            Arg::OptText(agent.map(str::to_owned)),
            Arg::Int(limit.into()),
        ];
        let rows = self.db().read(&LIST, args).await?;
        rows.iter()
            .map(|row| {
                let mut row = Reader::new(row, "session");
                let session = read_session(&mut row)?;
                Ok((session, row.count("held")?))
            })
            .collect()
    }

    async fn forget_sessions(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let args = vec![Arg::Int(before.as_micros()), Arg::Int(limit.into())];
        Ok(self.db().write(&FORGET, args).await?.len() as u64)
    }
}
