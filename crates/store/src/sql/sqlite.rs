//! SQLite: one writer, readers apart, a commit is one `BEGIN IMMEDIATE`.
//!
//! Invariants: the clock never falls, neither below what this process read nor
//! below the last commit; the writer waits for no checkpoint, but for its last few
//! pages. Whoever's commit finds the write-ahead log full lets it be moved beside
//! the commits that follow: waiting for it was the tail of every steady load.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use quarterdeck_core::Timestamp;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Arguments as _, ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::{Mutex, MutexGuard};

use super::changes::Changes;
use super::db::{Row, Verdict};
use super::failure::Failure;
use super::ruling::{self, Writes};
use super::stmt::Stmt;
use super::template::Dialect;
use super::value::{Arg, Rows, ids_to_json, ints_to_json, texts_to_json};

/// The wall clock, or the simulator's.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// When a commit counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Synced to disk at every commit: survives loss of power.
    #[default]
    Full,
    /// Synced at checkpoints: survives a crash of the process only.
    Normal,
}

/// How to open SQLite.
#[derive(Clone)]
pub struct SqliteOptions {
    pub synchronous: Synchronous,
    /// How long to wait for another process that writes.
    pub busy_timeout: Duration,
    /// Most connections that read, at least 1.
    pub readers: u32,
    /// Time is taken from here; the system's clock by default.
    pub clock: Clock,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            busy_timeout: Duration::from_secs(5),
            readers: 4,
            clock: Arc::new(system_clock),
        }
    }
}

impl std::fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("synchronous", &self.synchronous)
            .field("busy_timeout", &self.busy_timeout)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

#[allow(clippy::disallowed_methods)] // The database's clock has to come from somewhere: here.
fn system_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Size of the write-ahead log from which on it is moved into the database: 1,000 pages,
/// whose sync delays that of the commits beside it by a millisecond or two.
const WAL_BYTES: u64 = 4 * 1024 * 1024;

pub(crate) struct Sqlite {
    writer: Arc<Mutex<Writer>>,
    /// `None` in memory: another connection would see another database.
    readers: Option<Readers>,
    clock: Clock,
    /// The highest time given out, in microseconds.
    highest: AtomicI64,
    writes: Writes,
}

struct Readers {
    pool: SqlitePool,
    checkpoints: Arc<Mutex<SqliteConnection>>,
    wal: PathBuf,
    /// Size of the write-ahead log at which to move it next.
    next: AtomicU64,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("in_memory", &self.readers.is_none()).finish_non_exhaustive()
    }
}

/// The connection that writes.
struct Writer {
    connection: SqliteConnection,
    /// A commit has begun; whoever awaited it may be gone since.
    open: bool,
}

impl Writer {
    /// Takes back what is open. False where nothing was.
    async fn roll_back(&mut self) -> bool {
        let undone = self.open && sqlx::query("ROLLBACK").execute(&mut self.connection).await.is_ok();
        self.open = false;
        undone
    }
}

impl Sqlite {
    pub async fn open(path: &Path, options: &SqliteOptions) -> Result<Self, sqlx::Error> {
        let connect = connect_options(options)
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match options.synchronous {
                Synchronous::Full => SqliteSynchronous::Full,
                Synchronous::Normal => SqliteSynchronous::Normal,
            })
            .pragma("wal_autocheckpoint", "0")
            // Makes the file's length say how much of it is in use.
            .pragma("journal_size_limit", WAL_BYTES.to_string());
        let writer = connect.connect().await?;
        let checkpoints = connect.connect().await?;
        let pool = SqlitePoolOptions::new()
            .max_connections(options.readers.max(1))
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(connect.clone().pragma("query_only", "1"))
            .await?;
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        let readers = Readers {
            pool,
            checkpoints: Arc::new(Mutex::new(checkpoints)),
            wal: PathBuf::from(wal),
            next: AtomicU64::new(WAL_BYTES),
        };
        Ok(Self::new(writer, Some(readers), options))
    }

    pub async fn memory(options: &SqliteOptions) -> Result<Self, sqlx::Error> {
        let writer = connect_options(options).in_memory(true).connect().await?;
        Ok(Self::new(writer, None, options))
    }

    fn new(writer: SqliteConnection, readers: Option<Readers>, options: &SqliteOptions) -> Self {
        Self {
            writer: Arc::new(Mutex::new(Writer { connection: writer, open: false })),
            readers,
            clock: Arc::clone(&options.clock),
            highest: AtomicI64::new(0),
            writes: Writes::default(),
        }
    }

    pub fn writes(&self) -> &Writes {
        &self.writes
    }

    /// The clock, which never falls.
    pub fn now(&self) -> i64 {
        let wall = (self.clock)().as_micros();
        self.highest.fetch_max(wall, Ordering::SeqCst).max(wall)
    }

    /// Time as given out by an earlier process on the same database.
    pub fn not_before(&self, micros: i64) {
        self.highest.fetch_max(micros, Ordering::SeqCst);
    }

    pub async fn read(&self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<Vec<Row>, Failure> {
        let bound = bind_all(stmt, args, self.now())?;
        self.fetch(stmt.sql(Dialect::Sqlite), bound).await
    }

    pub async fn read_over(&self, stmt: &'static Stmt, rows: &Rows<'_>) -> Result<Vec<Row>, Failure> {
        let Some(json) = rows.to_json(Some) else { return Ok(Vec::new()) };
        self.fetch(stmt.sql(Dialect::Sqlite), bind(vec![Bound::Text(json)])?).await
    }

    async fn fetch(&self, sql: &'static str, bound: SqliteArguments) -> Result<Vec<Row>, Failure> {
        match &self.readers {
            Some(readers) => {
                let mut reader =
                    readers.pool.acquire().await.map_err(|error| Failure::NotDone(error.to_string()))?;
                fetch(&mut reader, sql, bound).await
            }
            None => fetch(&mut self.writer().await.connection, sql, bound).await,
        }
    }

    /// The writer, without what an abandoned commit has left open.
    async fn writer(&self) -> MutexGuard<'_, Writer> {
        let mut writer = self.writer.lock().await;
        writer.roll_back().await;
        writer
    }

    pub async fn write(&self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<Vec<Row>, Failure> {
        let mut writer = self.writer().await;
        // Read once the writer is ours: waiting must not make the time old.
        let bound = bind_all(stmt, args, self.now())?;
        let mut transaction =
            writer.connection.begin_with("BEGIN IMMEDIATE").await.map_err(|error| classify(&error, false))?;
        let rows = fetch(&mut transaction, stmt.sql(Dialect::Sqlite), bound).await?;
        transaction.commit().await.map_err(|error| classify(&error, true))?;
        Ok(rows)
    }

    pub async fn commit(&self, changes: &Changes<'_>) -> Result<Vec<Verdict>, Failure> {
        let verdicts = {
            let mut writer = self.writer().await;
            writer.open = true;
            let found = match ruling::look(&mut writer.connection, changes).await {
                Ok(found) => found,
                Err(failure) => {
                    writer.roll_back().await;
                    return Err(failure);
                }
            };
            let ruled = ruling::rule(self, changes, found);
            if ruled.is_nothing() {
                writer.roll_back().await;
            } else if let Err(failure) = ruled.write(self, &mut writer.connection, changes).await {
                // What can be taken back was not committed.
                let undone = writer.roll_back().await;
                return Err(if undone { failure } else { failure.in_doubt() });
            }
            writer.open = false;
            ruled.verdicts
        };
        self.checkpoint_if_due();
        Ok(verdicts)
    }

    /// Has the write-ahead log moved into the database once it has grown. Most of it
    /// beside the writer; the rest, which must be nothing before the log can start
    /// over, while the writer waits. Failing costs nothing but disk: the next
    /// commits try again.
    #[allow(clippy::disallowed_methods)] // Nobody but `close` has to know of it, and that waits for it.
    fn checkpoint_if_due(&self) {
        let Some(readers) = &self.readers else { return };
        let length = std::fs::metadata(&readers.wal).map_or(0, |meta| meta.len());
        if length <= WAL_BYTES {
            readers.next.store(WAL_BYTES, Ordering::Relaxed);
            return;
        }
        if length <= readers.next.load(Ordering::Relaxed) {
            return;
        }
        // One at a time.
        let Ok(mut connection) = Arc::clone(&readers.checkpoints).try_lock_owned() else { return };
        readers.next.store(length + WAL_BYTES, Ordering::Relaxed);
        let writer = Arc::clone(&self.writer);
        tokio::spawn(async move {
            let moved = async {
                checkpoint(&mut connection).await?;
                let _writer = writer.lock().await;
                checkpoint(&mut connection).await
            };
            if let Err(error) = moved.await {
                tracing::warn!(%error, "the write-ahead log could not be moved into the database");
            }
        });
    }

    pub async fn prepare(&self, sql: &'static str) -> Result<(), Failure> {
        let mut writer = self.writer().await;
        let prepared = writer.connection.prepare(sqlx::SqlSafeStr::into_sql_str(sql)).await;
        prepared.map(drop).map_err(|error| classify(&error, false))
    }

    pub async fn close(&self) {
        if let Some(readers) = &self.readers {
            readers.pool.close().await;
            let _none_runs = readers.checkpoints.lock().await;
            // Leaves a database that is one file.
            let mut writer = self.writer().await;
            let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut writer.connection).await;
        }
    }

    pub async fn migrate(&self, migrator: &'static Migrator) -> Result<(), MigrateError> {
        let mut writer = self.writer().await;
        // What `run` does; with that, the compiler cannot tell that the future is `Send`.
        migrator.run_direct(None, &mut writer.connection, false).await
    }
}

async fn checkpoint(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(connection).await.map(drop)
}

fn connect_options(options: &SqliteOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .busy_timeout(options.busy_timeout)
        .statement_cache_capacity(256)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

/// Runs a statement on a connection, before any commit of it.
pub(crate) async fn fetch(
    connection: &mut SqliteConnection,
    sql: &'static str,
    bound: SqliteArguments,
) -> Result<Vec<Row>, Failure> {
    let rows =
        sqlx::query_with(sql, bound).fetch_all(connection).await.map_err(|error| classify(&error, false))?;
    Ok(rows.into_iter().map(Row::Sqlite).collect())
}

/// Parameters of the commit's statements.
pub(crate) enum Bound {
    Text(String),
    Int(i64),
}

pub(crate) fn bind(values: Vec<Bound>) -> Result<SqliteArguments, Failure> {
    let mut bound = SqliteArguments::default();
    for value in values {
        match value {
            Bound::Text(text) => bound.add(text),
            Bound::Int(int) => bound.add(int),
        }
        .map_err(|error| refused(&error))?;
    }
    Ok(bound)
}

fn bind_all(stmt: &Stmt, args: Vec<Arg>, now: i64) -> Result<SqliteArguments, Failure> {
    let mut bound = SqliteArguments::default();
    for arg in args {
        match arg {
            Arg::Int(value) => bound.add(value),
            Arg::OptInt(value) => bound.add(value),
            Arg::Text(value) => bound.add(value),
            Arg::OptText(value) => bound.add(value),
            Arg::Uuid(value) => bound.add(value),
            Arg::OptUuid(value) => bound.add(value),
            Arg::Bytes(value) => bound.add(value),
            Arg::Ints(values) => bound.add(ints_to_json(&values)),
            Arg::Texts(values) => bound.add(texts_to_json(&values)),
            Arg::Uuids(values) => bound.add(ids_to_json(&values)),
        }
        .map_err(|error| refused(&error))?;
    }
    if stmt.wants_now() {
        bound.add(now).map_err(|error| refused(&error))?;
    }
    Ok(bound)
}

fn refused(error: &sqlx::error::BoxDynError) -> Failure {
    Failure::Poison { why: error.to_string(), raced: false }
}

/// What an error means. `committing`: it answers a COMMIT, which may be done.
pub(crate) fn classify(error: &sqlx::Error, committing: bool) -> Failure {
    let why = error.to_string();
    if committing {
        return Failure::Unknown(why);
    }
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => Failure::Poison { why, raced: false },
            // Rolled back, or never begun.
            _ => Failure::NotDone(why),
        };
    };
    // Extended codes carry the primary one in their low byte.
    let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0) & 0xff;
    match code {
        // SQLITE_ERROR: what the text cannot mean on this schema, or malformed JSON
        1 if why.contains("no such ") || why.contains("has no column") => Failure::Schema(why),
        // SQLITE_ERROR, TOOBIG, CONSTRAINT, MISMATCH, RANGE
        1 | 18 | 19 | 20 | 25 => Failure::Poison { why, raced: false },
        // BUSY, IOERR, FULL, READONLY, CORRUPT ...: the transaction is rolled back
        _ => Failure::NotDone(why),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::Future as _;
    use std::task::{Context, Waker};

    use super::super::db::Db;
    use super::*;
    use crate::commit::{Commit, Outcome};
    use crate::conformance::given::{append, commit, stream_id};
    use crate::error::StoreError;
    use crate::port::Log as _;
    use crate::sql::SqlStore;

    async fn pages(store: &SqlStore, most: i64) {
        let Db::Sqlite(db) = store.db() else { panic!("another database") };
        let pragma = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {most}"));
        sqlx::raw_sql(pragma).execute(&mut db.writer().await.connection).await.unwrap();
    }

    /// Needs several pages, and comes last of several parts.
    fn large() -> Commit {
        let mut large = commit(vec![append(stream_id(), 0, 1)]);
        large.appends[0].body = format!("[\"{}\"]", "x".repeat(100_000));
        large
    }

    #[tokio::test]
    async fn a_full_disk_leaves_nothing_of_a_commit_and_the_next_one_applies() {
        let store = SqlStore::memory().await.unwrap();
        let large = large();
        pages(&store, 1).await;
        let error = store.commit(std::slice::from_ref(&large)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_) | StoreError::Unknown(_)), "{error:?}");
        assert_eq!(store.heads(&[large.appends[0].stream]).await.unwrap(), []);
        pages(&store, 1_000_000).await;
        let outcomes = store.commit(&[large]).await.unwrap();
        assert!(matches!(outcomes[..], [Outcome::Done { .. }]), "{outcomes:?}");
    }

    #[tokio::test]
    async fn a_commit_that_nobody_awaits_any_more_is_done_or_not_and_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let store = SqlStore::open_sqlite(&path, SqliteOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        for polls in 0..12 {
            let (left, next) = (large(), large());
            {
                let batch = [left.clone()];
                let mut writing = std::pin::pin!(store.commit(&batch));
                for _ in 0..polls {
                    if writing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            let streams = [left.appends[0].stream, next.appends[0].stream];
            let outcomes = store.commit(&[next]).await.unwrap();
            assert!(matches!(outcomes[..], [Outcome::Done { .. }]), "{polls}: {outcomes:?}");
            let heads = store.heads(&streams).await.unwrap();
            assert!(
                heads.contains(&(streams[1], 1)) && heads.iter().all(|(_, head)| *head == 1),
                "{heads:?}"
            );
            let again = store.commit(&[left]).await.unwrap();
            assert!(matches!(again[..], [Outcome::Done { .. }]), "{polls}: found in the log, or done now");
        }
    }
}
