//! What a caller may rely on when calls fail, answers are lost, or it was paused.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use quarterdeck_core::{Span, Timestamp};
use quarterdeck_store::conformance::given::*;
use quarterdeck_store::conformance::postgres::Database;
use quarterdeck_store::faults::{Fault, Faulty, Script};
use quarterdeck_store::rows::RowChange;
use quarterdeck_store::sql::{PgOptions, SqlStore};
use quarterdeck_store::{Catalog as _, Dispatch as _, Log as _, Outcome, Sessions as _, StoreError};
use sqlx::Connection as _;

async fn faulty() -> (Arc<Script>, Faulty<SqlStore, Arc<Script>>) {
    let script = Arc::new(Script::default());
    (Arc::clone(&script), Faulty::new(SqlStore::memory().await.unwrap(), script))
}

#[tokio::test]
async fn a_lost_answer_is_resolved_by_submitting_again() {
    for (done_before, fault) in [(true, Fault::LoseAnswer), (false, Fault::LoseRequest)] {
        let (script, store) = faulty().await;
        let batch = [one(stream_id(), 0).requested("r"), one(stream_id(), 0)];
        script.push("commit", fault);
        let lost = store.commit(&batch).await.unwrap_err();
        assert!(lost.is_unknown(), "{lost}");
        let stream = batch[0].appends[0].stream;
        let written = store.load(stream, 0, 9).await.unwrap();
        assert_eq!(!written.is_empty(), done_before);
        let again = done(&store, &batch).await;
        let rows = store.load(stream, 0, 9).await.unwrap();
        assert_eq!(rows.len(), 1, "once");
        assert_eq!((rows[0].at, rows[0].position), again[0]);
        assert_eq!(script.waiting(), 0);
    }
}

#[tokio::test]
async fn what_is_reported_as_not_done_is_not_done() {
    let (script, store) = faulty().await;
    script.push("commit", Fault::Refuse);
    let commit = one(stream_id(), 0);
    let refused = store.commit(std::slice::from_ref(&commit)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(store.position().await.unwrap(), 0);
    script.push("open_session", Fault::Refuse);
    let wanted = session("a", replica());
    assert!(store.open_session(&wanted, Span::from_secs(9)).await.is_err());
    assert_eq!(store.session(wanted.session).await.unwrap(), None);
}

#[tokio::test]
async fn a_read_that_fails_is_never_in_doubt() {
    let (script, store) = faulty().await;
    for fault in [Fault::Refuse, Fault::LoseAnswer, Fault::LoseRequest] {
        script.push("list_projects", fault);
        let failed = store.list_projects(None, 9).await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    }
    assert_eq!(store.list_projects(None, 9).await.unwrap(), [], "faults are for one call each");
    assert_eq!(store.due_timers(Timestamp::MAX, 9).await.unwrap(), []);
}

#[tokio::test]
async fn a_session_opened_with_the_answer_lost_is_found_by_opening_again() {
    let (script, store) = faulty().await;
    script.push("open_session", Fault::LoseAnswer);
    let wanted = session("a", replica());
    assert!(store.open_session(&wanted, Span::from_secs(9)).await.unwrap_err().is_unknown());
    let opened = store.open_session(&wanted, Span::from_secs(9)).await.unwrap();
    assert_eq!(store.session(wanted.session).await.unwrap(), Some(opened));
}

/// A fault that holds a call back until told.
fn held() -> (oneshot::Sender<()>, Fault) {
    let (release, released) = oneshot::channel::<()>();
    (release, Fault::Before(released.map(drop).boxed()))
}

#[tokio::test]
async fn a_commit_held_up_past_its_valid_until_does_not_apply() {
    let (script, store) = faulty().await;
    let (release, fault) = held();
    script.push("commit", fault);
    let until = store.now().await.unwrap().plus(Span::from_millis(20));
    let paused = one(stream_id(), 0).until(until);
    let resume = async {
        eventually("the time is over", || async { (store.now().await.unwrap() > until).then_some(()) }).await;
        release.send(()).unwrap();
    };
    let (outcome, ()) = futures::join!(submit(&store, paused.clone()), resume);
    assert_eq!(outcome, Outcome::Stale);
    assert_eq!(head(&store, paused.appends[0].stream).await, None);
}

#[tokio::test]
async fn a_commit_held_up_while_its_guard_moves_does_not_apply() {
    let (script, store) = faulty().await;
    let guarded = stream_id();
    done(&store, &[one(guarded, 0)]).await;
    let (release, fault) = held();
    script.push("commit", fault);
    let paused = one(stream_id(), 0).guarding(guarded, 1);
    let resume = async {
        done(store.inner(), &[one(guarded, 1)]).await;
        release.send(()).unwrap();
    };
    let (outcome, ()) = futures::join!(submit(&store, paused.clone()), resume);
    assert_eq!(outcome, Outcome::Conflict);
    assert_eq!(head(&store, paused.appends[0].stream).await, None);
}

#[tokio::test]
async fn an_answer_can_be_late() {
    let (script, store) = faulty().await;
    let (release, released) = oneshot::channel::<()>();
    script.push("commit", Fault::After(released.map(drop).boxed()));
    let stream = stream_id();
    let late = Box::pin(submit(&store, one(stream, 0)));
    let watch = eventually("it is done all the same", || head(store.inner(), stream));
    match futures::future::select(late, Box::pin(watch)).await {
        futures::future::Either::Left(_) => panic!("answered too early"),
        futures::future::Either::Right((_, late)) => {
            release.send(()).unwrap();
            place(&late.await);
        }
    }
}

/// The database itself takes the connection away while the commit waits in it.
#[tokio::test]
async fn a_connection_lost_in_a_commit_leaves_it_unknown_and_once() {
    let Some(database) = Database::fresh().await else { return };
    let store = SqlStore::open_postgres(&database.url(), PgOptions::default()).await.unwrap();
    let stream = stream_id();
    done(&store, &[one(stream, 0)]).await;
    // Somebody holds the stream's row, so that the commit has to wait.
    let mut holder = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM stream FOR UPDATE").execute(&mut *held).await.unwrap();
    let commit = one(stream, 1).with_rows([RowChange::ReadyAdded(ready("read", 1, step(task_id(), 0)))]);
    let batch = [commit];
    let kill = async {
        let mut killer = sqlx::PgConnection::connect(&database.url()).await.unwrap();
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
    let mut holder = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM stream FOR UPDATE").execute(&mut *held).await.unwrap();
    let batch = [commit(vec![append(existing, 1, 1), append(new, 0, 1)]).requested("r")];
    let release = async {
        let mut watcher = sqlx::PgConnection::connect(&database.url()).await.unwrap();
        loop {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock'";
            let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&mut watcher).await.unwrap();
            if waiting == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
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
    let options = PgOptions { statement_timeout: Duration::from_millis(200), ..PgOptions::default() };
    let store = SqlStore::open_postgres(&database.url(), options).await.unwrap();
    let stream = stream_id();
    done(&store, &[one(stream, 0)]).await;
    let mut holder = sqlx::PgConnection::connect(&database.url()).await.unwrap();
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
    let mut holder = sqlx::PgConnection::connect(&database.url()).await.unwrap();
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
