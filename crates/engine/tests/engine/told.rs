//! Agents that are told on their session what became of what they asked for.

use quarterdeck_core::approval::{Approval, Phase};
use quarterdeck_core::{Action, Span};
use quarterdeck_engine::approvals::{Ask, Target};
use quarterdeck_engine::session::{Down, Hello, Up};
use quarterdeck_engine::sessions::SessionHandle;
use quarterdeck_engine::{Engine, Error};

use crate::approvals::{RISKY, approve, approver, script};
use crate::world::*;

/// A world whose agents need not ping.
fn patient() -> World {
    let mut world = World::new();
    world.options.session_lease = Span::from_secs(60);
    world
}

/// What the agent is told next of this approval.
async fn told(agent: &mut SessionHandle, approval: &str) -> Result<Approval, Error> {
    until(agent, "what became of an approval", |down| match down {
        Down::ApprovalDecided { id, approval: became } if id == approval => Some(became.map(|one| *one)),
        _ => None,
    })
    .await
}

async fn ask(engine: &Engine, lease: &str, key: &str, action: &Action) -> Target {
    let ask = Ask {
        lease_token: lease.to_owned(),
        request_key: key.to_owned(),
        action: action.clone(),
        comment: String::new(),
    };
    let asked = engine.authorize(&caller(), ask).await.unwrap();
    Target { id: asked.id(), digest: asked.asked.digest }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_told_whichever_replica_heard_the_decision_and_after_it_came_back() {
    let world = patient();
    let (one, two) = (world.replica_on(deaf()).await, world.replica_on(deaf()).await);
    let mut agent = one.engine.open_session(&caller(), hello(1)).await.unwrap();
    let resume_token = welcomed(&mut agent).await;
    one.engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let lease = assigned(&mut agent).await.token;
    let first = ask(&two.engine, &lease, "1", &script(RISKY)).await;
    let id = first.id.to_string();
    agent.sender().say(Up::AwaitApproval(id.clone())).await;
    approve(&two.engine, first).await;
    assert_eq!(told(&mut agent, &id).await.unwrap().phase, Phase::Granted);

    // Decided while nobody listened: told as soon as it is asked for.
    let second = ask(&one.engine, &lease, "2", &script(RISKY)).await;
    let id = second.id.to_string();
    agent.sender().say(Up::AwaitApproval(id.clone())).await;
    drop(agent);
    approve(&one.engine, second).await;
    let back = Hello { resume_token, held: vec![lease], ..hello(1) };
    let mut agent = two.engine.open_session(&caller(), back).await.unwrap();
    agent.sender().say(Up::AwaitApproval(id.clone())).await;
    assert_eq!(told(&mut agent, &id).await.unwrap().phase, Phase::Granted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_waited_for_is_said_so() {
    let world = patient();
    let replica = world.replica().await;
    let engine = &replica.engine;
    let mut agent = engine.open_session(&caller(), hello(1)).await.unwrap();
    engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let lease = assigned(&mut agent).await.token;
    for unknown in ["apr_00000000000000000000000000", "nonsense"] {
        agent.sender().say(Up::AwaitApproval(unknown.to_owned())).await;
        assert!(matches!(told(&mut agent, unknown).await, Err(Error::NotFound(_))));
    }
    let target = ask(engine, &lease, "1", &script(RISKY)).await;
    let id = target.id.to_string();
    for _ in 0..1_001 {
        agent.sender().say(Up::AwaitApproval(id.clone())).await;
    }
    assert!(matches!(told(&mut agent, &id).await, Err(Error::LimitReached { limit: 1_000, .. })));
    approve(engine, target).await;
    assert_eq!(told(&mut agent, &id).await.unwrap().phase, Phase::Granted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_edited_in_mid_step_is_handed_out_at_its_start() {
    let world = patient();
    let replica = world.replica().await;
    let engine = &replica.engine;
    let mut agent = engine.open_session(&caller(), hello(1)).await.unwrap();
    engine.create_task(&caller(), "", "", plan(&[("a", &[])])).await.unwrap();
    let lease = assigned(&mut agent).await.token;
    let asked = ask(engine, &lease, "1", &script(RISKY)).await;
    let id = asked.id.to_string();
    agent.sender().say(Up::AwaitApproval(id.clone())).await;
    // The secret is masked wherever the approval is shown.
    let edited = script("rm -rf /var/lib/postgresql/old # ghp_16C7e42F292c6912E7710c838347Ae178B4a");
    let successor = engine.edit_approval(&approver("eve"), asked, &edited, "", "").await.unwrap();
    let before = told(&mut agent, &id).await.unwrap();
    assert_eq!((before.phase, before.superseded_by), (Phase::Superseded, Some(successor.id())));
    let id = successor.id().to_string();
    agent.sender().say(Up::AwaitApproval(id.clone())).await;
    approve(engine, Target { id: successor.id(), digest: successor.asked.digest }).await;
    let granted = told(&mut agent, &id).await.unwrap();
    assert_eq!(granted.phase, Phase::Granted);
    assert_ne!(granted.asked.shown, edited);
    let (redeemed, action) = engine.redeem_grant(&caller(), &id, &lease, None).await.unwrap();
    assert_eq!((redeemed.phase, action), (Phase::Redeemed, Some(edited)));
}
