//! Agents that call: who may, and which calls are refused.

use std::time::{Duration, Instant};

use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::operations::v1::RevokeKeyRequest;
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::{AcquireStepsRequest, FailStepRequest, TaskState};
use quarterdeck_client::{Client, Payload};

use crate::expect::{refused, refused_field};
use crate::plans::{millis, plan, step};
use crate::poller::{Poller, acquire, because, complete, fail, progress, release};
use crate::stack::both;
use crate::world::{World, new_key, new_project};

both!(Usual:
    nobody_else_speaks_for_a_session,
    a_credential_that_is_revoked_ends_the_wait,
    calls_are_refused_by_their_fields,
);

const AT_ONCE: Duration = Duration::ZERO;
/// Longer than any test waits for the answer.
const LONG: Duration = Duration::from_secs(25);

/// A client of a replica with this credential.
fn with(like: &Client, credential: &str) -> Client {
    Client::lazy(like.config().clone().with_credential(credential)).unwrap()
}

async fn nobody_else_speaks_for_a_session(world: World) {
    let task = world.create(plan([step("a", "work")])).await;
    let owner = world.poller("owner", "work").await;
    let assign = owner.next_step_named(&world.admin, "a").await;
    let elsewhere = new_project(&world.admin).await;
    let colleague = with(&world.other, &world.key(Role::Agent).await);
    let stranger =
        with(&world.admin, &new_key(&world.admin, &[Role::Agent, Role::Admin], &[&elsewhere]).await);
    for (who, client) in [("of the same project", &colleague), ("of another project", &stranger)] {
        let token = &assign.lease_token;
        refused(who, complete(client, token, Payload::text("stolen")).await, Reason::LeaseStale);
        refused(who, fail(client, &assign, because("STOLEN")).await, Reason::LeaseStale);
        refused(who, progress(client, &assign, 0.5, None).await, Reason::LeaseStale);
        refused(who, owner.release(client).await, Reason::SessionExpired);
    }
    let stolen = owner.try_poll(&colleague, 1, AT_ONCE, &[]).await;
    refused("of the same project", stolen, Reason::SessionExpired);
    let stolen = owner.try_poll(&stranger, 1, AT_ONCE, &[]).await;
    refused("of another project", stolen, Reason::ProjectNotFound);
    let mut own = owner.request.clone();
    own.project = elsewhere;
    refused("its own project", acquire(&stranger, own).await, Reason::SessionExpired);
    let mut guessed = owner.request.clone();
    guessed.session_token.pop();
    guessed.session_token.push('x');
    refused("a wrong secret", acquire(&world.admin, guessed.clone()).await, Reason::SessionExpired);
    let wrong = release(&world.admin, &guessed.session_token).await;
    refused("a wrong secret", wrong, Reason::SessionExpired);
    let viewer = with(&world.other, &world.key(Role::Viewer).await);
    let request = Poller::request(&world.project, "viewer", "work");
    refused("no agent", acquire(&viewer, request).await, Reason::RoleMissing);
    refused("no agent", complete(&viewer, &assign.lease_token, Payload::empty()).await, Reason::RoleMissing);
    complete(&world.other, &assign.lease_token, Payload::text("mine")).await.unwrap();
    let task = world.ended(&task.id).await;
    assert_eq!((task.revision, task.state()), (4, TaskState::Succeeded));
}

async fn a_credential_that_is_revoked_ends_the_wait(world: World) {
    let client = with(&world.admin, &world.key(Role::Agent).await);
    let agent = Poller::open(&client, &world.project, "caller", "work", 60).await.unwrap();
    let keys = world.admin.list_keys().collect_all().await.unwrap();
    let key = keys.into_iter().find(|key| key.projects == [world.project.clone()]).unwrap();
    let waiting = agent.try_poll(&client, 1, LONG, &[]);
    let revoke = RevokeKeyRequest { key_id: key.id, ..RevokeKeyRequest::default() };
    let asked = Instant::now();
    let (answer, revoked) = tokio::join!(waiting, world.other.revoke_key(revoke));
    revoked.unwrap();
    refused("a revoked key", answer, Reason::CredentialRevoked);
    assert!(asked.elapsed() < Duration::from_secs(10), "after {:?}", asked.elapsed());
}

async fn calls_are_refused_by_their_fields(world: World) {
    type Spoil = fn(&mut AcquireStepsRequest);
    let cases: &[(&str, Spoil)] = &[
        ("agent", |request| request.agent.clear()),
        ("agent", |request| request.agent = "a b".into()),
        ("capabilities", |request| request.capabilities.clear()),
        ("capabilities", |request| request.capabilities = vec!["a".into(); 2]),
        ("capabilities[0]", |request| request.capabilities[0] = "Work".into()),
        ("project", |request| request.project = "Default".into()),
        ("session_token", |request| request.session_token = "x".repeat(257)),
        ("held_leases", |request| request.held_leases = vec!["x".into(); 1_001]),
        ("held_leases[0]", |request| request.held_leases = vec!["x".repeat(129)]),
        ("max_steps", |request| request.max_steps = -1),
        ("max_steps", |request| request.max_steps = 1_001),
        ("wait", |request| request.wait = Some(millis(55_001))),
        ("wait", |request| request.wait = Some(prost_types::Duration { seconds: -1, nanos: 0 })),
        ("lease", |request| request.lease = Some(millis(4_999))),
        ("lease", |request| request.lease = Some(millis(3_600_001))),
    ];
    for (field, spoil) in cases {
        let mut request = Poller::request(&world.project, "caller", "work");
        spoil(&mut request);
        refused_field(field, acquire(&world.other, request).await, Reason::FieldsInvalid, field);
    }
    let agent = world.poller("caller", "work").await;
    world.create(plan([step("a", "work")])).await;
    let assign = agent.next_step_named(&world.admin, "a").await;
    let unknown = FailStepRequest { reason: "lower case".into(), ..because("X") };
    let answer = fail(&world.admin, &assign, unknown).await;
    refused_field("a reason for machines", answer, Reason::FieldsInvalid, "reason");
    let answer = progress(&world.admin, &assign, 1.5, None).await;
    refused_field("more than all", answer, Reason::FieldsInvalid, "fraction");
    let answer = complete(&world.admin, "", Payload::empty()).await;
    refused_field("no token", answer, Reason::FieldsInvalid, "lease_token");
    let media = Payload::bytes("nonsense", "x");
    let answer = complete(&world.admin, &assign.lease_token, media).await;
    refused_field("no media type", answer, Reason::FieldsInvalid, "output.media_type");
    refused_field("no session", release(&world.admin, "").await, Reason::FieldsInvalid, "session_token");
    let mut request = Poller::request("no-such-project", "caller", "work");
    refused("no project", acquire(&world.admin, request.clone()).await, Reason::ProjectNotFound);
    request.project = world.project.clone();
    request.session_token = "ses_nonsense".to_owned();
    refused("no session", acquire(&world.admin, request).await, Reason::SessionExpired);
}
