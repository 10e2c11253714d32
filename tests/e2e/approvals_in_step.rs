//! Agents that ask for a yes in the middle of a step.

use std::time::Instant;

use quarterdeck_client::api::approvals::v1 as pb;
use quarterdeck_client::api::approvals::v1::action::Kind;
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::session_request::Message as Up;
use quarterdeck_client::api::orchestration::v1::session_response::Message as Down;
use quarterdeck_client::api::orchestration::v1::{
    ApprovalDecided, Assign, AwaitApproval, PlanStep, StepTimeouts, TaskState,
};
use quarterdeck_client::{CancellationToken, Client, Payload, StepContext, Worker};

use crate::agent::Agent;
use crate::approvals::{RISKY, approve, decide, pending, read, script, somebody};
use crate::expect::{refused, until, within};
use crate::plans::{plan, step};
use crate::stack::both;
use crate::world::World;

both!(Usual:
    an_agent_waits_for_its_yes_and_starts_exactly_what_was_shown,
    a_grant_is_for_the_lease_that_asked,
    what_policy_grants_is_granted_at_once,
    a_standing_grant_answers_until_the_agent_does_more_than_it_said,
    a_session_tells_what_became_of_a_request_also_after_it_came_back,
    a_worker_waits_for_people_and_carries_out_what_they_edited,
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

/// What the agent's session tells of an approval.
async fn told(agent: &mut Agent, id: &str) -> ApprovalDecided {
    let pick = |message: &Down| match message {
        Down::ApprovalDecided(word) if word.approval_id == id => Some(word.clone()),
        _ => None,
    };
    agent.wait("what became of an approval", pick).await
}

async fn wait_on_session(agent: &Agent, id: &str) {
    agent.say(Up::AwaitApproval(AwaitApproval { approval_id: id.to_owned() })).await;
}

async fn a_session_tells_what_became_of_a_request_also_after_it_came_back(world: World) {
    let (mut agent, assign, client) = at_work(&world).await;
    let asked = authorize(&client, &assign.lease_token, "1", script(RISKY)).await.unwrap();
    wait_on_session(&agent, &asked.id).await;
    approve(&world, &asked).await;
    let word = told(&mut agent, &asked.id).await;
    assert_eq!((word.approval.unwrap().state(), word.reason.as_str()), (pb::ApprovalState::Granted, ""));
    let missed = authorize(&client, &assign.lease_token, "2", script(RISKY)).await.unwrap();
    wait_on_session(&agent, &missed.id).await;
    let hello = agent.back(&[&assign]);
    drop(agent);
    approve(&world, &missed).await;
    let mut agent = Agent::open(&client, hello).await.unwrap();
    wait_on_session(&agent, &missed.id).await;
    assert_eq!(told(&mut agent, &missed.id).await.approval.unwrap().state(), pb::ApprovalState::Granted);
    wait_on_session(&agent, "apr_nonsense").await;
    assert_eq!(told(&mut agent, "apr_nonsense").await.reason, "APPROVAL_NOT_FOUND");
}

/// A worker that asks before it acts and tells what it carried out.
async fn careful(world: &World) -> CancellationToken {
    let client = somebody(world, "careful", "careful", &[Role::Agent]).await;
    let handler = |step: StepContext| async move {
        let started = step.authorize(script(RISKY), "to make room").await?.or_fail()?;
        let Some(Kind::Command(command)) = started.action.kind else { panic!("not a command") };
        Ok(Payload::text(command.script))
    };
    let worker =
        Worker::builder(&client, "careful").project(&world.project).on("work", handler).build().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(worker.run(stop.clone()));
    stop
}

async fn a_worker_waits_for_people_and_carries_out_what_they_edited(world: World) {
    let stop = careful(&world).await;
    let step = PlanStep {
        timeouts: Some(StepTimeouts {
            progress: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
            ..StepTimeouts::default()
        }),
        ..step("only", "work")
    };
    let task = world.create(plan([step])).await;
    let asked = pending(&world).await;
    // Waiting is no silence: four words, a third of the timeout apart, outlive it.
    let revision = world.admin.get_task(&task.id).await.unwrap().revision;
    until("the step to outlive its progress timeout", || async {
        let now = world.admin.get_task(&task.id).await.unwrap();
        (now.revision >= revision + 4).then_some(())
    })
    .await;
    let secret = "rm -rf /var/lib/postgresql/old # ghp_16C7e42F292c6912E7710c838347Ae178B4a";
    let request = pb::EditApprovalRequest {
        approval_id: asked.id.clone(),
        digest: asked.digest.clone(),
        action: Some(script(secret)),
        ..Default::default()
    };
    let editor = somebody(&world, "eve", "eve", &[Role::Approver]).await;
    let edited = editor.approval_stub().edit_approval(request).await.unwrap().into_inner().approval.unwrap();
    approve(&world, &edited).await;
    let task = within("the end of the task", world.admin.wait_for_task(&task.id)).await.unwrap();
    let output = Payload::from(task.steps[0].output.clone()).to_text().unwrap();
    assert_eq!((output.as_str(), task.steps[0].attempt), (secret, 1));

    let task = world.create(plan([crate::plans::step("only", "work")])).await;
    let by = somebody(&world, "ann", "ann", &[Role::Approver]).await;
    decide(&by, &[&pending(&world).await], pb::Vote::Deny).await.unwrap();
    let task = within("the end of the task", world.admin.wait_for_task(&task.id)).await.unwrap();
    assert_eq!(task.state(), TaskState::Failed);
    assert_eq!(task.steps[0].last_failure.as_ref().unwrap().reason, "APPROVAL_DENIED");
    stop.cancel();
}
