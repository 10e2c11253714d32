//! What PostgreSQL plans on a fresh database, without statistics.
//!
//! Plans made while tables are empty are kept for as long as nobody tells the
//! planner better; one that reads a whole table would grow with it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use super::changes::Changes;
use super::compose::Composer;
use super::registry::statements;
use super::template::{Dialect, last_parameter};
use crate::conformance::postgres::Database;
use crate::sql::{PgOptions, SqlStore};

/// The generic plan of a statement, as text.
async fn plan(connection: &mut PgConnection, sql: &str) -> String {
    let prepare = format!("PREPARE explained AS {sql}");
    connection.execute(AssertSqlSafe(prepare)).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
    let arguments = vec!["NULL"; last_parameter(sql)].join(", ");
    let execute = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
    let explain = format!("EXPLAIN EXECUTE explained{execute}");
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
    connection.execute("DEALLOCATE explained").await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let Some(database) = Database::fresh().await else { return };
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    for setting in ["plan_cache_mode = force_generic_plan", "random_page_cost = 1.1", "jit = off"] {
        connection.execute(AssertSqlSafe(format!("SET {setting}"))).await.unwrap();
    }
    let composer = Composer::default();
    let mut texts: BTreeMap<&str, &str> =
        statements().map(|stmt| (stmt.name, stmt.sql(Dialect::Postgres))).collect();
    texts.insert("commit", composer.statement(&Changes::of_every_part()));
    let mut wrong = Vec::new();
    for (name, sql) in texts {
        let plan = plan(&mut connection, sql).await;
        if plan.contains("Seq Scan on ") {
            wrong.push(format!("{name}:\n{plan}"));
        }
    }
    connection.close().await.unwrap();
    database.remove().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let memory = SqlStore::memory().await.unwrap();
    assert!(memory.check_statements().await.unwrap() > 25);
    let Some(database) = Database::fresh().await else { return };
    let store = SqlStore::open_postgres(&database.url(), PgOptions::default()).await.unwrap();
    assert!(store.check_statements().await.unwrap() > 25);
    store.close().await;
    database.remove().await;
}
