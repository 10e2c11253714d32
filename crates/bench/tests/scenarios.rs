//! Each scenario is run briefly at a tiny size, with real servers, so that it works
//! on the day it is needed. No figure is judged here, but that there is one, and that
//! the scenario found nothing wrong.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str], data: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quarterdeck-bench"))
        .args(arguments)
        .arg("--data")
        .arg(data)
        .env_remove("QUARTERDECK_DATABASE_URL")
        .output()
        .unwrap()
}

fn report(output: &Output) -> Value {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 1, "one line, not {text}");
    serde_json::from_str(&text).unwrap()
}

/// Runs a scenario in a directory of its own and looks for its figures, which must
/// all be there and above 0; nothing may have gone wrong or be left behind.
fn check(words: &str, pointers: &[&str]) -> Value {
    let words: Vec<&str> = words.split_whitespace().collect();
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", words[0], words[2]));
    let output = bench(&[&words[..], &["--json"]].concat(), &data);
    let report = report(&output);
    assert_eq!((&report["scenario"], &report["store"]), (&words[0].into(), &words[2].into()));
    assert_eq!(report["errors"], 0, "{report}");
    for pointer in pointers {
        let figure = report.pointer(pointer).and_then(Value::as_f64);
        assert!(figure.is_some_and(|figure| figure > 0.0), "{pointer}: {report}");
    }
    // PostgreSQL may have been kept elsewhere, where its account can go.
    let left = std::fs::read_dir(&data).map_or(0, Iterator::count);
    assert_eq!(left, 0, "something was left in {}", data.display());
    report
}

#[test]
fn a_chain_is_compared_with_the_ceiling() {
    let report = check(
        "chain --store sqlite --concurrency 8 --seconds 1 --warmup 0",
        &["/tasks_per_s", "/ratio_to_rpc_ceiling", "/create_to_complete_ms/p99"],
    );
    assert_eq!(report["steps"], 3);
    assert!(report["steps_per_s"].as_f64() > report["tasks_per_s"].as_f64(), "{report}");
}

#[test]
fn the_latency_of_one_task_is_counted_in_disk_syncs() {
    let pointers = [
        "/tasks",
        "/create_to_answer_ms/p50",
        "/create_to_complete_ms/p50",
        "/create_to_complete_ms/max",
        "/commits_per_task",
        "/disk_sync_ms",
        "/p50_in_disk_syncs",
    ];
    let report = check("latency --store sqlite --seconds 1 --warmup 0", &pointers);
    assert_eq!(report["concurrency"], 1);
}

#[test]
fn idle_sessions_and_watchers_are_all_alive_at_the_end() {
    let report = check(
        "idle --store sqlite --sessions 5 --watchers 12 --sockets 3 --seconds 1 --settle 0",
        &["/server_rss_mib", "/server_rss_peak_mib", "/seconds"],
    );
    assert_eq!((&report["sessions"], &report["watchers"]), (&5.into(), &12.into()));
    assert!(report["cpu_percent"]["server"].is_f64(), "{report}");
}

#[test]
fn every_watcher_has_every_event_once() {
    let report = check(
        "watch --store sqlite --watchers 7 --sockets 2 --events-per-s 8 --seconds 1",
        &["/events", "/commit_to_seen_ms/p99", "/sent_to_seen_ms/p50", "/server_rss_mib"],
    );
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(count("events") + count("coalesced"), 8, "{report}");
    assert_eq!(count("deliveries"), count("events") * 7, "{report}");
}

#[test]
fn a_backlog_is_made_and_worked_off() {
    let report = check(
        "backlog --store sqlite --tasks 300 --concurrency 16 --seconds 1 --warmup 0",
        &[
            "/created_per_s",
            "/drained_per_s",
            "/before/tasks_per_s",
            "/after/tasks_per_s",
            "/drain_ratio",
            "/whole_ratio",
            "/drained_per_s_by_fifth/4",
            "/first_after_ms",
            "/server_rss_full_mib",
        ],
    );
    assert_eq!(report["tasks"], 300);
}

#[test]
fn two_replicas_are_compared_with_one() {
    let report = check(
        "replicas --store postgres --concurrency 8 --seconds 1 --warmup 0 --rounds 2",
        &["/one/median_tasks_per_s", "/two/median_tasks_per_s", "/two/tasks_per_s/1", "/ratio"],
    );
    assert_eq!(report["redis"], true);
}

#[test]
fn replicas_need_a_database_that_can_be_shared() {
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unshared");
    let output = bench(&["replicas", "--store", "sqlite"], &data);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--store postgres"));
}

#[test]
fn a_grown_store_is_compared_with_an_empty_one() {
    let report = check(
        "grown --store sqlite --stored 50 --concurrency 8 --seconds 1 --warmup 0 --rounds 1",
        &["/stages/0/median_tasks_per_s", "/stages/1/median_tasks_per_s", "/stages/1/filled_per_s"],
    );
    assert_eq!((&report["stages"][0]["stored"], &report["stages"][1]["stored"]), (&0.into(), &50.into()));
}

#[test]
fn plans_of_each_size_and_shape_are_measured() {
    let report = check(
        "plans --store sqlite --sizes 1,4 --steps 40 --parallel 4",
        &[
            "/cells/3/steps_per_s",
            "/cells/3/server_us_per_step",
            "/cells/3/cost_ratio",
            "/cells/0/cost_ratio",
        ],
    );
    let found: Vec<_> = report["cells"].as_array().unwrap().iter().map(|cell| &cell["tasks"]).collect();
    assert_eq!(found, [40, 10, 40, 10], "{report}");
}

#[test]
fn numbers_of_sessions_are_compared() {
    let report = check(
        "sessions --store sqlite --counts 1,20 --slots 40 --concurrency 8 --seconds 1 --warmup 0 --rounds 1",
        &["/cells/0/median_tasks_per_s", "/cells/1/median_tasks_per_s", "/cells/1/ratio"],
    );
    assert_eq!(
        (&report["cells"][0]["slots_each"], &report["cells"][1]["slots_each"]),
        (&40.into(), &2.into())
    );
}

#[test]
fn a_soak_samples_memory_every_second() {
    let report = check(
        "soak --store sqlite --concurrency 8 --seconds 5",
        &["/tasks", "/tasks_per_s", "/rss_at_first_mib", "/rss_end_mib", "/rss_peak_mib"],
    );
    assert_eq!(report["rss_mib"].as_array().unwrap().len(), 6, "{report}");
    assert!(report["rss_slope_mib_per_min"].is_f64(), "{report}");
}

#[test]
fn a_short_run_on_sqlite_has_every_figure_no_error_and_leaves_nothing() {
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lifecycle");
    let words = "lifecycle --store sqlite --concurrency 16 --seconds 1 --warmup 0 --steps 2 --json";
    let output = bench(&words.split(' ').collect::<Vec<_>>(), &data);
    let report = report(&output);

    let keys: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "scenario",
        "store",
        "concurrency",
        "steps",
        "seconds",
        "tasks_per_s",
        "steps_per_s",
        "create_to_complete_ms",
        "create_to_assigned_ms",
        "commits",
        "mean_batch",
        "disk_sync_ms",
        "rpc_ceiling_per_s",
        "ratio_to_rpc_ceiling",
        "store_ceiling",
        "cpu",
        "errors",
    ];
    expected.sort_unstable();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(report["errors"], 0, "{report}");
    assert_eq!((&report["scenario"], &report["store"]), (&"lifecycle".into(), &"sqlite".into()));
    for pointer in [
        "/tasks_per_s",
        "/steps_per_s",
        "/create_to_complete_ms/p50",
        "/create_to_complete_ms/p90",
        "/create_to_complete_ms/p99",
        "/create_to_assigned_ms/p50",
        "/create_to_assigned_ms/p90",
        "/create_to_assigned_ms/p99",
        "/commits",
        "/mean_batch",
        "/disk_sync_ms",
        "/rpc_ceiling_per_s",
        "/ratio_to_rpc_ceiling",
        "/store_ceiling/batched_per_s",
        "/store_ceiling/unbatched_per_s",
        "/cpu/server_cpu_s",
        "/cpu/generator_cpu_s",
    ] {
        let figure = report.pointer(pointer).and_then(Value::as_f64);
        assert!(figure.is_some_and(|figure| figure > 0.0), "{pointer}: {report}");
    }
    // A step costs two commits, and a task one to create, which may assign at once.
    let per_step = report["commits"].as_f64().unwrap() / (report["steps_per_s"].as_f64().unwrap());
    assert!(per_step > 0.5, "{report}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0, "something was left in {}", data.display());
}

#[test]
fn a_run_that_cannot_start_fails_and_says_why() {
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unreachable");
    let words =
        "lifecycle --store postgres --database-url postgres://nobody@127.0.0.1:1/none --seconds 1 --json";
    let output = bench(&words.split(' ').collect::<Vec<_>>(), &data);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "no figures of a run that was not");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("the server did not start"), "{words}");
}

#[test]
fn agents_ask_and_hear_of_decisions() {
    let report = check(
        "approve --store sqlite --rate 20 --waiting 30 --decisions 10 --seconds 2",
        &["/authorize_ms/p99", "/decision_to_agent_ms/p99", "/server_rss_mib"],
    );
    assert_eq!((&report["authorized"], &report["decided"]), (&40.into(), &20.into()));
}
