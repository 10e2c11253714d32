//! Agents that ask for a yes in the middle of a step.

use std::time::Instant;

use quarterdeck_client::Client;
use quarterdeck_client::api::approvals::v1 as pb;
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::Assign;

use crate::agent::Agent;
use crate::approvals::{RISKY, approve, decide, read, script, somebody};
use crate::expect::{refused, until, within};
use crate::plans::{plan, step};
use crate::stack::both;
use crate::world::World;

both!(Usual:
    an_agent_waits_for_its_yes_and_starts_exactly_what_was_shown,
    a_grant_is_for_the_lease_that_asked,
    what_policy_grants_is_granted_at_once,
    a_standing_grant_answers_until_the_agent_does_more_than_it_said,
);

/// An agent with a step, and its credential.
async fn at_work(world: &World) -> (Agent, Assign, Client) {
    let client = somebody(world, "robot", "robot", &[Role::Agent]).await;
    let mut agent = world.agent_at(&client, "robot", "work", 1).await;
    world.create(plan([step("only", "work")])).await;
    let assign = agent.assigned().await;
    (agent, assign, client)
}

async fn authorize(
    client: &Client,
    lease: &str,
    key: &str,
    action: pb::Action,
) -> Result<pb::Approval, tonic::Status> {
    let request = pb::AuthorizeRequest {
        lease_token: lease.to_owned(),
        request_key: key.to_owned(),
        action: Some(action),
        comment: "to make room".to_owned(),
    };
    Ok(client.gate_stub().authorize(request).await?.into_inner().approval.unwrap())
}

async fn redeem(
    client: &Client,
    approval: &pb::Approval,
    lease: &str,
    action: pb::Action,
) -> Result<pb::Approval, tonic::Status> {
    let request = pb::RedeemGrantRequest {
        approval_id: approval.id.clone(),
        lease_token: lease.to_owned(),
        action: Some(action),
    };
    Ok(client.gate_stub().redeem_grant(request).await?.into_inner().approval.unwrap())
}

async fn an_agent_waits_for_its_yes_and_starts_exactly_what_was_shown(world: World) {
    let (_agent, assign, client) = at_work(&world).await;
    let lease = assign.lease_token.as_str();
    let asked = authorize(&client, lease, "1", script(RISKY)).await.unwrap();
    assert_eq!((asked.state(), asked.agent.as_str()), (pb::ApprovalState::Pending, "robot"));
    assert_eq!(authorize(&client, lease, "1", script(RISKY)).await.unwrap().id, asked.id);
    let other = authorize(&client, lease, "1", script("ls")).await;
    refused("another action", other, Reason::RequestIdReused);
    refused("too early", redeem(&client, &asked, lease, script(RISKY)).await, Reason::ApprovalPending);
    let (waiting, id) = (client.clone(), asked.id.clone());
    let waiter = tokio::spawn(async move {
        let wait = Some(prost_types::Duration { seconds: 20, nanos: 0 });
        let request = pb::AwaitApprovalRequest { approval_id: id, wait };
        let answer = waiting.gate_stub().await_approval(request).await.unwrap().into_inner();
        (answer.approval.unwrap().state(), Instant::now())
    });
    approve(&world, &asked).await;
    let (state, _) = within("the waiting agent", waiter).await.unwrap();
    assert_eq!(state, pb::ApprovalState::Granted);
    let else_ = redeem(&client, &asked, lease, script("rm -rf /")).await;
    refused("other bytes", else_, Reason::DigestMismatch);
    for _ in 0..2 {
        let redeemed = redeem(&client, &asked, lease, script(RISKY)).await.unwrap();
        assert_eq!(redeemed.state(), pb::ApprovalState::Redeemed);
    }
}

async fn a_grant_is_for_the_lease_that_asked(world: World) {
    let (_agent, assign, client) = at_work(&world).await;
    let asked = authorize(&client, &assign.lease_token, "1", script("git status")).await.unwrap();
    assert_eq!(asked.state(), pb::ApprovalState::Granted);
    let (_other_agent, other, other_client) = at_work(&world).await;
    let taken = redeem(&other_client, &asked, &other.lease_token, script("git status")).await;
    refused("another lease", taken, Reason::LeaseStale);
    let stranger = somebody(&world, "stranger", "stranger", &[Role::Agent]).await;
    let stolen = redeem(&stranger, &asked, &assign.lease_token, script("git status")).await;
    refused("another's token", stolen, Reason::LeaseStale);
    let task = assign.task_id.clone();
    world.cancel(&world.admin, &task).await.unwrap();
    let late = redeem(&client, &asked, &assign.lease_token, script("git status")).await;
    refused("after the cancel", late, Reason::LeaseStale);
    until("the grant to end with its lease", || async {
        let state = read(&world, &asked).await.approval.unwrap().state();
        (state == pb::ApprovalState::Canceled).then_some(())
    })
    .await;
}

async fn what_policy_grants_is_granted_at_once(world: World) {
    let (_agent, assign, client) = at_work(&world).await;
    let asked = authorize(&client, &assign.lease_token, "1", script("cargo test")).await.unwrap();
    assert_eq!(asked.state(), pb::ApprovalState::Granted, "{asked:?}");
    let redeemed = redeem(&client, &asked, &assign.lease_token, script("cargo test")).await.unwrap();
    assert_eq!(redeemed.state(), pb::ApprovalState::Redeemed);
}

async fn a_standing_grant_answers_until_the_agent_does_more_than_it_said(world: World) {
    let (_agent, assign, client) = at_work(&world).await;
    let lease = assign.lease_token.as_str();
    // Asked, because nothing brings the file back.
    let action = || script("rm -rf uploads");
    let asked = authorize(&client, lease, "1", action()).await.unwrap();
    assert_eq!(asked.state(), pb::ApprovalState::Pending, "{asked:?}");
    let by = somebody(&world, "ann", "ann", &[Role::Approver]).await;
    decide(&by, &[&asked], pb::Vote::Approve).await.unwrap();
    let remember = pb::CreateStandingGrantRequest { approval_id: asked.id.clone(), ..Default::default() };
    let grant = by.policy_stub().create_standing_grant(remember).await.unwrap().into_inner().grant.unwrap();
    assert_eq!(grant.agent, "robot");
    let again = authorize(&client, lease, "2", action()).await.unwrap();
    assert_eq!(again.state(), pb::ApprovalState::Granted);
    let elsewhere = authorize(&client, lease, "3", script("rm -rf uploads-2")).await.unwrap();
    assert_eq!(elsewhere.state(), pb::ApprovalState::Pending, "a path, and no prefix of one");
    redeem(&client, &again, lease, action()).await.unwrap();
    let effect = pb::ObservedEffect { effect: "delete".into(), target: "/etc/passwd".into() };
    let report = pb::ReportEffectsRequest {
        approval_id: again.id.clone(),
        effects: vec![effect.clone()],
        exit_code: 0,
    };
    let told = client.gate_stub().report_effects(report).await.unwrap().into_inner().approval.unwrap();
    assert_eq!(told.report.unwrap().surplus, [effect]);
    let suspended = authorize(&client, lease, "4", action()).await.unwrap();
    assert_eq!(suspended.state(), pb::ApprovalState::Pending, "its grants do not count any more");
}
