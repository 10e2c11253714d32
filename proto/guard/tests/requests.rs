//! Each kind of rule, kept and broken, on requests of the contract.

use prost_types::{Duration, FieldMask, Timestamp, Value, value};

use super::bytes::broken;
use crate::operations::v1::{CreateKeyRequest, Project, UpdateProjectRequest};
use crate::orchestration::v1::{
    CreateTaskRequest, DrainAgentRequest, ListTasksRequest, Plan, PlanStep, RetryPolicy, StepTimeouts,
    TaskFilter, drain_agent_request,
};
use crate::r#type::v1::{Payload, payload};

fn task() -> CreateTaskRequest {
    CreateTaskRequest { plan: Some(Plan { steps: vec![step("read")], timeout: None }), ..Default::default() }
}

fn step(key: &str) -> PlanStep {
    PlanStep { key: key.into(), capability: "text.read".into(), ..Default::default() }
}

fn duration(seconds: i64, nanos: i32) -> Option<Duration> {
    Some(Duration { seconds, nanos })
}

fn days(days: i64) -> Option<Duration> {
    duration(days * 86_400, 0)
}

fn json(kind: value::Kind) -> Option<Payload> {
    Some(Payload {
        media_type: String::new(),
        content: Some(payload::Content::Json(Value { kind: Some(kind) })),
    })
}

type Case<M> = (&'static str, fn(&mut M), &'static [&'static str]);

#[track_caller]
fn table<M>(valid: fn() -> M, cases: &[Case<M>])
where
    M: prost::Message + prost_reflect::ReflectMessage + Default,
{
    assert_eq!(broken(&valid()), [""; 0], "the starting point");
    for (name, change, expected) in cases {
        let mut message = valid();
        change(&mut message);
        assert_eq!(broken(&message), *expected, "{name}");
    }
}

#[test]
fn strings_keep_their_lengths_and_patterns() {
    let cases: &[Case<CreateTaskRequest>] = &[
        ("pattern", |task| task.project = "Foo".into(), &["project string.pattern"]),
        ("pattern with line end", |task| task.project = "foo\n".into(), &["project string.pattern"]),
        ("allowed empty", |task| task.project = String::new(), &[]),
        ("good", |task| task.project = "foo-1".into(), &[]),
        ("longest", |task| task.project = "a".repeat(40), &[]),
        ("too long", |task| task.project = "a".repeat(41), &["project string.max_len"]),
        ("both", |task| task.project = "A".repeat(41), &["project string.max_len", "project string.pattern"]),
        ("200 characters of two bytes", |task| task.display_name = "ä".repeat(200), &[]),
        ("201 characters", |task| task.display_name = "ä".repeat(201), &["display_name string.max_len"]),
        ("space in the id", |task| task.request_id = "a b".into(), &["request_id string.pattern"]),
        (
            "unset key of a step is checked as empty",
            |task| task.plan = Some(Plan { steps: vec![step("")], timeout: None }),
            &["plan.steps[0].key string.min_len", "plan.steps[0].key string.pattern"],
        ),
        (
            "second step",
            |task| {
                let steps = vec![step("a"), step("b/c")];
                task.plan = Some(Plan { steps, timeout: None });
            },
            &["plan.steps[1].key string.pattern"],
        ),
        ("NUL", |task| task.display_name = "a\0b".into(), &["display_name string.nul"]),
    ];
    table(task, cases);
}

#[test]
fn maps_keep_their_size_keys_and_values() {
    fn label(task: &mut CreateTaskRequest, key: &str, value: &str) {
        task.labels.insert(key.into(), value.into());
    }
    let cases: &[Case<CreateTaskRequest>] = &[
        ("good", |task| label(task, "team.x/y", ""), &[]),
        (
            "empty key",
            |task| label(task, "", "v"),
            &["labels[\"\"] string.min_len", "labels[\"\"] string.pattern"],
        ),
        ("bad key", |task| label(task, "a b", "v"), &["labels[\"a b\"] string.pattern"]),
        ("long value", |task| label(task, "a", &"v".repeat(129)), &["labels[\"a\"] string.max_len"]),
        ("NUL in a value", |task| label(task, "a", "\0"), &["labels[\"a\"] string.nul"]),
        (
            "NUL in a key",
            |task| label(task, "a\0", "v"),
            &["labels[\"a\\0\"] string.nul", "labels[\"a\\0\"] string.pattern"],
        ),
        ("32 pairs", |task| (0..32).for_each(|n| label(task, &format!("k{n}"), "v")), &[]),
        (
            "33 pairs",
            |task| (0..33).for_each(|n| label(task, &format!("k{n}"), "v")),
            &["labels map.max_pairs"],
        ),
    ];
    table(task, cases);
}

#[test]
fn lists_keep_their_size_and_uniqueness() {
    fn steps(task: &mut CreateTaskRequest, count: usize) {
        let steps = (0..count).map(|n| step(&format!("s{n}"))).collect();
        task.plan = Some(Plan { steps, timeout: None });
    }
    fn after(task: &mut CreateTaskRequest, keys: &[&str]) {
        let mut step = step("z");
        step.after = keys.iter().map(ToString::to_string).collect();
        task.plan = Some(Plan { steps: vec![step], timeout: None });
    }
    let cases: &[Case<CreateTaskRequest>] = &[
        ("no plan", |task| task.plan = None, &["plan required"]),
        ("no steps", |task| steps(task, 0), &["plan.steps repeated.min_items"]),
        ("1,000 steps", |task| steps(task, 1000), &[]),
        ("1,001 steps", |task| steps(task, 1001), &["plan.steps repeated.max_items"]),
        ("different", |task| after(task, &["a", "b"]), &[]),
        ("twice", |task| after(task, &["a", "b", "a", "a"]), &["plan.steps[0].after repeated.unique"]),
        ("empty item", |task| after(task, &["a", ""]), &["plan.steps[0].after[1] string.min_len"]),
    ];
    table(task, cases);
}

#[test]
fn numbers_and_durations_keep_their_bounds() {
    fn edit(task: &mut CreateTaskRequest, change: impl FnOnce(&mut PlanStep)) {
        let plan = task.plan.as_mut().unwrap();
        change(&mut plan.steps[0]);
    }
    fn factor(task: &mut CreateTaskRequest, backoff_multiplier: f64) {
        let retry = RetryPolicy { backoff_multiplier, ..Default::default() };
        edit(task, |step| step.retry = Some(retry));
    }
    fn attempt(task: &mut CreateTaskRequest, attempt: Option<Duration>) {
        let timeouts = StepTimeouts { attempt, ..Default::default() };
        edit(task, |step| step.timeouts = Some(timeouts));
    }
    fn timeout(task: &mut CreateTaskRequest, timeout: Option<Duration>) {
        task.plan.as_mut().unwrap().timeout = timeout;
    }
    const PRIORITY: &[&str] = &["plan.steps[0].priority int32.gte_lte"];
    const FACTOR: &[&str] = &["plan.steps[0].retry.backoff_multiplier double.gte_lte"];
    const ATTEMPT: &[&str] = &["plan.steps[0].timeouts.attempt duration.gte_lte"];
    const INVALID: &[&str] = &["plan.steps[0].timeouts.attempt duration.valid"];
    const TIMEOUT: &[&str] = &["plan.timeout duration.gt_lte"];
    let cases: &[Case<CreateTaskRequest>] = &[
        ("highest", |task| edit(task, |step| step.priority = 9), &[]),
        ("above", |task| edit(task, |step| step.priority = 10), PRIORITY),
        ("below", |task| edit(task, |step| step.priority = -1), PRIORITY),
        ("zero is ignored", |task| factor(task, 0.0), &[]),
        ("lowest factor", |task| factor(task, 1.0), &[]),
        ("factor below", |task| factor(task, 0.5), FACTOR),
        ("factor above", |task| factor(task, 10.1), FACTOR),
        ("not a number", |task| factor(task, f64::NAN), FACTOR),
        ("shortest", |task| attempt(task, duration(0, 10_000_000)), &[]),
        ("too short", |task| attempt(task, duration(0, 9_999_999)), ATTEMPT),
        ("longest", |task| attempt(task, days(30)), &[]),
        ("too long", |task| attempt(task, duration(30 * 86_400, 1)), ATTEMPT),
        ("negative", |task| attempt(task, duration(-1, -1)), ATTEMPT),
        ("two signs", |task| attempt(task, duration(5, -1)), INVALID),
        ("two signs turned", |task| attempt(task, duration(-5, 1)), INVALID),
        ("nanos of a second", |task| attempt(task, duration(1, 1_000_000_000)), INVALID),
        ("beyond time", |task| attempt(task, duration(i64::MAX, 0)), INVALID),
        ("zero is set", |task| timeout(task, duration(0, 0)), TIMEOUT),
        ("more than zero", |task| timeout(task, duration(0, 1)), &[]),
    ];
    table(task, cases);
}

#[test]
fn payloads_keep_their_size_and_json_has_no_nul() {
    fn input(task: &mut CreateTaskRequest, input: Option<Payload>) {
        task.plan.as_mut().unwrap().steps[0].input = input;
    }
    fn data(size: usize) -> Option<Payload> {
        Some(Payload {
            media_type: "text/plain; charset=utf-8".into(),
            content: Some(payload::Content::Data(vec![0; size].into())),
        })
    }
    fn named(key: &str) -> value::Kind {
        let fields = [(key.to_string(), Value { kind: None })];
        value::Kind::StructValue(prost_types::Struct { fields: fields.into() })
    }
    let cases: &[Case<CreateTaskRequest>] = &[
        ("largest; bytes may hold NUL", |task| input(task, data(262_144)), &[]),
        ("too large", |task| input(task, data(262_145)), &["plan.steps[0].input.data bytes.max_len"]),
        (
            "media type",
            |task| {
                let media_type = "text".into();
                input(task, Some(Payload { media_type, content: None }));
            },
            &["plan.steps[0].input.media_type string.pattern"],
        ),
        (
            "NUL in JSON text",
            |task| input(task, json(value::Kind::StringValue("\0".into()))),
            &["plan.steps[0].input.json.string_value string.nul"],
        ),
        (
            "NUL in a JSON name",
            |task| input(task, json(named("\0"))),
            &["plan.steps[0].input.json.struct_value.fields[\"\\0\"] string.nul"],
        ),
        (
            "long JSON list",
            |task| {
                let values = vec![Value { kind: None }; 10_001];
                input(task, json(value::Kind::ListValue(prost_types::ListValue { values })));
            },
            &["plan.steps[0].input.json.list_value.values repeated.max_items"],
        ),
    ];
    table(task, cases);
}

#[test]
fn enums_keys_and_lifetimes_keep_their_rules() {
    fn key() -> CreateKeyRequest {
        CreateKeyRequest {
            display_name: "ci".into(),
            roles: vec![1, 2],
            lifetime: days(1),
            ..Default::default()
        }
    }
    let cases: &[Case<CreateKeyRequest>] = &[
        ("no role", |key| key.roles.clear(), &["roles repeated.min_items"]),
        ("unspecified", |key| key.roles = vec![0], &["roles[0] enum.not_in"]),
        ("unknown", |key| key.roles = vec![1, 99], &["roles[1] enum.defined_only"]),
        ("negative", |key| key.roles = vec![-1], &["roles[0] enum.defined_only"]),
        ("twice", |key| key.roles = vec![1, 1], &["roles repeated.unique"]),
        ("no name", |key| key.display_name.clear(), &["display_name string.min_len"]),
        ("project twice", |key| key.projects = vec!["a".into(); 2], &["projects repeated.unique"]),
        ("lifetime", |key| key.lifetime = duration(0, 1), &["lifetime duration.gte_lte"]),
        ("for ever", |key| key.lifetime = None, &[]),
    ];
    table(key, cases);
}

#[test]
fn masks_presence_and_required_messages_keep_their_rules() {
    fn update() -> UpdateProjectRequest {
        UpdateProjectRequest {
            project: Some(Project { name: "ab".into(), ..Default::default() }),
            update_mask: mask(&["state", "display_name"]),
            ..Default::default()
        }
    }
    fn mask(paths: &[&str]) -> Option<FieldMask> {
        let paths = paths.iter().map(ToString::to_string).collect();
        Some(FieldMask { paths })
    }
    let cases: &[Case<UpdateProjectRequest>] = &[
        ("no mask", |update| update.update_mask = None, &["update_mask required"]),
        ("empty mask is a mask", |update| update.update_mask = mask(&[]), &[]),
        ("other path", |update| update.update_mask = mask(&["name"]), &["update_mask field_mask.in"]),
        ("prefix of a name", |update| update.update_mask = mask(&["states"]), &["update_mask field_mask.in"]),
        ("below a path", |update| update.update_mask = mask(&["state.x"]), &[]),
        (
            "NUL in a path",
            |update| update.update_mask = mask(&["state.\0"]),
            &["update_mask.paths[0] string.nul"],
        ),
        ("no project", |update| update.project = None, &["project required"]),
        (
            "nothing",
            |update| *update = UpdateProjectRequest::default(),
            &["project required", "update_mask required"],
        ),
        ("revision unset", |update| update.if_revision_match = None, &[]),
        ("revision set to 0", |update| update.if_revision_match = Some(0), &["if_revision_match int64.gte"]),
        ("revision", |update| update.if_revision_match = Some(1), &[]),
        (
            "unknown state",
            |update| update.project.as_mut().unwrap().state = 3,
            &["project.state enum.defined_only"],
        ),
        (
            "name of one letter",
            |update| update.project.as_mut().unwrap().name = "a".into(),
            &["project.name string.min_len", "project.name string.pattern"],
        ),
    ];
    table(update, cases);
}

#[test]
fn filters_keep_their_rules_and_times_are_times() {
    fn filter(list: &mut ListTasksRequest, change: impl FnOnce(&mut TaskFilter)) {
        change(list.filter.get_or_insert_default());
    }
    fn time(list: &mut ListTasksRequest, seconds: i64, nanos: i32) {
        filter(list, |filter| filter.created_after = Some(Timestamp { seconds, nanos }));
    }
    const TIME: &[&str] = &["filter.created_after timestamp.valid"];
    let cases: &[Case<ListTasksRequest>] = &[
        ("page size", |list| list.page_size = -1, &["page_size int32.gte"]),
        ("large page", |list| list.page_size = i32::MAX, &[]),
        ("long token", |list| list.page_token = "t".repeat(257), &["page_token string.max_len"]),
        ("state", |list| filter(list, |filter| filter.states = vec![1]), &[]),
        (
            "states",
            |list| filter(list, |filter| filter.states = vec![1; 9]),
            &["filter.states repeated.max_items"],
        ),
        (
            "unknown states",
            |list| filter(list, |filter| filter.states = vec![0, 77]),
            &["filter.states[0] enum.not_in", "filter.states[1] enum.defined_only"],
        ),
        ("first moment", |list| time(list, -62_135_596_800, 0), &[]),
        ("before it", |list| time(list, -62_135_596_801, 0), TIME),
        ("last moment", |list| time(list, 253_402_300_799, 999_999_999), &[]),
        ("after it", |list| time(list, 253_402_300_800, 0), TIME),
        ("nanos back", |list| time(list, 0, -1), TIME),
        ("nanos of a second", |list| time(list, 0, 1_000_000_000), TIME),
    ];
    table(ListTasksRequest::default, cases);
}

#[test]
fn a_required_oneof_wants_a_member_and_judges_it() {
    fn drain() -> DrainAgentRequest {
        DrainAgentRequest {
            target: Some(drain_agent_request::Target::Agent("a".into())),
            ..Default::default()
        }
    }
    let cases: &[Case<DrainAgentRequest>] = &[
        ("none", |drain| drain.target = None, &["target required"]),
        (
            "set to empty",
            |drain| drain.target = Some(drain_agent_request::Target::SessionId(String::new())),
            &["session_id string.min_len"],
        ),
    ];
    table(drain, cases);
}

#[test]
fn at_most_20_violations_are_reported_and_each_says_what_to_do() {
    let steps = vec![PlanStep::default(); 900];
    let mut request = task();
    request.plan = Some(Plan { steps, timeout: None });
    assert_eq!(broken(&request).len(), crate::guard::MAX_VIOLATIONS);

    let mut request = task();
    request.project = "a".repeat(41);
    request.plan.as_mut().unwrap().steps[0].priority = 12;
    let bytes = prost::Message::encode_to_vec(&request);
    let Err(crate::guard::Broken::Rules(violations)) = super::bytes::check::<CreateTaskRequest>(&bytes)
    else {
        panic!("must be refused");
    };
    let words: Vec<_> = violations.iter().map(|violation| violation.description.as_str()).collect();
    assert_eq!(
        words,
        ["must have at most 40 characters, has 41: shorten it", "must be at least 0 and at most 9, is 12"]
    );
}
