//! The demo from end to end: a server, three agents, one task, one digest.
//!
//! Invariant: every number in the summary was measured by this run: events stored are
//! counted in the task's history, events watched by the watcher, citations by `verify`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quarterdeck_client::api::operations::v1::CreateKeyRequest;
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::{CreateTaskRequest, Task};
use quarterdeck_client::{Client, Config, Payload, Watch};
use quarterdeck_server::{Embedded, EmbeddedOptions, Storage};
use tokio::time::timeout;

use super::agents::Agents;
use super::analyse::Analysis;
use super::plan;
use super::split::Manifest;
use super::summary::Summary;
use super::verify::Report;
use crate::board::{Board, Lines};
use crate::clock::Stopwatch;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::startup::start_failure;

/// The demo takes seconds; a machine that needs longer than this is stuck.
const PATIENCE: Duration = Duration::from_secs(120);
/// The project that exists from the start.
const PROJECT: &str = "default";

/// What to digest, and where to leave it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Directory with the documents.
    pub directory: PathBuf,
    /// Paths below it; empty for all.
    pub include: Vec<&'static str>,
    /// File to write.
    pub output: PathBuf,
}

/// Runs the demo.
///
/// # Errors
/// Whatever stopped it, for people.
pub async fn run(job: &Job) -> Result<Summary, Failure> {
    let clock = Stopwatch::start();
    let scratch = tempfile::Builder::new().prefix("quarterdeck-demo-").tempdir()?;
    let server = Embedded::start(EmbeddedOptions {
        storage: Storage::File(scratch.path().join("demo.db")),
        ..EmbeddedOptions::default()
    })
    .await
    .map_err(start_failure)?;
    output::say(&format!("server on {}, SQLite in {}", server.endpoint(), scratch.path().display()));
    let outcome = with_server(&server.endpoint(), server.credential(), job, clock).await;
    server.stop().await;
    outcome
}

async fn with_server(
    endpoint: &str,
    credential: &str,
    job: &Job,
    clock: Stopwatch,
) -> Result<Summary, Failure> {
    let admin = Client::connect(Config::new(endpoint).with_credential(credential)).await?;
    let user = Config::new(endpoint).with_credential(key(&admin, "demo-user", Role::User).await?);
    let agent = Config::new(endpoint).with_credential(key(&admin, "demo-agents", Role::Agent).await?);
    let client = Client::connect(user).await?;
    let task = client
        .create_task(CreateTaskRequest {
            project: PROJECT.to_owned(),
            display_name: format!("digest of {}", job.directory.display()),
            labels: [("demo".to_owned(), "digest".to_owned())].into(),
            plan: Some(plan::digest(&job.directory, &job.include)?),
            ..CreateTaskRequest::default()
        })
        .await?;
    // The watch is open before the first agent is there, so that it sees every event.
    let mut watch = client.watch_task(&task.id);
    let mut board = Board::new(Lines::Stderr);
    next(&mut watch, &mut board).await?;
    let agents = Agents::start(&agent, PROJECT, &job.directory).await?;
    let followed = timeout(PATIENCE, follow(&mut watch, &mut board)).await;
    board.close();
    agents.stop().await;
    match followed {
        Ok(outcome) => outcome?,
        Err(_) => {
            let words = format!("the demo did not end within {} s", PATIENCE.as_secs());
            return Err(Failure::new(Exit::Refused, words).at(task.id));
        }
    }
    finish(&client, &board, &task.id, job, clock).await
}

/// A key with one role: agents need no more than theirs, and neither do users.
async fn key(admin: &Client, name: &str, role: Role) -> Result<String, Failure> {
    let request = CreateKeyRequest {
        display_name: name.to_owned(),
        roles: vec![role.into()],
        projects: vec![PROJECT.to_owned()],
        ..CreateKeyRequest::default()
    };
    Ok(admin.create_key(request).await?.secret)
}

/// Shows the next frame; false at the end.
async fn next(watch: &mut Watch, board: &mut Board) -> Result<bool, Failure> {
    match watch.next_frame().await {
        Some(frame) => board.frame(&frame?).map(|()| true),
        None => Ok(false),
    }
}

async fn follow(watch: &mut Watch, board: &mut Board) -> Result<(), Failure> {
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => return Err(Failure::new(Exit::Refused, "stopped by Ctrl-C; nothing was written")),
            more = next(watch, board) => if !more? {
                return Ok(());
            },
        }
    }
}

async fn finish(
    client: &Client,
    board: &Board,
    id: &str,
    job: &Job,
    clock: Stopwatch,
) -> Result<Summary, Failure> {
    let tracker = &board.tracker;
    if !tracker.succeeded() {
        let words = tracker.ended.map_or("the watch ended before the task".to_owned(), |state| {
            crate::tracker::ending(state, tracker.stop_reason.as_ref())
        });
        return Err(Failure::new(Exit::Refused, words).at(job.directory.display().to_string()));
    }
    let stored = client.task_events(id).collect_all().await?.len() as u64;
    let task = client.get_task(id).await?;
    let manifest: Manifest = output_of(&task, "read")?.parse()?;
    let report: Report = output_of(&task, "verify")?.parse()?;
    let digest = output_of(&task, "write")?.to_text()?;
    let mut sentences = 0;
    for step in task.steps.iter().filter(|step| step.capability == "analyse") {
        let analysis: Analysis = Payload::from(step.output.clone()).parse()?;
        sentences += analysis.documents.iter().map(|document| document.considered).sum::<u32>();
    }
    save(&job.output, &digest)?;
    Ok(Summary {
        output: job.output.clone(),
        bytes: digest.len(),
        steps: task.steps.len(),
        attempts: tracker.attempts,
        retries: tracker.retries,
        stored,
        in_snapshot: tracker.in_snapshot,
        live: tracker.events,
        gaps: tracker.gaps,
        documents: manifest.documents.len(),
        sentences,
        report,
        elapsed: clock.elapsed(),
    })
}

fn output_of(task: &Task, key: &str) -> Result<Payload, Failure> {
    let step = task.steps.iter().find(|step| step.key == key);
    let output = step.and_then(|step| step.output.clone());
    output.map(Payload::from).ok_or_else(|| Failure::new(Exit::Refused, format!("step {key} left no output")))
}

fn save(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot write {}: {error}", path.display()))
            .at("--output")
            .fix("name a file in a directory that you may write to")
    })
}
