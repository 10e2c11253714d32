//! Sessions by the database's clock. Expiry is tested with leases of milliseconds.

use quarterdeck_core::{SessionId, Span, Timestamp};

use super::fixture::Fixture;
use super::given::*;
use crate::port::Store;
use crate::rows::{RowChange, SessionRow, SessionState};

const LONG: Span = Span::from_secs(600);
const SHORT: Span = Span::from_millis(30);

async fn state(store: &dyn Store, session: SessionId) -> SessionState {
    store.session(session).await.unwrap().unwrap().state
}

/// Waits until the database's clock is past the session's lease.
async fn run_out(store: &dyn Store, session: &SessionRow) {
    eventually("the lease runs out", || async {
        (store.now().await.unwrap() > session.expires_at).then_some(())
    })
    .await;
}

pub async fn a_session_opens_and_is_told(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let wanted = session("reader", replica());
    assert_eq!(store.session(wanted.session).await.unwrap(), None);
    let before = store.now().await.unwrap();
    let opened = store.open_session(&wanted, LONG).await.unwrap();
    let after = store.now().await.unwrap();
    assert!(before <= opened.created_at && opened.created_at <= after);
    assert!(before.plus(LONG) <= opened.expires_at && opened.expires_at <= after.plus(LONG));
    let (created_at, expires_at) = (opened.created_at, opened.expires_at);
    assert_eq!(opened, SessionRow { created_at, expires_at, lease: LONG, ..wanted });
    assert_eq!(store.session(opened.session).await.unwrap(), Some(opened));
}

pub async fn opening_again_after_a_lost_answer_is_the_same_session(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let wanted = session("reader", replica());
    let opened = store.open_session(&wanted, LONG).await.unwrap();
    assert_eq!(store.open_session(&wanted, LONG).await.unwrap(), opened);
    let stranger = SessionRow { resume_hash: [1; 32], ..wanted };
    assert!(store.open_session(&stranger, LONG).await.is_err(), "an id is used once");
    assert_eq!(store.session(opened.session).await.unwrap(), Some(opened));
}

pub async fn renewal_extends_and_is_for_the_holder_only(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [mine, theirs] = [replica(), replica()];
    let foreign = store.open_session(&session("b", theirs), LONG).await.unwrap();
    // A lease that is over soon; longer if this machine was too slow to renew it.
    let mut lease = SHORT;
    let (opened, renewed) = loop {
        let opened = store.open_session(&session("a", mine), lease).await.unwrap();
        let asked = [foreign.session, opened.session, session_id()];
        let renewed = store.renew_sessions(&asked, mine, LONG).await.unwrap();
        if !renewed.is_empty() || store.now().await.unwrap() < opened.expires_at {
            break (opened, renewed);
        }
        store.expire_sessions(9).await.unwrap();
        lease = Span::from_micros(lease.as_micros() * 8);
    };
    assert_eq!(renewed.len(), 1, "{renewed:?}");
    assert_eq!((renewed[0].session, renewed[0].draining), (opened.session, false));
    assert!(renewed[0].expires_at > opened.expires_at);
    let stored = store.session(opened.session).await.unwrap().unwrap();
    assert_eq!((stored.expires_at, stored.lease), (renewed[0].expires_at, opened.lease));
    assert_eq!(store.session(foreign.session).await.unwrap(), Some(foreign), "untouched");
    run_out(store, &opened).await;
    assert_eq!(store.expire_sessions(9).await.unwrap(), [], "the old lease counts no more");
    assert_eq!(store.renew_sessions(&[], mine, LONG).await.unwrap(), []);
}

pub async fn a_session_expires_once_and_for_good(fixture: &dyn Fixture) {
    let store = fixture.store();
    let other = fixture.second().await.unwrap_or_else(|| fixture.store());
    let mine = replica();
    let keeper = store.open_session(&session("keeper", mine), LONG).await.unwrap();
    let mut short = Vec::new();
    for _ in 0..6 {
        short.push(store.open_session(&session("short", mine), SHORT).await.unwrap());
    }
    let mut expired = Vec::new();
    while expired.len() < short.len() {
        let (here, there) = futures::join!(store.expire_sessions(2), other.expire_sessions(2));
        let (here, there) = (here.unwrap(), there.unwrap());
        assert!(here.len() <= 2 && there.len() <= 2, "no more than asked");
        expired.extend(here.into_iter().chain(there));
        if expired.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    expired.sort();
    assert_eq!(expired, short.iter().map(|session| session.session).collect::<Vec<_>>(), "each once");
    for session in &short {
        let id = session.session;
        assert_eq!(state(&*store, id).await, SessionState::Expired);
        assert_eq!(store.renew_sessions(&[id], mine, LONG).await.unwrap(), []);
        assert_eq!(store.resume_session(session, LONG).await.unwrap(), None);
        assert!(!store.close_session(id, mine).await.unwrap());
        assert_eq!(state(&*store, id).await, SessionState::Expired, "final");
    }
    assert_eq!(store.expire_sessions(9).await.unwrap(), []);
    assert_eq!(state(&*store, keeper.session).await, SessionState::Open);
}

pub async fn a_session_past_its_lease_is_not_renewed_even_before_it_is_marked(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let mine = replica();
    let opened = store.open_session(&session("a", mine), SHORT).await.unwrap();
    run_out(store, &opened).await;
    assert_eq!(store.renew_sessions(&[opened.session], mine, LONG).await.unwrap(), []);
    assert_eq!(store.resume_session(&opened, LONG).await.unwrap(), None);
    assert_eq!(store.drain_sessions(project(), None, None).await.unwrap(), []);
    assert_eq!(store.expire_sessions(9).await.unwrap(), [opened.session]);
}

pub async fn resuming_moves_the_session(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [old, new] = [replica(), replica()];
    let opened = store.open_session(&session("a", old), LONG).await.unwrap();
    let wanted = SessionRow {
        replica: new,
        slots: 9,
        capabilities: vec!["write".to_owned()],
        build: "2".to_owned(),
        agent: "not changed by resuming".to_owned(),
        ..opened.clone()
    };
    let longer = Span::from_micros(LONG.as_micros() * 2);
    let resumed = store.resume_session(&wanted, longer).await.unwrap().unwrap();
    assert!(resumed.expires_at >= opened.expires_at.plus(LONG), "for as long as this agent wants now");
    let expires_at = resumed.expires_at;
    assert_eq!(resumed, SessionRow { agent: opened.agent.clone(), expires_at, lease: longer, ..wanted });
    assert_eq!(store.session(opened.session).await.unwrap(), Some(resumed));
    assert_eq!(store.renew_sessions(&[opened.session], old, LONG).await.unwrap(), [], "no longer held there");
    assert!(!store.close_session(opened.session, old).await.unwrap());
    assert_eq!(store.renew_sessions(&[opened.session], new, LONG).await.unwrap().len(), 1);
}

pub async fn resuming_needs_the_right_token_and_a_running_lease(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let mine = replica();
    let opened = store.open_session(&session("a", mine), LONG).await.unwrap();
    let wrong = SessionRow { resume_hash: [8; 32], replica: replica(), ..opened.clone() };
    assert_eq!(store.resume_session(&wrong, LONG).await.unwrap(), None);
    let unknown = SessionRow { session: session_id(), ..opened.clone() };
    assert_eq!(store.resume_session(&unknown, LONG).await.unwrap(), None);
    assert_eq!(store.session(opened.session).await.unwrap(), Some(opened.clone()), "untouched");
    assert!(store.close_session(opened.session, mine).await.unwrap());
    assert_eq!(store.resume_session(&opened, LONG).await.unwrap(), None, "closed");
}

pub async fn closing_is_for_the_holder_and_final(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let mine = replica();
    let opened = store.open_session(&session("a", mine), LONG).await.unwrap();
    assert!(!store.close_session(opened.session, replica()).await.unwrap());
    assert!(!store.close_session(session_id(), mine).await.unwrap());
    assert_eq!(state(store, opened.session).await, SessionState::Open);
    assert!(store.close_session(opened.session, mine).await.unwrap());
    assert!(!store.close_session(opened.session, mine).await.unwrap(), "once");
    assert_eq!(state(store, opened.session).await, SessionState::Closed);
    assert_eq!(store.renew_sessions(&[opened.session], mine, LONG).await.unwrap(), []);
}

pub async fn draining_marks_one_or_all_of_an_agent(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let mine = replica();
    let mut ids = Vec::new();
    for agent in ["a", "a", "b", "c"] {
        ids.push(store.open_session(&session(agent, mine), LONG).await.unwrap().session);
    }
    assert!(store.close_session(ids[1], mine).await.unwrap());
    let elsewhere = quarterdeck_core::ProjectId::of("other");
    assert_eq!(store.drain_sessions(elsewhere, Some(ids[0]), None).await.unwrap(), [], "another project");
    let drained = store.drain_sessions(project(), None, Some("a")).await.unwrap();
    assert_eq!(drained.iter().map(|session| session.session).collect::<Vec<_>>(), [ids[0]], "live ones only");
    assert_eq!(drained[0].state, SessionState::Draining);
    let again = store.drain_sessions(project(), Some(ids[0]), None).await.unwrap();
    assert_eq!(again.len(), 1, "still draining");
    assert_eq!(store.drain_sessions(project(), Some(ids[2]), Some("a")).await.unwrap(), [], "both must fit");
    assert_eq!(store.drain_sessions(project(), Some(ids[2]), None).await.unwrap().len(), 1);
    let renewed = store.renew_sessions(&[ids[0], ids[3]], mine, LONG).await.unwrap();
    let draining = |id| renewed.iter().find(|session| session.session == id).map(|session| session.draining);
    assert_eq!((draining(ids[0]), draining(ids[3])), (Some(true), Some(false)));
    assert_eq!(state(store, ids[3]).await, SessionState::Open);
}

pub async fn sessions_are_listed_newest_first_with_what_they_hold(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let mine = replica();
    let mut ids = Vec::new();
    for agent in ["a", "b", "a", "a"] {
        ids.push(store.open_session(&session(agent, mine), LONG).await.unwrap().session);
    }
    let task = task_id();
    let held = [0, 1].map(|place| RowChange::LeaseAdded(lease(step(task, place), ids[2], 1)));
    done(store, &[one(stream_id(), 0).with_rows(held)]).await;
    let list = |agent: Option<&'static str>, before, limit| async move {
        let listed = store.list_sessions(project(), agent, before, limit).await.unwrap();
        listed.into_iter().map(|(session, held)| (session.session, held)).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 9).await, [(ids[3], 0), (ids[2], 2), (ids[1], 0), (ids[0], 0)]);
    assert_eq!(list(Some("a"), None, 2).await, [(ids[3], 0), (ids[2], 2)]);
    assert_eq!(list(Some("a"), Some(ids[2]), 2).await, [(ids[0], 0)]);
    let elsewhere = quarterdeck_core::ProjectId::of("other");
    assert!(store.list_sessions(elsewhere, None, None, 9).await.unwrap().is_empty());
}

pub async fn ended_sessions_are_forgotten_unless_they_hold_leases(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let mine = replica();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(store.open_session(&session("a", mine), LONG).await.unwrap().session);
    }
    let held = lease(step(task_id(), 0), ids[1], 1);
    done(store, &[one(stream_id(), 0).with_rows([RowChange::LeaseAdded(held)])]).await;
    let start = store.now().await.unwrap();
    for id in &ids[..3] {
        assert!(store.close_session(*id, mine).await.unwrap());
    }
    assert_eq!(store.forget_sessions(start, 9).await.unwrap(), 0, "ended since");
    assert_eq!(store.forget_sessions(Timestamp::MAX, 1).await.unwrap(), 1, "no more than asked");
    assert_eq!(store.forget_sessions(Timestamp::MAX, 9).await.unwrap(), 1);
    let mut left = Vec::new();
    for id in &ids {
        left.push(store.session(*id).await.unwrap().is_some());
    }
    assert_eq!(left, [false, true, false, true], "one holds a lease, one is live");
}
