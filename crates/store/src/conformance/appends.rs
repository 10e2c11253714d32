//! One commit at a time: when it applies, and what it leaves.

use bytes::Bytes;
use quarterdeck_core::stream::Kind;
use quarterdeck_core::{Digest, Span, StreamId, Timestamp};

use super::fixture::Fixture;
use super::given::*;
use crate::commit::{Outcome, RequestKey};
use crate::port::{Followed, Store};
use crate::rows::RowChange;

async fn is_empty(store: &dyn Store, stream: StreamId) {
    assert_eq!(head(store, stream).await, None, "no head");
    assert_eq!(store.load(stream, 0, 10).await.unwrap(), [], "no events");
}

pub async fn an_append_opens_a_stream_and_advances_it(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let stream = stream_id();
    let before = store.now().await.unwrap();
    let first = done(store, &[commit(vec![append(stream, 0, 2)])]).await[0];
    let second = done(store, &[commit(vec![append(stream, 2, 1)])]).await[0];
    assert!(before <= first.0 && first.0 <= second.0, "times are the database's");
    assert!(0 < first.1 && first.1 < second.1, "positions grow");
    let rows = store.load(stream, 0, 10).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.last, row.count, row.body.as_str())).collect();
    assert_eq!(told, [(2, 2, "[1,2]"), (3, 1, "[3]")]);
    assert!(rows.iter().all(|row| row.stream == stream));
    assert_eq!((rows[0].at, rows[0].position), first);
    assert_eq!((rows[1].at, rows[1].position), second);
    assert_eq!(head(store, stream).await, Some(3));
}

pub async fn a_wrong_head_is_a_conflict_and_leaves_nothing(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let (stream, task) = (stream_id(), task_id());
    let rows = || {
        let due = Timestamp::from_micros(1);
        [RowChange::TimerSet { task, due }, RowChange::ReadyAdded(ready("read", 0, step(task, 0)))]
    };
    let early = one(stream, 1).with_rows(rows()).requested("r");
    assert_eq!(submit(store, early).await, Outcome::Conflict, "the stream does not exist");
    is_empty(store, stream).await;
    done(store, &[one(stream, 0)]).await;
    for (expected, why) in [(0, "it exists"), (2, "it is not there yet"), (7, "far off")] {
        let late = one(stream, expected).with_rows(rows()).requested("r");
        assert_eq!(submit(store, late).await, Outcome::Conflict, "{why}");
    }
    assert_eq!(head(store, stream).await, Some(1));
    assert_eq!(store.load(stream, 0, 10).await.unwrap().len(), 1);
    assert_eq!(store.due_timers(Timestamp::MAX, 10).await.unwrap(), []);
    assert_eq!(store.peek_ready(&queue("read"), None, 10).await.unwrap(), []);
    assert_eq!(store.request(&request_key("r")).await.unwrap(), None);
}

pub async fn several_streams_are_written_all_or_nothing(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [one, two, three] = [stream_id(), stream_id(), stream_id()];
    let both = done(store, &[commit(vec![append(one, 0, 1), append(two, 0, 3)])]).await[0];
    for stream in [one, two] {
        assert_eq!(store.load(stream, 0, 9).await.unwrap()[0].position, both.1, "one commit, one position");
    }
    let torn = commit(vec![append(one, 1, 1), append(two, 2, 1), append(three, 0, 1)]);
    assert_eq!(submit(store, torn).await, Outcome::Conflict);
    assert_eq!(head(store, one).await, Some(1));
    assert_eq!(head(store, two).await, Some(3));
    is_empty(store, three).await;
}

pub async fn a_guard_that_moved_refuses(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [guarded, stream] = [stream_id(), stream_id()];
    done(store, &[one(guarded, 0)]).await;
    done(store, &[one(guarded, 1)]).await;
    for head in [0, 1, 3] {
        assert_eq!(submit(store, one(stream, 0).guarding(guarded, head)).await, Outcome::Conflict);
    }
    is_empty(store, stream).await;
}

pub async fn a_guard_that_holds_lets_through(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [guarded, first, second] = [stream_id(), stream_id(), stream_id()];
    done(store, &[one(guarded, 0)]).await;
    // Two of a batch may guard the same.
    done(store, &[one(first, 0).guarding(guarded, 1), one(second, 0).guarding(guarded, 1)]).await;
    assert_eq!(head(store, guarded).await, Some(1), "guarding does not move");
}

pub async fn a_guard_of_a_missing_stream_refuses(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let stream = stream_id();
    for head in [0, 1] {
        assert_eq!(submit(store, one(stream, 0).guarding(stream_id(), head)).await, Outcome::Conflict);
    }
    is_empty(store, stream).await;
}

pub async fn a_commit_past_its_valid_until_is_stale_and_leaves_nothing(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let stream = stream_id();
    let now = store.now().await.unwrap();
    let late = one(stream, 0).until(now).requested("late");
    assert_eq!(submit(store, late.clone()).await, Outcome::Stale);
    is_empty(store, stream).await;
    assert_eq!(store.request(&request_key("late")).await.unwrap(), None);
    // And its request may come again, in time.
    done(store, &[late.until(Timestamp::MAX)]).await;
}

pub async fn a_commit_before_its_valid_until_applies(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let until = store.now().await.unwrap().plus(Span::from_secs(600));
    done(store, &[one(stream_id(), 0).until(until)]).await;
}

pub async fn a_request_happens_once_and_is_readable(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [first, second] = [stream_id(), stream_id()];
    let granted = one(first, 0).requested("r");
    let record = granted.request.clone().unwrap();
    assert_eq!(store.request(&record.key).await.unwrap(), None);
    done(store, &[granted]).await;
    assert_eq!(submit(store, one(second, 0).requested("r")).await, Outcome::Duplicate);
    is_empty(store, second).await;
    assert_eq!(store.request(&record.key).await.unwrap(), Some(record.clone()));
    // Another method, project or id is another request.
    let mut other = one(second, 0).requested("r");
    other.request.as_mut().unwrap().key.method = "CancelTask";
    done(store, &[other, one(stream_id(), 0).requested("R")]).await;
    let elsewhere = RequestKey { project: quarterdeck_core::ProjectId::of("other"), ..record.key };
    assert_eq!(store.request(&elsewhere).await.unwrap(), None);
}

pub async fn a_stale_duplicate_is_stale_and_a_moved_stale_one_a_conflict(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let stream = stream_id();
    done(store, &[one(stream, 0).requested("r")]).await;
    let now = store.now().await.unwrap();
    let stale = one(stream_id(), 0).requested("r").until(now);
    assert_eq!(submit(store, stale).await, Outcome::Stale);
    let moved = one(stream, 0).requested("r").until(now);
    assert_eq!(submit(store, moved).await, Outcome::Conflict);
}

pub async fn requests_are_forgotten_by_age(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let mut last = Timestamp::default();
    for request in ["a", "b", "c"] {
        // Strictly later than the one before.
        eventually("time passes", || async { (store.now().await.unwrap() > last).then_some(()) }).await;
        last = done(store, &[one(stream_id(), 0).requested(request)]).await[0].0;
    }
    assert_eq!(store.forget_requests(last, 1).await.unwrap(), 1, "no more than asked");
    assert_eq!(store.forget_requests(last, 10).await.unwrap(), 1, "nothing at or after the time");
    assert_eq!(store.request(&request_key("a")).await.unwrap(), None);
    assert_eq!(store.request(&request_key("b")).await.unwrap(), None);
    assert!(store.request(&request_key("c")).await.unwrap().is_some());
    done(store, &[one(stream_id(), 0).requested("a")]).await;
}

pub async fn events_load_from_within_a_row(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let stream = stream_id();
    for (expected, count) in [(0, 3), (3, 1), (4, 5)] {
        done(store, &[commit(vec![append(stream, expected, count)])]).await;
    }
    let lasts = |after, limit| async move {
        let rows = store.load(stream, after, limit).await.unwrap();
        rows.iter().map(|row| row.last).collect::<Vec<_>>()
    };
    assert_eq!(lasts(0, 10).await, [3, 4, 9]);
    assert_eq!(lasts(2, 10).await, [3, 4, 9], "the row that holds the third event");
    assert_eq!(lasts(3, 10).await, [4, 9]);
    assert_eq!(lasts(3, 1).await, [4]);
    assert_eq!(lasts(9, 10).await, [0u64; 0]);
    let first = &store.load(stream, 0, 1).await.unwrap()[0];
    let other = one(stream_id(), 0);
    assert_eq!(store.find_commit(other.id, stream, 0).await.unwrap(), None, "another's commit");
    assert_eq!(first.count, 3);
}

pub async fn heads_and_positions_are_told(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    assert_eq!(store.position().await.unwrap(), 0, "an empty log");
    let [one_stream, other, missing] = [stream_id(), stream_id(), stream_id()];
    done(store, &[commit(vec![append(one_stream, 0, 4)])]).await;
    let last = done(store, &[one(other, 0)]).await[0].1;
    assert_eq!(store.position().await.unwrap(), last);
    let mut heads = store.heads(&[other, missing, one_stream]).await.unwrap();
    heads.sort();
    assert_eq!(heads, [(one_stream, 4), (other, 1)]);
    assert_eq!(store.heads(&[]).await.unwrap(), []);
    assert!(store.epoch() >= 1);
}

pub async fn payloads_are_kept_by_digest(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let bytes: Bytes = (0..=255u8).cycle().take(70_000).collect();
    let digest = Digest::of_content(&bytes);
    assert_eq!(store.payload(digest).await.unwrap(), None);
    let with = || {
        let mut commit = one(stream_id(), 0);
        commit.payloads.push((digest, bytes.clone()));
        commit
    };
    // Two of one batch, and one more later, bring the same content.
    done(store, &[with(), with()]).await;
    done(store, &[with()]).await;
    assert_eq!(store.payload(digest).await.unwrap(), Some(bytes));
}

pub async fn large_bodies_come_back(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let stream = stream_id();
    let mut large = one(stream, 0);
    let text: String =
        "a line with \"quotes\" and \\ and ü\n".chars().cycle().take(4 * 1024 * 1024).collect();
    large.appends[0].body = serde_json::to_string(&[text]).unwrap();
    let body = large.appends[0].body.clone();
    done(store, &[large]).await;
    let row = store.load(stream, 0, 1).await.unwrap().remove(0);
    assert!(row.body == body, "{} bytes are not the {} written", row.body.len(), body.len());
}

pub async fn escaped_nul_and_all_of_unicode_come_back(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let stream = stream_id();
    let mut commit = one(stream, 0);
    let event = "nul \0 tab \t quote ' \" \\ $1 {now} ?1 \u{85} \u{2028} é 漢 🦀 \u{10ffff}";
    commit.appends[0].body = serde_json::to_string(&[event]).unwrap();
    commit.appends[0].kind = Kind::Key;
    done(store, &[commit]).await;
    let row = store.load(stream, 0, 1).await.unwrap().remove(0);
    assert_eq!(serde_json::from_str::<Vec<String>>(&row.body).unwrap(), [event]);
    assert_eq!(store.follow(project(), Followed::Tasks, 0, 10).await.unwrap(), [], "only tasks are followed");
}

pub async fn time_does_not_fall(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let mut last = store.now().await.unwrap();
    for _ in 0..50 {
        let (at, _) = done(store, &[one(stream_id(), 0)]).await[0];
        let now = store.now().await.unwrap();
        assert!(last <= at && at <= now, "{last:?} {at:?} {now:?}");
        last = now;
    }
}
