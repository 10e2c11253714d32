//! Two replicas on one database, and more than one caller on each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;

use quarterdeck_core::StreamId;

use super::fixture::Fixture;
use super::given::*;
use crate::commit::{Commit, Outcome};
use crate::port::{Followed, Store};
use crate::rows::EventRow;

/// Two handles; twice the same where there can be only one.
async fn handles(fixture: &dyn Fixture) -> [Arc<dyn Store>; 2] {
    let first = fixture.store();
    let second = fixture.second().await.unwrap_or_else(|| Arc::clone(&first));
    [first, second]
}

/// Appends to `stream` as often as asked, one to three events each time, trying
/// again after conflicts. Which commits began where, and how far they went.
async fn write(store: &dyn Store, stream: StreamId, times: usize) -> Vec<(u64, u64)> {
    let mut written = Vec::new();
    let mut tries = 0;
    while written.len() < times {
        tries += 1;
        let expected = head(store, stream).await.unwrap_or(0);
        let events = append(stream, expected, 1 + tries % 3);
        let last = events.last();
        match submit(store, commit(vec![events])).await {
            Outcome::Done { .. } => written.push((expected, last)),
            Outcome::Conflict => {}
            other => panic!("{other:?}"),
        }
    }
    written
}

pub async fn concurrent_writers_never_fork_a_stream(fixture: &dyn Fixture) {
    let handles = handles(fixture).await;
    let stream = stream_id();
    let writers = (0..8).map(|writer| write(&*handles[writer % 2], stream, 25));
    let mut written: Vec<(u64, u64)> = join_all(writers).await.into_iter().flatten().collect();
    written.sort_unstable();
    assert_eq!(written.len(), 200);
    assert_eq!(written[0].0, 0);
    assert!(written.windows(2).all(|pair| pair[0].1 == pair[1].0), "each begins where one ended");
    let rows = handles[0].load(stream, 0, 1_000).await.unwrap();
    let stored: Vec<_> = rows.iter().map(|row| (row.last - u64::from(row.count), row.last)).collect();
    assert_eq!(stored, written, "what was reported is what is there");
    assert!(rows.windows(2).all(|pair| pair[0].position < pair[1].position));
    assert!(rows.windows(2).all(|pair| pair[0].at <= pair[1].at));
    assert_eq!(head(&*handles[1], stream).await, Some(written[199].1));
}

pub async fn two_handles_opening_one_stream_make_one(fixture: &dyn Fixture) {
    let handles = handles(fixture).await;
    for _ in 0..20 {
        let stream = stream_id();
        // In a batch with others, which must not suffer.
        let batches: Vec<[Commit; 3]> =
            (0..6).map(|_| [one(stream_id(), 0), one(stream, 0), one(stream_id(), 0)]).collect();
        let writers = batches.iter().zip(handles.iter().cycle()).map(|(batch, store)| store.commit(batch));
        let outcomes: Vec<Vec<Outcome>> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
        let opened = outcomes.iter().filter(|batch| matches!(batch[1], Outcome::Done { .. })).count();
        assert_eq!(opened, 1);
        for batch in &outcomes {
            place(&batch[0]);
            place(&batch[2]);
            assert!(matches!(batch[1], Outcome::Done { .. } | Outcome::Conflict), "{:?}", batch[1]);
        }
        assert_eq!(handles[0].load(stream, 0, 10).await.unwrap().len(), 1);
    }
}

pub async fn a_request_racing_on_two_handles_happens_once(fixture: &dyn Fixture) {
    let handles = handles(fixture).await;
    for round in 0..20 {
        let request = format!("round {round}");
        let commits: Vec<[Commit; 2]> =
            (0..6).map(|_| [one(stream_id(), 0).requested(&request), one(stream_id(), 0)]).collect();
        let writers = commits.iter().zip(handles.iter().cycle()).map(|(batch, store)| store.commit(batch));
        let outcomes: Vec<Vec<Outcome>> = join_all(writers).await.into_iter().map(Result::unwrap).collect();
        let mut granted = Vec::new();
        for (batch, outcomes) in commits.iter().zip(&outcomes) {
            match &outcomes[0] {
                Outcome::Done { .. } => granted.push(batch[0].appends[0].stream),
                other => assert_eq!(*other, Outcome::Duplicate),
            }
            place(&outcomes[1]);
        }
        assert_eq!(granted.len(), 1, "granted once");
        let record = handles[1].request(&request_key(&request)).await.unwrap().unwrap();
        assert_eq!(record.stream, granted[0], "and the record names who got it");
    }
}

pub async fn a_follower_sees_every_commit_once_while_writers_race(fixture: &dyn Fixture) {
    let handles = handles(fixture).await;
    const WRITERS: usize = 6;
    const EACH: usize = 40;
    let running = AtomicUsize::new(WRITERS);
    let writers = (0..WRITERS).map(|writer| {
        let (store, running) = (&*handles[writer % 2], &running);
        async move {
            let mut written = BTreeMap::new();
            for round in 0..EACH {
                // Batches of several sizes, and commits over two streams.
                let batch: Vec<Commit> = (0..1 + (writer + round) % 4)
                    .map(|_| commit(vec![append(stream_id(), 0, 1), append(stream_id(), 0, 1)]))
                    .collect();
                for (commit, (_, position)) in batch.iter().zip(done(store, &batch).await) {
                    for append in &commit.appends {
                        written.insert(append.stream, position);
                    }
                }
            }
            running.fetch_sub(1, Ordering::SeqCst);
            written
        }
    });
    let follower = async {
        let store = &*handles[1];
        let mut seen: Vec<EventRow> = Vec::new();
        let mut cursor = 0;
        loop {
            let finished = running.load(Ordering::SeqCst) == 0;
            let rows = store.follow(project(), Followed::Tasks, cursor, 7).await.unwrap();
            assert!(rows.iter().map(|row| row.position).is_sorted());
            assert!(rows.iter().all(|row| row.position > cursor));
            if let Some(last) = rows.last() {
                cursor = last.position;
            } else if finished {
                return seen;
            }
            seen.extend(rows);
        }
    };
    let (written, seen) = futures::join!(join_all(writers), follower);
    let written: BTreeMap<_, _> = written.into_iter().flatten().collect();
    assert_eq!(seen.len(), written.len(), "none twice, none missing");
    for row in seen {
        assert_eq!(written.get(&row.stream), Some(&row.position));
    }
    let positions: BTreeSet<i64> = written.values().copied().collect();
    assert_eq!(handles[0].position().await.unwrap(), *positions.last().unwrap());
}

pub async fn a_guard_is_not_passed_by_a_racing_writer(fixture: &dyn Fixture) {
    let handles = handles(fixture).await;
    let guarded = stream_id();
    let moved = done(&*handles[0], &[one(guarded, 0)]).await[0];
    let moves = async {
        let mut moves = vec![moved];
        for expected in 1..=30 {
            moves.push(done(&*handles[0], &[one(guarded, expected)]).await[0]);
        }
        moves
    };
    let guards = (0..4).map(|_| {
        let store = &*handles[1];
        async move {
            let mut passed = Vec::new();
            for _ in 0..40 {
                let head = head(store, guarded).await.unwrap();
                if let Outcome::Done { position, .. } =
                    submit(store, one(stream_id(), 0).guarding(guarded, head)).await
                {
                    passed.push((head, position));
                }
            }
            passed
        }
    });
    let (moves, passed) = futures::join!(moves, join_all(guards));
    for (head, position) in passed.into_iter().flatten() {
        let place = usize::try_from(head).unwrap();
        assert!(moves[place - 1].1 < position, "after the guard got where it was seen");
        assert!(moves.get(place).is_none_or(|next| position < next.1), "before it moved on");
    }
}

pub async fn the_same_commit_racing_itself_is_done_once(fixture: &dyn Fixture) {
    let handles = handles(fixture).await;
    for round in 0..20 {
        let commit = one(stream_id(), 0).requested(&format!("round {round}"));
        let batch = [commit.clone(), one(stream_id(), 0)];
        let tries = (0..6).map(|attempt| handles[attempt % 2].commit(&batch));
        let outcomes: Vec<Vec<Outcome>> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
        for outcome in &outcomes {
            assert_eq!(outcome, &outcomes[0], "all are told the same");
            place(&outcome[0]);
        }
        assert_eq!(handles[0].load(commit.appends[0].stream, 0, 9).await.unwrap().len(), 1);
    }
}
