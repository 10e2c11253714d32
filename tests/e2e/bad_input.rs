//! Bad input of each kind gets its own clear error, and leaves nothing behind.

use prost::Message as _;
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::operations::v1::CreateKeyRequest;
use quarterdeck_client::api::orchestration::v1::session_request::Message as Up;
use quarterdeck_client::api::orchestration::v1::{
    Complete, CreateTaskRequest, DrainAgentRequest, GetTaskRequest, Hello, ListTasksRequest, Ping,
    TaskFilter, TaskView,
};
use quarterdeck_client::{Payload, request_id};
use tonic::Status;

use crate::agent::{self, Agent};
use crate::expect::{refused, refused_field, within};
use crate::plans::{StepWords, plan, step};
use crate::raw;
use crate::stack::both;
use crate::world::World;

both!(Usual:
    a_bad_task_is_refused_by_its_field,
    a_plan_that_is_no_dag_is_refused_by_its_step,
    a_task_too_large_in_any_way_is_refused,
    bytes_that_are_no_request_are_refused,
    an_unknown_project_is_refused,
    other_requests_are_refused_by_their_fields,
    a_session_is_refused_by_its_fields,
    a_session_out_of_order_is_refused,
    an_unknown_method_is_refused,
    the_largest_of_everything_is_taken,
);

fn duration(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos })
}

/// A good request, spoilt.
fn spoilt(world: &World, spoil: impl FnOnce(&mut CreateTaskRequest)) -> CreateTaskRequest {
    let mut request = world.request(plan([step("a", "work"), step("b", "work").after(&["a"])]));
    request.request_id = request_id();
    spoil(&mut request);
    request
}

fn first_step(request: &mut CreateTaskRequest) -> &mut quarterdeck_client::api::orchestration::v1::PlanStep {
    &mut request.plan.as_mut().unwrap().steps[0]
}

async fn create(world: &World, request: CreateTaskRequest) -> Result<(), Status> {
    world.other.task_stub().create_task(request).await.map(|_| ())
}

async fn nothing_is_left(world: &World) {
    assert_eq!(world.tasks().await, [], "a refused request must leave nothing behind");
}

type Spoil = fn(&mut CreateTaskRequest);

async fn a_bad_task_is_refused_by_its_field(world: World) {
    let cases: &[(&str, &str, Spoil)] = &[
        ("no plan", "plan", |request| request.plan = None),
        ("no steps", "plan.steps", |request| request.plan.as_mut().unwrap().steps.clear()),
        ("empty key", "plan.steps[0].key", |request| first_step(request).key.clear()),
        ("key with a slash", "plan.steps[0].key", |request| first_step(request).key = "a/b".into()),
        ("capability in capitals", "plan.steps[0].capability", |request| {
            first_step(request).capability = "Work".into()
        }),
        ("negative priority", "plan.steps[0].priority", |request| first_step(request).priority = -1),
        ("priority 10", "plan.steps[0].priority", |request| first_step(request).priority = 10),
        ("negative duration", "plan.timeout", |request| {
            request.plan.as_mut().unwrap().timeout = duration(-1, 0)
        }),
        ("zero duration", "plan.timeout", |request| request.plan.as_mut().unwrap().timeout = duration(0, 0)),
        ("huge duration", "plan.timeout", |request| {
            request.plan.as_mut().unwrap().timeout = duration(i64::MAX, 0)
        }),
        ("31 days", "plan.timeout", |request| {
            request.plan.as_mut().unwrap().timeout = duration(31 * 86_400, 0)
        }),
        ("nanos out of range", "plan.timeout", |request| {
            request.plan.as_mut().unwrap().timeout = duration(1, i32::MAX)
        }),
        ("negative wait", "plan.steps[0].timeouts.waiting", |request| {
            first_step(request).timeouts_mut().waiting = duration(0, -1)
        }),
        ("short attempt", "plan.steps[0].timeouts.attempt", |request| {
            first_step(request).timeouts_mut().attempt = duration(0, 1)
        }),
        ("101 attempts", "plan.steps[0].retry.max_attempts", |request| {
            first_step(request).retry_mut().max_attempts = 101
        }),
        ("factor not a number", "plan.steps[0].retry.backoff_multiplier", |request| {
            first_step(request).retry_mut().backoff_multiplier = f64::NAN
        }),
        ("infinite factor", "plan.steps[0].retry.backoff_multiplier", |request| {
            first_step(request).retry_mut().backoff_multiplier = f64::INFINITY
        }),
        ("after twice the same", "plan.steps[0].after", |request| {
            first_step(request).after = vec!["b".into(); 2]
        }),
        ("bad media type", "plan.steps[0].input.media_type", |request| {
            first_step(request).input = Some(Payload::bytes("nonsense", "x").into_proto());
        }),
        ("NUL in JSON", "plan.steps[0].input.json.string_value", |request| {
            first_step(request).input = Some(Payload::from_json("a\0b".into()).into_proto());
        }),
        ("NUL in a name", "display_name", |request| request.display_name = "a\0b".into()),
        ("NUL in a label", "labels[\"team\"]", |request| {
            drop(request.labels.insert("team".into(), "\0".into()))
        }),
        ("bad label key", "labels[\"a b\"]", |request| drop(request.labels.insert("a b".into(), "v".into()))),
        ("too many labels", "labels", |request| {
            request.labels = (0..33).map(|at| (format!("k{at}"), String::new())).collect();
        }),
        ("request id with a space", "request_id", |request| request.request_id = "a b".into()),
        ("long request id", "request_id", |request| request.request_id = "a".repeat(65)),
        ("project in capitals", "project", |request| request.project = "Default".into()),
        ("long name", "display_name", |request| request.display_name = "x".repeat(201)),
    ];
    for (what, field, spoil) in cases {
        refused_field(what, create(&world, spoilt(&world, spoil)).await, Reason::FieldsInvalid, field);
    }
    nothing_is_left(&world).await;
}

async fn a_plan_that_is_no_dag_is_refused_by_its_step(world: World) {
    let cases: &[(&str, &str, Spoil)] = &[
        ("missing dependency", "plan.steps[1].after", |request| {
            request.plan.as_mut().unwrap().steps[1].after = vec!["nowhere".into()];
        }),
        ("duplicate key", "plan.steps[1].key", |request| {
            request.plan.as_mut().unwrap().steps[1] = step("a", "work");
        }),
        ("after itself", "plan.steps[0].after", |request| first_step(request).after = vec!["a".into()]),
        ("cycle", "plan.steps[", |request| first_step(request).after = vec!["b".into()]),
    ];
    for (what, field, spoil) in cases {
        let error = refused(what, create(&world, spoilt(&world, spoil)).await, Reason::PlanInvalid);
        let named = error.fields.first().map(|violation| violation.field.clone()).unwrap_or_default();
        assert!(named.starts_with(field), "{what}: must name {field}, names {named:?} ({error})");
    }
    let mut long =
        plan((0..60).map(|at| step(&format!("s{at}"), "work").after(&[&format!("s{}", (at + 1) % 60)])));
    long.steps.push(step("fine", "work"));
    let error = refused("a long cycle", create(&world, world.request(long)).await, Reason::PlanInvalid);
    assert!(error.to_string().contains("s59"), "the steps of the cycle are named: {error}");
    nothing_is_left(&world).await;
}

async fn a_task_too_large_in_any_way_is_refused(world: World) {
    const FIELD: &str = "plan.steps[0].input";
    let data = spoilt(&world, |request| {
        first_step(request).input = Some(Payload::bytes("text/plain", vec![b'x'; 262_145]).into_proto());
    });
    refused_field("data", create(&world, data).await, Reason::FieldsInvalid, &format!("{FIELD}.data"));
    let json = spoilt(&world, |request| {
        first_step(request).input = Some(Payload::from_json("x".repeat(262_143).into()).into_proto());
    });
    let error = refused("JSON", create(&world, json).await, Reason::FieldsInvalid);
    assert!(error.fields[0].field.starts_with(FIELD), "{error}");

    let many = world.request(plan((0..1_001).map(|at| step(&format!("s{at}"), "work"))));
    refused_field("1,001 steps", create(&world, many).await, Reason::FieldsInvalid, "plan.steps");
    let steps = (0..20)
        .map(|at| step(&format!("s{at}"), "work").input(Payload::bytes("text/plain", vec![b'x'; 262_144])));
    let huge = world.request(plan(steps));
    let error = refused("5 MiB", create(&world, huge).await, Reason::MessageTooLarge);
    assert_eq!(error.retry_after, None, "a repetition would be as large");
    let nested = (0..200).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    let deep =
        spoilt(&world, |request| first_step(request).input = Some(Payload::from_json(nested).into_proto()));
    refused("nested deeply", create(&world, deep).await, Reason::MessageMalformed);
    nothing_is_left(&world).await;
}

async fn bytes_that_are_no_request_are_refused(world: World) {
    let good = spoilt(&world, |request| request.display_name = "good".to_owned()).encode_to_vec();
    let mut broken_text = good.clone();
    let at = good.windows(4).position(|part| part == b"good").unwrap();
    broken_text[at + 1] = 0xff;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a string that is not UTF-8", broken_text),
        ("cut short", good[..good.len() - 1].to_vec()),
        ("noise", (0..64).map(|at: u8| at.wrapping_mul(151)).collect()),
        ("a field number of zero", vec![0x02, 0x01, 0x00]),
        ("a length beyond the end", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("a group that does not end", vec![0x0b]),
        ("a field of another wire type", vec![0x08, 0x01]),
    ];
    for (what, bytes) in cases {
        let answer = raw::call_as(&world.other, raw::CREATE_TASK, bytes).await;
        refused(what, answer, Reason::MessageMalformed);
    }
    let empty = raw::call_as(&world.other, raw::CREATE_TASK, Vec::new()).await;
    refused_field("an empty message", empty, Reason::FieldsInvalid, "plan");
    nothing_is_left(&world).await;
    raw::call_as(&world.other, raw::CREATE_TASK, good).await.expect("the same bytes unspoilt are a request");
    assert_eq!(world.tasks().await.len(), 1);
}

async fn an_unknown_project_is_refused(world: World) {
    let request = spoilt(&world, |request| request.project = "no-such-project".to_owned());
    refused("create", create(&world, request).await, Reason::ProjectNotFound);
    let list = ListTasksRequest { project: "no-such-project".to_owned(), ..ListTasksRequest::default() };
    refused("list", world.admin.list_tasks_page(list).await, Reason::ProjectNotFound);
    let hello = Agent::hello("no-such-project", "agent", &["work"], 1);
    let opened = Agent::open(&world.admin, hello).await.map(|agent| agent.welcome.clone());
    refused("session", opened, Reason::ProjectNotFound);
    refused("read", world.admin.get_project("no-such-project").await, Reason::ProjectNotFound);
    let key = CreateKeyRequest {
        display_name: "key".to_owned(),
        roles: vec![1],
        projects: vec!["no-such-project".to_owned()],
        ..CreateKeyRequest::default()
    };
    refused("key", world.admin.create_key(key).await, Reason::ProjectNotFound);
}

async fn other_requests_are_refused_by_their_fields(world: World) {
    let mut tasks = world.admin.task_stub();
    let view = GetTaskRequest { task_id: "tsk_x".to_owned(), view: 99, ..GetTaskRequest::default() };
    refused_field("unknown enum", tasks.get_task(view).await, Reason::FieldsInvalid, "view");
    let id = GetTaskRequest { view: TaskView::Basic.into(), ..GetTaskRequest::default() };
    refused_field("no id", tasks.get_task(id).await, Reason::FieldsInvalid, "task_id");
    let list = |filter: TaskFilter| ListTasksRequest { filter: Some(filter), ..ListTasksRequest::default() };
    let states = list(TaskFilter { states: vec![1, 99], ..TaskFilter::default() });
    refused_field("unknown state", tasks.list_tasks(states).await, Reason::FieldsInvalid, "filter.states[1]");
    let never = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    let time = list(TaskFilter { created_after: never, ..TaskFilter::default() });
    refused_field("no time", tasks.list_tasks(time).await, Reason::FieldsInvalid, "filter.created_after");
    let size = ListTasksRequest { page_size: -1, ..ListTasksRequest::default() };
    refused_field("negative page", tasks.list_tasks(size).await, Reason::FieldsInvalid, "page_size");

    let key = |roles: Vec<i32>| CreateKeyRequest {
        display_name: "k".to_owned(),
        roles,
        all_projects: true,
        ..CreateKeyRequest::default()
    };
    let mut keys = world.admin.key_stub();
    refused_field("unknown role", keys.create_key(key(vec![1, 77])).await, Reason::FieldsInvalid, "roles[1]");
    refused_field("no role", keys.create_key(key(Vec::new())).await, Reason::FieldsInvalid, "roles");
    let both = CreateKeyRequest { projects: vec![world.project.clone()], ..key(vec![1]) };
    refused("some projects and all", keys.create_key(both).await, Reason::FieldsInvalid);
    let none = CreateKeyRequest { all_projects: false, ..key(vec![1]) };
    refused("no projects", keys.create_key(none).await, Reason::FieldsInvalid);
    let brief = CreateKeyRequest { lifetime: duration(0, 1), ..key(vec![1]) };
    refused_field("brief life", keys.create_key(brief).await, Reason::FieldsInvalid, "lifetime");
    let drain = DrainAgentRequest { project: world.project.clone(), ..DrainAgentRequest::default() };
    refused_field(
        "nobody to drain",
        world.admin.agent_stub().drain_agent(drain).await,
        Reason::FieldsInvalid,
        "target",
    );
}

/// The error of a session that says these things.
async fn session_error(world: &World, words: Vec<Up>) -> Result<(), Status> {
    let (_up, mut down) = agent::stream(&world.other, words).await?;
    let reading = async {
        while down.message().await?.is_some() {}
        Ok(())
    };
    within("the end of a session that must be refused", reading).await
}

async fn a_session_is_refused_by_its_fields(world: World) {
    let good = || Agent::hello(&world.project, "agent", &["work"], 1);
    for (what, field, hello) in [
        ("no name", "hello.agent", Hello { agent: String::new(), ..good() }),
        ("no capability", "hello.capabilities", Hello { capabilities: Vec::new(), ..good() }),
        (
            "capability in capitals",
            "hello.capabilities[0]",
            Hello { capabilities: vec!["Work".into()], ..good() },
        ),
        ("negative slots", "hello.slots", Hello { slots: -1, ..good() }),
        ("too many slots", "hello.slots", Hello { slots: 1_001, ..good() }),
        ("NUL in the build", "hello.build", Hello { build: "1\0".into(), ..good() }),
    ] {
        let error = session_error(&world, vec![Up::Hello(hello)]).await;
        refused_field(what, error, Reason::FieldsInvalid, field);
    }
    let output = Some(Payload::bytes("text/plain", vec![b'x'; 262_145]).into_proto());
    let complete = Complete { lease_token: "x".to_owned(), number: 1, output };
    let error = session_error(&world, vec![Up::Hello(good()), Up::Complete(complete)]).await;
    refused_field("large output", error, Reason::FieldsInvalid, "complete.output.data");
}

async fn a_session_out_of_order_is_refused(world: World) {
    let hello = || Up::Hello(Agent::hello(&world.project, "agent", &["work"], 1));
    let first = session_error(&world, vec![Up::Ping(Ping {})]).await;
    refused("a ping before hello", first, Reason::SessionProtocol);
    let twice = session_error(&world, vec![hello(), hello()]).await;
    refused("hello twice", twice, Reason::SessionProtocol);
}

async fn an_unknown_method_is_refused(world: World) {
    for path in [
        "/quarterdeck.orchestration.v1.TaskService/DeleteTask",
        "/quarterdeck.orchestration.v9.TaskService/CreateTask",
        "/nobody.Knows/This",
    ] {
        refused(path, raw::call_as(&world.admin, path, Vec::new()).await, Reason::MethodUnknown);
    }
}

async fn the_largest_of_everything_is_taken(world: World) {
    let mut request = world.request(plan((0..1_000).map(|at| step(&format!("s{at}"), "work"))));
    request.display_name = "ä".repeat(200);
    request.labels = (0..32).map(|at| (format!("k{at}"), "v".repeat(128))).collect();
    let last = request.plan.as_mut().unwrap().steps.last_mut().unwrap();
    last.after = (0..100).map(|at| format!("s{at}")).collect();
    last.input = Some(Payload::bytes("text/plain", vec![b'x'; 262_144]).into_proto());
    last.timeouts_mut().attempt = duration(30 * 86_400, 0);
    let task = world.admin.create_task(request.clone()).await.unwrap();
    let stored = world.other.get_task(&task.id).await.unwrap();
    assert_eq!((stored.step_count, stored.steps.len()), (1_000, 1_000));
    assert_eq!((stored.display_name, stored.labels), (request.display_name, request.labels));
    assert_eq!(stored.steps[999].after.len(), 100);
    world.cancel(&world.admin, &task.id).await.unwrap();
}
