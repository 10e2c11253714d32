//! The store itself: a database and what is known of it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::db::Db;
use super::postgres::{PgOptions, Postgres};
use super::sqlite::{Sqlite, SqliteOptions};
use crate::error::StoreError;
use crate::port::{Log as _, Result};

/// The store on PostgreSQL or SQLite. Opening does not migrate: see
/// [`SqlStore::ensure_ready`] and [`SqlStore::migrate`].
#[derive(Debug)]
pub struct SqlStore {
    db: Db,
    /// Where the database is, without credentials.
    location: String,
    /// 0 until there is a schema.
    epoch: AtomicU32,
}

impl SqlStore {
    /// Opens or creates a file. `Unavailable` says what is wrong with it.
    pub async fn open_sqlite(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self> {
        let path = path.as_ref();
        let location = path.display().to_string();
        let db = Sqlite::open(path, &options).await.map_err(|error| cannot_open(&location, &error))?;
        Self::opened(Db::Sqlite(db), location).await
    }

    /// A migrated database in memory, for tests and simulation.
    pub async fn memory() -> Result<Self> {
        Self::memory_with(SqliteOptions::default()).await
    }

    /// The same, with the clock given.
    pub async fn memory_with(options: SqliteOptions) -> Result<Self> {
        let location = "memory".to_owned();
        let db = Sqlite::memory(&options).await.map_err(|error| cannot_open(&location, &error))?;
        let store = Self::opened(Db::Sqlite(db), location).await?;
        store.migrate().await?;
        Ok(store)
    }

    /// Connects to a database that exists.
    pub async fn open_postgres(url: &str, options: PgOptions) -> Result<Self> {
        let location = without_credentials(url);
        let db = Postgres::open(url, &options).await.map_err(|error| cannot_open(&location, &error))?;
        Self::opened(Db::Postgres(db), location).await
    }

    async fn opened(db: Db, location: String) -> Result<Self> {
        let store = Self { db, location, epoch: AtomicU32::new(0) };
        store.learn_epoch().await?;
        Ok(store)
    }

    /// Asks the database for anything at all.
    pub async fn ping(&self) -> Result<()> {
        self.now().await.map(drop)
    }

    /// Waits for what is under way and disconnects.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// Where the database is, without credentials.
    pub fn location(&self) -> &str {
        &self.location
    }

    pub(crate) const fn db(&self) -> &Db {
        &self.db
    }

    pub(crate) fn current_epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    pub(crate) fn set_epoch(&self, epoch: u32) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }
}

fn cannot_open(location: &str, error: &sqlx::Error) -> StoreError {
    StoreError::Unavailable(format!("{location}: {error}"))
}

/// Host, port and database of a URL.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_shows_no_credentials() {
        let given = "postgres://me:se@cret@db.example:5432/app?password=x";
        assert_eq!(without_credentials(given), "postgres://db.example:5432/app");
    }
}
