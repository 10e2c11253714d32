//! The schema: which version the database has, and bringing it up to date.
//!
//! Opening a store does not migrate it. A schema newer than this program is
//! refused: an older one must not write what it does not know.

use sqlx::migrate::Migrator;

use super::db::Db;
use super::stmt::Stmt;
use super::store::SqlStore;
use super::template::Dialect;
use super::value::Reader;
use crate::error::StoreError;
use crate::port::Result;

static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// Asked first: there is no table of migrations before the first one.
static MIGRATED: Stmt = Stmt::new(
    "schema.migrated",
    "SELECT {?CASE WHEN to_regclass('_sqlx_migrations') IS NULL THEN 0 ELSE 1 END::bigint\
     ~count(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'}",
);

static APPLIED: Stmt =
    Stmt::new("schema.applied", "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version");

static EPOCH: Stmt =
    Stmt::new("schema.epoch", "SELECT epoch, {?0::bigint AS clock~clock} FROM store_meta WHERE one = 1");

/// A store's first epoch is drawn from its clock, so that tokens and cursors of one
/// installation mean nothing to another.
static DRAW_EPOCH: Stmt = Stmt::new(
    "schema.draw_epoch",
    "UPDATE store_meta SET epoch = {now} % 2147483647 + 1 WHERE one = 1 AND epoch = 0",
);

static RAISE_EPOCH: Stmt =
    Stmt::new("schema.raise_epoch", "UPDATE store_meta SET epoch = epoch + 1 WHERE one = 1 RETURNING epoch");

/// Position and time of this commit, on SQLite.
pub(crate) const ADVANCE_META: &str = "UPDATE store_meta SET position = $2, clock = $1 WHERE one = 1";

pub(crate) static ALL: &[&Stmt] = &[&MIGRATED, &APPLIED, &EPOCH, &DRAW_EPOCH, &RAISE_EPOCH];

/// What the database has, and what this program knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Version of the database; 0 where nothing was migrated yet.
    pub current: i64,
    /// Version that this program needs.
    pub latest: i64,
    /// What is missing, in order.
    pub pending: Vec<Migration>,
}

/// A step of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    pub version: i64,
    pub name: String,
}

impl SchemaStatus {
    pub const fn is_ready(&self) -> bool {
        self.pending.is_empty()
    }
}

const fn migrator(dialect: Dialect) -> &'static Migrator {
    match dialect {
        Dialect::Postgres => &POSTGRES,
        Dialect::Sqlite => &SQLITE,
    }
}

impl SqlStore {
    /// Compares the database with what this program knows. `Schema` if the
    /// database is newer.
    pub async fn schema_status(&self) -> Result<SchemaStatus> {
        let applied = applied(self.db()).await?;
        let known = migrator(self.db().dialect());
        let latest = known.iter().map(|migration| migration.version).max().unwrap_or(0);
        let current = applied.last().copied().unwrap_or(0);
        if current > latest {
            return Err(StoreError::Schema(format!(
                "the schema of {} has version {current}, but this quarterdeck knows versions up to {latest} \
                 only: run the version of quarterdeck that migrated it or a newer one, or restore a backup \
                 from before the migration",
                self.location()
            )));
        }
        let pending = known
            .iter()
            .filter(|migration| !applied.contains(&migration.version))
            .map(|migration| Migration {
                version: migration.version,
                name: migration.description.clone().into_owned(),
            })
            .collect();
        Ok(SchemaStatus { current, latest, pending })
    }

    /// Fails with `Schema` unless the schema is the one this program needs.
    pub async fn ensure_ready(&self) -> Result<()> {
        let status = self.schema_status().await?;
        if status.is_ready() {
            return self.learn_epoch().await;
        }
        Err(StoreError::Schema(format!(
            "the schema of {} has version {}, but this quarterdeck needs version {}: run `quarterdeck migrate up`",
            self.location(),
            status.current,
            status.latest
        )))
    }

    /// Brings the schema up to date. Safe to run from several replicas at once.
    pub async fn migrate(&self) -> Result<()> {
        self.schema_status().await?;
        let migrator = migrator(self.db().dialect());
        let result = match self.db() {
            Db::Postgres(db) => migrator.run(&db.pool).await,
            Db::Sqlite(db) => db.migrate(migrator).await,
        };
        result.map_err(|error| {
            StoreError::Schema(format!("the schema of {} could not be migrated: {error}", self.location()))
        })?;
        self.db().write(&DRAW_EPOCH, Vec::new()).await?;
        self.learn_epoch().await
    }

    /// Says that the store was restored: tokens and cursors of before are void.
    /// To be called before anybody works on it. Answers the new epoch.
    pub async fn raise_epoch(&self) -> Result<u32> {
        self.db().write(&RAISE_EPOCH, Vec::new()).await?;
        self.learn_epoch().await?;
        Ok(self.current_epoch())
    }

    /// Reads the epoch if there is a schema.
    pub(crate) async fn learn_epoch(&self) -> Result<()> {
        if applied(self.db()).await?.is_empty() {
            return Ok(());
        }
        let rows = self.db().read(&EPOCH, Vec::new()).await?;
        if let Some(row) = rows.first() {
            let mut row = Reader::new(row, "store_meta");
            self.set_epoch(row.count("epoch")?);
            if let Db::Sqlite(db) = self.db() {
                db.not_before(row.int("clock")?);
            }
        }
        Ok(())
    }
}

async fn applied(db: &Db) -> Result<Vec<i64>> {
    let rows = db.read(&MIGRATED, Vec::new()).await?;
    let exists = rows.first().map_or(Ok(0), |row| Reader::new(row, "schema").int("exists"))?;
    if exists == 0 {
        return Ok(Vec::new());
    }
    let rows = db.read(&APPLIED, Vec::new()).await?;
    rows.iter().map(|row| Reader::new(row, "_sqlx_migrations").int("version")).collect()
}
