//! What a caller may rely on when calls fail, answers are lost, or it was paused.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use futures::FutureExt as _;
use futures::channel::oneshot;
use quarterdeck_core::{Span, Timestamp};
use quarterdeck_store::conformance::given::*;
use quarterdeck_store::faults::{Fault, Faulty, Script};
use quarterdeck_store::sql::SqlStore;
use quarterdeck_store::{Catalog as _, Dispatch as _, Log as _, Outcome, Sessions as _, StoreError};

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
