//! Ready steps, leases and timers.

use quarterdeck_core::{Span, Timestamp};

use super::fixture::Fixture;
use super::given::*;
use crate::commit::Outcome;
use crate::port::Store;
use crate::rows::{LeaseRow, QueueKey, ReadyKey, RowChange, StepRef};

/// Applies row changes in a commit of their own.
async fn change(store: &dyn Store, rows: impl IntoIterator<Item = RowChange>) {
    done(store, &[one(stream_id(), 0).with_rows(rows)]).await;
}

pub async fn ready_steps_come_in_order_and_go(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [older, newer] = [task_id(), task_id()];
    let in_order = [
        ready("read", 9, step(newer, 5)),
        ready("read", 3, step(older, 0)),
        ready("read", 3, step(older, 300)),
        ready("read", 3, step(newer, 1)),
        ready("read", 0, step(older, 2)),
    ];
    change(store, in_order.iter().rev().cloned().map(RowChange::ReadyAdded)).await;
    let peek = |after: Option<ReadyKey>, limit| async move {
        store.peek_ready(&queue("read"), after.as_ref(), limit).await.unwrap()
    };
    assert_eq!(peek(None, 10).await, in_order);
    assert_eq!(peek(None, 2).await, in_order[..2]);
    assert_eq!(peek(Some(in_order[1].clone()), 2).await, in_order[2..4]);
    assert_eq!(peek(Some(in_order[4].clone()), 2).await, []);
    let gone = [RowChange::ReadyRemoved(in_order[0].clone()), RowChange::ReadyRemoved(in_order[3].clone())];
    change(store, gone).await;
    // After a step that is gone, too.
    assert_eq!(peek(Some(in_order[3].clone()), 9).await, in_order[4..]);
    assert_eq!(peek(None, 9).await, [in_order[1].clone(), in_order[2].clone(), in_order[4].clone()]);
}

pub async fn queues_do_not_mix(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let task = task_id();
    let here = ready("read", 1, step(task, 0));
    let longer = ready("read.more", 1, step(task, 1));
    let mut elsewhere = ready("read", 1, step(task, 2));
    elsewhere.queue.project = quarterdeck_core::ProjectId::of("other");
    let all = [&here, &longer, &elsewhere];
    change(store, all.map(|key| RowChange::ReadyAdded(key.clone()))).await;
    for key in all {
        assert_eq!(store.peek_ready(&key.queue, None, 9).await.unwrap(), [key.clone()]);
    }
    let shorter = QueueKey { capability: "rea".to_owned(), ..here.queue };
    assert_eq!(store.peek_ready(&shorter, None, 9).await.unwrap(), []);
}

fn sorted(mut leases: Vec<LeaseRow>) -> Vec<LeaseRow> {
    leases.sort_by_key(|lease| lease.step);
    leases
}

pub async fn leases_are_told_by_session(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let (task, [one, other]) = (task_id(), [session_id(), session_id()]);
    let held = [lease(step(task, 0), one, 2), lease(step(task, 1), other, 3), lease(step(task, 999), one, 4)];
    change(store, held.map(RowChange::LeaseAdded)).await;
    assert_eq!(sorted(store.leases_of(&[one]).await.unwrap()), [held[0], held[2]]);
    assert_eq!(sorted(store.leases_of(&[other, one]).await.unwrap()), held);
    assert_eq!(store.leases_of(&[session_id()]).await.unwrap(), []);
    assert_eq!(store.leases_of(&[]).await.unwrap(), []);
    change(store, [RowChange::LeaseRemoved(held[0].step)]).await;
    assert_eq!(store.leases_of(&[one]).await.unwrap(), [held[2]]);
}

pub async fn a_row_changed_twice_in_a_commit_ends_as_last_said(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let (task, holder) = (task_id(), session_id());
    let [first, second]: [StepRef; 2] = [step(task, 0), step(task, 1)];
    let [key, other] = [ready("read", 0, first), ready("read", 0, second)];
    let time = Timestamp::from_micros;
    let rows = [
        RowChange::ReadyAdded(key.clone()),
        RowChange::ReadyRemoved(key.clone()),
        RowChange::ReadyAdded(other.clone()),
        RowChange::LeaseAdded(lease(first, holder, 2)),
        RowChange::LeaseRemoved(first),
        RowChange::LeaseAdded(lease(first, holder, 5)),
        RowChange::LeaseAdded(lease(second, holder, 3)),
        RowChange::LeaseRemoved(second),
        RowChange::TimerSet { task, due: time(1) },
        RowChange::TimerCleared { task },
        RowChange::TimerSet { task, due: time(2) },
    ];
    change(store, rows).await;
    let state = || async {
        let ready = store.peek_ready(&queue("read"), None, 9).await.unwrap();
        let leases = store.leases_of(&[holder]).await.unwrap();
        (ready, leases, store.due_timers(Timestamp::MAX, 9).await.unwrap())
    };
    let leased = vec![lease(first, holder, 5)];
    assert_eq!(state().await, (vec![other.clone()], leased, vec![(task, time(2))]));
    // And over rows that are there.
    let rows = [
        RowChange::ReadyRemoved(other.clone()),
        RowChange::ReadyAdded(other.clone()),
        RowChange::LeaseRemoved(first),
        RowChange::LeaseAdded(lease(first, holder, 9)),
        RowChange::TimerSet { task, due: time(3) },
        RowChange::TimerCleared { task },
    ];
    change(store, rows).await;
    assert_eq!(state().await, (vec![other], vec![lease(first, holder, 9)], vec![]));
}

pub async fn leases_of_ended_sessions_are_orphaned(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let replica = replica();
    let long = Span::from_secs(600);
    let live = store.open_session(&session("a", replica), long).await.unwrap().session;
    let closing = store.open_session(&session("b", replica), long).await.unwrap().session;
    let expiring = store.open_session(&session("c", replica), Span::from_millis(20)).await.unwrap().session;
    let task = task_id();
    let held =
        [lease(step(task, 0), live, 1), lease(step(task, 1), closing, 2), lease(step(task, 2), expiring, 3)];
    change(store, held.map(RowChange::LeaseAdded)).await;
    assert!(store.close_session(closing, replica).await.unwrap());
    assert_eq!(store.orphaned_leases(9).await.unwrap(), [held[1]], "expiry counts once it is marked");
    eventually("the session expires", || async {
        (!store.expire_sessions(9).await.unwrap().is_empty()).then_some(())
    })
    .await;
    assert_eq!(sorted(store.orphaned_leases(9).await.unwrap()), held[1..]);
    assert_eq!(store.orphaned_leases(1).await.unwrap().len(), 1);
    change(store, held[1..].iter().map(|lease| RowChange::LeaseRemoved(lease.step))).await;
    assert_eq!(store.orphaned_leases(9).await.unwrap(), []);
}

pub async fn timers_are_set_replaced_cleared_and_due_in_order(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let tasks = [task_id(), task_id(), task_id(), task_id()];
    let time = Timestamp::from_micros;
    let set = |task: usize, due| RowChange::TimerSet { task: tasks[task], due: time(due) };
    change(store, [set(0, 30), set(1, 10), set(2, 20), set(3, i64::MAX)]).await;
    let due = |now, limit| async move { store.due_timers(time(now), limit).await.unwrap() };
    assert_eq!(due(9, 9).await, []);
    assert_eq!(due(20, 9).await, [(tasks[1], time(10)), (tasks[2], time(20))]);
    assert_eq!(due(99, 1).await, [(tasks[1], time(10))]);
    change(store, [set(1, 40), RowChange::TimerCleared { task: tasks[2] }]).await;
    assert_eq!(due(99, 9).await, [(tasks[0], time(30)), (tasks[1], time(40))]);
    change(store, [RowChange::TimerCleared { task: tasks[2] }]).await;
}

/// Alone in its batch, and beside commits that do append.
pub async fn rows_are_corrected_under_a_guard_without_an_event(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let task = task_id();
    done(store, &[one(task.stream(), 0)]).await;
    let time = Timestamp::from_micros;
    let correction = |head, due| {
        let mut correction = commit(Vec::new()).guarding(task.stream(), head);
        correction.rows = vec![RowChange::TimerSet { task, due: time(due) }];
        correction
    };
    let due = || async { store.due_timers(time(99), 9).await.unwrap() };
    done(store, &[correction(1, 10)]).await;
    assert_eq!(due().await, [(task, time(10))]);
    done(store, &[correction(1, 20), one(stream_id(), 0)]).await;
    assert_eq!(due().await, [(task, time(20))]);
    assert_eq!(submit(store, correction(2, 30)).await, Outcome::Conflict, "the stream is not there yet");
    assert_eq!(due().await, [(task, time(20))]);
    assert_eq!(head(store, task.stream()).await, Some(1), "nothing was appended");
}
