//! The harness itself, with real servers.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::time::Duration;

use quarterdeck_harness::{Database, Postgres, Redis, eventually, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(10);

/// One command to Redis, in its inline form.
async fn ask(redis: &Redis, command: &str) -> Option<String> {
    let address = redis.url().strip_prefix("redis://")?;
    let mut connection = TcpStream::connect(address).await.ok()?;
    connection.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
    let mut answer = [0; 256];
    let read = connection.read(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer[..read]).trim().to_owned())
}

#[tokio::test]
async fn fresh_databases_are_empty_and_apart() {
    let (one, other) = (Database::fresh().await.unwrap(), Database::fresh().await.unwrap());
    assert_ne!(one.url(), other.url());
    one.query("create table here (n int); insert into here values (1), (2)").await.unwrap();
    assert_eq!(one.query("select n, n * 2 from here order by n").await.unwrap(), ["1|2", "2|4"]);
    let error = other.query("select * from here").await.unwrap_err().to_string();
    assert!(error.contains("does not exist"), "{error}");
}

#[tokio::test]
async fn a_dropped_database_is_gone() {
    let (stays, goes) = (Database::fresh().await.unwrap(), Database::fresh().await.unwrap());
    let name = goes.url().rsplit('/').next().unwrap().to_owned();
    let sql = format!("select count(*) from pg_database where datname = '{name}'");
    assert_eq!(stays.query(&sql).await.unwrap(), ["1"]);
    drop(goes);
    assert_eq!(stays.query(&sql).await.unwrap(), ["0"]);
}

#[tokio::test]
async fn cut_connections_end_a_running_statement() {
    let database = Database::fresh().await.unwrap();
    let waiting = database.query("select pg_sleep(60)");
    let cutting = async {
        let others = "select count(*) from pg_stat_activity
                      where datname = current_database() and query like '%pg_sleep(60)%' and pid <> pg_backend_pid()";
        eventually("the statement to run", SOON, || async {
            (database.query(others).await.ok()? == ["1"]).then_some(())
        })
        .await
        .unwrap();
        database.cut_connections().await.unwrap();
    };
    let (waited, ()) = tokio::join!(waiting, cutting);
    let error = waited.unwrap_err().to_string();
    assert!(error.contains("terminating connection"), "{error}");
}

#[tokio::test]
async fn a_private_cluster_syncs_to_disk_and_ends_when_told() {
    let cluster = Postgres::start().await.unwrap();
    let database = cluster.fresh_database().await.unwrap();
    assert_eq!(database.query("show fsync").await.unwrap(), ["on"]);
    let directory = database.query("show unix_socket_directories").await.unwrap().remove(0);
    assert!(std::fs::exists(&directory).unwrap());
    drop(database);
    cluster.stop().await.unwrap();
    assert!(!std::fs::exists(&directory).unwrap(), "{directory} is left");
}

#[tokio::test]
async fn redis_stops_and_starts_again_empty_at_the_same_address() {
    let mut redis = Redis::start().await.unwrap();
    let url = redis.url().to_owned();
    assert_eq!(ask(&redis, "SET key value").await.as_deref(), Some("+OK"));

    redis.stop().await.unwrap();
    assert_eq!(ask(&redis, "PING").await, None);
    assert!(redis.stop().await.is_err(), "stopped twice");

    redis.start_again().await.unwrap();
    assert_eq!(ask(&redis, "EXISTS key").await.as_deref(), Some(":0"));
    assert!(redis.start_again().await.is_err(), "started twice");

    redis.kill().await.unwrap();
    assert_eq!(ask(&redis, "PING").await, None);
    redis.start_again().await.unwrap();
    assert_eq!(ask(&redis, "PING").await.as_deref(), Some("+PONG"));
    assert_eq!(redis.url(), url);
}

#[tokio::test]
async fn a_frozen_redis_answers_only_after_it_goes_on() {
    let redis = Redis::start().await.unwrap();
    redis.sigstop().unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(300), ask(&redis, "PING")).await;
    assert!(silent.is_err(), "{silent:?}");
    redis.sigcont().unwrap();
    assert_eq!(ask(&redis, "PING").await.as_deref(), Some("+PONG"));
}

#[tokio::test]
async fn a_dropped_redis_is_gone() {
    let redis = Redis::start().await.unwrap();
    let address = redis.url().strip_prefix("redis://").unwrap().to_owned();
    drop(redis);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn waiting_ends_with_the_condition_or_with_words() {
    let asked = Cell::new(0);
    let found = eventually("the third time", SOON, || {
        asked.set(asked.get() + 1);
        let now = asked.get();
        async move { (now == 3).then_some(now) }
    });
    assert_eq!(found.await.unwrap(), 3);

    let never = eventually("a miracle", Duration::from_millis(50), || async { None::<()> });
    let error = never.await.unwrap_err().to_string();
    assert!(error.contains("a miracle") && error.contains("50ms"), "{error}");
}

#[test]
fn free_ports_differ_and_can_be_bound() {
    let ports: std::collections::BTreeSet<u16> = (0..50).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 50);
    for port in ports {
        std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
}
