//! The benchmark itself is run briefly, so that it works on the day it is needed.
//! No figure is judged here.
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
