//! Watching and listing the tasks of a project while they are being created.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::orchestration::v1::task_event::Kind;
use quarterdeck_client::api::orchestration::v1::watch_tasks_response::Frame;
use quarterdeck_client::api::orchestration::v1::{
    ListTaskEventsRequest, ListTasksRequest, TaskEvent, TaskFilter, TaskState, WatchTasksRequest,
};
use quarterdeck_client::{Client, FrameKind, Payload};

use crate::expect::{refused, within};
use crate::history;
use crate::plans::{StepWords, plan, step};
use crate::stack::{Pace, Stack, both};
use crate::world::{Working, World};

both!(Usual:
    every_creation_and_end_is_watched_exactly_once,
    every_step_is_watched_in_its_tasks_order,
    a_watch_of_tasks_starts_with_those_that_run,
    a_watch_of_tasks_keeps_to_its_labels,
    page_two_never_overlaps_or_skips_while_tasks_are_created,
    lists_are_filtered,
    page_tokens_belong_to_their_request,
    histories_are_paged,
);

/// Tasks that are created and finished while somebody watches.
const TASKS: usize = 60;

fn finisher(world: &World, client: &Client) -> Working {
    world.work(client, "worker", &["work"], 8, |_| async { Ok(Payload::empty()) })
}

fn watching(world: &World, include_steps: bool) -> WatchTasksRequest {
    WatchTasksRequest { project: world.project.clone(), include_steps, ..WatchTasksRequest::default() }
}

/// Follows the project until `count` tasks have ended, breaking off after every
/// `cut`-th event and going on at the next replica.
async fn follow(world: &World, mut request: WatchTasksRequest, count: usize, cut: usize) -> Vec<TaskEvent> {
    let mut events = Vec::new();
    let mut ends = 0;
    for turn in 0.. {
        let opening = async { world.replica(turn).task_stub().watch_tasks(request.clone()).await };
        let mut watch = within("a watch", opening).await.unwrap().into_inner();
        for _ in 0..cut {
            let frame =
                within("a frame", watch.message()).await.unwrap().expect("a watch of tasks does not end");
            request.resume_after = frame.cursor;
            let event = match frame.frame {
                Some(Frame::Event(event)) => event,
                Some(Frame::Snapshot(task)) => panic!("a snapshot after a cursor: {task:?}"),
                None => continue,
            };
            ends += usize::from(matches!(event.kind, Some(Kind::TaskEnded(_))));
            events.push(event);
            if ends == count {
                return events;
            }
        }
    }
    unreachable!()
}

/// A cursor of now: the project has no running task, so a first one makes one.
async fn cursor_of_now(world: &World, request: &WatchTasksRequest) -> String {
    let opening = async { world.admin.task_stub().watch_tasks(request.clone()).await };
    let mut watch = within("a watch", opening).await.unwrap().into_inner();
    let mut first = world.request(plan([step("a", "nobody")]));
    first.labels.clone_from(&request.labels);
    let first = world.admin.create_task(first).await.unwrap();
    world.cancel(&world.admin, &first.id).await.unwrap();
    loop {
        let frame = within("a frame", watch.message()).await.unwrap().unwrap();
        if matches!(frame.frame, Some(Frame::Event(TaskEvent { kind: Some(Kind::TaskEnded(_)), .. }))) {
            return frame.cursor;
        }
    }
}

async fn create_many(world: &World, steps: usize) -> BTreeSet<String> {
    let create = |at: usize| async move {
        let steps = (0..steps).map(|at| step(&format!("s{at}"), "work"));
        world.replica(at).create_task(world.request(plan(steps))).await.unwrap().id
    };
    stream::iter(0..TASKS).map(create).buffer_unordered(12).collect().await
}

async fn every_creation_and_end_is_watched_exactly_once(world: World) {
    let mut request = watching(&world, false);
    request.resume_after = cursor_of_now(&world, &request).await;
    let _agents = [finisher(&world, &world.admin), finisher(&world, &world.other)];
    let (created, often, seldom) = tokio::join!(
        create_many(&world, 1),
        follow(&world, request.clone(), TASKS, 5),
        follow(&world, request.clone(), TASKS, usize::MAX),
    );
    for events in [&often, &seldom] {
        let (mut begun, mut ended) = (BTreeSet::new(), BTreeSet::new());
        for event in events {
            match event.kind {
                Some(Kind::TaskCreated(_)) => {
                    assert!(begun.insert(event.task_id.clone()), "twice: {event:?}")
                }
                Some(Kind::TaskEnded(_)) => {
                    assert!(begun.contains(&event.task_id), "ends before it begins: {event:?}");
                    assert!(ended.insert(event.task_id.clone()), "twice: {event:?}");
                }
                _ => panic!("neither creation nor end: {event:?}"),
            }
        }
        assert_eq!(begun, created);
        assert_eq!(ended, created);
    }
    assert_eq!(often, seldom, "commit order is the same for everybody");
}

async fn every_step_is_watched_in_its_tasks_order(world: World) {
    let mut request = watching(&world, true);
    request.resume_after = cursor_of_now(&world, &request).await;
    let _agent = finisher(&world, &world.other);
    let (created, events) = tokio::join!(create_many(&world, 2), follow(&world, request, TASKS, 17));
    for task in &created {
        let seen = events.iter().filter(|event| event.task_id == *task);
        history::same("one task of many", seen, &world.events(task).await);
    }
    assert!(events.iter().all(|event| created.contains(&event.task_id)));
}

async fn a_watch_of_tasks_starts_with_those_that_run(world: World) {
    let over = world.create(plan([step("a", "nobody")])).await;
    world.cancel(&world.admin, &over.id).await.unwrap();
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(world.create(plan([step("a", "nobody")])).await.id);
    }
    running.reverse();
    let mut watch = world.other.watch_tasks(watching(&world, false));
    for id in &running {
        let frame = within("a snapshot", watch.next_frame()).await.unwrap().unwrap();
        let FrameKind::Snapshot(task) = frame.kind else { panic!("{frame:?}") };
        assert_eq!(
            (&task.id, task.state(), task.steps.len()),
            (id, TaskState::Running, 0),
            "newest first, without steps"
        );
    }
    world.cancel(&world.admin, &running[1]).await.unwrap();
    let frame = within("an event", watch.next_frame()).await.unwrap().unwrap();
    let FrameKind::Event(event) = frame.kind else { panic!("{frame:?}") };
    assert_eq!(event.task_id, running[1]);
    assert!(matches!(event.kind, Some(Kind::TaskEnded(_))));
}

async fn a_watch_of_tasks_keeps_to_its_labels(world: World) {
    let mut request = watching(&world, false);
    request.labels.insert("team".to_owned(), "red".to_owned());
    request.resume_after = cursor_of_now(&world, &request).await;
    let mut wanted = Vec::new();
    for team in ["blue", "red", "none", "red"] {
        let mut new = world.request(plan([step("a", "nobody")]));
        if team != "none" {
            new.labels.insert("team".to_owned(), team.to_owned());
        }
        let task = world.admin.create_task(new).await.unwrap();
        world.cancel(&world.admin, &task.id).await.unwrap();
        if team == "red" {
            wanted.extend([task.id.clone(), task.id]);
        }
    }
    let events = follow(&world, request.clone(), 2, 1).await;
    let seen: Vec<&String> = events.iter().map(|event| &event.task_id).collect();
    assert_eq!(seen, wanted.iter().collect::<Vec<_>>());

    let mut other = request;
    other.labels.clear();
    other.resume_after = "not-a-cursor".to_owned();
    let garbage = world.admin.watch_tasks(other).next_frame().await.expect("an answer");
    refused("garbage", garbage, Reason::CursorInvalid);
    let unknown = WatchTasksRequest { project: "no-such-project".to_owned(), ..WatchTasksRequest::default() };
    let answer = world.admin.watch_tasks(unknown).next_frame().await.expect("an answer");
    refused("an unknown project", answer, Reason::ProjectNotFound);
}

fn page(world: &World, size: i32, token: &str) -> ListTasksRequest {
    ListTasksRequest {
        project: world.project.clone(),
        page_size: size,
        page_token: token.to_owned(),
        ..ListTasksRequest::default()
    }
}

async fn page_two_never_overlaps_or_skips_while_tasks_are_created(world: World) {
    let before = create_many(&world, 1).await;
    let all = world.tasks().await;
    assert_eq!(all.iter().map(|task| task.id.clone()).collect::<BTreeSet<_>>(), before);
    assert!(all.is_sorted_by(|one, next| one.id > next.id), "newest first: ids are ordered by creation");

    let mut listed = Vec::new();
    let mut token = String::new();
    for turn in 0.. {
        let answer = world.replica(turn).list_tasks_page(page(&world, 7, &token)).await.unwrap();
        assert!(answer.tasks.len() <= 7);
        listed.extend(answer.tasks.into_iter().map(|task| task.id));
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
        for _ in 0..3 {
            world.create(plan([step("a", "nobody")])).await;
        }
    }
    let once: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "no task comes twice");
    assert_eq!(once, before, "all that were there, none that came later");
}

async fn lists_are_filtered(world: World) {
    let mut ids = Vec::new();
    for (team, canceled) in [("red", false), ("red", true), ("blue", true)] {
        let mut new = world.request(plan([step("a", "nobody")]));
        new.labels.insert("team".to_owned(), team.to_owned());
        let task = world.admin.create_task(new).await.unwrap();
        if canceled {
            world.cancel(&world.admin, &task.id).await.unwrap();
        }
        ids.push(task.id);
    }
    let again = quarterdeck_client::api::orchestration::v1::RetryTaskRequest {
        task_id: ids[1].clone(),
        ..Default::default()
    };
    ids.push(world.admin.retry_task(again).await.unwrap().id);
    let second = world.task(&ids[1]).await.create_time;
    let red = [("team".to_owned(), "red".to_owned())];
    let canceled = vec![TaskState::Canceled.into()];
    let cases = [
        (TaskFilter::default(), vec![3, 2, 1, 0]),
        (TaskFilter { states: canceled.clone(), ..TaskFilter::default() }, vec![2, 1]),
        (TaskFilter { labels: red.clone().into(), ..TaskFilter::default() }, vec![3, 1, 0]),
        (TaskFilter { labels: red.into(), states: canceled, ..TaskFilter::default() }, vec![1]),
        (TaskFilter { created_after: second, ..TaskFilter::default() }, vec![3, 2, 1]),
        (TaskFilter { created_before: second, ..TaskFilter::default() }, vec![0]),
        (TaskFilter { retry_of: ids[1].clone(), ..TaskFilter::default() }, vec![3]),
        (TaskFilter { retry_of: ids[0].clone(), ..TaskFilter::default() }, vec![]),
    ];
    for (filter, expected) in cases {
        // Small pages: the filter holds on all of them.
        let request = ListTasksRequest { filter: Some(filter.clone()), ..page(&world, 1, "") };
        let found = world.other.list_tasks(request).collect_all().await.unwrap();
        let found: Vec<usize> =
            found.iter().map(|task| ids.iter().position(|id| *id == task.id).unwrap()).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

async fn page_tokens_belong_to_their_request(world: World) {
    for _ in 0..3 {
        world.create(plan([step("a", "nobody")])).await;
    }
    let token = world.admin.list_tasks_page(page(&world, 1, "")).await.unwrap().next_page_token;
    assert!(!token.is_empty());
    assert_eq!(world.other.list_tasks_page(page(&world, 2, &token)).await.unwrap().tasks.len(), 2);
    let mut filtered = page(&world, 1, &token);
    filtered.filter = Some(TaskFilter { states: vec![TaskState::Running.into()], ..TaskFilter::default() });
    refused("another filter", world.admin.list_tasks_page(filtered).await, Reason::CursorInvalid);
    let elsewhere = ListTasksRequest { project: "default".to_owned(), ..page(&world, 1, &token) };
    refused("another project", world.admin.list_tasks_page(elsewhere).await, Reason::CursorInvalid);
    for garbage in ["x", "====", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
        refused(garbage, world.admin.list_tasks_page(page(&world, 1, garbage)).await, Reason::CursorInvalid);
    }
    let watch = WatchTasksRequest { resume_after: token, ..watching(&world, false) };
    let answer = world.admin.watch_tasks(watch).next_frame().await.expect("an answer");
    refused("a page token as a cursor", answer, Reason::CursorInvalid);
}

async fn histories_are_paged(world: World) {
    let steps = (0..6).map(|at| step(&format!("s{at}"), "work").after(&[]));
    let task = world.create(plan(steps)).await;
    let _agent = finisher(&world, &world.admin);
    world.ended(&task.id).await;
    let mut request = ListTaskEventsRequest { task_id: task.id.clone(), page_size: 4, ..Default::default() };
    let mut events = Vec::new();
    for turn in 0.. {
        let page = world.replica(turn).task_events_page(request.clone()).await.unwrap();
        assert!(page.events.len() <= 4);
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(events, world.events(&task.id).await);
    assert_eq!(events.len(), 14);
    request.page_token = "garbage".to_owned();
    refused("garbage", world.admin.task_events_page(request.clone()).await, Reason::CursorInvalid);
    request.task_id = "tsk_none".to_owned();
    refused("no task", world.admin.task_events_page(request).await, Reason::TaskNotFound);
}

#[tokio::test]
async fn a_cursor_of_another_installation_is_refused() {
    let (one, other) = (Stack::shared_sqlite(Pace::Usual).await, Stack::shared_postgres(Pace::Usual).await);
    let project = "default".to_owned();
    let (one, other) = (one.admin(0), other.admin(0));
    let world = World { admin: one.clone(), other: one, project };
    let request = watching(&world, false);
    let resume_after = cursor_of_now(&world, &request).await;
    let mut watch = other.watch_tasks(WatchTasksRequest { resume_after, ..request });
    let answer = within("an answer", watch.next_frame()).await.expect("an answer");
    refused("a cursor of another store", answer, Reason::CursorLost);
}
