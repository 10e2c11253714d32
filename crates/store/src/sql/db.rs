//! The seam between two drivers: run this statement, apply this commit.
//!
//! With [`super::postgres`] and [`super::sqlite`], which it chooses between, this
//! is all that knows of drivers. Nothing here knows a table.

use uuid::Uuid;

use super::changes::Changes;
use super::failure::Failure;
use super::postgres::Postgres;
use super::sqlite::Sqlite;
use super::stmt::Stmt;
use super::template::Dialect;
use super::value::{Arg, Rows};
use crate::error::StoreError;

/// A connected database.
#[derive(Debug)]
pub(crate) enum Db {
    Postgres(Postgres),
    Sqlite(Sqlite),
}

/// A row of either driver.
pub(crate) enum Row {
    Postgres(sqlx::postgres::PgRow),
    Sqlite(sqlx::sqlite::SqliteRow),
}

/// What a commit statement says of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub ruling: Ruling,
    /// The database's clock, read under the locks.
    pub at: i64,
    /// 0 where nothing was done.
    pub position: i64,
}

/// In order of precedence; the numbers are those the composed statement answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    Done = 0,
    Conflict = 1,
    Stale = 2,
    Duplicate = 3,
}

impl Ruling {
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Done),
            1 => Some(Self::Conflict),
            2 => Some(Self::Stale),
            3 => Some(Self::Duplicate),
            _ => None,
        }
    }
}

impl Db {
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Runs a statement that changes nothing.
    pub async fn read(&self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(db) => db.read(stmt, args).await,
            Self::Sqlite(db) => db.read(stmt, args).await,
        }
        .map_err(|failure| named(stmt, failure).of_read())
    }

    /// Runs a reading statement over `rows`.
    pub async fn read_over(&self, stmt: &'static Stmt, rows: &Rows<'_>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(db) => db.read_over(stmt, rows).await,
            Self::Sqlite(db) => db.read_over(stmt, rows).await,
        }
        .map_err(|failure| named(stmt, failure).of_read())
    }

    /// Runs a statement that changes something, in a transaction of its own.
    pub async fn write(&self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(db) => db.write(stmt, args).await,
            Self::Sqlite(db) => db.write(stmt, args).await,
        }
        .map_err(|failure| named(stmt, failure).of_write())
    }

    /// Applies all items that may apply, in one durable write; one verdict an item.
    pub async fn commit(&self, changes: &Changes<'_>) -> Result<Vec<Verdict>, Failure> {
        match self {
            Self::Postgres(db) => db.commit(changes).await,
            Self::Sqlite(db) => db.commit(changes).await,
        }
    }

    /// Has the database read a statement without running it.
    pub async fn prepare(&self, sql: &'static str) -> Result<(), Failure> {
        match self {
            Self::Postgres(db) => db.prepare(sql).await,
            Self::Sqlite(db) => db.prepare(sql).await,
        }
    }

    pub async fn close(&self) {
        match self {
            Self::Postgres(db) => db.close().await,
            Self::Sqlite(db) => db.close().await,
        }
    }
}

fn named(stmt: &Stmt, failure: Failure) -> Failure {
    let name = |why: String| format!("{}: {why}", stmt.name);
    match failure {
        Failure::NotDone(why) => Failure::NotDone(name(why)),
        Failure::Again(why) => Failure::Again(name(why)),
        Failure::Unknown(why) => Failure::Unknown(name(why)),
        Failure::Poison { why, raced } => Failure::Poison { why: name(why), raced },
        Failure::Schema(why) => Failure::Schema(name(why)),
    }
}

/// Columns by place; SQLite's types were fixed by STRICT tables, so they are not
/// compared again.
macro_rules! columns {
    ($($name:ident: $type:ty),* $(,)?) => {$(
        pub fn $name(&self, place: usize) -> Result<$type, sqlx::Error> {
            use sqlx::Row as _;
            match self {
                Self::Postgres(row) => row.try_get(place),
                Self::Sqlite(row) => row.try_get_unchecked(place),
            }
        }
    )*};
}

impl Row {
    columns! {
        int: i64,
        opt_int: Option<i64>,
        text: String,
        opt_text: Option<String>,
        uuid: Uuid,
        opt_uuid: Option<Uuid>,
        bytes: Vec<u8>,
    }
}
