//! The messages of a worker session, which come by the thousand.

use super::bytes::{block, broken, check, number};
use crate::guard::Broken;
use crate::orchestration::v1::session_request::Message;
use crate::orchestration::v1::{Complete, Credit, Fail, Hello, Ping, Progress, SessionRequest};

fn hello(change: impl FnOnce(&mut Hello)) -> Message {
    let mut hello = Hello {
        agent: "reader".into(),
        capabilities: vec!["text.read".into()],
        slots: 4,
        ..Default::default()
    };
    change(&mut hello);
    Message::Hello(hello)
}

fn progress(number: i64, fraction: f64) -> Message {
    Message::Progress(Progress { lease_token: "1-2".into(), number, fraction, ..Default::default() })
}

fn shown(text: String) -> Message {
    let word = Progress { lease_token: "1-2".into(), number: 1, partial_output: text, ..Default::default() };
    Message::Progress(word)
}

fn fail(reason: &str, seconds: i64) -> Message {
    Message::Fail(Fail {
        lease_token: "1-2".into(),
        number: 1,
        reason: reason.into(),
        retry_after: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..Default::default()
    })
}

#[test]
fn messages_of_a_session_keep_their_rules() {
    let cases: Vec<(Message, &[&str])> = vec![
        (Message::Ping(Ping {}), &[]),
        (hello(|_| {}), &[]),
        (hello(|hello| hello.agent.clear()), &["hello.agent string.min_len", "hello.agent string.pattern"]),
        (hello(|hello| hello.capabilities.clear()), &["hello.capabilities repeated.min_items"]),
        (
            hello(|hello| hello.capabilities = vec!["a".into(), "B".into(), "a".into()]),
            &["hello.capabilities[1] string.pattern", "hello.capabilities repeated.unique"],
        ),
        (hello(|hello| hello.slots = 1001), &["hello.slots int32.gte_lte"]),
        (hello(|hello| hello.held_leases = vec!["l".into(); 1000]), &[]),
        (
            hello(|hello| hello.held_leases = vec!["l".into(); 1001]),
            &["hello.held_leases repeated.max_items"],
        ),
        (Message::Credit(Credit { slots: -1 }), &["credit.slots int32.gte_lte"]),
        (progress(1, 1.0), &[]),
        (progress(1, -0.1), &["progress.fraction double.gte_lte"]),
        (progress(1, f64::INFINITY), &["progress.fraction double.gte_lte"]),
        (progress(0, 0.5), &["progress.number int64.gte"]),
        (shown("é".repeat(2_048)), &[]),
        (shown("é".repeat(2_049)), &["progress.partial_output string.max_bytes"]),
        (
            Message::Complete(Complete::default()),
            &["complete.lease_token string.min_len", "complete.number int64.gte"],
        ),
        (fail("TIMED_OUT", 0), &[]),
        (fail("timed out", 0), &["fail.reason string.pattern"]),
        (fail("TIMED_OUT", -1), &["fail.retry_after duration.gte_lte"]),
    ];
    for (message, expected) in cases {
        let request = SessionRequest { message: Some(message) };
        assert_eq!(broken(&request), expected, "{request:?}");
    }
}

#[test]
fn a_message_kind_from_the_future_is_a_missing_message() {
    assert_eq!(broken(&SessionRequest::default()), ["message required"]);
    let Err(Broken::Rules(violations)) = check::<SessionRequest>(&block(999, b"")) else {
        panic!("must be refused");
    };
    assert_eq!(violations[0].field, "message");
    assert!(violations[0].description.contains("hello, credit, progress"));
}

#[test]
fn each_occurrence_of_a_scalar_is_judged_not_only_the_last() {
    let twice = |first, second| block(2, [number(1, first), number(1, second)].concat());
    assert_eq!(check::<SessionRequest>(&twice(1, 2)), Ok(()));
    for bytes in [twice(5000, 2), twice(2, 5000)] {
        assert!(matches!(check::<SessionRequest>(&bytes), Err(Broken::Rules(_))));
    }
}
