//! Agents that vanish, hang, come back, or come back too late.

use std::time::{Duration, Instant};

use quarterdeck_client::Payload;
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::{
    FailureCode, GoAwayCause, ListSessionsRequest, RevokeCause, SessionState, StepState, TaskState,
};
use quarterdeck_client::{Client, Error};

use crate::agent::Agent;
use crate::expect::{refused, until, within};
use crate::plans::{StepWords, plan, step};
use crate::stack::{QUICK_LEASE, both};
use crate::world::World;

both!(Quick:
    a_step_whose_agent_vanishes_is_reassigned_after_the_session_lease,
    a_step_whose_agent_falls_silent_is_reassigned_after_the_session_lease,
    an_expired_session_cannot_be_resumed,
);
both!(Usual:
    a_hung_agents_step_is_reassigned_after_its_progress_timeout,
    progress_keeps_a_step_for_longer_than_its_progress_timeout,
    a_stale_token_is_refused,
    a_reconnect_within_the_grace_keeps_its_leases,
    a_completion_in_flight_at_the_break_is_not_lost,
    a_completion_whose_ack_was_lost_is_taken_once,
    a_second_connection_replaces_the_first,
    a_session_is_resumed_only_by_its_own_credential,
);

async fn state_of(world: &World, session: &str) -> SessionState {
    let request = ListSessionsRequest { project: world.project.clone(), ..ListSessionsRequest::default() };
    let sessions = world.other.list_sessions(request).collect_all().await.unwrap();
    sessions.iter().find(|one| one.id == session).expect("the session is listed").state()
}

async fn a_step_whose_agent_vanishes_is_reassigned_after_the_session_lease(world: World) {
    let task = world.create(plan([step("a", "work").attempts(1)])).await;
    let mut lost = world.agent("lost", "work", 1).await;
    let stale = lost.assigned().await;
    let session = lost.welcome.session_id.clone();
    let vanished = Instant::now();
    drop(lost);
    let mut heir = world.agent_at(&world.other, "heir", "work", 1).await;
    let assign = heir.assigned().await;
    let waited = vanished.elapsed();
    // Its lease was renewed at most one interval of 500 ms before it vanished.
    assert!(waited >= QUICK_LEASE - Duration::from_millis(700), "given away after {waited:?}, too early");
    assert!(waited <= QUICK_LEASE + Duration::from_secs(5), "given away after {waited:?} only");
    assert_eq!(assign.attempt, 2);
    assert_ne!(assign.lease_token, stale.lease_token);
    heir.finish(&assign, Payload::text("saved")).await;

    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded, "a loss costs no attempt");
    let history = world.history(&task.id).await;
    assert_eq!(history.steps["a"].agents(), ["lost", "heir"]);
    assert_eq!(history.steps["a"].last_failure().code(), FailureCode::AgentLost);
    assert_eq!(state_of(&world, &session).await, SessionState::Expired);
}

async fn a_step_whose_agent_falls_silent_is_reassigned_after_the_session_lease(world: World) {
    let task = world.create(plan([step("a", "work")])).await;
    let mut silent = world.agent("silent", "work", 1).await;
    let stale = silent.assigned().await;
    silent.fall_silent();
    let mut heir = world.agent_at(&world.other, "heir", "work", 1).await;
    let assign = heir.assigned().await;
    // Its connection stands, so it is told; what it still says does not count.
    silent.complete(&stale, Payload::text("late")).await;
    within("word to the silent agent", hears_that_it_is_over(&mut silent, &stale.lease_token)).await;
    heir.finish(&assign, Payload::text("saved")).await;
    let task = world.ended(&task.id).await;
    assert_eq!(Payload::from(task.steps[0].output.clone()).to_text().unwrap(), "saved");
}

/// A rejection, or the end of the stream because the session has expired.
async fn hears_that_it_is_over(agent: &mut Agent, token: &str) {
    use quarterdeck_client::api::orchestration::v1::session_response::Message as Down;
    loop {
        match agent.next().await {
            Ok(Some(Down::Reject(reject))) if reject.lease_token == token => {
                assert_eq!(reject.reason, "LEASE_STALE");
                return;
            }
            Ok(Some(Down::Ack(ack))) => panic!("a late answer counted: {ack:?}"),
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a reason"),
            Err(status) => {
                refused(
                    "a session that has expired",
                    Err::<(), Error>(status.into()),
                    Reason::SessionExpired,
                );
                return;
            }
        }
    }
}

async fn an_expired_session_cannot_be_resumed(world: World) {
    let agent = world.agent("late", "work", 1).await;
    let session = agent.welcome.session_id.clone();
    let hello = agent.vanish();
    until("the session to expire", || async {
        (state_of(&world, &session).await == SessionState::Expired).then_some(())
    })
    .await;
    for client in [&world.admin, &world.other] {
        let answer = Agent::open(client, hello.clone()).await.map(|agent| agent.welcome.clone());
        refused("a session that has expired", answer, Reason::SessionExpired);
    }
}

async fn a_hung_agents_step_is_reassigned_after_its_progress_timeout(world: World) {
    let task = world.create(plan([step("a", "work").backoff(10).progress_within(400)])).await;
    let mut hung = world.agent("hung", "work", 1).await;
    let stale = hung.assigned().await;
    assert_eq!(stale.progress_timeout, Some(crate::plans::millis(400)));
    hung.slots(0).await;
    let mut heir = world.agent_at(&world.other, "heir", "work", 1).await;
    // It pings all the while: its session lives on, its step does not.
    assert_eq!(hung.revoked(&stale).await, RevokeCause::Timeout);
    let assign = heir.assigned().await;
    assert_eq!(assign.attempt, 2);
    hung.complete(&stale, Payload::text("late")).await;
    let reject = hung.rejected(&stale).await;
    assert_eq!((reject.reason.as_str(), reject.number), ("LEASE_STALE", 1));
    heir.finish(&assign, Payload::text("saved")).await;

    let ended = world.ended(&task.id).await;
    assert_eq!(Payload::from(ended.steps[0].output.clone()).to_text().unwrap(), "saved");
    let history = world.history(&task.id).await;
    assert_eq!(history.steps["a"].last_failure().code(), FailureCode::ProgressTimeout);
    assert_eq!(state_of(&world, &hung.welcome.session_id).await, SessionState::Open);
}

async fn progress_keeps_a_step_for_longer_than_its_progress_timeout(world: World) {
    let task = world.create(plan([step("a", "work").progress_within(2_500)])).await;
    let mut agent = world.agent("steady", "work", 1).await;
    let assign = agent.assigned().await;
    // Often enough that a busy machine does not make it silent.
    let mut turns = tokio::time::interval(Duration::from_millis(600));
    for turn in 1..=6 {
        turns.tick().await;
        agent.progress(&assign, f64::from(turn) / 10.0, None).await;
    }
    agent.finish(&assign, Payload::empty()).await;
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
    assert_eq!(world.history(&task.id).await.steps["a"].agents(), ["steady"]);
}

async fn a_stale_token_is_refused(world: World) {
    let task = world.create(plan([step("a", "work").backoff(10)])).await;
    let mut first = world.agent("first", "work", 1).await;
    let stale = first.assigned().await;
    // First of all, or the retry may come back to it.
    first.slots(0).await;
    first.fail(&stale, "GAVE_UP").await;
    let mut second = world.agent_at(&world.other, "second", "work", 1).await;
    let current = second.assigned().await;

    let mut garbage = current.clone();
    garbage.lease_token = "not.a.lease".to_owned();
    let mut bent = current.clone();
    bent.lease_token.push('0');
    for (what, token) in [("its own, which is over", &stale), ("another session's", &current)] {
        let agent = &mut first;
        agent.complete_as(token, 9, Payload::text("wrong")).await;
        let reject = agent.rejected(token).await;
        assert_eq!((reject.reason.as_str(), reject.number), ("LEASE_STALE", 9), "{what}");
        assert!(!reject.message.is_empty(), "{what}");
    }
    for (what, token) in [("garbage", &garbage), ("a token with a letter more", &bent)] {
        second.complete_as(token, 1, Payload::text("wrong")).await;
        let reason = second.rejected(token).await.reason;
        assert!(["LEASE_STALE", "SESSION_PROTOCOL"].contains(&reason.as_str()), "{what}: {reason}");
    }
    second.finish(&current, Payload::text("right")).await;
    let ended = world.ended(&task.id).await;
    assert_eq!(Payload::from(ended.steps[0].output.clone()).to_text().unwrap(), "right");
}

async fn a_reconnect_within_the_grace_keeps_its_leases(world: World) {
    let steps = ["a", "b", "c"].map(|key| step(key, "work"));
    let task = world.create(plan(steps)).await;
    let mut agent = world.agent("agent", "work", 3).await;
    let held = [agent.assigned().await, agent.assigned().await, agent.assigned().await];
    let session = agent.welcome.session_id.clone();
    let mut hello = agent.back(&[&held[0], &held[1]]);
    hello.held_leases.push("unknown".to_owned());
    drop(agent);

    let mut agent = Agent::open(&world.other, hello).await.unwrap();
    assert!(agent.welcome.resumed);
    assert_eq!(agent.welcome.session_id, session);
    assert_eq!(agent.revoked_token("unknown").await, RevokeCause::Lost);
    let again = agent.assigned().await;
    assert_eq!(again, held[2], "what it did not list as held is sent again as it was");
    for assign in &held {
        agent.finish(assign, Payload::text(&assign.step_key)).await;
    }
    assert!(agent.heard_no_assignment(), "what it listed is not sent again");
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
    assert!(world.history(&task.id).await.steps.values().all(|step| step.assigned.len() == 1));
}

/// Resumes and sends a completion again until it is acknowledged.
async fn repeat(client: &Client, agent: Agent, assign: &quarterdeck_client::api::orchestration::v1::Assign) {
    let hello = agent.back(&[assign]);
    drop(agent);
    let mut agent = Agent::open(client, hello).await.unwrap();
    assert!(agent.welcome.resumed);
    agent.complete_as(assign, 1, Payload::text("once")).await;
    agent.acked(assign, 1).await;
    // And once more, for an agent that lost this answer too.
    agent.complete_as(assign, 1, Payload::text("once")).await;
    agent.acked(assign, 1).await;
}

async fn a_completion_in_flight_at_the_break_is_not_lost(world: World) {
    for client in [&world.admin, &world.other] {
        let task = world.create(plan([step("a", "work"), step("b", "later").after(&["a"])])).await;
        let mut agent = world.agent("agent", "work", 1).await;
        let assign = agent.assigned().await;
        // It may get there or not.
        agent.complete(&assign, Payload::text("once")).await;
        repeat(client, agent, &assign).await;
        let history = world.history(&task.id).await;
        assert_eq!(history.steps["a"].assigned.len(), 1);
        assert!(history.steps["a"].succeeded.is_some());
    }
}

async fn a_completion_whose_ack_was_lost_is_taken_once(world: World) {
    for client in [&world.admin, &world.other] {
        let task = world.create(plan([step("a", "work")])).await;
        let mut agent = world.agent("agent", "work", 1).await;
        let assign = agent.assigned().await;
        agent.complete(&assign, Payload::text("once")).await;
        until("the completion to be stored", || async {
            (world.step(&task.id, "a").await.state() == StepState::Succeeded).then_some(())
        })
        .await;
        repeat(client, agent, &assign).await;
        let ended = world.ended(&task.id).await;
        assert_eq!(ended.state(), TaskState::Succeeded);
        assert_eq!(ended.revision, 4, "created, assigned, succeeded, ended, and nothing else");
    }
}

async fn a_second_connection_replaces_the_first(world: World) {
    let task = world.create(plan([step("a", "work")])).await;
    let mut first = world.agent("agent", "work", 1).await;
    let assign = first.assigned().await;
    let mut second = Agent::open(&world.other, first.back(&[&assign])).await.unwrap();
    assert!(second.welcome.resumed);
    assert_eq!(first.sent_away().await, GoAwayCause::Replaced);
    second.finish(&assign, Payload::empty()).await;
    assert_eq!(world.ended(&task.id).await.state(), TaskState::Succeeded);
}

async fn a_session_is_resumed_only_by_its_own_credential(world: World) {
    let secret = world.key(Role::Agent).await;
    let thief = Client::lazy(world.admin.config().clone().with_credential(secret)).unwrap();
    let mut owner = world.agent("owner", "work", 1).await;
    world.create(plan([step("a", "work")])).await;
    let assign = owner.assigned().await;
    let stolen = Agent::open(&thief, owner.back(&[])).await.map(|agent| agent.welcome.clone());
    refused("somebody else's session", stolen, Reason::SessionExpired);
    let mut hello = owner.back(&[]);
    hello.resume_token = "ses_nonsense".to_owned();
    let made_up = Agent::open(&world.admin, hello).await.map(|agent| agent.welcome.clone());
    refused("a token that was made up", made_up, Reason::SessionExpired);
    owner.finish(&assign, Payload::empty()).await;
}
