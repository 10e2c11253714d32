//! Steps that declare an action start after a yes to it, by people who may, for those
//! very bytes; and everything else ends as it should.

use std::time::Duration;

use quarterdeck_client::api::approvals::v1 as pb;
use quarterdeck_client::api::approvals::v1::action::Kind;
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::operations::v1::CreateKeyRequest;
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::{PlanStep, StepState, StopCode, Task, TaskState};
use quarterdeck_client::{Client, Payload};

use crate::expect::{refused, until, within};
use crate::plans::{StepWords, plan, step};
use crate::stack::{Pace, Stack, both};
use crate::world::World;

both!(Usual:
    a_gated_step_runs_once_after_its_yes_and_earlier_steps_do_not_run_again,
    what_policy_lets_through_waits_for_nobody,
    nobody_approves_their_own_with_any_key,
    programs_and_strangers_do_not_decide,
    a_batch_is_decided_whole_or_not_at_all,
    a_no_ends_the_step_with_its_reason,
    nobody_deciding_in_time_is_a_timeout_of_its_own,
    a_decision_counts_for_the_bytes_that_were_shown,
    a_policy_loads_only_if_its_examples_hold,
    planted_secrets_are_shown_to_nobody_who_does_not_ask,
    a_watch_of_approvals_goes_on_where_it_was,
    a_changed_policy_asks_again,
    every_decision_and_refusal_is_in_a_signed_log_that_can_be_proved,
);

/// A command that destroys what cannot be rebuilt.
pub const RISKY: &str = "rm -rf /var/lib/postgresql";

pub fn script(text: &str) -> pb::Action {
    let command = pb::CommandAction { script: text.to_owned(), ..Default::default() };
    pb::Action { kind: Some(Kind::Command(command)) }
}

/// A step that declares an action.
fn gated(key: &str, text: &str) -> PlanStep {
    PlanStep { action: Some(script(text)), ..step(key, "work") }
}

/// A client of somebody, with these roles.
pub async fn somebody(world: &World, name: &str, person: &str, roles: &[Role]) -> Client {
    let request = CreateKeyRequest {
        display_name: name.to_owned(),
        roles: roles.iter().map(|&role| role.into()).collect(),
        projects: vec![world.project.clone()],
        person: person.to_owned(),
        ..CreateKeyRequest::default()
    };
    let made = world.admin.create_key(request).await.unwrap();
    let mut config = world.other.config().clone();
    config.credential = Some(made.secret);
    Client::lazy(config).unwrap()
}

pub async fn approver(world: &World, name: &str) -> Client {
    somebody(world, name, name, &[Role::Approver]).await
}

fn list(world: &World) -> pb::ListApprovalsRequest {
    pb::ListApprovalsRequest { project: world.project.clone(), ..Default::default() }
}

pub async fn approvals(world: &World) -> Vec<pb::Approval> {
    world.other.approval_stub().list_approvals(list(world)).await.unwrap().into_inner().approvals
}

/// The one approval that waits for people, once there is one.
pub async fn pending(world: &World) -> pb::Approval {
    until("a pending approval", || async {
        approvals(world).await.into_iter().find(|one| one.state() == pb::ApprovalState::Pending)
    })
    .await
}

fn target(approval: &pb::Approval) -> pb::DecisionTarget {
    pb::DecisionTarget { approval_id: approval.id.clone(), digest: approval.digest.clone() }
}

pub async fn decide(
    by: &Client,
    approvals: &[&pb::Approval],
    vote: pb::Vote,
) -> Result<Vec<pb::Approval>, tonic::Status> {
    let request = pb::DecideApprovalsRequest {
        targets: approvals.iter().map(|approval| target(approval)).collect(),
        vote: vote.into(),
        comment: "looked at it".to_owned(),
        ..Default::default()
    };
    Ok(by.approval_stub().decide_approvals(request).await?.into_inner().approvals)
}

/// As many yeses as it takes.
pub async fn approve(world: &World, approval: &pb::Approval) {
    for number in 0..approval.terms.as_ref().unwrap().approvals {
        let by = approver(world, &format!("approver-{number}")).await;
        decide(&by, &[approval], pb::Vote::Approve).await.unwrap();
    }
}

pub async fn read(world: &World, approval: &pb::Approval) -> pb::GetApprovalResponse {
    let request = pb::GetApprovalRequest { approval_id: approval.id.clone() };
    world.admin.approval_stub().get_approval(request).await.unwrap().into_inner()
}

async fn ended(world: &World, task: &Task) -> Task {
    within("the end of the task", world.admin.wait_for_task(&task.id)).await.unwrap()
}

async fn update(world: &World, change: pb::UpdatePolicyRequest) -> Result<pb::Policy, tonic::Status> {
    let request = pb::UpdatePolicyRequest { project: world.project.clone(), ..change };
    Ok(world.admin.policy_stub().update_policy(request).await?.into_inner().policy.unwrap())
}

/// Answers with a word.
fn working(world: &World) -> crate::world::Working {
    world.work(&world.other, "worker", &["work"], 4, |_| async { Ok(Payload::text("done")) })
}

async fn a_gated_step_runs_once_after_its_yes_and_earlier_steps_do_not_run_again(world: World) {
    let _worker = working(&world);
    let steps = [
        step("before", "work"),
        gated("wipe", RISKY).after(&["before"]),
        step("then", "work").after(&["wipe"]),
    ];
    let task = world.create(plan(steps)).await;
    let asked = pending(&world).await;
    assert_eq!((asked.task_id.as_str(), asked.step_key.as_str()), (task.id.as_str(), "wipe"));
    let waiting = world.step(&task.id, "wipe").await;
    assert_eq!((waiting.state(), waiting.approval_id), (StepState::AwaitingApproval, asked.id.clone()));
    assert_eq!(waiting.attempt, 0, "nothing has started");
    approve(&world, &asked).await;
    let task = world.ended(&task.id).await;
    assert_eq!(task.state(), TaskState::Succeeded, "{:?}", task.stop_reason);
    assert!(task.steps.iter().all(|step| step.attempt == 1), "{:?}", task.steps);
    let asked = read(&world, &asked).await.approval.unwrap();
    assert_eq!((asked.state(), asked.agent.as_str()), (pb::ApprovalState::Redeemed, "worker"));
}

async fn what_policy_lets_through_waits_for_nobody(world: World) {
    let _worker = working(&world);
    let task = world.create(plan([gated("look", "git status")])).await;
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
    let all = approvals(&world).await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].assessment.as_ref().unwrap().verdict(), pb::Verdict::Auto);
    assert!(all[0].decisions.is_empty());
}

async fn nobody_approves_their_own_with_any_key(world: World) {
    let owner = somebody(&world, "ann-works", "ann", &[Role::User]).await;
    let task = owner.create_task(world.request(plan([gated("wipe", RISKY)]))).await.unwrap();
    let asked = pending(&world).await;
    assert_eq!(asked.owner, "ann");
    let other_key = somebody(&world, "ann-decides", "ann", &[Role::Approver, Role::Admin]).await;
    for vote in [pb::Vote::Approve, pb::Vote::Deny] {
        refused("one's own", decide(&other_key, &[&asked], vote).await, Reason::NotEligible);
    }
    approve(&world, &asked).await;
    assert_eq!(read(&world, &asked).await.approval.unwrap().state(), pb::ApprovalState::Granted);
    world.cancel(&world.admin, &task.id).await.unwrap();
}

async fn programs_and_strangers_do_not_decide(world: World) {
    world.create(plan([gated("wipe", RISKY)])).await;
    let asked = pending(&world).await;
    let yes = pb::Vote::Approve;
    for roles in [&[Role::Agent][..], &[Role::Viewer], &[Role::Service]] {
        let by = somebody(&world, "none", "none", roles).await;
        refused("no role", decide(&by, &[&asked], yes).await, Reason::RoleMissing);
    }
    for roles in [&[Role::Approver, Role::Agent][..], &[Role::Admin, Role::Service]] {
        let by = somebody(&world, "program", "program", roles).await;
        refused("a program", decide(&by, &[&asked], yes).await, Reason::NotEligible);
    }
    let other = World { project: crate::world::new_project(&world.admin).await, ..world.clone() };
    let stranger = approver(&other, "stranger").await;
    refused("another project's", decide(&stranger, &[&asked], yes).await, Reason::ApprovalNotFound);
}

async fn a_batch_is_decided_whole_or_not_at_all(world: World) {
    for _ in 0..3 {
        world.create(plan([gated("wipe", RISKY)])).await;
    }
    let all = until("three approvals", || async {
        let all = approvals(&world).await;
        (all.len() == 3).then_some(all)
    })
    .await;
    let by = approver(&world, "ann").await;
    decide(&by, &[&all[0]], pb::Vote::Deny).await.unwrap();
    let mixed = decide(&approver(&world, "bob").await, &[&all[1], &all[0]], pb::Vote::Deny).await;
    refused("one that has ended", mixed, Reason::ApprovalEnded);
    assert_eq!(read(&world, &all[1]).await.approval.unwrap().state(), pb::ApprovalState::Pending);
    let both = decide(&by, &[&all[1], &all[2]], pb::Vote::Deny).await.unwrap();
    assert!(both.iter().all(|one| one.state() == pb::ApprovalState::Denied));
    refused("twice the same", decide(&by, &[&all[1], &all[1]], pb::Vote::Deny).await, Reason::FieldsInvalid);
}

async fn a_no_ends_the_step_with_its_reason(world: World) {
    let task = world.create(plan([gated("wipe", RISKY)])).await;
    let asked = pending(&world).await;
    decide(&approver(&world, "ann").await, &[&asked], pb::Vote::Deny).await.unwrap();
    let task = ended(&world, &task).await;
    assert_eq!(task.state(), TaskState::Failed);
    let stop = task.stop_reason.unwrap();
    assert_eq!((stop.code(), stop.step_key.as_str()), (StopCode::ApprovalDenied, "wipe"));
    assert!(stop.message.contains(&asked.id), "{stop:?}");
}

/// The shipped policy with one more rule: whatever is asked waits a second.
fn hasty() -> String {
    let hasty =
        "\n@id(\"hasty\")\n@pending(\"1s\")\npermit (principal, action == Action::\"request\", resource);\n";
    shipped() + hasty
}

fn shipped() -> String {
    include_str!("../../crates/risk/data/policy/default.cedar").to_owned()
}

async fn nobody_deciding_in_time_is_a_timeout_of_its_own(world: World) {
    update(&world, pb::UpdatePolicyRequest { source: Some(hasty()), ..Default::default() }).await.unwrap();
    let task = world.create(plan([gated("wipe", RISKY)])).await;
    let stop = ended(&world, &task).await.stop_reason.unwrap();
    assert_eq!(stop.code(), StopCode::ApprovalTimeout);
    let all = approvals(&world).await;
    assert_eq!(all[0].state(), pb::ApprovalState::Expired);
    let late = decide(&approver(&world, "ann").await, &[&all[0]], pb::Vote::Approve).await;
    refused("a late yes", late, Reason::ApprovalEnded);
}

async fn a_decision_counts_for_the_bytes_that_were_shown(world: World) {
    world.create(plan([gated("wipe", RISKY)])).await;
    let asked = pending(&world).await;
    let by = approver(&world, "ann").await;
    let blind = pb::Approval { digest: vec![7; 32].into(), ..asked.clone() };
    refused("other bytes", decide(&by, &[&blind], pb::Vote::Approve).await, Reason::DigestMismatch);
    let edit = pb::EditApprovalRequest {
        approval_id: asked.id.clone(),
        digest: asked.digest.clone(),
        action: Some(script("rm -rf /var/lib/postgresql/old")),
        ..Default::default()
    };
    let edited = by.approval_stub().edit_approval(edit).await.unwrap().into_inner().approval.unwrap();
    assert_ne!(edited.digest, asked.digest);
    assert_eq!((edited.author.as_str(), edited.supersedes.as_str()), ("ann", asked.id.as_str()));
    refused("its author", decide(&by, &[&edited], pb::Vote::Approve).await, Reason::NotEligible);
    let old = decide(&approver(&world, "bob").await, &[&asked], pb::Vote::Approve).await;
    refused("what was edited", old, Reason::ApprovalEnded);
}

async fn a_policy_loads_only_if_its_examples_hold(world: World) {
    let wrong = shipped() + "\n//! auto: command: rm -rf /\n";
    for source in [wrong, "permit (".to_owned()] {
        let change = pb::UpdatePolicyRequest { source: Some(source), ..Default::default() };
        refused("a bad policy", update(&world, change).await, Reason::PolicyInvalid);
    }
    let get = pb::GetPolicyRequest { project: world.project.clone() };
    let policy = world.other.policy_stub().get_policy(get).await.unwrap().into_inner().policy.unwrap();
    assert!(policy.source.is_empty() && policy.shipped_source.contains("permit"));
}

async fn planted_secrets_are_shown_to_nobody_who_does_not_ask(world: World) {
    const SECRET: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
    let text = format!("curl -H 'Authorization: Bearer {SECRET}' -X DELETE https://api.example.com/users");
    let task = world.create(plan([gated("call", &text)])).await;
    let asked = pending(&world).await;
    let shown = read(&world, &asked).await;
    let events = world.events(&task.id).await;
    let told = format!("{shown:?} {events:?} {:?} {:?}", approvals(&world).await, world.task(&task.id).await);
    assert!(!told.contains(SECRET), "{told}");
    assert!(shown.preview.unwrap().masked > 0);
    let by = approver(&world, "ann").await;
    let reveal = pb::RevealActionRequest { approval_id: asked.id.clone(), reason: "to see whose".to_owned() };
    let revealed = by.approval_stub().reveal_action(reveal).await.unwrap().into_inner();
    assert_eq!(revealed.action, Some(script(&text)));
}

async fn a_watch_of_approvals_goes_on_where_it_was(world: World) {
    let watch = |resume_after: String| {
        let request =
            pb::WatchApprovalsRequest { project: world.project.clone(), resume_after, min_level: 0 };
        let client = world.other.clone();
        async move { client.approval_stub().watch_approvals(request).await.unwrap().into_inner() }
    };
    world.create(plan([gated("wipe", RISKY)])).await;
    let asked = pending(&world).await;
    let mut first = watch(String::new()).await;
    let frame = within("the snapshot", first.message()).await.unwrap().unwrap();
    assert_eq!(frame.approval.unwrap().id, asked.id);
    drop(first);
    decide(&approver(&world, "ann").await, &[&asked], pb::Vote::Deny).await.unwrap();
    let mut second = watch(frame.cursor).await;
    let frame = within("what was missed", second.message()).await.unwrap().unwrap();
    assert_eq!(frame.approval.unwrap().state(), pb::ApprovalState::Denied);
}

async fn a_changed_policy_asks_again(world: World) {
    world.create(plan([gated("wipe", RISKY)])).await;
    let asked = pending(&world).await;
    approve(&world, &asked).await;
    let production = pb::UpdatePolicyRequest {
        environment: Some(pb::Environment::Production.into()),
        ..Default::default()
    };
    let before = update(&world, production).await.unwrap().revision;
    let _worker = working(&world);
    let again = pending(&world).await;
    assert_ne!(again.id, asked.id);
    assert_eq!((again.environment.as_str(), again.policy_revision), ("production", before));
    assert_eq!(read(&world, &asked).await.approval.unwrap().state(), pb::ApprovalState::Invalidated);
    tokio::time::timeout(Duration::from_secs(20), approve(&world, &again)).await.unwrap();
}

async fn every_decision_and_refusal_is_in_a_signed_log_that_can_be_proved(world: World) {
    world.create(plan([gated("wipe", RISKY)])).await;
    let asked = pending(&world).await;
    let agent = somebody(&world, "program", "program", &[Role::Approver, Role::Agent]).await;
    refused("a program", decide(&agent, &[&asked], pb::Vote::Approve).await, Reason::NotEligible);
    decide(&approver(&world, "ann").await, &[&asked], pb::Vote::Deny).await.unwrap();
    let project = || world.project.clone();
    let head = until("four sealed entries", || async {
        let request = pb::GetAuditHeadRequest { project: project() };
        let answer = world.other.audit_stub().get_audit_head(request).await.unwrap().into_inner();
        answer.head.filter(|head| head.size >= 4)
    })
    .await;
    let list = pb::ListAuditEntriesRequest { project: project(), start: 0, page_size: 0 };
    let entries = world.admin.audit_stub().list_audit_entries(list).await.unwrap().into_inner().entries;
    let kinds: Vec<String> = entries
        .iter()
        .map(|entry| {
            let body: serde_json::Value = serde_json::from_str(&entry.body).unwrap();
            assert!(body["at"].is_i64() && body["project"] == project(), "{body}");
            body["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds[..4], ["approval.requested", "approval.refused", "approval.voted", "approval.denied"]);
    let request = pb::GetInclusionProofRequest { project: project(), index: 2, size: head.size };
    let proof = world.other.audit_stub().get_inclusion_proof(request).await.unwrap().into_inner();
    assert_eq!(proof.entry.unwrap(), entries[2]);
    let request = pb::GetConsistencyProofRequest { project: project(), first: 1, second: head.size };
    world.admin.audit_stub().get_consistency_proof(request).await.unwrap();
    let beyond = pb::GetInclusionProofRequest { project: project(), index: head.size, size: head.size };
    let beyond = world.admin.audit_stub().get_inclusion_proof(beyond).await;
    refused("no such entry", beyond, Reason::AuditRangeInvalid);
    let other = World { project: crate::world::new_project(&world.admin).await, ..world.clone() };
    let stranger = approver(&other, "stranger").await;
    let request = pb::GetInclusionProofRequest { project: project(), index: 0, size: 0 };
    let told = stranger.audit_stub().get_inclusion_proof(request).await;
    refused("a stranger", told, Reason::ProjectNotFound);
    let request = pb::GetConsistencyProofRequest { project: project(), first: 1, second: 0 };
    let told = stranger.audit_stub().get_consistency_proof(request).await;
    refused("a stranger", told, Reason::ProjectNotFound);
    let action = Some(script("ls"));
    let request = pb::ExplainPolicyRequest { project: project(), action, ..Default::default() };
    let told = stranger.policy_stub().explain_policy(request).await;
    refused("a stranger", told, Reason::ProjectNotFound);
    let request = pb::RevokeStandingGrantRequest {
        project: project(),
        grant_id: "grt_00000000000000000000000000".to_owned(),
        ..Default::default()
    };
    let told = stranger.policy_stub().revoke_standing_grant(request).await;
    refused("a stranger", told, Reason::ProjectNotFound);
}

/// Servers of its own: they are killed while people think, Redis first.
#[tokio::test]
async fn a_step_that_waits_for_people_outlives_redis_and_every_replica() {
    let mut stack = Stack::with_redis(Pace::Quick).await;
    let world = World::on(&stack).await;
    let _worker = working(&world);
    let steps = [step("before", "work"), gated("wipe", RISKY).after(&["before"])];
    let task = world.create(plan(steps)).await;
    let asked = pending(&world).await;
    stack.redis().kill().await.unwrap();
    for replica in &mut stack.replicas {
        replica.kill9().await.unwrap();
    }
    for replica in &mut stack.replicas {
        replica.start_again().await.unwrap();
    }
    assert_eq!(pending(&world).await.id, asked.id);
    approve(&world, &asked).await;
    let ended = world.ended(&task.id).await;
    assert_eq!(ended.state(), TaskState::Succeeded, "{:?}", ended.stop_reason);
    // Given out once each: what ran before is not run again.
    assert!(ended.steps.iter().all(|step| step.attempt == 1), "{:?}", ended.steps);
    assert_eq!(read(&world, &asked).await.approval.unwrap().state(), pb::ApprovalState::Redeemed);
}
