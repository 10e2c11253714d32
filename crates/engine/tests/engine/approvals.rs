//! Actions that need a yes, on real replicas.

use std::collections::BTreeSet;

use quarterdeck_core::approval::{Effect, Phase, Vote};
use quarterdeck_core::key::Role;
use quarterdeck_core::plan::{Plan, StepAction};
use quarterdeck_core::task::{Event, State, StopCode, Task};
use quarterdeck_core::{Action, Digest, Refusal, Span};
use quarterdeck_engine::approvals::{ApprovalItem, Ask, Changed, Target};
use quarterdeck_engine::tasks::TaskRequest;
use quarterdeck_engine::{Engine, Error, Principal};
use quarterdeck_store::rows::ApprovalFilter;

use crate::world::*;

pub fn script(text: &str) -> Action {
    let (argv, environment) = (Vec::new(), Vec::new());
    Action::Command { argv, script: text.to_owned(), cwd: String::new(), environment }
}

pub const RISKY: &str = "rm -rf /var/lib/postgresql";
pub const HARMLESS: &str = "git status";

/// Steps `a`, then `b` with an action, then `c`.
pub fn gated(action: &Action) -> TaskRequest {
    let mut request = plan(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
    let content = serde_json::to_vec(action).unwrap();
    let stored = Digest::of_content(&content);
    let mut steps = request.plan.steps().to_vec();
    steps[1].action =
        Some(StepAction { digest: action.digest(), content: stored, kind: action.kind().into() });
    request.plan = Plan::new(steps, None).unwrap();
    request.actions = vec![(stored, content.into())];
    request
}

pub fn approver(name: &str) -> Principal {
    Principal {
        subject: format!("key:{name}"),
        person: name.to_owned(),
        roles: BTreeSet::from([Role::Approver]),
        ..caller()
    }
}

/// The first approval that is seen in this phase.
async fn seen_in(engine: &Engine, wanted: Phase) -> Target {
    let mut watch = engine.watch_approvals(&caller(), "", None, "").await.unwrap();
    soon("an approval in its phase", async {
        loop {
            if let ApprovalItem::Approval(approval) = watch.next().await.unwrap().unwrap().item
                && approval.phase == wanted
            {
                return Target { id: approval.id(), digest: approval.asked.digest };
            }
        }
    })
    .await
}

/// The one approval that is pending, once there is one.
pub async fn pending(engine: &Engine) -> Target {
    seen_in(engine, Phase::Pending).await
}

pub async fn decide(engine: &Engine, by: &Principal, target: Target, vote: Vote) -> Result<Phase, Error> {
    let decided = engine.decide_approvals(by, &[target], vote, "seen", "").await?;
    Ok(decided[0].phase)
}

/// High risk asks two people by the shipped policy, or one: whatever it takes.
pub async fn approve(engine: &Engine, target: Target) {
    for name in ["ann", "bob", "cid"] {
        if decide(engine, &approver(name), target, Vote::Approve).await.unwrap() == Phase::Granted {
            return;
        }
    }
    panic!("three people were not enough");
}

async fn phase(engine: &Engine, target: Target) -> Phase {
    engine.get_approval(&caller(), &target.id.to_string()).await.unwrap().approval.phase
}

async fn starts(engine: &Engine, task: &Task) -> usize {
    let events = history(engine, task).await;
    events.iter().filter(|event| matches!(event.event, Event::Assigned { step: 1, .. })).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_policy_lets_through_starts_by_itself() {
    let world = World::new();
    let replica = world.replica().await;
    let engine = &replica.engine;
    let task = engine.create_task(&caller(), "", "", gated(&script(HARMLESS))).await.unwrap();
    diligent(engine.open_session(&caller(), hello(4)).await.unwrap());
    let task = ended(engine, &task).await;
    assert_eq!(task.state, State::Succeeded, "{:?}", task.stop);
    let page = engine.list_approvals(&caller(), "", ApprovalFilter::default(), 10, "").await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].phase, Phase::Redeemed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gated_step_starts_once_after_its_yes_and_earlier_steps_are_not_run_again() {
    let world = World::new();
    let replica = world.replica().await;
    let engine = &replica.engine;
    let task = engine.create_task(&caller(), "", "", gated(&script(RISKY))).await.unwrap();
    diligent(engine.open_session(&caller(), hello(4)).await.unwrap());
    let target = pending(engine).await;
    assert_eq!(starts(engine, &task).await, 0);
    approve(engine, target).await;
    let task = ended(engine, &task).await;
    assert_eq!(task.state, State::Succeeded, "{:?}", task.stop);
    assert_eq!(phase(engine, target).await, Phase::Redeemed);
    assert_eq!(starts(engine, &task).await, 1);
    let events = history(engine, &task).await;
    let first = events.iter().filter(|event| matches!(event.event, Event::Assigned { step: 0, .. }));
    assert_eq!(first.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_survives_a_restart_and_a_replica_that_hears_nothing() {
    let world = World::new();
    let first = world.replica_on(deaf()).await;
    let task = first.engine.create_task(&caller(), "", "", gated(&script(RISKY))).await.unwrap();
    diligent(first.engine.open_session(&caller(), hello(4)).await.unwrap());
    let target = pending(&first.engine).await;
    drop(first);
    let (decides, works) = (world.replica_on(deaf()).await, world.replica_on(deaf()).await);
    diligent(works.engine.open_session(&caller(), hello(4)).await.unwrap());
    approve(&decides.engine, target).await;
    let task = ended(&works.engine, &task).await;
    assert_eq!(task.state, State::Succeeded, "{:?}", task.stop);
    assert_eq!(starts(&works.engine, &task).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_no_and_a_withdrawal_end_the_step_with_their_reasons() {
    let world = World::new();
    let replica = world.replica().await;
    let engine = &replica.engine;
    diligent(engine.open_session(&caller(), hello(4)).await.unwrap());
    let task = engine.create_task(&caller(), "", "", gated(&script(RISKY))).await.unwrap();
    let target = pending(engine).await;
    assert_eq!(decide(engine, &approver("ann"), target, Vote::Deny).await, Ok(Phase::Denied));
    let stop = ended(engine, &task).await.stop.clone().unwrap();
    assert_eq!(stop.code, StopCode::ApprovalDenied);

    let task = engine.create_task(&caller(), "", "", gated(&script(RISKY))).await.unwrap();
    let target = pending(engine).await;
    engine.withdraw_approval(&caller(), &target.id.to_string(), "no need", "").await.unwrap();
    let stop = ended(engine, &task).await.stop.clone().unwrap();
    assert_eq!(stop.code, StopCode::ApprovalWithdrawn);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_owns_the_task_does_not_approve_and_the_attempt_is_audited() {
    let world = World::new();
    let replica = world.replica().await;
    let engine = &replica.engine;
    diligent(engine.open_session(&caller(), hello(4)).await.unwrap());
    engine.create_task(&caller(), "", "", gated(&script(RISKY))).await.unwrap();
    let target = pending(engine).await;
    let own = Principal { subject: "key:second".into(), person: "tester".into(), ..approver("second") };
    let said = decide(engine, &own, target, Vote::Approve).await;
    assert!(matches!(said, Err(Error::Refused(Refusal::NotEligible { .. }))), "{said:?}");
    let other = Target { digest: Digest::of_content(b"other"), ..target };
    let said = decide(engine, &approver("ann"), other, Vote::Approve).await;
    assert!(matches!(said, Err(Error::Refused(Refusal::DigestMismatch { .. }))), "{said:?}");
    assert_eq!(phase(engine, target).await, Phase::Pending);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_policy_takes_back_what_was_granted_and_asks_again() {
    let world = World::new();
    let replica = world.replica().await;
    let engine = &replica.engine;
    let mut agent = engine.open_session(&caller(), hello(1)).await.unwrap();
    welcomed(&mut agent).await;
    let task = engine.create_task(&caller(), "", "", gated(&script(RISKY))).await.unwrap();
    let first = assigned(&mut agent).await;
    agent.sender().say(quarterdeck_engine::session::Up::Credit(0)).await;
    agent.sender().say(complete(&first)).await;
    let target = pending(engine).await;
    approve(engine, target).await;
    let changed = Changed { environment: Some("production".into()), ..Changed::default() };
    engine.update_policy(&caller(), "", changed, "").await.unwrap();
    agent.sender().say(quarterdeck_engine::session::Up::Credit(4)).await;
    let again = pending(engine).await;
    assert_ne!(again.id, target.id);
    assert_eq!(phase(engine, target).await, Phase::Invalidated);
    assert_eq!(starts(engine, &task).await, 0);
    approve(engine, again).await;
    let granted = assigned(&mut agent).await;
    assert_eq!(granted.granted.as_ref().map(|granted| granted.approval), Some(again.id));
    assert_eq!(granted.granted.and_then(|granted| granted.action), Some(script(RISKY)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_action_needs_others_and_reaches_the_agent() {
    let world = World::new();
    let replica = world.replica().await;
    let engine = &replica.engine;
    let mut agent = engine.open_session(&caller(), hello(1)).await.unwrap();
    engine.create_task(&caller(), "", "", gated(&script(RISKY))).await.unwrap();
    let first = assigned(&mut agent).await;
    agent.sender().say(complete(&first)).await;
    let target = pending(engine).await;
    let (edited, approver_ann) = (script("rm -rf /var/lib/postgresql/old"), approver("ann"));
    let edit = |request_id| engine.edit_approval(&approver_ann, target, &edited, "less", request_id);
    let successor = edit("e1").await.unwrap();
    assert_eq!((successor.phase, successor.asked.supersedes), (Phase::Pending, Some(target.id)));
    assert_eq!(edit("e1").await.unwrap().id(), successor.id(), "a repetition is answered alike");
    assert!(matches!(edit("e2").await, Err(Error::Refused(Refusal::ApprovalEnded { .. }))));
    let more = engine.edit_approval(&approver_ann, target, &edited, "more", "e1").await;
    assert_eq!(more.unwrap_err(), Error::RequestIdReused);
    let next = Target { id: successor.id(), digest: successor.asked.digest };
    let own = decide(engine, &approver("ann"), next, Vote::Approve).await;
    assert!(matches!(own, Err(Error::Refused(Refusal::NotEligible { .. }))), "{own:?}");
    for name in ["bob", "cid"] {
        if decide(engine, &approver(name), next, Vote::Approve).await == Ok(Phase::Granted) {
            break;
        }
    }
    let granted = assigned(&mut agent).await.granted.unwrap();
    assert_eq!((granted.approval, granted.action), (next.id, Some(edited)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_asks_in_mid_step_waits_and_starts_once() {
    let mut world = World::new();
    // The agent of this test does not ping.
    world.options.session_lease = Span::from_secs(60);
    let (one, two) = (world.replica_on(deaf()).await, world.replica_on(deaf()).await);
    let mut agent = one.engine.open_session(&caller(), hello(1)).await.unwrap();
    one.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let lease = assigned(&mut agent).await.token;
    let ask = |action: &Action| Ask {
        lease_token: lease.clone(),
        request_key: "1".into(),
        action: action.clone(),
        comment: "my token is AKIAIOSFODNN7EXAMPLE".into(),
    };
    let asked = one.engine.authorize(&caller(), ask(&script(RISKY))).await.unwrap();
    assert_eq!(asked.phase, Phase::Pending);
    assert!(!asked.asked.comment.contains("AKIA"), "{}", asked.asked.comment);
    let id = asked.id().to_string();
    assert_eq!(two.engine.authorize(&caller(), ask(&script(RISKY))).await.unwrap().id(), asked.id());
    let other = one.engine.authorize(&caller(), ask(&script(HARMLESS))).await;
    assert_eq!(other.unwrap_err(), Error::RequestIdReused);
    let early = one.engine.redeem_grant(&caller(), &id, &lease, Some(&script(RISKY))).await;
    assert_eq!(early.unwrap_err(), Error::Refused(Refusal::ApprovalPending));

    let waiting = one.engine.clone();
    let waited = id.clone();
    #[allow(clippy::disallowed_methods)] // A test's own agent.
    let waiter = tokio::spawn(async move {
        waiting.await_approval(&caller(), &waited, Span::from_secs(20)).await.unwrap().phase
    });
    let target = Target { id: asked.id(), digest: asked.asked.digest };
    approve(&two.engine, target).await;
    assert_eq!(soon("the waiting agent", waiter).await.unwrap(), Phase::Granted);

    let else_ = two.engine.redeem_grant(&caller(), &id, &lease, Some(&script(HARMLESS))).await;
    assert!(matches!(else_, Err(Error::Refused(Refusal::DigestMismatch { .. }))), "{else_:?}");
    for engine in [&two.engine, &one.engine] {
        let (redeemed, handed_out) =
            engine.redeem_grant(&caller(), &id, &lease, Some(&script(RISKY))).await.unwrap();
        assert_eq!((redeemed.phase, handed_out), (Phase::Redeemed, None));
    }
    let seen = vec![Effect { kind: "delete".into(), target: "/home/agent/.ssh/id_ed25519".into() }];
    let reported = one.engine.report_effects(&caller(), &id, seen.clone(), 0).await.unwrap();
    assert_eq!(reported.report.unwrap().surplus, seen);
    let policy = one.engine.get_policy(&caller(), "").await.unwrap();
    assert!(policy.standing.suspended.contains("agent"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_asked_for_ends_with_its_lease() {
    let world = World::new();
    let replica = world.replica().await;
    let engine = &replica.engine;
    let mut agent = engine.open_session(&caller(), hello(1)).await.unwrap();
    let task = engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let lease = assigned(&mut agent).await.token;
    let ask = Ask {
        lease_token: lease.clone(),
        request_key: "1".into(),
        action: script(RISKY),
        comment: String::new(),
    };
    let asked = engine.authorize(&caller(), ask).await.unwrap();
    let target = Target { id: asked.id(), digest: asked.asked.digest };
    approve(engine, target).await;
    engine.cancel_task(&caller(), &task.id.to_string(), "", String::new(), None).await.unwrap();
    let late = engine.redeem_grant(&caller(), &target.id.to_string(), &lease, Some(&script(RISKY))).await;
    assert_eq!(late.unwrap_err(), Error::Refused(Refusal::LeaseStale));
    assert_eq!(seen_in(engine, Phase::Canceled).await.id, target.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_tells_every_change_once_and_resumes() {
    let world = World::new();
    let replica = world.replica().await;
    let engine = &replica.engine;
    diligent(engine.open_session(&caller(), hello(4)).await.unwrap());
    let mut watch = engine.watch_approvals(&caller(), "", None, "").await.unwrap();
    let task = engine.create_task(&caller(), "", "", gated(&script(RISKY))).await.unwrap();
    let target = pending(engine).await;
    approve(engine, target).await;
    ended(engine, &task).await;
    let mut seen = Vec::new();
    let mut cursors = Vec::new();
    soon("the approval's course", async {
        while seen.last() != Some(&Phase::Redeemed) {
            let frame = watch.next().await.unwrap().unwrap();
            if let ApprovalItem::Approval(approval) = frame.item {
                seen.push(approval.phase);
                cursors.push(frame.cursor);
            }
        }
    })
    .await;
    assert_eq!(seen.first(), Some(&Phase::Pending));
    assert_eq!(seen.iter().filter(|phase| **phase == Phase::Granted).count(), 1);
    let mut again = engine.watch_approvals(&caller(), "", None, &cursors[0]).await.unwrap();
    let mut rest = Vec::new();
    soon("the rest of it", async {
        while rest.len() + 1 < seen.len() {
            if let ApprovalItem::Approval(approval) = again.next().await.unwrap().unwrap().item {
                rest.push(approval.phase);
            }
        }
    })
    .await;
    assert_eq!(rest, seen[1..]);
}
