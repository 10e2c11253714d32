//! Batches: each commit succeeds or fails alone; nothing happens twice.

use quarterdeck_core::Timestamp;
use quarterdeck_core::stream::Kind;

use super::fixture::Fixture;
use super::given::*;
use crate::commit::{Commit, Outcome};
use crate::error::StoreError;
use crate::rows::RowChange;

fn is_poison(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(StoreError::Poison(_)))
}

pub async fn a_batch_answers_one_outcome_per_commit_in_order(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [existing, guarded] = [stream_id(), stream_id()];
    done(store, &[one(existing, 0).requested("known"), one(guarded, 0)]).await;
    let past = Timestamp::from_micros(1);
    let batch = [
        one(stream_id(), 0),
        one(existing, 5),
        one(stream_id(), 0).until(past),
        one(stream_id(), 0).requested("known"),
        one(existing, 1).guarding(guarded, 1),
        one(stream_id(), 0).guarding(guarded, 9),
        one(stream_id(), 0),
    ];
    let outcomes = store.commit(&batch).await.unwrap();
    let positions = [0, 4, 6].map(|item: usize| place(&outcomes[item]).1);
    assert!(positions.is_sorted(), "within a batch too: {positions:?}");
    assert!(positions[0] < positions[1] && positions[1] < positions[2]);
    assert_eq!(outcomes[1], Outcome::Conflict);
    assert_eq!(outcomes[2], Outcome::Stale);
    assert_eq!(outcomes[3], Outcome::Duplicate);
    assert_eq!(outcomes[5], Outcome::Conflict);
    for (commit, outcome) in batch.iter().zip(&outcomes) {
        let stream = commit.appends[0].stream;
        let rows = store.load(stream, commit.appends[0].expected, 9).await.unwrap();
        let there = matches!(outcome, Outcome::Done { .. });
        assert_eq!(rows.len(), usize::from(there), "{outcome:?}");
    }
}

pub async fn a_conflicting_commit_fails_alone(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let mut batch: Vec<Commit> = (0..20).map(|_| one(stream_id(), 0)).collect();
    batch[7].appends[0].expected = 3;
    let outcomes = store.commit(&batch).await.unwrap();
    for (item, outcome) in outcomes.iter().enumerate() {
        assert_eq!(matches!(outcome, Outcome::Done { .. }), item != 7, "{item}: {outcome:?}");
    }
    assert_eq!(outcomes[7], Outcome::Conflict);
}

pub async fn a_poisonous_commit_fails_alone(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let bad = stream_id();
    let mut batch: Vec<Commit> = (0..20).map(|_| one(stream_id(), 0)).collect();
    batch[13] = poison(bad);
    let outcomes = store.commit(&batch).await.unwrap();
    for (item, outcome) in outcomes.iter().enumerate() {
        assert_eq!(matches!(outcome, Outcome::Done { .. }), item != 13, "{item}: {outcome:?}");
    }
    assert!(is_poison(&outcomes[13]), "{:?}", outcomes[13]);
    assert_eq!(head(store, bad).await, None);
    assert_eq!(store.list_projects(None, 10).await.unwrap(), []);
    // Alone it fares no better.
    assert!(is_poison(&submit(store, poison(bad)).await));
}

pub async fn several_poisonous_commits_fail_alone(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    done(store, &[one(stream_id(), 0).with_rows([RowChange::ProjectPut(named("taken"))])]).await;
    let taken = || {
        let project = crate::rows::ProjectRow { name: "taken".to_owned(), ..named("another") };
        one(stream_id(), 0).with_rows([RowChange::ProjectPut(project)])
    };
    let batch = [taken(), one(stream_id(), 0), poison(stream_id()), one(stream_id(), 9), poison(stream_id())];
    let outcomes = store.commit(&batch).await.unwrap();
    assert!(is_poison(&outcomes[0]) && is_poison(&outcomes[2]) && is_poison(&outcomes[4]), "{outcomes:?}");
    place(&outcomes[1]);
    assert_eq!(outcomes[3], Outcome::Conflict);
}

pub async fn a_request_key_twice_in_a_batch_is_a_duplicate(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let batch = [one(stream_id(), 0).requested("r"), one(stream_id(), 0), one(stream_id(), 0).requested("r")];
    let outcomes = store.commit(&batch).await.unwrap();
    place(&outcomes[0]);
    place(&outcomes[1]);
    assert_eq!(outcomes[2], Outcome::Duplicate);
    let record = store.request(&request_key("r")).await.unwrap().unwrap();
    assert_eq!(record.stream, batch[0].appends[0].stream);
}

pub async fn a_commit_submitted_again_is_done_at_the_same_position(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [stream, other] = [stream_id(), stream_id()];
    let commits = [commit(vec![append(stream, 0, 2)]), commit(vec![append(other, 0, 1)])];
    let first = done(store, &commits).await;
    assert_eq!(done(store, &commits).await, first, "the same answer");
    assert_eq!(store.load(stream, 0, 9).await.unwrap().len(), 1, "written once");
    // Beside others that are new.
    let again = [commits[1].clone(), one(stream_id(), 0), commits[0].clone()];
    let outcomes = done(store, &again).await;
    assert_eq!((outcomes[0], outcomes[2]), (first[1], first[0]));
    assert_eq!(store.find_commit(commits[0].id, stream, 0).await.unwrap(), Some(first[0]));
    assert_eq!(store.find_commit(commits[0].id, stream, 1).await.unwrap(), None, "not from there");
    assert_eq!(store.find_commit(commits[1].id, stream, 0).await.unwrap(), None, "not there");
}

pub async fn a_commit_submitted_again_is_done_though_the_stream_moved_on(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let stream = stream_id();
    done(store, &[one(stream, 0)]).await;
    let lost = commit(vec![append(stream, 1, 2), append(stream_id(), 0, 1)]);
    let first = done(store, &[lost.clone()]).await;
    done(store, &[one(stream, 3)]).await;
    done(store, &[one(stream, 4)]).await;
    assert_eq!(done(store, &[lost.clone()]).await, first);
    assert_eq!(store.find_commit(lost.id, stream, 1).await.unwrap(), Some(first[0]));
    assert_eq!(head(store, stream).await, Some(5));
}

pub async fn a_commit_with_a_request_submitted_again_is_done(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let granted = one(stream_id(), 0).requested("r");
    let first = done(store, &[granted.clone()]).await;
    assert_eq!(done(store, &[granted.clone()]).await, first, "not a duplicate of itself");
    // Also where only the request gives it away.
    let past = granted.until(Timestamp::from_micros(1));
    assert_eq!(done(store, &[past]).await, first, "what is done does not grow stale");
}

pub async fn another_commit_at_the_same_place_is_a_conflict(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let stream = stream_id();
    let [first, second] = [one(stream, 0), one(stream, 0)];
    done(store, &[first]).await;
    assert_eq!(submit(store, second.clone()).await, Outcome::Conflict, "same place, other commit");
    assert_eq!(store.find_commit(second.id, stream, 0).await.unwrap(), None);
}

pub async fn a_batch_of_a_hundred_and_fifty_large_tasks_is_written(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let batch: Vec<Commit> = (0..150u32)
        .map(|item| {
            let task = task_id();
            // Every tenth is as large as tasks get.
            let steps = if item % 10 == 0 { 1_000 } else { 2 };
            let ready = (0..steps).map(|place| RowChange::ReadyAdded(ready("read", 3, step(task, place))));
            let due = Timestamp::from_micros(i64::from(item));
            let mut opened = open_task(opened(task)).with_rows(ready);
            opened.rows.push(RowChange::TimerSet { task, due });
            opened.appends[0].kind = Kind::Task;
            opened.requested(&item.to_string())
        })
        .collect();
    let positions: Vec<i64> = done(store, &batch).await.into_iter().map(|(_, position)| position).collect();
    assert!(positions.windows(2).all(|pair| pair[0] < pair[1]));
    let (listed, _) = store.list_tasks(project(), &Default::default(), None, 1_000).await.unwrap();
    assert_eq!(listed.len(), 150);
    let mut seen = 0;
    let mut after = None;
    loop {
        let page = store.peek_ready(&queue("read"), after.as_ref(), 1_000).await.unwrap();
        seen += page.len();
        let Some(last) = page.into_iter().next_back() else { break };
        after = Some(last);
    }
    assert_eq!(seen, 15 * 1_000 + 135 * 2);
    assert_eq!(store.due_timers(Timestamp::from_micros(99), 1_000).await.unwrap().len(), 100);
}

pub async fn an_empty_batch_is_nothing(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    assert_eq!(store.commit(&[]).await.unwrap(), []);
    assert_eq!(store.position().await.unwrap(), 0);
}
