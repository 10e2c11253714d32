//! Redis makes things faster, never right: gone, everything still happens; back, the
//! live tails come back.

use std::time::Duration;

use quarterdeck_client::Payload;
use quarterdeck_client::api::orchestration::v1::TaskState;
use quarterdeck_harness::eventually;

use crate::cancel::time_to_hear;
use crate::plans::{StepWords, plan, step};
use crate::stack::{Pace, Stack};
use crate::watch::time_to_see;
use crate::world::{Working, World};

/// Live is what no look at the tables can be: those come every half second.
const LIVE: Duration = Duration::from_millis(200);

fn worker(world: &World, replica: usize, capability: &str) -> Working {
    world.work(world.replica(replica), capability, &[capability], 4, |_| async { Ok(Payload::empty()) })
}

/// Creates tasks whose steps go back and forth between agents of the two replicas.
async fn start(world: &World, count: usize) -> Vec<String> {
    let mut tasks = Vec::new();
    for at in 0..count {
        let steps = [step("a", "left"), step("b", "right").after(&["a"]), step("c", "left").after(&["b"])];
        let task = world.replica(at).create_task(world.request(plan(steps))).await.unwrap();
        tasks.push(task.id);
    }
    tasks
}

async fn all_finish(world: &World, tasks: Vec<String>) {
    for task in tasks {
        assert_eq!(world.ended(&task).await.state(), TaskState::Succeeded);
    }
}

async fn live_again(world: &World) {
    let live = eventually("live tails", Duration::from_secs(20), || async {
        let seen = time_to_see(world).await;
        (seen < LIVE).then_some(seen)
    });
    live.await.unwrap();
}

#[tokio::test]
async fn everything_finishes_while_redis_is_stopped_and_live_tails_come_back() {
    let mut stack = Stack::with_redis(Pace::Usual).await;
    let world = World::on(&stack).await;
    live_again(&world).await;
    let _workers = [worker(&world, 0, "left"), worker(&world, 1, "right")];
    let mut tasks = start(&world, 6).await;
    stack.redis().stop().await.unwrap();
    tasks.extend(start(&world, 6).await);
    all_finish(&world, tasks).await;
    // Also seen and heard, only not at once.
    let seen = time_to_see(&world).await;
    assert!(seen < Duration::from_secs(2), "seen after {seen:?}");
    let heard = time_to_hear(&world, &world.other, &world.admin).await;
    assert!(heard <= Duration::from_secs(1), "a cancel is heard after {heard:?}");

    stack.redis().start_again().await.unwrap();
    all_finish(&world, start(&world, 6).await).await;
    live_again(&world).await;
}

#[tokio::test]
async fn everything_finishes_where_there_never_was_a_redis() {
    let stack = Stack::without_redis(Pace::Usual).await;
    let world = World::on(&stack).await;
    let _workers = [worker(&world, 0, "left"), worker(&world, 1, "right")];
    all_finish(&world, start(&world, 10).await).await;
}

#[tokio::test]
async fn everything_finishes_while_redis_hangs() {
    let mut stack = Stack::with_redis(Pace::Usual).await;
    let world = World::on(&stack).await;
    let _workers = [worker(&world, 0, "left"), worker(&world, 1, "right")];
    let mut tasks = start(&world, 4).await;
    // Connections stay open and nothing answers: worse than being gone.
    stack.redis().sigstop().unwrap();
    tasks.extend(start(&world, 6).await);
    all_finish(&world, tasks).await;
    let heard = time_to_hear(&world, &world.other, &world.admin).await;
    assert!(heard <= Duration::from_secs(1), "a cancel is heard after {heard:?}");
    stack.redis().sigcont().unwrap();
    all_finish(&world, start(&world, 4).await).await;
    live_again(&world).await;
}

#[tokio::test]
async fn a_replica_starts_without_redis_and_uses_it_when_it_comes() {
    let mut stack = Stack::with_redis(Pace::Usual).await;
    stack.redis().kill().await.unwrap();
    stack.replicas[1].stop().await.unwrap();
    stack.replicas[1].start_again().await.unwrap();
    let world = World::on(&stack).await;
    let workers = [worker(&world, 0, "left"), worker(&world, 1, "right")];
    all_finish(&world, start(&world, 4).await).await;
    drop(workers);
    stack.redis().start_again().await.unwrap();
    live_again(&world).await;
}
