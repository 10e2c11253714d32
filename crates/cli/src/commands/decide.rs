//! `quarterdeck approvals approve|deny`: what is decided is shown before it is.

use std::io::{BufRead as _, IsTerminal as _};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use quarterdeck_client::api::approvals::v1::{
    Approval, ApprovalState, DecideApprovalsRequest, DecisionTarget, GetApprovalResponse, Vote,
};
use quarterdeck_client::{Client, Error};
use quarterdeck_risk::preview::visible;

use crate::approval::{hex, left, level, painted, plain, sheet, state};
use crate::clock;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format, lower};

/// Most approvals of one decision, as the contract says.
const TARGETS_MAX: usize = 100;
/// Reads at a time.
const READS: usize = 8;

/// Arguments of `approvals approve` and `approvals deny`.
#[derive(Debug, clap::Args)]
pub struct Decide {
    /// Approvals.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Why, for people.
    #[arg(long, default_value = "", hide_default_value = true)]
    comment: String,
    /// Do not ask before deciding.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Makes repeating the command safe.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// What is wrong without asking a server.
pub fn check(args: &Decide) -> Result<(), Failure> {
    if args.ids.len() > TARGETS_MAX {
        return Err(Failure::usage(format!("{TARGETS_MAX} approvals are the most at a time")));
    }
    if let Some(twice) = args.ids.iter().enumerate().find(|(at, id)| args.ids[..*at].contains(id)) {
        return Err(Failure::usage(format!("{} is named twice", twice.1)));
    }
    if !args.yes && !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is there to be asked: standard input is no terminal")
            .fix("look with `quarterdeck approvals show <id>`, then repeat with --yes"));
    }
    Ok(())
}

/// Shows, asks, decides.
pub async fn run(args: &Decide, vote: Vote, client: &Client, format: Format) -> Result<(), Failure> {
    let shown: Vec<GetApprovalResponse> = stream::iter(args.ids.clone())
        .map(|id| async move { client.get_approval(id).await })
        .buffered(READS)
        .try_collect::<Vec<_>>()
        .await
        .map_err(|error: Error| Failure::from(error))?;
    let approvals: Vec<&Approval> = shown.iter().filter_map(|answer| answer.approval.as_ref()).collect();
    if let Some(ended) = approvals.iter().find(|it| it.state() != ApprovalState::Pending) {
        let what = format!("{} is {}: nothing is decided", ended.id, state(ended));
        return Err(Failure::new(Exit::Refused, what));
    }
    if let [answer] = shown.as_slice() {
        let lines =
            sheet(&answer.approval.clone().unwrap_or_default(), answer.preview.as_ref(), clock::now());
        output::say(&if output::colour() { painted(&lines) } else { plain(&lines) });
        output::say("");
    }
    output::say(&table(&shown, vote));
    if !args.yes && !confirmed(approvals.len(), vote)? {
        return Err(Failure::new(Exit::Refused, "nothing was decided"));
    }
    let request = DecideApprovalsRequest {
        targets: approvals.into_iter().map(target).collect(),
        vote: vote.into(),
        comment: args.comment.clone(),
        request_id: args.request_id.clone(),
    };
    output::list(format, &client.decide_approvals(request).await?, "")
}

/// The approval with the digest of what was shown: another action is not decided on.
pub fn target(approval: &Approval) -> DecisionTarget {
    DecisionTarget { approval_id: approval.id.clone(), digest: approval.digest.clone() }
}

/// Exactly what would be decided.
fn table(shown: &[GetApprovalResponse], vote: Vote) -> String {
    let now = clock::now();
    let rows = shown.iter().map(|answer| {
        let approval = answer.approval.clone().unwrap_or_default();
        let title = answer.preview.as_ref().map(|preview| visible(&preview.title)).unwrap_or_default();
        let level = lower(level(&approval).as_str_name(), "RISK_LEVEL_");
        let digest = hex(&approval.digest);
        vec![approval.id.clone(), word(vote).to_owned(), level, left(&approval, now), digest, title]
    });
    output::table(&["ID", "VOTE", "LEVEL", "LEFT", "DIGEST", "ACTION"], rows.collect())
}

const fn word(vote: Vote) -> &'static str {
    match vote {
        Vote::Approve => "yes",
        Vote::Deny | Vote::Unspecified => "no",
    }
}

fn confirmed(count: usize, vote: Vote) -> Result<bool, Failure> {
    let what = if count == 1 { "this one".to_owned() } else { format!("exactly these {count}") };
    output::say(&format!("say {} to {what}? Type yes to go on:", word(vote)));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}
