//! The bus against a real Redis that goes away and comes back.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use quarterdeck_adapters::RedisBus;
use quarterdeck_engine::{Bus, Hint, Letter};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

/// Longest wait for anything.
const DEADLINE: Duration = Duration::from_secs(20);

struct Redis {
    port: u16,
    dir: TempDir,
    child: Option<Child>,
}

impl Redis {
    async fn start() -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut redis = Self { port, dir: tempfile::tempdir().unwrap(), child: None };
        redis.run().await;
        redis
    }

    async fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .arg("--dir")
            .arg(self.dir.path())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        self.child = Some(command.spawn().expect("install redis-server to run this test"));
        let reachable = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, reachable).await.unwrap();
    }

    async fn stop(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }

    fn bus(&self) -> Arc<RedisBus> {
        RedisBus::connect(&format!("redis://127.0.0.1:{}/0", self.port), "qd-test").unwrap()
    }
}

fn letter(number: u64) -> Letter {
    let hint = Hint::Advanced { stream: Uuid::nil(), project: Uuid::nil(), head: number };
    Letter { from: Uuid::nil(), hint }
}

async fn next(receiver: &mut broadcast::Receiver<Letter>) -> Letter {
    let received = async {
        loop {
            match receiver.recv().await {
                Ok(letter) => return letter,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => panic!("the bus closed"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, received).await.expect("a letter within the deadline")
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, met).await.is_ok(), "{what}");
}

/// Publishes until the other side hears: the first letters after a break may be lost.
async fn flows(from: &RedisBus, to: &mut broadcast::Receiver<Letter>, number: u64) {
    let heard = async {
        loop {
            from.publish(vec![letter(number)]);
            let soon = tokio::time::timeout(Duration::from_millis(100), next(to)).await;
            if soon.is_ok_and(|heard| heard == letter(number)) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, heard).await.expect("hints flow");
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_reach_other_replicas_and_flow_again_after_redis_was_away() {
    let mut redis = Redis::start().await;
    let (one, two) = (redis.bus(), redis.bus());
    let (mut at_one, mut at_two) = (one.subscribe(), two.subscribe());
    flows(&one, &mut at_two, 1).await;
    flows(&two, &mut at_one, 2).await;
    until("both are healthy", || one.healthy() && two.healthy()).await;

    redis.stop().await;
    until("the break is noticed", || {
        !one.healthy() || {
            one.publish(vec![letter(3)]);
            false
        }
    })
    .await;
    until("on both", || !two.healthy()).await;
    // The replica itself hears at once, with Redis dead.
    let mut local = one.subscribe();
    one.publish(vec![letter(4)]);
    assert_eq!(next(&mut local).await, letter(4));

    redis.run().await;
    flows(&one, &mut at_two, 5).await;
    flows(&two, &mut at_one, 6).await;
    until("both recover", || one.healthy() && two.healthy()).await;
    redis.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_delivered_once_to_each_replica_and_in_order() {
    let redis = Redis::start().await;
    let (one, two) = (redis.bus(), redis.bus());
    let (mut at_one, mut at_two) = (one.subscribe(), two.subscribe());
    flows(&one, &mut at_two, 0).await;
    while at_one.try_recv().is_ok() {}
    for number in 1..=200 {
        one.publish(vec![letter(number)]);
    }
    for receiver in [&mut at_one, &mut at_two] {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&200) {
            if let Hint::Advanced { head, .. } = next(receiver).await.hint {
                numbers.push(head);
            }
        }
        numbers.retain(|&number| number > 0);
        assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_a_bus_starts_and_serves_its_own_replica() {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let bus = RedisBus::connect(&format!("redis://127.0.0.1:{port}/0"), "qd-test").unwrap();
    let mut receiver = bus.subscribe();
    bus.publish(vec![letter(9)]);
    assert_eq!(next(&mut receiver).await, letter(9));
    assert!(!bus.healthy());
}
