//! Killed in mid-run: every acknowledged task ends, no completion counts twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::TaskState;
use quarterdeck_client::{Client, Payload, request_id};
use tokio::task::JoinHandle;

use crate::expect::{PATIENCE, until, within};
use crate::plans::{StepWords, plan, step};
use crate::stack::{Pace, Stack};
use crate::world::{Working, World, new_key};

/// Callers at a time.
const CALLERS: usize = 6;

/// Work that goes on whatever happens to the servers.
struct Load {
    world: World,
    acknowledged: Arc<AtomicUsize>,
    creating: JoinHandle<Vec<String>>,
}

impl Load {
    /// Lets `count` tasks be created. Each caller repeats its request, with the same
    /// id, at all replicas in turn until it is acknowledged.
    fn start(world: &World, count: usize) -> Self {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let (caller, counter) = (world.clone(), Arc::clone(&acknowledged));
        let creating = tokio::spawn(async move {
            let create = |number: usize| {
                let (world, counter) = (&caller, &counter);
                async move {
                    let task = acknowledge(world, number).await;
                    counter.fetch_add(1, Ordering::Relaxed);
                    task
                }
            };
            stream::iter(0..count).map(create).buffer_unordered(CALLERS).collect().await
        });
        Self { world: world.clone(), acknowledged, creating }
    }

    /// Waits until that many are acknowledged.
    async fn reaches(&self, count: usize) {
        until("acknowledged tasks", || async {
            (self.acknowledged.load(Ordering::Relaxed) >= count).then_some(())
        })
        .await;
    }

    /// Waits for the end of all, and checks each history.
    async fn all_end(self) {
        let mut tasks =
            tokio::time::timeout(PATIENCE * 2, self.creating).await.expect("all are created").unwrap();
        for task in &tasks {
            let task = self.world.ended(task).await;
            assert_eq!(task.state(), TaskState::Succeeded, "{:?}", task.stop_reason);
            let history = self.world.history(&task.id).await;
            assert!(history.steps.values().all(|step| step.succeeded.is_some()), "each step succeeded once");
        }
        let mut stored: Vec<String> = self.world.tasks().await.into_iter().map(|task| task.id).collect();
        tasks.sort();
        stored.sort();
        assert_eq!(tasks, stored, "what was acknowledged is what there is");
    }
}

async fn acknowledge(world: &World, number: usize) -> String {
    let steps =
        [step("a", "work").backoff(10), step("b", "work").after(&["a"]), step("c", "work").after(&["b"])];
    let mut request = world.request(plan(steps));
    request.request_id = request_id();
    for turn in number.. {
        let client = world.replica(turn).with_deadline(Duration::from_secs(2));
        match client.create_task(request.clone()).await {
            Ok(task) => return task.id,
            Err(error) => assert!(error.is_retryable(), "task {number}: {error:?}"),
        }
    }
    unreachable!()
}

/// An agent that takes some milliseconds for each step.
fn worker(world: &World, client: &Client, name: &str) -> Working {
    world.work(client, name, &["work"], 4, |context| async move {
        context.progress(0.5, "halfway").await;
        tokio::time::sleep(Duration::from_millis(15)).await;
        Ok(Payload::text(context.step_key()))
    })
}

#[tokio::test]
async fn a_server_killed_on_its_sqlite_file_loses_nothing_acknowledged() {
    let mut stack = Stack::sqlite(Pace::Usual).await;
    let secret = new_key(&stack.admin(0), &[Role::Admin], &[]).await;
    let client = stack.client(0, &secret);
    let world = World { admin: client.clone(), other: client, project: "default".to_owned() };
    let agents = [worker(&world, &world.admin, "one"), worker(&world, &world.other, "two")];
    let load = Load::start(&world, 60);
    for round in 1..=3 {
        load.reaches(round * 12).await;
        stack.replicas[0].kill9().await.unwrap();
        stack.replicas[0].start_again().await.unwrap();
    }
    load.all_end().await;
    drop(agents);
}

#[tokio::test]
async fn a_replica_killed_under_load_loses_nothing_acknowledged() {
    let mut stack = Stack::with_redis(Pace::Quick).await;
    let world = World::on(&stack).await;
    let _agents = [worker(&world, &world.admin, "one"), worker(&world, &world.other, "two")];
    let load = Load::start(&world, 80);
    load.reaches(15).await;
    stack.replicas[1].kill9().await.unwrap();
    load.reaches(45).await;
    stack.replicas[1].start_again().await.unwrap();
    load.reaches(60).await;
    stack.replicas[0].kill9().await.unwrap();
    stack.replicas[0].start_again().await.unwrap();
    load.all_end().await;
}

#[tokio::test]
async fn a_frozen_replica_that_wakes_up_changes_nothing_that_is_over() {
    let stack = Stack::with_redis(Pace::Quick).await;
    let world = World::on(&stack).await;
    let load = {
        let _agents = [worker(&world, &world.admin, "one"), worker(&world, &world.other, "two")];
        let load = Load::start(&world, 40);
        load.reaches(10).await;
        stack.replicas[1].sigstop().unwrap();
        // Its agents' leases run out meanwhile, and what it was about to do is late.
        let lost = world.work(&world.admin, "three", &["work"], 4, |_| async { Ok(Payload::empty()) });
        load.reaches(35).await;
        until("a lease of the frozen replica to run out", || async {
            lost_something(&world).await.then_some(())
        })
        .await;
        stack.replicas[1].sigcont().unwrap();
        load.reaches(40).await;
        lost.stop().await;
        load
    };
    let _agent = worker(&world, &world.other, "four");
    load.all_end().await;
}

async fn lost_something(world: &World) -> bool {
    use quarterdeck_client::api::orchestration::v1::{ListSessionsRequest, SessionState};
    let request = ListSessionsRequest { project: world.project.clone(), ..ListSessionsRequest::default() };
    let sessions = world.admin.list_sessions(request).collect_all().await.unwrap();
    sessions.iter().any(|session| session.state() == SessionState::Expired)
}

#[tokio::test]
async fn cut_database_connections_lose_nothing_acknowledged() {
    let stack = Stack::with_redis(Pace::Usual).await;
    let world = World::on(&stack).await;
    let _agents = [worker(&world, &world.admin, "one"), worker(&world, &world.other, "two")];
    let load = Load::start(&world, 60);
    for round in 1..=4 {
        load.reaches(round * 10).await;
        within("PostgreSQL", stack.database.as_ref().unwrap().cut_connections()).await.unwrap();
    }
    load.all_end().await;
}
