//! Databases of their own on the PostgreSQL server that the tests were given.
//!
//! `QUARTERDECK_TEST_POSTGRES_URL` is a superuser's URL. Without it, what needs
//! PostgreSQL is skipped, loudly; with `QUARTERDECK_TEST_REQUIRE` set, it fails.

use std::io::Write as _;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::Connection as _;

use crate::sql::{PgOptions, SqlStore};

static NEXT: AtomicU64 = AtomicU64::new(0);
static SAID: Once = Once::new();

/// A migrated database with nothing in it.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// Makes one; `None` where there is no server.
    pub async fn fresh() -> Option<Self> {
        let database = Self::empty().await?;
        let store = SqlStore::open_postgres(&database.url(), PgOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        store.close().await;
        Some(database)
    }

    /// The same, not migrated.
    pub async fn empty() -> Option<Self> {
        let server = server()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("quarterdeck_test_{}_{number}", std::process::id());
        execute(&server, format!("CREATE DATABASE {name}")).await;
        Some(Self { server, name })
    }

    pub fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }

    /// Runs SQL on it, past the store.
    pub async fn execute(&self, sql: &str) {
        execute(&self.url(), sql.to_owned()).await;
    }

    /// Drops it, whoever is still connected.
    pub async fn remove(&self) {
        execute(&self.server, format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

#[allow(clippy::disallowed_methods)] // The one place where tests of stores read the environment.
fn server() -> Option<String> {
    let url = std::env::var("QUARTERDECK_TEST_POSTGRES_URL").ok();
    if url.is_none() {
        assert!(
            std::env::var("QUARTERDECK_TEST_REQUIRE").is_err(),
            "QUARTERDECK_TEST_POSTGRES_URL is not set, and nothing may be skipped"
        );
        // Not `eprintln!`, which the test harness swallows; and once is enough.
        SAID.call_once(|| {
            let text =
                "SKIPPED, all that needs PostgreSQL: set QUARTERDECK_TEST_POSTGRES_URL to a superuser's URL";
            let _ = writeln!(std::io::stderr(), "{text}");
        });
    }
    url
}

async fn execute(url: &str, sql: String) {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The URL with another database.
fn with_database(url: &str, database: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let start = base.find("://").map_or(0, |scheme| scheme + 3);
    let end = base[start..].find('/').map_or(base.len(), |slash| start + slash);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/{database}{query}", &base[..end])
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn only_the_database_of_a_url_is_replaced() {
        for (given, expected) in [
            ("postgres://me@h:1/postgres", "postgres://me@h:1/x"),
            ("postgres://h", "postgres://h/x"),
            ("postgres://h/a?sslmode=disable", "postgres://h/x?sslmode=disable"),
        ] {
            assert_eq!(with_database(given, "x"), expected);
        }
    }
}
