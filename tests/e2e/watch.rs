//! Watching one task: no gap, no duplicate, whatever is cut.

use std::time::{Duration, Instant};

use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::orchestration::v1::task_event::Kind;
use quarterdeck_client::api::orchestration::v1::watch_task_response::Frame;
use quarterdeck_client::api::orchestration::v1::{
    Plan, Task, TaskEvent, TaskState, WatchTaskRequest, WatchTaskResponse, WatchTasksRequest,
};
use quarterdeck_client::{Client, FrameKind, Payload, StepError, Watch};
use tonic::{Status, Streaming};

use crate::expect::{refused, within};
use crate::history;
use crate::plans::{StepWords, plan, step};
use crate::stack::{Pace, Stack, both};
use crate::world::{World, new_key};

both!(Usual:
    a_watch_starts_with_a_snapshot_and_ends_with_the_task,
    a_watch_cut_after_every_event_has_no_gap_and_no_duplicate,
    a_watch_resumes_from_every_event_of_the_past,
    an_ended_task_is_one_snapshot,
    a_cursor_that_is_not_of_this_watch_is_refused,
    events_are_seen_live_on_the_other_replica,
    many_watchers_see_the_same,
);

/// Opens a watch without the client library's resuming.
async fn open(client: &Client, task: &str, cursor: &str) -> Result<Streaming<WatchTaskResponse>, Status> {
    let request = WatchTaskRequest { task_id: task.to_owned(), resume_after: cursor.to_owned() };
    let opening = async { client.task_stub().watch_task(request).await };
    Ok(within("a watch", opening).await?.into_inner())
}

/// The next frame that is no heartbeat, with its cursor.
async fn next(watch: &mut Streaming<WatchTaskResponse>) -> Option<(String, Frame)> {
    loop {
        let frame = within("a frame", watch.message()).await.unwrap()?;
        assert!(!frame.cursor.is_empty(), "every frame has a cursor: {frame:?}");
        if let Some(kind) = frame.frame {
            return Some((frame.cursor, kind));
        }
    }
}

/// Something to watch: retries, refusals' pauses, progress and several agents.
fn eventful() -> Plan {
    let wide = (0..4).map(|at| step(&format!("wide-{at}"), "work").backoff(20));
    plan(wide.chain([step("last", "work").after(&["wide-0", "wide-1", "wide-2", "wide-3"])]))
}

fn work(world: &World, client: &Client) -> crate::world::Working {
    world.work(client, "worker", &["work"], 2, |context| async move {
        context.progress(0.5, "half of it").await;
        if context.step_key() == "wide-2" && context.attempt() == 1 {
            return Err(StepError::fail("HICCUP", "the first time"));
        }
        Ok(Payload::text("done"))
    })
}

async fn a_watch_starts_with_a_snapshot_and_ends_with_the_task(world: World) {
    let task = world.create(eventful()).await;
    let mut watch = open(&world.other, &task.id, "").await.unwrap();
    let Some((_, Frame::Snapshot(snapshot))) = next(&mut watch).await else { panic!("no snapshot") };
    assert_eq!((snapshot.id.as_str(), snapshot.steps.len()), (task.id.as_str(), 5));
    let _agents = [work(&world, &world.admin), work(&world, &world.other)];
    let mut events = Vec::new();
    while let Some((_, frame)) = next(&mut watch).await {
        let Frame::Event(event) = frame else { panic!("a second snapshot") };
        events.push(event);
    }
    assert!(matches!(events.last().unwrap().kind, Some(Kind::TaskEnded(_))), "ends after the end");
    let stored = world.events(&task.id).await;
    history::same("what is watched", &events, &stored[snapshot.revision as usize..]);
}

/// Watches to the end, cutting after every event and going on at the other replica.
async fn watch_in_pieces(world: &World, task: &str) -> (Task, Vec<TaskEvent>) {
    let mut watch = open(&world.admin, task, "").await.unwrap();
    let Some((mut cursor, Frame::Snapshot(snapshot))) = next(&mut watch).await else { panic!("no snapshot") };
    let mut events = Vec::new();
    for cut in 1.. {
        drop(watch);
        watch = open(world.replica(cut), task, &cursor).await.unwrap();
        let Some((after, Frame::Event(event))) = next(&mut watch).await else {
            panic!("no event after {cursor}")
        };
        cursor = after;
        let ended = matches!(event.kind, Some(Kind::TaskEnded(_)));
        events.push(event);
        if ended {
            break;
        }
    }
    (snapshot, events)
}

async fn a_watch_cut_after_every_event_has_no_gap_and_no_duplicate(world: World) {
    for _ in 0..3 {
        let task = world.create(eventful()).await;
        let watching = watch_in_pieces(&world, &task.id);
        let agents = [work(&world, &world.admin), work(&world, &world.other)];
        let (snapshot, events) = watching.await;
        let stored = world.events(&task.id).await;
        history::same("watched in pieces", &events, &stored[snapshot.revision as usize..]);
        world.history(&task.id).await;
        for agent in agents {
            agent.stop().await;
        }
    }
}

async fn a_watch_resumes_from_every_event_of_the_past(world: World) {
    let agent = work(&world, &world.admin);
    let task = world.create(eventful()).await;
    let mut watch = world.admin.watch_task(&task.id);
    let frames = within("the end of the task", collect(&mut watch)).await;
    agent.stop().await;
    let events: Vec<&TaskEvent> = frames.iter().filter_map(|(_, kind)| event_of(kind)).collect();
    for (at, (cursor, _)) in frames.iter().enumerate() {
        let mut rest = world.replica(at).watch_task_after(&task.id, cursor);
        let rest = within("the rest", collect(&mut rest)).await;
        let rest: Vec<&TaskEvent> = rest.iter().filter_map(|(_, kind)| event_of(kind)).collect();
        let expected = &events[events.len() - (frames.len() - 1 - at)..];
        assert_eq!(rest, expected, "after frame {at}");
    }
}

async fn collect(watch: &mut Watch) -> Vec<(String, FrameKind)> {
    let mut frames = Vec::new();
    while let Some(frame) = watch.next_frame().await {
        let frame = frame.unwrap();
        frames.push((frame.cursor, frame.kind));
    }
    frames
}

fn event_of(kind: &FrameKind) -> Option<&TaskEvent> {
    match kind {
        FrameKind::Event(event) => Some(event),
        FrameKind::Snapshot(_) => None,
    }
}

async fn an_ended_task_is_one_snapshot(world: World) {
    let task = world.create(plan([step("a", "nobody")])).await;
    world.cancel(&world.admin, &task.id).await.unwrap();
    let mut watch = open(&world.other, &task.id, "").await.unwrap();
    let Some((cursor, Frame::Snapshot(snapshot))) = next(&mut watch).await else { panic!("no snapshot") };
    assert_eq!(snapshot.state(), TaskState::Canceled);
    assert!(next(&mut watch).await.is_none(), "nothing follows the end");
    let mut watch = open(&world.admin, &task.id, &cursor).await.unwrap();
    assert!(next(&mut watch).await.is_none(), "nothing follows the end's cursor either");
}

async fn a_cursor_that_is_not_of_this_watch_is_refused(world: World) {
    let one = world.create(plan([step("a", "nobody")])).await;
    let other = world.create(plan([step("a", "nobody")])).await;
    let mut watch = open(&world.admin, &one.id, "").await.unwrap();
    let (cursor, _) = next(&mut watch).await.unwrap();
    let mut bent = cursor.clone();
    bent.insert(cursor.len() / 2, 'x');
    let ahead = format!("{cursor}0");
    for (what, task, cursor) in [
        ("garbage", &one, "garbage"),
        ("of another task", &other, cursor.as_str()),
        ("bent", &one, bent.as_str()),
        ("prolonged", &one, ahead.as_str()),
    ] {
        refused(what, first_word(open(&world.other, &task.id, cursor).await).await, Reason::CursorInvalid);
    }
    let tasks = WatchTasksRequest {
        project: world.project.clone(),
        resume_after: cursor,
        ..WatchTasksRequest::default()
    };
    let answer = world.other.watch_tasks(tasks).next_frame().await.expect("a frame or an error");
    refused("of a task, for a project", answer, Reason::CursorInvalid);
    refused("no task", first_word(open(&world.admin, "tsk_none", "").await).await, Reason::TaskNotFound);
}

/// A stream may be refused before or after its headers.
async fn first_word(
    opened: Result<Streaming<WatchTaskResponse>, Status>,
) -> Result<Option<WatchTaskResponse>, Status> {
    within("the first word of a watch", opened?.message()).await
}

/// How long after its acknowledgement a change on one replica is seen on the other:
/// the median of seven.
pub async fn time_to_see(world: &World) -> Duration {
    let steps = (0..7).map(|at| step(&format!("s{at}"), "seen"));
    let task = world.create(plan(steps)).await;
    let mut agent = world.agent("seen", "seen", 7).await;
    let mut held = Vec::new();
    for _ in 0..7 {
        held.push(agent.assigned().await);
    }
    let revision = world.task(&task.id).await.revision;
    let mut watch = open(&world.other, &task.id, "").await.unwrap();
    let Some((_, Frame::Snapshot(snapshot))) = next(&mut watch).await else { panic!("no snapshot") };
    for _ in snapshot.revision..revision {
        next(&mut watch).await.unwrap();
    }
    let mut waits = Vec::new();
    for assign in &held {
        agent.finish(assign, Payload::empty()).await;
        let acknowledged = Instant::now();
        let Some((_, Frame::Event(event))) = next(&mut watch).await else { panic!("no event") };
        assert!(matches!(&event.kind, Some(Kind::StepSucceeded(done)) if done.step_key == assign.step_key));
        waits.push(acknowledged.elapsed());
    }
    agent.bye().await;
    waits.sort();
    waits[waits.len() / 2]
}

async fn events_are_seen_live_on_the_other_replica(world: World) {
    let seen = time_to_see(&world).await;
    assert!(seen < Duration::from_millis(300), "seen after {seen:?}; that is not live");
}

#[tokio::test]
async fn events_are_seen_within_two_seconds_without_redis() {
    let stack = Stack::without_redis(Pace::Usual).await;
    let world = World::on(&stack).await;
    let seen = time_to_see(&world).await;
    assert!(seen < Duration::from_secs(2), "seen after {seen:?}");
}

async fn many_watchers_see_the_same(world: World) {
    let task = world.create(eventful()).await;
    let mut watches: Vec<Watch> = (0..24).map(|at| world.replica(at).watch_task(&task.id)).collect();
    for watch in &mut watches {
        let first = within("a snapshot", watch.next_frame()).await.unwrap().unwrap();
        assert!(matches!(first.kind, FrameKind::Snapshot(task) if task.revision == 1));
    }
    let _agent = work(&world, &world.admin);
    world.ended(&task.id).await;
    let stored = world.events(&task.id).await;
    for watch in &mut watches {
        let frames = within("the end of the task", collect(watch)).await;
        let seen: Vec<&TaskEvent> = frames.iter().filter_map(|(_, kind)| event_of(kind)).collect();
        history::same("one of many watchers", seen, &stored[1..]);
    }
}

#[tokio::test]
async fn a_watch_goes_on_after_a_restart_of_the_server_on_its_file() {
    let mut stack = Stack::sqlite(Pace::Usual).await;
    // What dev prints is good for one start only; a key outlives it.
    let secret = new_key(&stack.admin(0), &[quarterdeck_client::api::options::v1::Role::Admin], &[]).await;
    let client = stack.client(0, &secret);
    let world = World { admin: client.clone(), other: client.clone(), project: "default".to_owned() };
    let task = world.create(eventful()).await;
    let mut watch = open(&client, &task.id, "").await.unwrap();
    let Some((_, Frame::Snapshot(snapshot))) = next(&mut watch).await else { panic!("no snapshot") };
    let mut patient = client.watch_task(&task.id);
    let first = within("a snapshot", patient.next_frame()).await.unwrap().unwrap();
    assert!(matches!(first.kind, FrameKind::Snapshot(_)));

    let mut agent = world.agent("agent", "work", 1).await;
    let mut events = Vec::new();
    for restart in 0..3 {
        let assign = agent.assigned().await;
        agent.finish(&assign, Payload::empty()).await;
        // Some of what happened is read before the cut, some after.
        let Some((cursor, Frame::Event(event))) = next(&mut watch).await else { panic!("no event") };
        events.push(event);
        match restart {
            1 => stack.replicas[0].stop().await.unwrap(),
            _ => stack.replicas[0].kill9().await.unwrap(),
        }
        stack.replicas[0].start_again().await.unwrap();
        let back = agent.back(&[]);
        agent = crate::agent::Agent::open(&client, back).await.unwrap();
        assert!(agent.welcome.resumed, "sessions outlive a restart");
        watch = open(&client, &task.id, &cursor).await.unwrap();
    }
    drop(agent);
    let _agent = work(&world, &client);
    while let Some((_, frame)) = next(&mut watch).await {
        let Frame::Event(event) = frame else { panic!("a second snapshot") };
        events.push(event);
    }
    let stored = world.events(&task.id).await;
    history::same("over three restarts", &events, &stored[snapshot.revision as usize..]);
    let frames = within("the end of the task", collect(&mut patient)).await;
    let seen: Vec<&TaskEvent> = frames.iter().filter_map(|(_, kind)| event_of(kind)).collect();
    history::same("the client's own resuming", seen, &stored[snapshot.revision as usize..]);
    assert!(patient.reconnects() > 0);
}
