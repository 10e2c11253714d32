//! What only PostgreSQL can do to a commit: keep it waiting, lose it, give it up.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use quarterdeck_core::Span;
use quarterdeck_store::conformance::given::*;
use quarterdeck_store::conformance::postgres::Database;
use quarterdeck_store::rows::RowChange;
use quarterdeck_store::sql::{PgOptions, SqlStore};
use quarterdeck_store::{Followed, Log as _, Outcome, StoreError};
use sqlx::{Connection as _, PgConnection};

/// Waits until as many statements wait for locks in the database.
async fn waiting(database: &Database, count: i64) {
    let mut watcher = PgConnection::connect(&database.url()).await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND wait_event_type = 'Lock'";
    let look = async {
        while sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut watcher).await.unwrap() != count {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await.expect("statements wait for locks");
}

/// The database itself takes the connection away while the commit waits in it.
#[tokio::test]
async fn a_connection_lost_in_a_commit_leaves_it_unknown_and_once() {
    let Some(database) = Database::fresh().await else { return };
    let store = SqlStore::open_postgres(&database.url(), PgOptions::default()).await.unwrap();
    let stream = stream_id();
    done(&store, &[one(stream, 0)]).await;
    // Somebody holds the stream's row, so that the commit has to wait.
    let mut holder = PgConnection::connect(&database.url()).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM stream FOR UPDATE").execute(&mut *held).await.unwrap();
    let commit = one(stream, 1).with_rows([RowChange::ReadyAdded(ready("read", 1, step(task_id(), 0)))]);
    let batch = [commit];
    let kill = async {
        let mut killer = PgConnection::connect(&database.url()).await.unwrap();
        // In two steps, or the database may ask itself first.
        let sql = "WITH waiting AS MATERIALIZED (SELECT pid FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock') \
                   SELECT pid::bigint FROM waiting WHERE pg_terminate_backend(pid)";
        loop {
            let killed: Option<i64> = sqlx::query_scalar(sql).fetch_optional(&mut killer).await.unwrap();
            if killed.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    let (answer, ()) = futures::join!(store.commit(&batch), kill);
    let lost = answer.unwrap_err();
    assert!(lost.is_unknown(), "{lost}");
    held.rollback().await.unwrap();
    let first = done(&store, &batch).await;
    assert_eq!(done(&store, &batch).await, first);
    assert_eq!(store.load(stream, 1, 9).await.unwrap().len(), 1);
    store.close().await;
    database.remove().await;
}

/// A try whose answer was lost may still be waiting in the database when the
/// commit is submitted again.
#[tokio::test]
async fn a_commit_submitted_again_while_the_first_try_still_runs_happens_once() {
    let Some(database) = Database::fresh().await else { return };
    let store = SqlStore::open_postgres(&database.url(), PgOptions::default()).await.unwrap();
    let (existing, new) = (stream_id(), stream_id());
    done(&store, &[one(existing, 0)]).await;
    let mut holder = PgConnection::connect(&database.url()).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM stream FOR UPDATE").execute(&mut *held).await.unwrap();
    let batch = [commit(vec![append(existing, 1, 1), append(new, 0, 1)]).requested("r")];
    let release = async {
        waiting(&database, 2).await;
        held.rollback().await.unwrap();
    };
    let (first, second, ()) = futures::join!(store.commit(&batch), store.commit(&batch), release);
    let (first, second) = (first.unwrap(), second.unwrap());
    place(&first[0]);
    assert_eq!(first, second);
    assert_eq!(store.load(new, 0, 9).await.unwrap().len(), 1);
    store.close().await;
    database.remove().await;
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up_and_not_done() {
    let Some(database) = Database::fresh().await else { return };
    let options = PgOptions { statement_timeout: Duration::from_millis(1_500), ..PgOptions::default() };
    let store = SqlStore::open_postgres(&database.url(), options).await.unwrap();
    let stream = stream_id();
    done(&store, &[one(stream, 0)]).await;
    let mut holder = PgConnection::connect(&database.url()).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM stream FOR UPDATE").execute(&mut *held).await.unwrap();
    let given_up = store.commit(&[one(stream, 1)]).await;
    assert!(matches!(given_up, Err(StoreError::Unavailable(_))), "{given_up:?}");
    held.rollback().await.unwrap();
    assert_eq!(head(&store, stream).await, Some(1));
    done(&store, &[one(stream, 1)]).await;
    store.close().await;
    database.remove().await;
}

/// The clock is read under the locks, not when the statement began.
#[tokio::test]
async fn a_commit_that_waits_in_the_database_past_its_valid_until_does_not_apply() {
    let Some(database) = Database::fresh().await else { return };
    let store = SqlStore::open_postgres(&database.url(), PgOptions::default()).await.unwrap();
    let stream = stream_id();
    done(&store, &[one(stream, 0)]).await;
    let mut holder = PgConnection::connect(&database.url()).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM stream FOR UPDATE").execute(&mut *held).await.unwrap();
    let until = store.now().await.unwrap().plus(Span::from_millis(300));
    let release = async {
        eventually("the time is over", || async { (store.now().await.unwrap() > until).then_some(()) }).await;
        held.rollback().await.unwrap();
    };
    let (outcome, ()) = futures::join!(submit(&store, one(stream, 1).until(until)), release);
    assert_eq!(outcome, Outcome::Stale);
    assert_eq!(head(&store, stream).await, Some(1));
    store.close().await;
    database.remove().await;
}

/// A follower whose cursor passed a position must not find a lower one later.
#[tokio::test]
async fn no_position_is_visible_before_a_lower_one() {
    let Some(database) = Database::fresh().await else { return };
    let store = SqlStore::open_postgres(&database.url(), PgOptions::default()).await.unwrap();
    let key = ready("read", 1, step(task_id(), 0));
    // Somebody is about to write the same row, so that a commit has to wait after
    // its position was drawn.
    let mut holder = PgConnection::connect(&database.url()).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("INSERT INTO ready (key) VALUES ($1)").bind(key.encode()).execute(&mut *held).await.unwrap();
    let lower = [one(stream_id(), 0).with_rows([RowChange::ReadyAdded(key)])];
    let higher = [one(stream_id(), 0)];
    let first = async {
        let outcome = store.commit(&lower).await.unwrap();
        place(&outcome[0]).1
    };
    let second = async {
        waiting(&database, 1).await;
        let outcome = store.commit(&higher).await.unwrap();
        let position = place(&outcome[0]).1;
        (position, store.follow(project(), Followed::Tasks, 0, 9).await.unwrap())
    };
    let release = async {
        waiting(&database, 2).await;
        assert_eq!(store.follow(project(), Followed::Tasks, 0, 9).await.unwrap(), []);
        held.rollback().await.unwrap();
    };
    let (lower, (higher, followed), ()) = futures::join!(first, second, release);
    assert!(lower < higher);
    assert_eq!(followed.iter().map(|row| row.position).collect::<Vec<_>>(), [lower, higher]);
    store.close().await;
    database.remove().await;
}
