//! `quarterdeck task ..`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::ValueEnum;
use futures::StreamExt as _;
use quarterdeck_client::api::orchestration::v1::{
    CancelTaskRequest, CreateTaskRequest, GetTaskRequest, ListTasksRequest, RetryTaskRequest, Step, Task,
    TaskFilter, TaskState, TaskView,
};
use quarterdeck_client::{Client, Error, FrameKind, Payload, Watch, to_json};
use serde_json::{Value, json};

use crate::board::{Board, Lines};
use crate::clock;
use crate::connect::Globals;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format, Row, lower};
use crate::plan_file;
use crate::tracker::ending;
use crate::values;

/// The commands of this group.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Create a task from a plan file; prints its id.
    Create(Create),
    /// Show one task and its steps.
    Get(Get),
    /// List tasks, newest first.
    List(List),
    /// Follow a task to its end.
    Watch(WatchArgs),
    /// End a running task.
    Cancel(Cancel),
    /// Create a new task from a failed or cancelled one, keeping what had succeeded.
    Retry(Retry),
}

/// Arguments of `task create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A plan file is quarterdeck.orchestration.v1.Plan as ProtoJSON, written as JSON or YAML:
  steps:
    - {key: fetch, capability: fetch}
    - {key: report, capability: write, after: [fetch]}
See examples/ for whole ones.")]
pub struct Create {
    /// Plan file; `-` reads standard input.
    #[arg(value_name = "PLANFILE")]
    file: PathBuf,
    /// Name for people [default: the file's name].
    #[arg(long)]
    name: Option<String>,
    /// Label to find it by; may be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = values::label)]
    labels: Vec<(String, String)>,
    /// Makes repeating the command safe: the same id gives the same task, for 7 days.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Follow it to its end; exit code 1 unless it succeeds.
    #[arg(long)]
    wait: bool,
}

/// Arguments of `task get`.
#[derive(Debug, clap::Args)]
pub struct Get {
    /// Task.
    id: String,
    /// With inputs and outputs.
    #[arg(long)]
    full: bool,
    /// Write just the output of this step, as it is.
    #[arg(long, value_name = "STEP", conflicts_with = "full")]
    output_of: Option<String>,
}

/// Arguments of `task list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only tasks in this state; may be repeated.
    #[arg(long = "state", value_enum, value_name = "STATE")]
    states: Vec<State>,
    /// Only tasks with this label; may be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = values::label)]
    labels: Vec<(String, String)>,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// States to filter by.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum State {
    /// Steps are waiting or running.
    Running,
    /// Every step succeeded.
    Succeeded,
    /// A step failed for good, or time ran out.
    Failed,
    /// Somebody cancelled it.
    #[value(alias = "cancelled")]
    Canceled,
}

/// Arguments of `task watch`.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// Task.
    id: String,
    /// Start after this cursor (from `-o json`) and not with a snapshot.
    #[arg(long, value_name = "CURSOR")]
    resume_after: Option<String>,
}

/// Arguments of `task cancel`.
#[derive(Debug, clap::Args)]
pub struct Cancel {
    /// Task.
    id: String,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    comment: String,
    /// Makes repeating the command safe.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

/// Arguments of `task retry`.
#[derive(Debug, clap::Args)]
pub struct Retry {
    /// Task.
    id: String,
    /// Makes repeating the command safe.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Follow the new task to its end; exit code 1 unless it succeeds.
    #[arg(long)]
    wait: bool,
}

/// Runs a command of this group.
pub async fn run(command: &Command, globals: &Globals) -> Result<ExitCode, Failure> {
    match command {
        Command::Create(args) => create(args, globals).await,
        Command::Get(args) => get(args, globals).await,
        Command::List(args) => list(args, globals).await,
        Command::Watch(args) => {
            let client = globals.client().await?;
            let watch = match &args.resume_after {
                Some(cursor) => client.watch_task_after(&args.id, cursor),
                None => client.watch_task(&args.id),
            };
            follow(watch, globals.format, Lines::Stdout).await
        }
        Command::Cancel(args) => {
            let request = CancelTaskRequest {
                task_id: args.id.clone(),
                request_id: args.request_id.clone().unwrap_or_default(),
                comment: args.comment.clone(),
                ..CancelTaskRequest::default()
            };
            let task = globals.client().await?.cancel_task(request).await?;
            show(&task, globals.format)
        }
        Command::Retry(args) => {
            let request = RetryTaskRequest {
                task_id: args.id.clone(),
                request_id: args.request_id.clone().unwrap_or_default(),
            };
            let client = globals.client().await?;
            let task = client.retry_task(request).await?;
            created(&client, &task, args.wait, globals.format).await
        }
    }
}

async fn create(args: &Create, globals: &Globals) -> Result<ExitCode, Failure> {
    // The file first: its mistakes need no server.
    let plan = plan_file::read(&args.file)?;
    let client = globals.client().await?;
    let stem =
        || args.file.file_stem().map(|stem| stem.to_string_lossy().trim_end_matches(".plan").to_owned());
    let name = args.name.clone().or_else(stem).filter(|name| name != "-");
    let request = CreateTaskRequest {
        project: globals.project(),
        request_id: args.request_id.clone().unwrap_or_default(),
        display_name: name.unwrap_or_default(),
        labels: args.labels.iter().cloned().collect::<HashMap<_, _>>().into_iter().collect(),
        plan: Some(plan),
    };
    let task = client.create_task(request).await?;
    created(&client, &task, args.wait, globals.format).await
}

async fn created(client: &Client, task: &Task, wait: bool, format: Format) -> Result<ExitCode, Failure> {
    match format {
        Format::Json if wait => {}
        Format::Json => output::json(&to_json(task)?)?,
        Format::Table => output::emit(&task.id)?,
    }
    if wait {
        return follow(client.watch_task(&task.id), format, Lines::Stderr).await;
    }
    output::say(&format!("follow it: quarterdeck task watch {}", task.id));
    Ok(ExitCode::SUCCESS)
}

async fn get(args: &Get, globals: &Globals) -> Result<ExitCode, Failure> {
    let client = globals.client().await?;
    let view = if args.full || args.output_of.is_some() { TaskView::Full } else { TaskView::Basic };
    let request = GetTaskRequest {
        task_id: args.id.clone(),
        view: view.into(),
        step_keys: args.output_of.iter().cloned().collect(),
    };
    let task = client.get_task_with(request).await?;
    if let Some(key) = &args.output_of {
        let output = task.steps.iter().find(|step| step.key == *key).and_then(|step| step.output.clone());
        let output = output.ok_or_else(|| {
            Failure::new(Exit::Refused, format!("step {key} has no output")).at(&args.id).fix(
                "`quarterdeck task get <id>` shows which steps have succeeded; only those have an output",
            )
        })?;
        output::raw(&Payload::from(output).to_bytes()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if globals.format == Format::Json {
        output::json(&to_json(&task)?)?;
    } else {
        output::emit(&details(&task, clock::now()))?;
        if args.full {
            output::emit(&payloads(&task))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: &List, globals: &Globals) -> Result<ExitCode, Failure> {
    let states = args.states.iter().map(|state| match state {
        State::Running => TaskState::Running,
        State::Succeeded => TaskState::Succeeded,
        State::Failed => TaskState::Failed,
        State::Canceled => TaskState::Canceled,
    });
    let request = ListTasksRequest {
        project: globals.project(),
        filter: Some(TaskFilter {
            states: states.map(Into::into).collect(),
            labels: args.labels.iter().cloned().collect::<HashMap<_, _>>().into_iter().collect(),
            ..TaskFilter::default()
        }),
        page_size: i32::try_from(args.limit.min(1_000)).unwrap_or(1_000),
        ..ListTasksRequest::default()
    };
    let client = globals.client().await?;
    let found: Vec<Result<Task, Error>> =
        client.list_tasks(request).take(args.limit as usize).collect().await;
    let tasks: Vec<Task> = found.into_iter().collect::<Result<_, _>>()?;
    output::list(globals.format, &tasks, "no tasks; create one: quarterdeck task create <PLANFILE>")?;
    Ok(ExitCode::SUCCESS)
}

/// Follows a task; fails where it does not succeed.
async fn follow(mut watch: Watch, format: Format, lines: Lines) -> Result<ExitCode, Failure> {
    let mut board = Board::new(lines);
    while let Some(frame) = watch.next_frame().await {
        let frame = frame?;
        if format == Format::Table {
            board.frame(&frame)?;
            continue;
        }
        board.tracker.frame(&frame);
        let mut line = json!({"cursor": frame.cursor});
        match &frame.kind {
            FrameKind::Snapshot(task) => line["snapshot"] = to_json(task.as_ref())?,
            FrameKind::Event(event) => line["event"] = to_json(event.as_ref())?,
        }
        output::json_line(&line)?;
    }
    board.close();
    if board.tracker.succeeded() {
        return Ok(ExitCode::SUCCESS);
    }
    let state = board.tracker.ended.unwrap_or_default();
    Err(Failure::new(Exit::Refused, ending(state, board.tracker.stop_reason.as_ref())))
}

fn show(task: &Task, format: Format) -> Result<ExitCode, Failure> {
    match format {
        Format::Json => output::json(&to_json(task)?)?,
        Format::Table => output::emit(&details(task, clock::now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn details(task: &Task, now: SystemTime) -> String {
    let mut lines = Vec::new();
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:10}{value}"));
        }
    };
    field("id", task.id.clone());
    field("name", task.display_name.clone());
    field("project", task.project.clone());
    field("state", lower(task.state().as_str_name(), "TASK_STATE_"));
    if task.state() != TaskState::Running && task.state() != TaskState::Succeeded {
        field("why", ending(task.state(), task.stop_reason.as_ref()));
    }
    let labels: std::collections::BTreeMap<_, _> = task.labels.iter().collect();
    field(
        "labels",
        labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "),
    );
    let ago = task.create_time.and_then(|time| SystemTime::try_from(time).ok());
    let ago = ago.map_or_else(String::new, |time| format!(" ({} ago)", clock::age(time, now)));
    field(
        "created",
        task.create_time.map_or_else(String::new, |time| format!("{time}{ago} by {}", task.created_by)),
    );
    field("ended", task.end_time.map_or_else(String::new, |time| time.to_string()));
    field("retry of", task.retry_of.clone());
    if !task.steps.is_empty() {
        lines.push(String::new());
        lines.push(output::table(STEPS, task.steps.iter().map(step_cells).collect()));
    }
    lines.join("\n")
}

const STEPS: &[&str] = &["STEP", "STATE", "ATTEMPT", "AGENT", "AFTER", "NOTE"];

fn step_cells(step: &Step) -> Vec<String> {
    let progress =
        step.progress.as_ref().map(|word| format!("{:.0}% {}", word.fraction * 100.0, word.message));
    let failure = step.last_failure.as_ref().map(|failure| {
        let reason = if failure.reason.is_empty() {
            lower(failure.code().as_str_name(), "FAILURE_CODE_")
        } else {
            failure.reason.clone()
        };
        format!("attempt {} failed: {reason} {}", failure.attempt, failure.message)
    });
    let note = if step.reused { Some("taken over".to_owned()) } else { failure.or(progress) };
    vec![
        step.key.clone(),
        lower(step.state().as_str_name(), "STEP_STATE_"),
        step.attempt.to_string(),
        step.agent.clone(),
        step.after.join(","),
        note.unwrap_or_default().trim_end().to_owned(),
    ]
}

fn payloads(task: &Task) -> String {
    let mut text = String::new();
    for step in &task.steps {
        for (name, payload) in [("input", &step.input), ("output", &step.output)] {
            let Some(payload) = payload.clone().map(Payload::from) else { continue };
            let content = if payload.is_omitted() {
                format!(
                    "{} bytes, left out: quarterdeck task get {} --output-of {}",
                    payload.size(),
                    task.id,
                    step.key
                )
            } else {
                payload
                    .to_text()
                    .unwrap_or_else(|_| format!("{} bytes of {}", payload.size(), payload.media_type()))
            };
            text.push_str(&format!(
                "\n--- {} of {} ({})\n{}\n",
                name,
                step.key,
                payload.media_type(),
                content
            ));
        }
    }
    text
}

impl Row for Task {
    const HEAD: &'static [&'static str] = &["ID", "NAME", "STATE", "STEPS", "AGE", "LABELS"];

    fn cells(&self, now: SystemTime) -> Vec<String> {
        let created = self.create_time.and_then(|time| SystemTime::try_from(time).ok());
        let labels: std::collections::BTreeMap<_, _> = self.labels.iter().collect();
        vec![
            self.id.clone(),
            self.display_name.clone(),
            lower(self.state().as_str_name(), "TASK_STATE_"),
            self.step_count.to_string(),
            created.map_or_else(String::new, |time| clock::age(time, now)),
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "),
        ]
    }

    fn json(&self) -> Result<Value, Error> {
        to_json(self)
    }
}
