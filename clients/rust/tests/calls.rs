//! Unary calls: repetition, deadlines, pages, headers, TLS.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::orchestration::v1 as pb;
use quarterdeck_client::{Client, Code, Config, Origin};
use support::{Fake, refusal, within};
use tonic::transport::Identity;

fn request() -> pb::CreateTaskRequest {
    let step = pb::PlanStep { key: "a".to_owned(), capability: "echo".to_owned(), ..pb::PlanStep::default() };
    pb::CreateTaskRequest {
        plan: Some(pb::Plan { steps: vec![step], timeout: None }),
        ..pb::CreateTaskRequest::default()
    }
}

#[tokio::test]
async fn a_repeated_creation_keeps_its_request_id() {
    let fake = Fake::start().await;
    fake.script().create.extend([
        Err(refusal(Code::Unavailable, "OUTCOME_UNKNOWN", None)),
        Err(refusal(Code::ResourceExhausted, "OVERLOADED", Some(Duration::from_millis(5)))),
    ]);
    within("the task", fake.client.create_task(request())).await.unwrap();
    within("another task", fake.client.create_task(request())).await.unwrap();
    let ids: Vec<_> = fake.script().created.iter().map(|request| request.request_id.clone()).collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert!(!ids[0].is_empty() && ids[0] == ids[1] && ids[1] == ids[2], "{ids:?}");
    assert_ne!(ids[2], ids[3]);
}

#[tokio::test]
async fn a_request_id_of_the_caller_is_kept() {
    let fake = Fake::start().await;
    let request = pb::CreateTaskRequest { request_id: "mine".to_owned(), ..request() };
    fake.client.create_task(request).await.unwrap();
    assert_eq!(fake.script().created[0].request_id, "mine");
}

#[tokio::test]
async fn the_servers_wish_to_wait_is_honoured() {
    let fake = Fake::start().await;
    let asked = Duration::from_millis(300);
    let overloaded = refusal(Code::ResourceExhausted, "OVERLOADED", Some(asked));
    fake.script().create.push_back(Err(overloaded));
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    within("the task", fake.client.create_task(request())).await.unwrap();
    assert!(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() - before >= asked);
}

#[tokio::test]
async fn what_cannot_pass_is_not_repeated() {
    for (code, reason, known) in [
        (Code::InvalidArgument, "PLAN_INVALID", Reason::PlanInvalid),
        (Code::AlreadyExists, "REQUEST_ID_REUSED", Reason::RequestIdReused),
        (Code::ResourceExhausted, "LIMIT_REACHED", Reason::LimitReached),
        (Code::Internal, "INTERNAL", Reason::Internal),
    ] {
        let fake = Fake::start().await;
        fake.script().create.push_back(Err(refusal(code, reason, None)));
        let error = within("an error", fake.client.create_task(request())).await.unwrap_err();
        assert!(error.is(known) && error.code == code && error.origin == Origin::Server, "{error:?}");
        assert_eq!(fake.script().created.len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn repetition_ends_with_the_deadline() {
    let fake = Fake::start().await;
    let down = || Err(refusal(Code::Unavailable, "STORE_UNAVAILABLE", Some(Duration::from_millis(40))));
    fake.script().create.extend((0..10_000).map(|_| down()));
    let client = fake.client.with_deadline(Duration::from_millis(400));
    let error = within("the deadline", client.create_task(request())).await.unwrap_err();
    // Whichever comes first: the last refusal, or the end of the time in the middle of a try. The
    // latter must not be shown as the former, for that try may have been done.
    assert!(error.is(Reason::StoreUnavailable) || error.code == Code::DeadlineExceeded, "{error:?}");
    let tries = fake.script().created.len();
    assert!((2..=10).contains(&tries), "{tries} tries");
}

#[tokio::test]
async fn a_client_without_retries_tries_once() {
    let fake = Fake::start().await;
    let down = || Err(refusal(Code::Unavailable, "STORE_UNAVAILABLE", Some(Duration::from_millis(40))));
    fake.script().create.extend((0..10).map(|_| down()));
    assert!(fake.client.without_retries().create_task(request()).await.is_err());
    assert_eq!(fake.script().created.len(), 1);
}

#[tokio::test]
async fn nobody_there_is_an_error_of_the_transport_that_says_where() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = within("an error", Client::connect(Config::new(&endpoint))).await.unwrap_err();
    assert_eq!((error.code, error.origin), (Code::Unavailable, Origin::Transport));
    assert!(error.message.contains(&endpoint) && error.message.contains("refused"), "{error}");

    let client = Client::lazy(Config::new(&endpoint)).unwrap().with_deadline(Duration::from_millis(200));
    let error = within("an error", client.get_task("tsk_1")).await.unwrap_err();
    assert_eq!((error.code, error.origin), (Code::Unavailable, Origin::Transport), "{error:?}");
}

#[tokio::test]
async fn calls_carry_the_credential_and_the_clients_name() {
    let fake = Fake::start().await;
    fake.client.create_task(request()).await.unwrap();
    let (authorization, agent) = fake.script().headers[0].clone();
    assert_eq!(authorization, "Bearer qd_test");
    assert!(agent.starts_with("quarterdeck-rust/"), "{agent}");
}

#[tokio::test]
async fn a_list_walks_all_pages_once_each() {
    let fake = Fake::start().await;
    let expected: Vec<_> = (0..7).map(|n| format!("tsk_{n}")).collect();
    fake.script().tasks.clone_from(&expected);
    let request = pb::ListTasksRequest {
        project: "default".to_owned(),
        page_size: 3,
        ..pb::ListTasksRequest::default()
    };
    let tasks = within("the list", fake.client.list_tasks(request.clone()).collect_all()).await.unwrap();
    assert_eq!(tasks.into_iter().map(|task| task.id).collect::<Vec<_>>(), expected);
    let pages: Vec<_> = fake.script().pages.iter().map(|page| page.page_token.clone()).collect();
    assert_eq!(pages, ["", "3", "6"]);
    assert!(fake.script().pages.iter().all(|page| page.project == "default" && page.page_size == 3));

    let mut few = fake.client.list_tasks(request);
    assert_eq!(few.next_item().await.unwrap().unwrap().id, "tsk_0");
    assert_eq!(fake.script().pages.len(), 4, "a page that nobody needs was fetched");
}

#[tokio::test]
async fn tls_trusts_the_given_authority_and_no_other() {
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    };
    let (pem, key) = certificate("127.0.0.1");
    let (stranger, _) = certificate("127.0.0.1");
    let trusted = pem.clone();
    let fake = Fake::start_with(
        |config| config.ca_pem = Some(trusted.into_bytes()),
        Some(Identity::from_pem(pem, key)),
    )
    .await;
    fake.client.create_task(request()).await.unwrap();
    let config = Config::new(&fake.endpoint).with_ca_pem(stranger);
    let error = within("an error", Client::connect(config)).await.unwrap_err();
    assert_eq!(error.origin, Origin::Transport);
    assert!(error.message.contains("certificate"), "{error}");
}
