//! The first command that anybody types.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use quarterdeck_harness::binary;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::expect::within;

/// What the demo promises, once it is built.
const PROMISED: Duration = Duration::from_secs(10);

/// Three documents about a topic.
fn documents(topic: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, word) in [("README.md", "harbour"), ("guide/sails.md", "sail"), ("log.txt", "anchor")] {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!(
            "# The {topic} {word}\n\nEvery {topic} begins at the {word}, where the crew of nine waits. \
             The {word} of the {topic} was built in 1887 and repaired twice since then.\n\n\
             A {topic} without a {word} is like a map without a scale. Whoever studies the {topic} \
             learns first how the {word} is kept, and why the {word} decides the whole {topic}.\n"
        );
        std::fs::write(path, text).unwrap();
    }
    directory
}

async fn demo(arguments: &[&str], here: &Path) -> Output {
    let mut command = Command::new(binary().await.unwrap());
    command.arg("demo").args(arguments).current_dir(here).stdin(Stdio::null()).kill_on_drop(true);
    within("the demo", command.output()).await.unwrap()
}

/// Runs it on these documents; answers digest and summary.
async fn digest(documents: &Path) -> (String, Value) {
    let here = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let output = demo(&["-o", "json", &documents.to_string_lossy()], here.path()).await;
    let took = started.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(took < PROMISED, "took {took:?}");
    let summary = serde_json::from_slice(&output.stdout).expect("the summary is JSON and nothing else");
    (std::fs::read_to_string(here.path().join("digest.md")).expect("digest.md is there"), summary)
}

#[tokio::test]
async fn the_demo_digests_the_documents_it_is_given() {
    let (ships, trains) = (documents("voyage"), documents("railway"));
    let (one, summary) = digest(ships.path()).await;
    for name in ["README.md", "guide/sails.md", "log.txt"] {
        assert!(one.contains(name), "{name} is not cited in\n{one}");
    }
    assert!(one.contains("voyage") && !one.contains("railway"));
    let number = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"));
    assert_eq!(number("eventsStored"), number("eventsWatched"), "watched is what is stored");
    assert_eq!(number("documents"), 3);
    assert!(number("retries") >= 1, "one agent fails once on purpose: {summary}");
    assert_eq!(number("attempts"), number("steps") + number("retries"));
    assert!(number("citationsChecked") > 0 && number("steps") >= 4, "{summary}");
    assert_eq!(number("bytes"), one.len() as u64);
    let (other, _) = digest(trains.path()).await;
    assert!(other.contains("railway") && !other.contains("voyage"));
    assert_ne!(one, other);
}

#[tokio::test]
async fn the_demo_shows_its_progress_and_figures_to_people() {
    let (ships, here) = (documents("voyage"), tempfile::tempdir().unwrap());
    let output = demo(&[&ships.path().to_string_lossy()], here.path()).await;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    for word in ["steps", "retries", "events stored", "events watched", "digest.md"] {
        assert!(out.contains(word), "{word} is not in\n{out}");
    }
    assert!(err.lines().count() >= 4, "progress is shown:\n{err}");
}

#[tokio::test]
async fn the_demo_says_what_is_wrong_with_a_directory() {
    let here = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    for (what, directory) in [("missing", here.path().join("none")), ("empty", empty.path().to_owned())] {
        let output = demo(&[&directory.to_string_lossy()], here.path()).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{what}: {error}");
        assert!(error.contains(&*directory.to_string_lossy()), "{what}: must name the directory: {error}");
        assert!(!here.path().join("digest.md").exists(), "{what}");
    }
}
