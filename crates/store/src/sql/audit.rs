//! Entries of the audit as they are read, and the heads that seal them.

use async_trait::async_trait;
use quarterdeck_core::{Digest, ProjectId, Timestamp};

use super::db::Row;
use super::stmt::Stmt;
use super::store::SqlStore;
use super::value::{Arg, Reader, stored};
use crate::port::{AuditLog, Result};
use crate::rows::{AuditEntry, AuditPlace, AuditSeal, Audited};

static UNSEALED: Stmt = Stmt::new(
    "audit.after",
    "SELECT project, max(position) AS newest, count(*) AS entries FROM (SELECT project, position
     FROM audit WHERE position > $1 ORDER BY position LIMIT $2) AS few GROUP BY project",
);

static ENTRIES: Stmt = Stmt::new(
    "audit.entries",
    "SELECT position, n, at, body FROM audit
     WHERE project = $1 AND (position, n) > ($2, $3) ORDER BY position, n LIMIT $4",
);

static COUNT: Stmt = Stmt::new(
    "audit.count",
    "SELECT count(*) AS entries FROM (SELECT 1 FROM audit
     WHERE project = $1 AND (position, n) > ($2, $3) LIMIT $4) AS few",
);

static NEWEST: Stmt = Stmt::new(
    "audit.newest_seal",
    "SELECT size, root, at, signature, position, n, frontier FROM audit_seal
     WHERE project = $1 AND size <= $2 ORDER BY size DESC LIMIT 1",
);

static SEAL: Stmt = Stmt::new(
    "audit.seal",
    "INSERT INTO audit_seal (project, size, root, at, signature, position, n, frontier)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (project, size) DO NOTHING",
);

pub(crate) static ALL: &[&Stmt] = &[&UNSEALED, &ENTRIES, &COUNT, &NEWEST, &SEAL];

fn entry(row: &Row) -> Result<AuditEntry> {
    let mut row = Reader::new(row, "audit");
    Ok(AuditEntry {
        place: AuditPlace { position: row.int("position")?, n: row.int("n")? },
        at: Timestamp::from_micros(row.int("at")?),
        body: row.text("body")?,
    })
}

fn seal(row: &Row) -> Result<AuditSeal> {
    let mut row = Reader::new(row, "audit_seal");
    let size = row.count("size")?;
    Ok(AuditSeal {
        size,
        root: Digest::from_bytes(row.hash("root")?),
        at: Timestamp::from_micros(row.int("at")?),
        signature: row.bytes("signature")?,
        last: AuditPlace { position: row.int("position")?, n: row.int("n")? },
        frontier: row.json("frontier")?,
    })
}

#[async_trait]
impl AuditLog for SqlStore {
    async fn audited_after(&self, position: i64, limit: u32) -> Result<Vec<Audited>> {
        let rows = self.db().read(&UNSEALED, vec![Arg::Int(position), Arg::Int(limit.into())]).await?;
        rows.iter()
            .map(|row| {
                let mut row = Reader::new(row, "audit");
                let project = ProjectId::from_uuid(row.uuid("project")?);
                Ok(Audited { project, newest: row.int("newest")?, entries: row.count("entries")? })
            })
            .collect()
    }

    async fn audit_entries(
        &self,
        project: ProjectId,
        after: AuditPlace,
        limit: u32,
    ) -> Result<Vec<AuditEntry>> {
        let args = vec![
            Arg::Uuid(project.as_uuid()),
            Arg::Int(after.position),
            Arg::Int(after.n),
            Arg::Int(limit.into()),
        ];
        self.db().read(&ENTRIES, args).await?.iter().map(entry).collect()
    }

    async fn count_audited(&self, project: ProjectId, after: AuditPlace, limit: u32) -> Result<u64> {
        let args = vec![
            Arg::Uuid(project.as_uuid()),
            Arg::Int(after.position),
            Arg::Int(after.n),
            Arg::Int(limit.into()),
        ];
        let rows = self.db().read(&COUNT, args).await?;
        rows.first().map_or(Ok(0), |row| Reader::new(row, "audit").count("entries"))
    }

    async fn audit_seal(&self, project: ProjectId, at_most: u64) -> Result<Option<AuditSeal>> {
        let args = vec![Arg::Uuid(project.as_uuid()), Arg::Int(stored(at_most))];
        self.db().read(&NEWEST, args).await?.first().map(seal).transpose()
    }

    async fn seal_audit(&self, project: ProjectId, seal: &AuditSeal) -> Result<()> {
        let args = vec![
            Arg::Uuid(project.as_uuid()),
            Arg::Int(stored(seal.size)),
            Arg::Bytes(seal.root.as_bytes().to_vec()),
            Arg::Int(seal.at.as_micros()),
            Arg::Bytes(seal.signature.clone()),
            Arg::Int(seal.last.position),
            Arg::Int(seal.last.n),
            // A list of digests can always be written.
            Arg::Text(serde_json::to_string(&seal.frontier).unwrap_or_default()),
        ];
        self.db().write(&SEAL, args).await.map(drop)
    }
}
