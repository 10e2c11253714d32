//! The edge from outside: callers, statuses, limits, health and reflection.

use crate::support::paper::Paper;
use crate::support::{channel, request, settings, start, start_on, with_credential, within};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quarterdeck_api::operations::v1 as ops;
use quarterdeck_api::operations::v1::project_service_client::ProjectServiceClient;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::task_service_client::TaskServiceClient;
use quarterdeck_api::orchestration::v1::worker_service_client::WorkerServiceClient;
use quarterdeck_engine::ports::{Clock as _, SystemClock};
use quarterdeck_server::{Running, SecretSource};
use tonic::{Code, Request, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_told_apart_before_any_handler() {
    let server = start(settings()).await.unwrap();
    let mut projects = ProjectServiceClient::new(channel(server.grpc_addr).await);
    let named = || ops::GetProjectRequest { name: "default".into() };

    let known = projects.get_project(request(named())).await.unwrap();
    assert!(known.metadata().get("x-request-id").is_some());
    assert_eq!(known.into_inner().project.unwrap().name, "default");

    let nobody = projects.get_project(Request::new(named())).await.unwrap_err();
    assert_eq!((nobody.code(), reason(&nobody).as_str()), (Code::Unauthenticated, "CREDENTIAL_MISSING"));
    for credential in ["Bearer qd_bootstrap_wrong", "Bearer qd_x", "Bearer a.b.c", "Basic dXNlcg=="] {
        let refused = projects.get_project(with_credential(named(), credential)).await.unwrap_err();
        assert_eq!(reason(&refused), "CREDENTIAL_INVALID", "{credential}");
    }
    let absent =
        projects.get_project(request(ops::GetProjectRequest { name: "absent".into() })).await.unwrap_err();
    assert_eq!((absent.code(), reason(&absent).as_str()), (Code::NotFound, "PROJECT_NOT_FOUND"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_method_is_unimplemented_with_a_reason() {
    let server = start(settings()).await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel(server.grpc_addr).await);
    for path in ["/quarterdeck.orchestration.v1.TaskService/Nothing", "/some.Other/Method"] {
        grpc.ready().await.unwrap();
        let path: http::uri::PathAndQuery = path.parse().unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let status = grpc.unary(request(()), path, codec).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_name_the_field() {
    let server = start(settings()).await.unwrap();
    let mut tasks = TaskServiceClient::new(channel(server.grpc_addr).await);
    let step = |key: &str, after: &[&str]| pb::PlanStep {
        key: key.into(),
        capability: "work".into(),
        after: after.iter().map(|&name| name.into()).collect(),
        ..Default::default()
    };
    let plan = |steps| Some(pb::Plan { steps, timeout: None });
    let circle = pb::CreateTaskRequest { plan: plan(vec![step("a", &["a"])]), ..Default::default() };
    let refused = tasks.create_task(request(circle)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "PLAN_INVALID"));
    let fields = refused.get_error_details().bad_request().unwrap().field_violations.clone();
    assert_eq!(fields[0].field, "plan.steps[0].after");

    let bad = pb::ListTasksRequest {
        filter: Some(pb::TaskFilter { retry_of: "nonsense".into(), ..Default::default() }),
        ..Default::default()
    };
    let refused = tasks.list_tasks(request(bad)).await.unwrap_err();
    assert_eq!(reason(&refused), "FIELDS_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_the_limit_is_refused_with_the_limit() {
    let mut settings = settings();
    settings.limits.message_size = 64 * 1024;
    let server = start(settings).await.unwrap();
    let mut tasks = TaskServiceClient::new(channel(server.grpc_addr).await);
    let large = pb::CreateTaskRequest { display_name: "x".repeat(65 * 1024), ..Default::default() };
    let status = tasks.create_task(request(large)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    let info = status.get_error_details().error_info().unwrap().clone();
    assert_eq!(info.metadata["limit"], "65536");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_breaks_the_protocol_is_told_so() {
    let server = start(settings()).await.unwrap();
    let mut worker = WorkerServiceClient::new(channel(server.grpc_addr).await);
    let ping = pb::SessionRequest { message: Some(pb::session_request::Message::Ping(pb::Ping {})) };
    let mut answers = worker.session(request(tokio_stream::iter([ping]))).await.unwrap().into_inner();
    let status = within("the refusal", answers.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "SESSION_PROTOCOL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_welcomed_and_its_bye_ends_it() {
    use pb::session_request::Message as Up;
    use pb::session_response::Message as Down;
    let server = start(settings()).await.unwrap();
    let mut worker = WorkerServiceClient::new(channel(server.grpc_addr).await);
    let (say, words) = tokio::sync::mpsc::channel(8);
    let send = |message| pb::SessionRequest { message: Some(message) };
    let hello =
        pb::Hello { agent: "a".into(), capabilities: vec!["work".into()], slots: 1, ..Default::default() };
    say.send(send(Up::Hello(hello))).await.unwrap();
    let words = tokio_stream::wrappers::ReceiverStream::new(words);
    let mut answers = worker.session(request(words)).await.unwrap().into_inner();
    let first = within("the welcome", answers.message()).await.unwrap().unwrap().message.unwrap();
    let Down::Welcome(welcome) = first else { panic!("{first:?}") };
    assert!(welcome.session_id.starts_with("ses_") && !welcome.resumed && !welcome.resume_token.is_empty());
    say.send(send(Up::Ping(pb::Ping {}))).await.unwrap();
    let pong = within("the pong", answers.message()).await.unwrap().unwrap().message.unwrap();
    assert!(matches!(pong, Down::Pong(_)), "{pong:?}");
    say.send(send(Up::Bye(pb::Bye {}))).await.unwrap();
    assert!(within("the end", answers.message()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_known_by_service_and_by_role() {
    let server = start(settings()).await.unwrap();
    let mut health = HealthClient::new(channel(server.grpc_addr).await);
    let mut ask = async |service: &str| {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await;
        answer.map(|answer| answer.into_inner().status)
    };
    let serving = ServingStatus::Serving as i32;
    for service in
        ["", "live", "quarterdeck.orchestration.v1.TaskService", "quarterdeck.operations.v1.KeyService"]
    {
        assert_eq!(ask(service).await.unwrap(), serving, "{service}");
    }
    let ready = async {
        while ask("ready").await.unwrap() != serving {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    within("ready", ready).await;
    assert_eq!(ask("quarterdeck.nothing").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_reflections_list_everything() {
    let server = start(settings()).await.unwrap();
    let channel = channel(server.grpc_addr).await;
    let mut listed = Vec::new();
    {
        use tonic_reflection::pb::v1::ServerReflectionRequest;
        use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(channel.clone());
        let mut answers =
            client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
        let answer = within("v1", answers.message()).await.unwrap().unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
        listed.push(list.service.into_iter().map(|service| service.name).collect::<Vec<_>>());
    }
    {
        use tonic_reflection::pb::v1alpha::ServerReflectionRequest;
        use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::v1alpha::server_reflection_response::MessageResponse;
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(channel);
        let mut answers =
            client.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
        let answer = within("v1alpha", answers.message()).await.unwrap().unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
        listed.push(list.service.into_iter().map(|service| service.name).collect());
    }
    for mut names in listed {
        names.sort();
        assert_eq!(
            names,
            [
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
                "quarterdeck.approvals.v1.ApprovalService",
                "quarterdeck.approvals.v1.AuditService",
                "quarterdeck.approvals.v1.GateService",
                "quarterdeck.approvals.v1.NotificationService",
                "quarterdeck.approvals.v1.PolicyService",
                "quarterdeck.operations.v1.KeyService",
                "quarterdeck.operations.v1.ProjectService",
                "quarterdeck.orchestration.v1.AgentService",
                "quarterdeck.orchestration.v1.TaskService",
                "quarterdeck.orchestration.v1.WorkerService",
            ]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_answered_at_its_deadline() {
    let store = Arc::new(Paper::default());
    let mut settings = settings();
    settings.limits.default_deadline = Duration::from_millis(100);
    let server = start_on(Arc::clone(&store), settings).await.unwrap();
    store.stuck.store(true, Ordering::Relaxed);
    let mut projects = ProjectServiceClient::new(channel(server.grpc_addr).await);
    let call = projects.get_project(request(ops::GetProjectRequest { name: "slow".into() }));
    let status = within("the deadline", call).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
}

const HS256: &str = "3bf4f1b2b0b822cd15d6c15b0f00a08a";

fn token(lifetime: i64, roles: &[&str]) -> String {
    let claims = serde_json::json!({
        "sub": "worker", "roles": roles, "projects": ["default"],
        "exp": SystemClock.now().as_micros() / 1_000_000 + lifetime,
    });
    let key = jsonwebtoken::EncodingKey::from_secret(HS256.as_bytes());
    format!("Bearer {}", jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap())
}

async fn with_jwt() -> Running {
    let mut settings = settings();
    settings.auth.jwt.hs256_secret = Some(SecretSource::Given(HS256.to_owned().into()));
    settings.auth.jwt.leeway = Duration::ZERO;
    start(settings).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_projects_of_a_token_are_the_callers() {
    let server = with_jwt().await;
    let mut projects = ProjectServiceClient::new(channel(server.grpc_addr).await);
    let named = |name: &str| ops::GetProjectRequest { name: name.into() };
    let ours = with_credential(named("default"), &token(60, &["viewer"]));
    assert!(projects.get_project(ours).await.is_ok());
    let others = with_credential(named("other"), &token(60, &["viewer"]));
    assert_eq!(reason(&projects.get_project(others).await.unwrap_err()), "PROJECT_NOT_FOUND");
    let expired = with_credential(named("default"), &token(-1, &["viewer"]));
    assert_eq!(reason(&projects.get_project(expired).await.unwrap_err()), "CREDENTIAL_EXPIRED");

    let create = || {
        let project = ops::Project { name: "new-one".into(), ..Default::default() };
        ops::CreateProjectRequest { project: Some(project), ..Default::default() }
    };
    let viewer = with_credential(create(), &token(60, &["viewer"]));
    let refused = projects.create_project(viewer).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "ROLE_MISSING"));
    let admin = with_credential(create(), &token(60, &["admin"]));
    let refused = projects.create_project(admin).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "PROJECT_NOT_COVERED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_credential_does() {
    let server = with_jwt().await;
    let mut worker = WorkerServiceClient::new(channel(server.grpc_addr).await);
    let hello =
        pb::Hello { agent: "a".into(), capabilities: vec!["work".into()], slots: 1, ..Default::default() };
    let hello = pb::SessionRequest { message: Some(pb::session_request::Message::Hello(hello)) };
    let words = tokio_stream::StreamExt::chain(tokio_stream::iter([hello]), tokio_stream::pending());
    let session = worker.session(with_credential(words, &token(2, &["agent"]))).await;
    let mut answers = session.unwrap().into_inner();
    assert!(within("the welcome", answers.message()).await.unwrap().is_some());
    let end = within("the end", answers.message()).await.unwrap_err();
    assert_eq!((end.code(), reason(&end).as_str()), (Code::Unauthenticated, "CREDENTIAL_EXPIRED"));
}
