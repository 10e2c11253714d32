//! What a project of the scene has of approvals: pending, granted and redeemed
//! ones, and standing grants.

use quarterdeck_client::Client;
use quarterdeck_client::api::approvals::v1::action::Kind;
use quarterdeck_client::api::approvals::v1::{
    Action, Approval, AuthorizeRequest, CommandAction, CreateStandingGrantRequest, DecideApprovalsRequest,
    DecisionTarget, GetPolicyRequest, ListApprovalsRequest, RedeemGrantRequest, UpdatePolicyRequest, Vote,
    WatchApprovalsRequest,
};

use crate::expect::within;
use crate::words::{Known, gather};

/// What takes three people: one that decides again and again ends nothing.
const THREE: &str = r#"
@id("three") @approvers("3") @deny_threshold("3") @reason("three look at it")
permit(principal, action == Action::"request", resource) when { context.level == Level::"high" };
"#;
/// Where webhooks may be; a name that nothing has (RFC 2606).
pub const HOST: &str = "hooks.invalid";
/// Approvals that wait for people.
const PENDING: usize = 8;

/// Asks under a lease and decides. What comes first of each kind goes together.
pub async fn make(
    agent: &Client,
    decider: &Client,
    (project, content): (&str, &str),
    lease: &str,
    marker: &str,
    known: &mut Known,
) {
    three_look(decider, project).await;
    let reset = ask(agent, lease, "reset", &format!("git reset --hard # {content}")).await;
    let target = DecisionTarget { approval_id: reset.id.clone(), digest: reset.digest.clone() };
    let request = DecideApprovalsRequest {
        targets: vec![target],
        vote: Vote::Approve.into(),
        comment: content.to_owned(),
        ..DecideApprovalsRequest::default()
    };
    gather(known, &decider.approval_stub().decide_approvals(request).await.unwrap().into_inner(), marker);
    for _ in 0..2 {
        let request = CreateStandingGrantRequest {
            approval_id: reset.id.clone(),
            comment: content.to_owned(),
            ..CreateStandingGrantRequest::default()
        };
        let grant = decider.policy_stub().create_standing_grant(request).await.unwrap().into_inner().grant;
        let ids = known.entry("grant_id".to_owned()).or_default();
        ids.extend(grant.map(|grant| grant.id));
    }
    for number in 0..PENDING {
        let text = format!("rm -rf '/var/lib/{content}'");
        gather(known, &ask(agent, lease, &format!("remove-{number}"), &text).await, marker);
    }
    // Webhooks would be told of all this, which writes.
    known.insert("url".to_owned(), vec![format!("https://{HOST}/notices")]);
    let status = ask(agent, lease, "status", &format!("git status # {content}")).await;
    let request = RedeemGrantRequest {
        approval_id: status.id.clone(),
        lease_token: lease.to_owned(),
        action: Some(script(&format!("git status # {content}"))),
    };
    gather(known, &agent.gate_stub().redeem_grant(request).await.unwrap().into_inner(), marker);
    lists(decider, project, marker, known).await;
}

/// The shipped policy, but that what is of high risk takes three people.
async fn three_look(decider: &Client, project: &str) {
    let request = GetPolicyRequest { project: project.to_owned() };
    let policy = decider.policy_stub().get_policy(request).await.unwrap().into_inner().policy.unwrap();
    let rules = policy.shipped_source.split("//!").next().unwrap_or_default();
    let request = UpdatePolicyRequest {
        project: project.to_owned(),
        source: Some(format!("{rules}{THREE}")),
        ..UpdatePolicyRequest::default()
    };
    decider.policy_stub().update_policy(request).await.unwrap();
}

async fn ask(agent: &Client, lease: &str, key: &str, text: &str) -> Approval {
    let request = AuthorizeRequest {
        lease_token: lease.to_owned(),
        request_key: key.to_owned(),
        action: Some(script(text)),
        ..AuthorizeRequest::default()
    };
    agent.gate_stub().authorize(request).await.unwrap().into_inner().approval.unwrap()
}

fn script(text: &str) -> Action {
    let command = CommandAction { script: text.to_owned(), ..CommandAction::default() };
    Action { kind: Some(Kind::Command(command)) }
}

/// What a list and a watch tell: page tokens and cursors.
async fn lists(decider: &Client, project: &str, marker: &str, known: &mut Known) {
    let list = ListApprovalsRequest { project: project.to_owned(), page_size: 3, ..Default::default() };
    gather(known, &decider.approval_stub().list_approvals(list).await.unwrap().into_inner(), marker);
    let watch = WatchApprovalsRequest { project: project.to_owned(), ..Default::default() };
    let mut frames = decider.approval_stub().watch_approvals(watch).await.unwrap().into_inner();
    while let Some(frame) = within("a frame", frames.message()).await.unwrap() {
        gather(known, &frame, marker);
        if !frame.cursor.is_empty() {
            return;
        }
    }
}
