//! PostgreSQL: every operation is one autocommit statement, so that a replica that
//! is paused leaves no transaction open.
//!
//! The composed commit is built by [`super::compose`]. Plans are generic: planning
//! a composed statement costs more than running it.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Arguments as _, ConnectOptions as _, Connection as _, Executor as _};

use super::changes::Changes;
use super::compose::Composer;
use super::db::{Row, Ruling, Verdict};
use super::failure::Failure;
use super::stmt::Stmt;
use super::template::{Dialect, Type};
use super::value::{Arg, Cell, Rows};

/// How to connect to PostgreSQL.
#[derive(Clone, Debug)]
pub struct PgOptions {
    /// Most connections, at least 2: a quarter of them for commits.
    pub max_connections: u32,
    /// The database gives up a statement after this.
    pub statement_timeout: Duration,
    /// The database ends a connection that leaves a transaction open for longer.
    pub idle_in_transaction_timeout: Duration,
    /// How long to wait for a connection.
    pub acquire_timeout: Duration,
}

impl Default for PgOptions {
    fn default() -> Self {
        Self {
            max_connections: 16,
            statement_timeout: Duration::from_secs(30),
            idle_in_transaction_timeout: Duration::from_secs(10),
            acquire_timeout: Duration::from_secs(5),
        }
    }
}

/// How often a statement that lost against another is tried again.
const ATTEMPTS: u32 = 4;
/// A connection that was idle for this long is asked whether it still lives.
const IDLE: Duration = Duration::from_secs(1);
/// How much longer than the database we wait before an answer counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Postgres {
    pub pool: PgPool,
    /// Connections that only commit, so that few do: one that has just committed does
    /// it again in two thirds of the time, because all it needs is at hand.
    commits: PgPool,
    composer: Composer,
    answer_timeout: Duration,
}

impl Postgres {
    pub async fn open(url: &str, options: &PgOptions) -> Result<Self, sqlx::Error> {
        let millis = |duration: Duration| duration.as_millis().to_string();
        let connect = PgConnectOptions::from_str(url)?
            .application_name("quarterdeck")
            .statement_cache_capacity(256)
            .options([
                ("statement_timeout", millis(options.statement_timeout).as_str()),
                ("idle_in_transaction_session_timeout", millis(options.idle_in_transaction_timeout).as_str()),
                ("plan_cache_mode", "force_generic_plan"),
                // Pages read at random cost about as much as others on today's disks.
                ("random_page_cost", "1.1"),
                // Compiling takes longer than any statement here runs.
                ("jit", "off"),
            ])
            .disable_statement_logging();
        let commits = (options.max_connections / 4).max(1);
        let others = options.max_connections.saturating_sub(commits).max(1);
        let pools = PgPoolOptions::new()
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for >= IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            });
        let pool = pools.clone().max_connections(others).connect_with(connect.clone()).await?;
        Ok(Self {
            pool,
            commits: pools.max_connections(commits).connect_lazy_with(connect),
            composer: Composer::default(),
            answer_timeout: options.statement_timeout + PATIENCE,
        })
    }

    pub async fn read(&self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<Vec<Row>, Failure> {
        self.run(&self.pool, stmt.sql(Dialect::Postgres), || bind_all(&args)).await
    }

    pub async fn read_over(&self, stmt: &'static Stmt, rows: &Rows<'_>) -> Result<Vec<Row>, Failure> {
        self.run(&self.pool, stmt.sql(Dialect::Postgres), || {
            let mut bound = PgArguments::default();
            bind_rows(&mut bound, rows)?;
            Ok(bound)
        })
        .await
    }

    pub async fn write(&self, stmt: &'static Stmt, args: Vec<Arg>) -> Result<Vec<Row>, Failure> {
        self.read(stmt, args).await
    }

    pub async fn commit(&self, changes: &Changes<'_>) -> Result<Vec<Verdict>, Failure> {
        let sql = self.composer.statement(changes);
        let rows = self
            .run(&self.commits, sql, || {
                let mut bound = PgArguments::default();
                bind_items(&mut bound, changes)?;
                for rows in changes.present() {
                    bind_rows(&mut bound, rows)?;
                }
                Ok(bound)
            })
            .await?;
        // Whatever cannot be read here was done all the same, perhaps.
        rows.iter().map(|row| verdict(row).map_err(|error| Failure::Unknown(error.to_string()))).collect()
    }

    pub async fn prepare(&self, sql: &'static str) -> Result<(), Failure> {
        let mut connection =
            self.pool.acquire().await.map_err(|error| Failure::NotDone(error.to_string()))?;
        let prepared = connection.prepare(sqlx::SqlSafeStr::into_sql_str(sql)).await;
        prepared.map(drop).map_err(|error| classify(&error))
    }

    /// The commit with every part there is.
    pub fn whole_commit(&self) -> &'static str {
        self.composer.statement(&Changes::of_every_part())
    }

    pub async fn close(&self) {
        self.commits.close().await;
        self.pool.close().await;
    }

    /// Runs a statement, again if it lost against another and was rolled back.
    async fn run(
        &self,
        pool: &PgPool,
        sql: &'static str,
        bind: impl Fn() -> Result<PgArguments, sqlx::error::BoxDynError>,
    ) -> Result<Vec<Row>, Failure> {
        let mut attempt = 1;
        loop {
            let bound = bind().map_err(|error| Failure::Poison { why: error.to_string(), raced: false })?;
            let mut connection = pool.acquire().await.map_err(|error| Failure::NotDone(error.to_string()))?;
            let answer = tokio::time::timeout(self.answer_timeout, fetch(&mut connection, sql, bound)).await;
            match answer {
                Err(_) => {
                    // Whatever it still says is no answer to what is asked next.
                    let _ = connection.detach().close_hard().await;
                    return Err(Failure::Unknown("no answer in time".to_owned()));
                }
                Ok(Ok(rows)) => return Ok(rows.into_iter().map(Row::Postgres).collect()),
                Ok(Err(error)) => match classify(&error) {
                    Failure::Again(_) if attempt < ATTEMPTS => attempt += 1,
                    failure => return Err(failure),
                },
            }
        }
    }
}

async fn fetch(
    connection: &mut PgConnection,
    sql: &'static str,
    bound: PgArguments,
) -> Result<Vec<sqlx::postgres::PgRow>, sqlx::Error> {
    sqlx::query_with(sql, bound).fetch_all(connection).await
}

fn verdict(row: &Row) -> Result<Verdict, sqlx::Error> {
    let code = row.int(0)?;
    let ruling = Ruling::from_code(code)
        .ok_or_else(|| sqlx::Error::Decode(format!("verdict {code} is unknown").into()))?;
    Ok(Verdict { ruling, position: row.int(1)?, at: row.int(2)? })
}

fn bind_all(args: &[Arg]) -> Result<PgArguments, sqlx::error::BoxDynError> {
    let mut bound = PgArguments::default();
    for arg in args {
        match arg {
            Arg::Int(value) => bound.add(value),
            Arg::OptInt(value) => bound.add(value),
            Arg::Text(value) => bound.add(value),
            Arg::OptText(value) => bound.add(value),
            Arg::Uuid(value) => bound.add(value),
            Arg::OptUuid(value) => bound.add(value),
            Arg::Bytes(value) => bound.add(value),
            Arg::Ints(values) => bound.add(values),
            Arg::Texts(values) => bound.add(values),
            Arg::Uuids(values) => bound.add(values),
        }?;
    }
    Ok(bound)
}

fn bind_items(bound: &mut PgArguments, changes: &Changes<'_>) -> Result<(), sqlx::error::BoxDynError> {
    let count = changes.valid_until.len();
    bound.add((1..=count).map(|item| i64::try_from(item).unwrap_or(i64::MAX)).collect::<Vec<_>>())?;
    bound.add(&changes.valid_until)
}

/// One array a column, `item` first.
fn bind_rows(bound: &mut PgArguments, rows: &Rows<'_>) -> Result<(), sqlx::error::BoxDynError> {
    bound.add(&rows.items)?;
    for (place, (_, kind)) in rows.columns.iter().enumerate() {
        let cells = rows.column(place);
        match kind {
            Type::Int => bound.add(
                cells
                    .map(|cell| if let Cell::Int(value) = cell { Some(*value) } else { None })
                    .collect::<Vec<_>>(),
            ),
            Type::Text => bound.add(
                cells
                    .map(|cell| if let Cell::Text(value) = cell { Some(value.as_ref()) } else { None })
                    .collect::<Vec<Option<&str>>>(),
            ),
            Type::Uuid => bound.add(
                cells
                    .map(|cell| if let Cell::Uuid(value) = cell { Some(*value) } else { None })
                    .collect::<Vec<_>>(),
            ),
            Type::Bytes => bound.add(
                cells
                    .map(|cell| if let Cell::Bytes(value) = cell { Some(value.as_ref()) } else { None })
                    .collect::<Vec<Option<&[u8]>>>(),
            ),
        }?;
    }
    Ok(())
}

/// What an error of a statement that was sent means. The warning "canceling wait
/// for synchronous replication" (01000) is not among them: the driver reports it
/// as success, so synchronous standbys need a server that never cancels that wait.
pub(crate) fn classify(error: &sqlx::Error) -> Failure {
    let why = error.to_string();
    let database = match error {
        sqlx::Error::Database(database) => database,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Configuration(_) => {
            return Failure::NotDone(why);
        }
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => {
            return Failure::Poison { why, raced: false };
        }
        _ => return Failure::Unknown(why),
    };
    let code = database.code().unwrap_or_default();
    match code.as_ref() {
        // serialization failure, deadlock, lock not available
        "40001" | "40P01" | "55P03" => Failure::Again(why),
        // canceled (statement timeout), read-only (a standby)
        "57014" | "25006" => Failure::NotDone(why),
        "23505" => Failure::Poison { why, raced: true },
        // undefined table, column, function, object
        "42P01" | "42703" | "42883" | "42704" => Failure::Schema(why),
        // data, constraints, cardinality, syntax and types, program limits, unsupported
        code if ["22", "23", "21", "42", "54", "0A"].iter().any(|class| code.starts_with(class)) => {
            Failure::Poison { why, raced: false }
        }
        _ => Failure::Unknown(why),
    }
}
