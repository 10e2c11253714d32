//! Every RPC times every kind of credential: none, bad ones, expired ones, those of
//! the wrong role, and those of another project; each has its exact status.

use std::time::Duration;

use prost_reflect::{FieldDescriptor, Kind as FieldKind, MessageDescriptor};
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::operations::v1::{CreateKeyRequest, RevokeKeyRequest};
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::{Code, Error};

use crate::contract::Method;
use crate::dice::Dice;
use crate::expect::{code_of, until};
use crate::judge::{Outcome, judge};
use crate::make::{Maker, Mood};
use crate::raw::{self, Answer, Ask, Line, NoAnswer, framed};
use crate::scene::{MARKER, ROLES, Scene, key};
use crate::server::{Kind, Server};
use crate::settings::Settings;
use crate::shot::{Shot, Sort};
use crate::tokens;
use crate::wire::encode;

/// How long a stream that is let in is listened to, and one that ends with our side.
const LISTEN: Duration = Duration::from_millis(300);
const LISTEN_TO_THE_END: Duration = Duration::from_secs(6);
/// Messages with the same name in them, of which the owner has to get one answered.
const TRIES: usize = 24;
/// Deepest field that is tried as a name of something foreign.
const DEEP: usize = 3;

/// What somebody else hears who names one of our things in a field of this name. A
/// name that is none of these is no name of a thing of its own.
const FOREIGN: [(&str, Reason); 14] = [
    ("project", Reason::ProjectNotFound),
    ("name", Reason::ProjectNotFound),
    ("projects", Reason::ProjectNotCovered),
    ("task_id", Reason::TaskNotFound),
    ("session_id", Reason::SessionNotFound),
    ("key_id", Reason::KeyNotFound),
    ("approval_id", Reason::ApprovalNotFound),
    ("grant_id", Reason::GrantNotFound),
    ("webhook_id", Reason::WebhookNotFound),
    ("lease_token", Reason::LeaseStale),
    ("resume_token", Reason::SessionExpired),
    ("session_token", Reason::SessionExpired),
    ("page_token", Reason::CursorInvalid),
    ("resume_after", Reason::CursorInvalid),
];

/// Methods that want more than a name: digests of what was granted, a sealed audit, one
/// of two fields, a webhook. The end-to-end tests of approvals ask strangers for those.
const WANTING: [&str; 8] = [
    "ApprovalService/DecideApprovals",
    "ApprovalService/EditApproval",
    "AuditService/GetInclusionProof",
    "AuditService/GetConsistencyProof",
    "PolicyService/RevokeStandingGrant",
    "PolicyService/ExplainPolicy",
    "NotificationService/CreateWebhook",
    "NotificationService/DeleteWebhook",
];

#[tokio::test]
async fn every_method_knows_every_credential_on_sqlite() {
    Box::pin(every_credential(Kind::Sqlite)).await;
}

#[tokio::test]
async fn every_method_knows_every_credential_on_postgres() {
    Box::pin(every_credential(Kind::Postgres)).await;
}

#[tokio::test]
async fn every_method_hides_what_is_another_projects_on_sqlite() {
    Box::pin(hides(Kind::Sqlite)).await;
}

#[tokio::test]
async fn every_method_hides_what_is_another_projects_on_postgres() {
    Box::pin(hides(Kind::Postgres)).await;
}

/// What a caller shows.
struct Shown {
    what: String,
    /// Values of `authorization`.
    headers: Vec<String>,
}

fn shown(what: &str, headers: &[&str]) -> Shown {
    Shown { what: what.to_owned(), headers: headers.iter().map(|&header| header.to_owned()).collect() }
}

fn bearer(what: &str, credential: &str) -> Shown {
    shown(what, &[&format!("Bearer {credential}")])
}

async fn every_credential(kind: Kind) {
    let settings = Settings::read();
    let server = Server::start(kind).await;
    let scene = Scene::new(&server).await;
    let bad = bad_credentials(&server, &scene).await;
    let roles = roles(&server, &scene).await;
    let before = server.settled().await;
    for method in Method::all().iter().filter(|method| settings.wants(&method.path)) {
        // Whoever shows too many bad credentials on one connection loses it.
        let line = server.line().await;
        let Some(access) = method.access else {
            open_to_everybody(method, &line, &bad).await;
            continue;
        };
        // Whoever calls is looked at first, whether or not what he says makes sense.
        let right = Shot::of_sort(Sort::Right, method, 0, &scene, &mut Dice::of(1, &method.path, 0));
        for (shown, reason) in &bad {
            for body in [vec![framed(b"")], right.body()] {
                let answer = call(method, &line, shown, body).await;
                refused(method, &shown.what, &answer, *reason);
            }
        }
        for (role, shown) in &roles {
            let answer = call(method, &line, shown, vec![framed(b"")]).await;
            if !access.roles.contains(role) {
                refused(method, &shown.what, &answer, Reason::RoleMissing);
            } else if access.all_projects {
                refused(method, &shown.what, &answer, Reason::ProjectNotCovered);
            } else {
                admitted(method, &shown.what, &answer);
            }
        }
    }
    assert_eq!(server.settled().await, before, "none of these calls may write");
    server.is_sound();
}

/// Credentials that nobody takes, with the reason.
async fn bad_credentials(server: &Server, scene: &Scene) -> Vec<(Shown, Reason)> {
    use Reason::{CredentialExpired, CredentialInvalid, CredentialMissing, CredentialRevoked};
    let good = &scene.own.secret;
    let (head, _) = good.rsplit_once('_').unwrap();
    let last = if good.ends_with('a') { "b" } else { "a" };
    let bearers = [
        ("garbage", "garbage".to_owned()),
        ("nothing after Bearer", String::new()),
        ("a key with one letter wrong", format!("{}{last}", &good[..good.len() - 1])),
        ("a key with another secret", format!("{head}_{}", "a".repeat(52))),
        ("a key without its secret", head.to_owned()),
        ("a key that is not there", format!("qd_{}_{}", "0".repeat(26), "a".repeat(52))),
        ("a key with more behind it", format!("{good}a")),
        ("a wrong bootstrap secret", format!("qd_bootstrap_{}", "0".repeat(64))),
        ("an empty bootstrap secret", "qd_bootstrap_".to_owned()),
        ("9 KiB", "a".repeat(9 * 1024)),
    ];
    let mut bad: Vec<(Shown, Reason)> =
        bearers.iter().map(|(what, text)| (bearer(what, text), CredentialInvalid)).collect();
    bad.push((shown("nothing", &[]), CredentialMissing));
    bad.push((shown("another scheme", &["Basic dXNlcjpwYXNzd29yZA=="]), CredentialInvalid));
    bad.push((shown("a key without a scheme", &[good]), CredentialInvalid));
    let both = [format!("Bearer {good}"), format!("Bearer {}", scene.foreign.secret)];
    bad.push((shown("two good keys", &[&both[0], &both[1]]), CredentialInvalid));
    for (what, token, old) in tokens::bad(&["admin", "agent"], &scene.own.project) {
        bad.push((bearer(what, &token), if old { CredentialExpired } else { CredentialInvalid }));
    }
    bad.push((bearer("a revoked key", &revoked(server, scene).await), CredentialRevoked));
    bad.push((bearer("an expired key", &expired(server, scene).await), CredentialExpired));
    bad
}

/// A key that was good and is revoked by now.
async fn revoked(server: &Server, scene: &Scene) -> String {
    let admin = server.client(&scene.own.secret);
    let secret = key(&admin, &ROLES, &scene.own.project, "to be revoked").await;
    let keys = admin.list_keys().collect_all().await.unwrap();
    let key = keys.into_iter().find(|key| key.display_name == "to be revoked").expect("it is listed");
    admin.revoke_key(RevokeKeyRequest { key_id: key.id, ..RevokeKeyRequest::default() }).await.unwrap();
    useless(server, &secret).await;
    secret
}

/// A key that was good for a second.
async fn expired(server: &Server, scene: &Scene) -> String {
    let request = CreateKeyRequest {
        display_name: "brief".to_owned(),
        roles: ROLES.iter().map(|&role| role.into()).collect(),
        projects: vec![scene.own.project.clone()],
        lifetime: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..CreateKeyRequest::default()
    };
    let secret = server.client(&scene.own.secret).create_key(request).await.unwrap().secret;
    useless(server, &secret).await;
    secret
}

async fn useless(server: &Server, secret: &str) {
    let client = server.client(secret);
    until("the end of a key", || async { client.list_projects_page(Default::default()).await.err() }).await;
}

/// Keys and tokens of one role each.
async fn roles(server: &Server, scene: &Scene) -> Vec<(Role, Shown)> {
    let admin = server.client(&scene.own.secret);
    let mut roles = Vec::new();
    for role in ROLES {
        let secret = key(&admin, &[role], &scene.own.project, "one role").await;
        roles.push((role, bearer(&format!("a key of the role {role:?}"), &secret)));
        let name = role.as_str_name().trim_start_matches("ROLE_").to_lowercase();
        let token = tokens::token(&tokens::claims(&[&name], &scene.own.project));
        roles.push((role, bearer(&format!("a JWT of the role {role:?}"), &token)));
    }
    let none = tokens::token(&tokens::claims(&[], &scene.own.project));
    roles.push((Role::Unspecified, bearer("a JWT of no role", &none)));
    roles
}

async fn call(
    method: &Method,
    line: &Line,
    shown: &Shown,
    body: Vec<bytes::Bytes>,
) -> Result<Answer, NoAnswer> {
    let mut ask = Ask::new(&method.path, body);
    for header in &shown.headers {
        ask = ask.header("authorization", header);
    }
    if method.says_many {
        (ask.listen, ask.messages) = (if method.hears_many { LISTEN_TO_THE_END } else { LISTEN }, 1);
    }
    raw::exchange(line, ask).await
}

/// The code and the reason of a call that was not answered.
fn refusal(answer: &Result<Answer, NoAnswer>) -> Option<(Code, String)> {
    let answer = answer.as_ref().ok().filter(|answer| answer.messages.is_empty())?;
    let status = answer.status.clone().filter(|status| status.code() != Code::Ok)?;
    Some((status.code(), Error::from(status).reason_name().to_owned()))
}

fn name(reason: Reason) -> &'static str {
    reason.as_str_name().trim_start_matches("REASON_")
}

#[track_caller]
fn refused(method: &Method, what: &str, answer: &Result<Answer, NoAnswer>, reason: Reason) {
    let expected = (code_of(reason), name(reason).to_owned());
    let path = &method.path;
    assert_eq!(refusal(answer), Some(expected), "{path} with {what}: {answer:?}");
}

/// Let in, whatever became of its message.
#[track_caller]
fn admitted(method: &Method, what: &str, answer: &Result<Answer, NoAnswer>) {
    let outcome = judge(method, answer).unwrap_or_else(|why| panic!("{} with {what}: {why}", method.path));
    let denied = matches!(outcome, Outcome::Refused(Code::PermissionDenied | Code::Unauthenticated, _));
    assert!(!denied, "{} with {what} must be let in: {answer:?}", method.path);
}

/// Health and reflection look at no credential.
async fn open_to_everybody(method: &Method, line: &Line, bad: &[(Shown, Reason)]) {
    for (shown, _) in bad {
        let answer = call(method, line, shown, vec![framed(b"")]).await;
        admitted(method, &shown.what, &answer);
    }
}

/// A thing of another project is answered as one that is not there, whatever the
/// method; its owner gets the same message answered.
async fn hides(kind: Kind) {
    let settings = Settings::read();
    let server = Server::start(kind).await;
    let mut tried = 0;
    // Only those who cover all projects call the others.
    let concerned = |method: &Method| method.access.is_some_and(|access| !access.all_projects);
    let methods: Vec<Method> = Method::all().into_iter().filter(concerned).collect();
    let wanted = methods.iter().filter(|method| settings.wants(&method.path));
    // Those that only read leave a scene as it was, for the next.
    let (reading, writing): (Vec<_>, Vec<_>) = wanted.partition(|method| method.only_reads());
    for methods in std::iter::once(reading).chain(writing.into_iter().map(|method| vec![method])) {
        let scene = Scene::new(&server).await;
        for method in methods {
            for (path, reason) in paths(&method.input, &mut Vec::new()) {
                tried += usize::from(hides_one(&server, &scene, method, &path, reason).await);
            }
        }
    }
    assert!(tried > 10 || !settings.wants_all(), "only {tried} fields name something");
    server.is_sound();
}

/// True where the owner was answered.
async fn hides_one(
    server: &Server,
    scene: &Scene,
    method: &Method,
    path: &[FieldDescriptor],
    reason: Reason,
) -> bool {
    let names: Vec<&str> = path.iter().map(FieldDescriptor::name).collect();
    let field = names.join(".");
    let line = server.line().await;
    let (stranger, owner) = (scene.own.credential(method), scene.foreign.credential(method));
    let (stranger, owner) = (bearer("a stranger", stranger), bearer("the owner", owner));
    for index in 0..TRIES {
        let mut dice = Dice::of(3, &format!("{}{field}", method.path), index);
        let (dice, words, only) = (&mut dice, &scene.words, Some(path.to_vec()));
        let mut maker = Maker { dice, words, mood: Mood::Foreign, spoil: None, made: 0, room: 1_000, only };
        let body = vec![framed(&encode(&maker.message(&method.input, 0)))];
        let before = server.mark().await;
        let strange = call(method, &line, &stranger, body.clone()).await;
        if server.mark().await != before {
            // Perhaps something late of the owner's call before.
            let before = server.settled().await;
            call(method, &line, &stranger, body.clone()).await.ok();
            assert_eq!(server.settled().await, before, "{} {field}: a stranger has written", method.path);
        }
        let told = format!("{strange:?}");
        assert!(!told.contains(MARKER), "{} {field}: {told}", method.path);
        let rightful = call(method, &line, &owner, body).await;
        if judge(method, &rightful) == Ok(Outcome::Accepted) {
            refused(method, &format!("another project's {field}"), &strange, reason);
            return true;
        }
    }
    // The first message of a session is Hello: leases come later in it. And not every
    // list of a single project has a second page.
    let nothing = (method.hears_many && names[0] != "hello")
        || reason == Reason::CursorInvalid
        || WANTING.iter().any(|path| method.path.ends_with(path));
    assert!(nothing, "{} {field}: not even its owner was answered", method.path);
    false
}

/// The fields that name things of a project.
fn paths(of: &MessageDescriptor, above: &mut Vec<FieldDescriptor>) -> Vec<(Vec<FieldDescriptor>, Reason)> {
    let mut found = Vec::new();
    for field in of.fields() {
        let reason = FOREIGN.iter().find(|(name, _)| *name == field.name()).map(|(_, reason)| *reason);
        above.push(field.clone());
        match (field.kind(), reason) {
            (FieldKind::String, Some(reason)) => found.push((above.clone(), reason)),
            // What an action names is the agent's, not ours.
            (FieldKind::Message(inner), _) if inner.full_name() == "quarterdeck.approvals.v1.Action" => {}
            (FieldKind::Message(inner), _) if above.len() < DEEP && !field.is_map() => {
                found.extend(paths(&inner, above));
            }
            _ => {}
        }
        above.pop();
    }
    // Where an approval is named as well, that is looked for first.
    if found.iter().any(|(path, reason)| path.len() == above.len() + 1 && *reason == Reason::ApprovalNotFound)
    {
        let leases = found.iter_mut().filter(|(_, reason)| *reason == Reason::LeaseStale);
        leases.for_each(|(_, reason)| *reason = Reason::ApprovalNotFound);
    }
    found
}
