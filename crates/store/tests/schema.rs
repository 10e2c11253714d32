//! Opening, migrating, and what outlives a restart.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use quarterdeck_core::Timestamp;
use quarterdeck_store::conformance::given::*;
use quarterdeck_store::conformance::postgres::Database;
use quarterdeck_store::sql::{PgOptions, SqlStore, SqliteOptions};
use quarterdeck_store::{Log as _, StoreError};
use sqlx::Connection as _;

async fn open_file(path: &Path) -> SqlStore {
    SqlStore::open_sqlite(path, SqliteOptions::default()).await.unwrap()
}

async fn open_postgres(database: &Database) -> SqlStore {
    SqlStore::open_postgres(&database.url(), PgOptions::default()).await.unwrap()
}

fn schema_error(error: StoreError) -> String {
    match error {
        StoreError::Schema(text) => text,
        other => panic!("{other:?}"),
    }
}

/// From nothing to ready; the epoch at the end.
async fn migrates(store: &SqlStore) -> u32 {
    let status = store.schema_status().await.unwrap();
    assert_eq!(status.current, 0);
    assert_eq!(status.pending.last().unwrap().version, status.latest);
    assert_eq!(store.epoch(), 0, "nothing to tell yet");
    let refused = schema_error(store.ensure_ready().await.unwrap_err());
    assert!(refused.contains("quarterdeck migrate up"), "{refused}");
    assert!(refused.contains(store.location()), "{refused}");
    let unready = schema_error(store.commit(&[one(stream_id(), 0)]).await.unwrap_err());
    assert!(unready.contains("quarterdeck migrate up"), "{unready}");
    store.migrate().await.unwrap();
    store.ensure_ready().await.unwrap();
    assert!(store.schema_status().await.unwrap().is_ready());
    let epoch = store.epoch();
    assert!(epoch > 0, "drawn from the clock");
    let position = done(store, &[one(stream_id(), 0)]).await[0].1;
    store.migrate().await.unwrap();
    assert_eq!(store.position().await.unwrap(), position, "migrating again changes nothing");
    assert_eq!(store.raise_epoch().await.unwrap(), epoch + 1);
    assert_eq!(store.epoch(), epoch + 1);
    epoch + 1
}

async fn refuses_newer(store: &SqlStore) {
    for refused in [
        store.ensure_ready().await.unwrap_err(),
        store.migrate().await.unwrap_err(),
        store.schema_status().await.unwrap_err(),
    ] {
        let text = schema_error(refused);
        for part in ["version 9000", store.location(), "run the version of quarterdeck", "backup"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9000, 'of the future', true, '', 0)";

#[tokio::test]
async fn sqlite_is_migrated_on_demand_and_keeps_its_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.db");
    let store = open_file(&path).await;
    let epoch = migrates(&store).await;
    store.close().await;
    assert_eq!(open_file(&path).await.epoch(), epoch);
}

#[tokio::test]
async fn postgres_is_migrated_on_demand_and_keeps_its_epoch() {
    let Some(database) = Database::empty().await else { return };
    let store = open_postgres(&database).await;
    let epoch = migrates(&store).await;
    store.close().await;
    let again = open_postgres(&database).await;
    assert_eq!(again.epoch(), epoch);
    again.close().await;
    database.remove().await;
}

#[tokio::test]
async fn two_replicas_may_migrate_at_once() {
    let Some(database) = Database::empty().await else { return };
    let [one, other] = [open_postgres(&database).await, open_postgres(&database).await];
    let (first, second) = futures::join!(one.migrate(), other.migrate());
    first.unwrap();
    second.unwrap();
    one.ensure_ready().await.unwrap();
    one.close().await;
    other.close().await;
    database.remove().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.db");
    let store = open_file(&path).await;
    store.migrate().await.unwrap();
    let url = format!("sqlite://{}", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(NEWER).execute(&mut connection).await.unwrap();
    refuses_newer(&store).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_on_postgres() {
    let Some(database) = Database::fresh().await else { return };
    database.execute(NEWER).await;
    let store = open_postgres(&database).await;
    refuses_newer(&store).await;
    store.close().await;
    database.remove().await;
}

#[tokio::test]
async fn what_cannot_be_opened_says_where_it_is() {
    let failed = SqlStore::open_sqlite("/no/such/folder/q.db", SqliteOptions::default()).await.unwrap_err();
    assert!(
        matches!(&failed, StoreError::Unavailable(why) if why.contains("/no/such/folder/q.db")),
        "{failed}"
    );
    let url = "postgres://me:secret@127.0.0.1:1/quarterdeck";
    let failed = SqlStore::open_postgres(url, PgOptions::default()).await.unwrap_err();
    let StoreError::Unavailable(why) = &failed else { panic!("{failed:?}") };
    assert!(why.contains("127.0.0.1:1/quarterdeck") && !why.contains("secret"), "{why}");
}

#[tokio::test]
async fn an_answered_commit_outlives_the_process_and_time_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.db");
    let wall = Arc::new(AtomicI64::new(1_000_000));
    let options = {
        let wall = Arc::clone(&wall);
        let clock = Arc::new(move || Timestamp::from_micros(wall.load(Ordering::SeqCst)));
        SqliteOptions { clock, ..SqliteOptions::default() }
    };
    let stream = stream_id();
    let store = SqlStore::open_sqlite(&path, options.clone()).await.unwrap();
    store.migrate().await.unwrap();
    let first = done(&store, &[one(stream, 0)]).await[0];
    assert_eq!(first.0, Timestamp::from_micros(1_000_000), "the clock given");
    // Not closed: as after a kill. And the wall clock was set back meanwhile.
    wall.store(5, Ordering::SeqCst);
    let again = SqlStore::open_sqlite(&path, options).await.unwrap();
    assert_eq!(head(&again, stream).await, Some(1));
    assert_eq!(again.now().await.unwrap(), first.0, "time does not fall");
    let second = done(&again, &[one(stream, 1)]).await[0];
    assert!(second.0 >= first.0 && second.1 > first.1);
    // The first handle is still good, too: it sees what the other wrote.
    assert_eq!(head(&store, stream).await, Some(2));
}

#[tokio::test]
async fn the_write_ahead_log_does_not_grow_without_bound() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.db");
    let store = open_file(&path).await;
    store.migrate().await.unwrap();
    let text = "x".repeat(1024 * 1024);
    let mut longest = 0;
    for _ in 0..80 {
        let mut large = one(stream_id(), 0);
        large.appends[0].body = format!("[\"{text}\"]");
        done(&store, &[large]).await;
        let wal = std::fs::metadata(dir.path().join("q.db-wal")).unwrap().len();
        longest = longest.max(wal);
    }
    assert!(longest < 24 * 1024 * 1024, "{longest} bytes");
    store.close().await;
    let file = std::fs::metadata(&path).unwrap().len();
    assert!(file > 80 * 1024 * 1024, "{file} bytes are in the database itself");
}
