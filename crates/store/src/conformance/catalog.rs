//! Lists: tasks, projects, keys.

use std::collections::BTreeSet;

use quarterdeck_core::task::State;
use quarterdeck_core::{ProjectId, TaskId};

use super::fixture::Fixture;
use super::given::*;
use crate::port::{Followed, Store};
use crate::rows::{KeyRow, ProjectRow, RowChange, TaskFilter, TaskOpened, TaskRow};

async fn list(store: &dyn Store, filter: &TaskFilter) -> Vec<TaskId> {
    let (tasks, next) = store.list_tasks(project(), filter, None, 100).await.unwrap();
    assert_eq!(next, None, "all of it");
    tasks.into_iter().map(|task| task.task).collect()
}

fn ended(task: TaskId, state: State, stop_code: &str) -> RowChange {
    RowChange::TaskEnded { task, state, stop_code: stop_code.to_owned() }
}

pub async fn a_task_is_listed_from_opening_to_end(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let given = TaskOpened { retry_of: Some(task_id()), ..opened(task_id()) };
    let (created_at, _) = done(store, &[open_task(given.clone())]).await[0];
    let read =
        || async { store.list_tasks(project(), &TaskFilter::default(), None, 9).await.unwrap().0.remove(0) };
    let running = TaskRow {
        task: given.task,
        project: given.project,
        display_name: given.display_name,
        labels: given.labels,
        state: State::Running,
        stop_code: None,
        created_by: given.created_by,
        retry_of: given.retry_of,
        step_count: given.step_count,
        created_at,
        deadline: given.deadline,
        ended_at: None,
        revision: 1,
    };
    assert_eq!(read().await, running);
    let mut more = one(given.task.stream(), 1);
    more.appends[0].count = 4;
    done(store, &[more]).await;
    assert_eq!(read().await.revision, 5, "the head at the time of reading");
    let end = one(given.task.stream(), 5).with_rows([ended(given.task, State::Failed, "STEP_FAILED")]);
    let (ended_at, _) = done(store, &[end]).await[0];
    let expected = TaskRow {
        state: State::Failed,
        stop_code: Some("STEP_FAILED".to_owned()),
        ended_at: Some(ended_at),
        revision: 6,
        ..running
    };
    assert_eq!(read().await, expected);
}

pub async fn a_task_that_ends_as_it_opens_is_listed_as_ended(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let task = task_id();
    let commit = open_task(opened(task)).with_rows([ended(task, State::Succeeded, "REUSED")]);
    let (at, _) = done(store, &[commit]).await[0];
    let row = store.list_tasks(project(), &TaskFilter::default(), None, 9).await.unwrap().0.remove(0);
    assert_eq!((row.state, row.created_at, row.ended_at), (State::Succeeded, at, Some(at)));
}

pub async fn pages_neither_overlap_nor_skip_while_tasks_are_created(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let before: Vec<TaskId> = (0..25).map(|_| task_id()).collect();
    let batch: Vec<_> = before.iter().map(|task| open_task(opened(*task))).collect();
    done(store, &batch).await;
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        // In between, others create tasks.
        done(store, &[open_task(opened(task_id()))]).await;
        let (page, next) = store.list_tasks(project(), &TaskFilter::default(), cursor, 7).await.unwrap();
        assert!(page.len() == 7 || next.is_none());
        seen.extend(page.into_iter().map(|task| task.task));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "newest first, none twice");
    let seen: BTreeSet<TaskId> = seen.into_iter().collect();
    assert!(before.iter().all(|task| seen.contains(task)), "none is missing");
}

pub async fn filters_hold_alone_and_together(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let labels = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let [a, b, c] = [task_id(), task_id(), task_id()];
    let given = [
        TaskOpened { labels: labels(&[("team", "red"), ("env.x/y", "it's \"prod\"")]), ..opened(a) },
        TaskOpened { labels: labels(&[("team", "blue")]), retry_of: Some(a), ..opened(b) },
        TaskOpened { labels: labels(&[]), ..opened(c) },
    ];
    let mut times = Vec::new();
    for task in given {
        let last = times.last().copied().unwrap_or_default();
        eventually("time passes", || async { (store.now().await.unwrap() > last).then_some(()) }).await;
        times.push(done(store, &[open_task(task)]).await[0].0);
    }
    let end = [(b, State::Failed), (c, State::Canceled)]
        .map(|(task, state)| one(task.stream(), 1).with_rows([ended(task, state, "X")]));
    done(store, &end).await;
    let none = TaskFilter::default;
    let cases: Vec<(&str, TaskFilter, Vec<TaskId>)> = vec![
        ("nothing asked", none(), vec![c, b, a]),
        ("running", TaskFilter { states: vec![State::Running], ..none() }, vec![a]),
        ("ended", TaskFilter { states: vec![State::Failed, State::Canceled], ..none() }, vec![c, b]),
        ("no such state", TaskFilter { states: vec![State::Succeeded], ..none() }, vec![]),
        ("a label", TaskFilter { labels: labels(&[("team", "red")]), ..none() }, vec![a]),
        ("another value", TaskFilter { labels: labels(&[("team", "re")]), ..none() }, vec![]),
        (
            "two labels",
            TaskFilter { labels: labels(&[("team", "red"), ("env.x/y", "it's \"prod\"")]), ..none() },
            vec![a],
        ),
        ("one label missing", TaskFilter { labels: labels(&[("team", "red"), ("z", "")]), ..none() }, vec![]),
        ("retries", TaskFilter { retry_of: Some(a), ..none() }, vec![b]),
        ("from a time on", TaskFilter { created_after: Some(times[1]), ..none() }, vec![c, b]),
        ("before a time", TaskFilter { created_before: Some(times[1]), ..none() }, vec![a]),
        (
            "all at once",
            TaskFilter {
                states: vec![State::Failed],
                labels: labels(&[("team", "blue")]),
                created_after: Some(times[0]),
                created_before: Some(times[2]),
                retry_of: Some(a),
            },
            vec![b],
        ),
    ];
    for (what, filter, expected) in cases {
        assert_eq!(list(store, &filter).await, expected, "{what}");
    }
}

pub async fn projects_do_not_see_each_others_tasks(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [mine, theirs] = [task_id(), task_id()];
    let other = ProjectId::of("other");
    let foreign = TaskOpened { project: other, ..opened(theirs) };
    let (_, start) = done(store, &[open_task(opened(mine)), open_task(foreign)]).await[0];
    assert_eq!(list(store, &TaskFilter::default()).await, [mine]);
    let followed = store.follow(project(), Followed::Tasks, start - 1, 9).await.unwrap();
    assert_eq!(followed.iter().map(|row| row.stream).collect::<Vec<_>>(), [mine.stream()]);
    let (tasks, _) = store.list_tasks(other, &TaskFilter::default(), None, 9).await.unwrap();
    assert_eq!(tasks[0].task, theirs);
}

pub async fn a_filter_that_matches_little_looks_at_a_bounded_number(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    // The first matches, more than ten thousand after it do not.
    let wanted = task_id();
    let end = ended(wanted, State::Failed, "X");
    done(store, &[open_task(opened(wanted)).with_rows([end])]).await;
    for _ in 0..70 {
        let batch: Vec<_> = (0..150).map(|_| open_task(opened(task_id()))).collect();
        done(store, &batch).await;
    }
    let filter = TaskFilter { states: vec![State::Failed], ..TaskFilter::default() };
    let (first, next) = store.list_tasks(project(), &filter, None, 10).await.unwrap();
    assert_eq!(first, [], "not within reach of one call");
    let next = next.expect("a place to go on from");
    let (second, end) = store.list_tasks(project(), &filter, Some(next), 10).await.unwrap();
    assert_eq!(second.iter().map(|task| task.task).collect::<Vec<_>>(), [wanted]);
    assert_eq!(end, None);
}

pub async fn projects_are_listed_by_name_and_replaced(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let names = ["b", "a-1", "B", "a", "ä"];
    let put = |row: ProjectRow| one(stream_id(), 0).with_rows([RowChange::ProjectPut(row)]);
    let batch: Vec<_> = names.iter().map(|name| put(named(name))).collect();
    done(store, &batch).await;
    let listed = |after, limit| async move {
        let rows = store.list_projects(after, limit).await.unwrap();
        rows.into_iter().map(|row| row.name).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 9).await, ["B", "a", "a-1", "b", "ä"], "by bytes, whatever the locale");
    assert_eq!(listed(Some("a"), 2).await, ["a-1", "b"]);
    done(store, &[put(ProjectRow { revision: 7, ..named("b") })]).await;
    let row = store.list_projects(Some("a-1"), 1).await.unwrap().remove(0);
    assert_eq!(row, ProjectRow { revision: 7, ..named("b") });
}

pub async fn keys_are_listed_newest_first_and_by_coverage(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let keys: Vec<_> = (0..5).map(|_| stream_id()).collect();
    let covers: [Option<&[&str]>; 5] =
        [Some(&["a"]), Some(&["a", "b"]), None, Some(&["a", "c"]), Some(&["it's \"b\""])];
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let batch: Vec<_> = keys
        .iter()
        .zip(covers)
        .map(|(key, covers)| {
            let row = KeyRow { key: *key, projects: covers.map(owned), revision: 1 };
            one(*key, 0).with_rows([RowChange::KeyPut(row)])
        })
        .collect();
    done(store, &batch).await;
    let list = |within: Option<Vec<String>>, before, limit| async move {
        store.list_keys(within.as_deref(), before, limit).await.unwrap()
    };
    assert_eq!(list(None, None, 9).await, [keys[4], keys[3], keys[2], keys[1], keys[0]]);
    assert_eq!(list(None, Some(keys[3]), 2).await, [keys[2], keys[1]]);
    let within = Some(owned(&["a", "b", "it's \"b\""]));
    assert_eq!(list(within.clone(), None, 9).await, [keys[4], keys[1], keys[0]]);
    assert_eq!(list(within, Some(keys[4]), 1).await, [keys[1]]);
    assert_eq!(list(Some(Vec::new()), None, 9).await, []);
    // Narrowed later.
    let row = KeyRow { key: keys[3], projects: Some(owned(&["a"])), revision: 2 };
    done(store, &[one(keys[3], 1).with_rows([RowChange::KeyPut(row)])]).await;
    assert_eq!(list(Some(owned(&["a"])), None, 9).await, [keys[3], keys[0]]);
}
