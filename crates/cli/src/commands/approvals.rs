//! `quarterdeck approvals ..`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use futures::StreamExt as _;
use quarterdeck_client::api::approvals::v1::{
    Approval, ApprovalFilter, ApprovalState, DelegateApprovalRequest, ListApprovalsRequest,
    RevealActionRequest, RevokeApprovalRequest, RiskLevel, Vote, WatchApprovalsRequest,
    WithdrawApprovalRequest,
};
use quarterdeck_client::{Client, Error, to_json};
use serde_json::json;

use super::decide::{self, Decide};
use crate::approval::{level, painted, plain, sheet, state, summary};
use crate::clock;
use crate::connect::Globals;
use crate::edit;
use crate::failure::Failure;
use crate::output::{self, Format, lower};
use crate::values;

/// The commands of this group.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List approvals, newest first.
    List(List),
    /// Show one as it is decided on: what would run, what it does, who said what so far.
    Show {
        /// Approval.
        id: String,
    },
    /// Say yes to exactly these, all of them or none.
    Approve(Decide),
    /// Say no to exactly these, all of them or none.
    Deny(Decide),
    /// Replace the action of a pending approval; others then decide on the new one.
    Edit(Edit),
    /// Let another person decide in your place.
    Delegate(Delegate),
    /// Take back a request that is still pending.
    Withdraw(Named),
    /// Take back a yes before anything was started under it.
    Revoke(Named),
    /// Show an action without masks; every call is on record, with its reason.
    Reveal {
        /// Approval.
        id: String,
        /// Why its secrets are needed.
        #[arg(long)]
        reason: String,
    },
    /// Follow what is asked and decided.
    Watch(Watch),
}

/// Arguments of `approvals list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only in this state; may be repeated.
    #[arg(long = "state", value_enum, value_name = "STATE")]
    states: Vec<State>,
    /// Only of at least this level.
    #[arg(long, value_enum, value_name = "LEVEL")]
    min_level: Option<Level>,
    /// Only of this task.
    #[arg(long, value_name = "TASK", default_value = "", hide_default_value = true)]
    task: String,
    /// Only of this agent.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    agent: String,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// States to filter by.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs, reason = "the words are the contract's, and explained there")]
pub enum State {
    Pending,
    Granted,
    Redeemed,
    Denied,
    Expired,
    Withdrawn,
    Superseded,
    Invalidated,
    Revoked,
    Canceled,
}

/// Levels to filter by.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs, reason = "the words are the contract's, and explained there")]
pub enum Level {
    Low,
    Medium,
    High,
}

/// Arguments of `approvals edit`.
#[derive(Debug, clap::Args)]
pub struct Edit {
    /// Approval.
    id: String,
    /// The new action as JSON; `-` reads standard input [default: opens $EDITOR].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Edit the action without masks; the reason goes on record.
    #[arg(long, value_name = "REASON", conflicts_with = "file")]
    reveal: Option<String>,
    /// Why, for people.
    #[arg(long, default_value = "", hide_default_value = true)]
    comment: String,
    /// Makes repeating the command safe.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// Arguments of `approvals delegate`.
#[derive(Debug, clap::Args)]
pub struct Delegate {
    /// Approval.
    id: String,
    /// Person who may decide.
    #[arg(long, value_name = "PERSON")]
    to: String,
    /// How long, such as 4h [default: as long as it waits].
    #[arg(long, value_parser = values::duration, value_name = "TIME")]
    lifetime: Option<Duration>,
    /// Makes repeating the command safe.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// An approval to end.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// Approval.
    id: String,
    /// Why, for people.
    #[arg(long, default_value = "", hide_default_value = true)]
    comment: String,
    /// Makes repeating the command safe.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// Arguments of `approvals watch`.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Only of at least this level.
    #[arg(long, value_enum, value_name = "LEVEL")]
    min_level: Option<Level>,
    /// Start after this cursor (from `-o json`) and not with what is pending.
    #[arg(long, value_name = "CURSOR", default_value = "", hide_default_value = true)]
    resume_after: String,
}

impl From<State> for ApprovalState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Granted => Self::Granted,
            State::Redeemed => Self::Redeemed,
            State::Denied => Self::Denied,
            State::Expired => Self::Expired,
            State::Withdrawn => Self::Withdrawn,
            State::Superseded => Self::Superseded,
            State::Invalidated => Self::Invalidated,
            State::Revoked => Self::Revoked,
            State::Canceled => Self::Canceled,
        }
    }
}

impl From<Level> for RiskLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Low => Self::Low,
            Level::Medium => Self::Medium,
            Level::High => Self::High,
        }
    }
}

/// Runs a command of this group.
pub async fn run(command: &Command, globals: &Globals) -> Result<ExitCode, Failure> {
    // What needs no server first: wrong usage is said without one.
    if let Command::Approve(args) | Command::Deny(args) = command {
        decide::check(args)?;
    }
    let client = globals.client().await?;
    let format = globals.format;
    match command {
        Command::List(args) => list(args, &client, globals).await?,
        Command::Show { id } => show(id, &client, format).await?,
        Command::Approve(args) => decide::run(args, Vote::Approve, &client, format).await?,
        Command::Deny(args) => decide::run(args, Vote::Deny, &client, format).await?,
        Command::Edit(args) => edit_action(args, &client, format).await?,
        Command::Delegate(args) => {
            let lifetime = args.lifetime.map(TryInto::try_into).transpose();
            let request = DelegateApprovalRequest {
                approval_id: args.id.clone(),
                to: args.to.clone(),
                lifetime: lifetime.map_err(|_| Failure::usage("that is too long").at("--lifetime"))?,
                request_id: args.request_id.clone(),
            };
            one(&client.delegate_approval(request).await?, format)?;
        }
        Command::Withdraw(args) => {
            let request = WithdrawApprovalRequest {
                approval_id: args.id.clone(),
                comment: args.comment.clone(),
                request_id: args.request_id.clone(),
            };
            one(&client.withdraw_approval(request).await?, format)?;
        }
        Command::Revoke(args) => {
            let request = RevokeApprovalRequest {
                approval_id: args.id.clone(),
                comment: args.comment.clone(),
                request_id: args.request_id.clone(),
            };
            one(&client.revoke_approval(request).await?, format)?;
        }
        Command::Reveal { id, reason } => {
            let request = RevealActionRequest { approval_id: id.clone(), reason: reason.clone() };
            let answer = client.reveal_action(request).await?;
            // As JSON in both formats: its escapes leave nothing for a terminal to act on.
            output::emit(&edit::written(&answer.action.unwrap_or_default())?)?;
        }
        Command::Watch(args) => watch(args, &client, globals).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: &List, client: &Client, globals: &Globals) -> Result<(), Failure> {
    let filter = ApprovalFilter {
        states: args.states.iter().map(|state| ApprovalState::from(*state).into()).collect(),
        min_level: args.min_level.map_or(RiskLevel::Unspecified, Into::into).into(),
        task_id: args.task.clone(),
        agent: args.agent.clone(),
    };
    let request = ListApprovalsRequest {
        project: globals.project(),
        filter: Some(filter),
        page_size: i32::try_from(args.limit.min(1_000)).unwrap_or(1_000),
        ..Default::default()
    };
    let found: Vec<Result<Approval, Error>> =
        client.list_approvals(request).take(args.limit as usize).collect().await;
    let approvals: Vec<Approval> = found.into_iter().collect::<Result<_, _>>()?;
    output::list(globals.format, &approvals, "no approvals")
}

async fn show(id: &str, client: &Client, format: Format) -> Result<(), Failure> {
    let answer = client.get_approval(id).await?;
    if format == Format::Json {
        return output::json(&to_json(&answer)?);
    }
    let lines = sheet(&answer.approval.unwrap_or_default(), answer.preview.as_ref(), clock::now());
    output::emit(&if output::colour_of_data() { painted(&lines) } else { plain(&lines) })
}

fn one(approval: &Approval, format: Format) -> Result<(), Failure> {
    output::list(format, std::slice::from_ref(approval), "")
}

async fn edit_action(args: &Edit, client: &Client, format: Format) -> Result<(), Failure> {
    let answer = client.get_approval(args.id.as_str()).await?;
    let masked = answer.preview.as_ref().is_some_and(|preview| preview.masked > 0);
    let approval = answer.approval.unwrap_or_default();
    let action = match &args.file {
        Some(path) => edit::read(path)?,
        None => {
            let before = edit::original(client, &approval, masked, args.reveal.as_deref()).await?;
            edit::in_editor(&before)?
        }
    };
    let new = client.edit_approval(edit::request(&approval, action, &args.comment, &args.request_id)).await?;
    output::say(&format!("{} took the place of {}", new.id, approval.id));
    one(&new, format)
}

async fn watch(args: &Watch, client: &Client, globals: &Globals) -> Result<(), Failure> {
    let request = WatchApprovalsRequest {
        project: globals.project(),
        resume_after: args.resume_after.clone(),
        min_level: args.min_level.map_or(RiskLevel::Unspecified, Into::into).into(),
    };
    let mut watch = client.watch_approvals(request);
    while let Some(frame) = watch.next_frame().await {
        let frame = frame?;
        match globals.format {
            Format::Json => {
                output::json_line(&json!({"cursor": frame.cursor, "approval": to_json(&frame.kind)?}))?;
            }
            Format::Table => output::emit(&line(&frame.kind))?,
        }
    }
    Ok(())
}

/// One change in one line.
fn line(approval: &Approval) -> String {
    let level = lower(level(approval).as_str_name(), "RISK_LEVEL_");
    format!("{}  {:11}  {level:6}  {}", approval.id, state(approval), summary(approval.action.as_ref()))
}
