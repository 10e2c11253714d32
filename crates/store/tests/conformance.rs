//! The suite on every store there is.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use quarterdeck_store::Store;
use quarterdeck_store::conformance::Fixture;
use quarterdeck_store::conformance::postgres::Database;
use quarterdeck_store::faults::{Faulty, Script};
use quarterdeck_store::sql::{PgOptions, SqlStore, SqliteOptions};

struct InMemory(Arc<SqlStore>);

#[async_trait]
impl Fixture for InMemory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as Arc<dyn Store>
    }

    async fn second(&self) -> Option<Arc<dyn Store>> {
        None
    }
}

struct InFile {
    store: Arc<SqlStore>,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl InFile {
    async fn open(path: &PathBuf) -> Arc<SqlStore> {
        let store = SqlStore::open_sqlite(path, SqliteOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        Arc::new(store)
    }
}

#[async_trait]
impl Fixture for InFile {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    async fn second(&self) -> Option<Arc<dyn Store>> {
        Some(Self::open(&self.path).await)
    }

    async fn finish(&self) {
        self.store.close().await;
    }
}

struct OnPostgres {
    store: Arc<SqlStore>,
    database: Database,
}

impl OnPostgres {
    async fn open(database: &Database) -> Arc<SqlStore> {
        let store = SqlStore::open_postgres(&database.url(), PgOptions::default()).await.unwrap();
        store.ensure_ready().await.unwrap();
        Arc::new(store)
    }
}

#[async_trait]
impl Fixture for OnPostgres {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    async fn second(&self) -> Option<Arc<dyn Store>> {
        Some(Self::open(&self.database).await)
    }

    async fn finish(&self) {
        self.store.close().await;
        self.database.remove().await;
    }
}

struct WithFaults(Arc<Faulty<SqlStore, Script>>);

#[async_trait]
impl Fixture for WithFaults {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as Arc<dyn Store>
    }

    async fn second(&self) -> Option<Arc<dyn Store>> {
        None
    }
}

async fn memory() -> Option<InMemory> {
    Some(InMemory(Arc::new(SqlStore::memory().await.unwrap())))
}

async fn file() -> Option<InFile> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("quarterdeck.db");
    Some(InFile { store: InFile::open(&path).await, path, _dir: dir })
}

async fn on_postgres() -> Option<OnPostgres> {
    let database = Database::fresh().await?;
    Some(OnPostgres { store: OnPostgres::open(&database).await, database })
}

async fn passing_faults() -> Option<WithFaults> {
    let store = SqlStore::memory().await.unwrap();
    Some(WithFaults(Arc::new(Faulty::new(store, Script::default()))))
}

mod sqlite_in_memory {
    quarterdeck_store::conformance_suite!(super::memory);
}

mod sqlite_in_a_file {
    quarterdeck_store::conformance_suite!(super::file);
}

mod postgres {
    quarterdeck_store::conformance_suite!(super::on_postgres);
}

mod without_faults {
    quarterdeck_store::conformance_suite!(super::passing_faults);
}
