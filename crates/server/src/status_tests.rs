use super::*;
use quarterdeck_core::{Span, Timestamp};

fn line(failure: impl Into<Failure>) -> String {
    let status = Status::from(failure.into());
    let details = status.get_error_details();
    let info = details.error_info().expect("every status has an ErrorInfo");
    assert_eq!(info.domain, DOMAIN);
    let mut metadata: Vec<String> =
        info.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    metadata.sort();
    let retry = details.retry_info().and_then(|retry| retry.retry_delay);
    let retry = retry.map_or("-".to_owned(), |delay| format!("{delay:?}"));
    let fields: Vec<&str> = details
        .bad_request()
        .map(|bad| bad.field_violations.iter().map(|one| one.field.as_str()).collect())
        .unwrap_or_default();
    let line =
        format!("{:?} {} {retry} {} {}", status.code(), info.reason, metadata.join(","), fields.join(","));
    line.trim_end().to_owned()
}

#[test]
fn every_error_has_its_status() {
    use Error::*;
    let refused = Error::Refused;
    let store = Error::Store;
    let corrupt = StoreError::Corrupt { table: "event", column: "body", id: "x".into(), why: "y".into() };
    let table: Vec<(Error, &str)> = vec![
        (refused(Refusal::TaskEnded), "FailedPrecondition TASK_ENDED -"),
        (refused(Refusal::TaskNotRetryable), "FailedPrecondition TASK_NOT_RETRYABLE -"),
        (refused(Refusal::StepNotFound { step_key: "a".into() }), "NotFound STEP_NOT_FOUND - step_key=a"),
        (refused(Refusal::StepNotReady), "Internal INTERNAL -"),
        (
            refused(Refusal::PartialOutputGap { offset: 2, known: 1 }),
            "InvalidArgument FIELDS_INVALID -  partial_offset",
        ),
        (refused(Refusal::PartialOutputTooLong), "InvalidArgument FIELDS_INVALID -  partial_output"),
        (refused(Refusal::LeaseStale), "FailedPrecondition LEASE_STALE -"),
        (
            refused(Refusal::RevisionMismatch { required: 1, actual: 2 }),
            "Aborted REVISION_MISMATCH - actual=2,required=1",
        ),
        (refused(Refusal::ProjectExists), "AlreadyExists PROJECT_EXISTS -"),
        (refused(Refusal::ProjectArchived), "FailedPrecondition PROJECT_ARCHIVED -"),
        (refused(Refusal::KeyRevoked), "Unauthenticated CREDENTIAL_REVOKED -"),
        (refused(Refusal::KeyExpired(Timestamp::MAX)), "Unauthenticated CREDENTIAL_EXPIRED -"),
        (NotFound(Noun::Project), "NotFound PROJECT_NOT_FOUND -"),
        (NotFound(Noun::Task), "NotFound TASK_NOT_FOUND -"),
        (NotFound(Noun::Step), "NotFound STEP_NOT_FOUND -"),
        (NotFound(Noun::Session), "NotFound SESSION_NOT_FOUND -"),
        (NotFound(Noun::Key), "NotFound KEY_NOT_FOUND -"),
        (CursorInvalid, "InvalidArgument CURSOR_INVALID -"),
        (CursorLost, "DataLoss CURSOR_LOST -"),
        (RequestIdReused, "AlreadyExists REQUEST_ID_REUSED -"),
        (CredentialInvalid, "Unauthenticated CREDENTIAL_INVALID -"),
        (CredentialExpired, "Unauthenticated CREDENTIAL_EXPIRED -"),
        (CredentialRevoked, "Unauthenticated CREDENTIAL_REVOKED -"),
        (ProjectNotCovered { project: "p".into() }, "PermissionDenied PROJECT_NOT_COVERED - project=p"),
        (RoleMissing { role: "admin" }, "PermissionDenied ROLE_MISSING - role=admin"),
        (ProjectUnnamed, "InvalidArgument FIELDS_INVALID -  project"),
        (SessionExpired, "FailedPrecondition SESSION_EXPIRED -"),
        (SessionProtocol("x".into()), "FailedPrecondition SESSION_PROTOCOL -"),
        (Contention, "Aborted CONTENTION -"),
        (Overloaded { retry_after: Span::from_millis(250) }, "ResourceExhausted OVERLOADED 250ms"),
        (
            LimitReached { what: "watches", limit: 5 },
            "ResourceExhausted LIMIT_REACHED 1s limit=5,what=watches",
        ),
        (Draining, "Unavailable DRAINING 100ms"),
        (store(StoreError::Unavailable("x".into())), "Unavailable STORE_UNAVAILABLE 1s"),
        (store(StoreError::Unknown("x".into())), "Unavailable OUTCOME_UNKNOWN 1s"),
        (store(corrupt), "DataLoss STORE_CORRUPT -"),
        (store(StoreError::Schema("x".into())), "Unavailable STORE_UNAVAILABLE 1s"),
        (store(StoreError::Poison("x".into())), "Internal INTERNAL -"),
        (Internal("x".into()), "Internal INTERNAL -"),
    ];
    for (error, expected) in table {
        assert_eq!(line(error.clone()), expected, "{error:?}");
    }
}

#[test]
fn every_fault_has_its_status() {
    let violation = || Violation { field: "plan.steps[0].key".into(), description: "is empty".into() };
    let table = [
        (Fault::CredentialMissing, "Unauthenticated CREDENTIAL_MISSING -"),
        (Fault::RoleMissing { roles: "user".into() }, "PermissionDenied ROLE_MISSING - roles=user"),
        (Fault::AllProjectsNeeded, "PermissionDenied PROJECT_NOT_COVERED -"),
        (Fault::MethodUnknown { path: "/x/Y".into() }, "Unimplemented METHOD_UNKNOWN - path=/x/Y"),
        (Fault::Malformed("x".into()), "InvalidArgument MESSAGE_MALFORMED -"),
        (Fault::Fields(vec![violation()]), "InvalidArgument FIELDS_INVALID -  plan.steps[0].key"),
        (Fault::Plan(violation()), "InvalidArgument PLAN_INVALID -  plan.steps[0].key"),
        (Fault::TooLarge { limit: 9 }, "ResourceExhausted MESSAGE_TOO_LARGE - limit=9"),
        (Fault::DeadlineExceeded, "DeadlineExceeded DEADLINE_EXCEEDED -"),
        (Fault::SessionProtocol("x".into()), "FailedPrecondition SESSION_PROTOCOL -"),
        (Fault::Draining, "Unavailable DRAINING 100ms"),
        (Fault::Defect, "Internal INTERNAL -"),
    ];
    for (fault, expected) in table {
        assert_eq!(line(fault.clone()), expected, "{fault:?}");
    }
}

#[test]
fn internal_texts_are_not_sent() {
    for error in [
        Error::Internal("password=hunter2".into()),
        Error::Store(StoreError::Unavailable("host=10.0.0.7".into())),
        Error::Store(StoreError::Poison("row (hunter2)".into())),
    ] {
        let status = Status::from(Failure::from(error));
        let sent = format!("{} {:?}", status.message(), status.get_error_details());
        assert!(!sent.contains("hunter2") && !sent.contains("10.0.0.7"), "{sent}");
    }
}

#[test]
fn statuses_of_the_transport_get_a_reason() {
    let too_large =
        "Error, decoded message length too large: found 5000000 bytes, the limit is: 4194304 bytes";
    let table = [
        (Status::out_of_range(too_large), "ResourceExhausted MESSAGE_TOO_LARGE - limit=4194304"),
        (Status::internal("Missing request message."), "InvalidArgument MESSAGE_MALFORMED -"),
        (
            Status::internal("failed to decode Protobuf message: invalid varint"),
            "InvalidArgument MESSAGE_MALFORMED -",
        ),
        (Status::internal("boom"), "Internal INTERNAL -"),
        (Status::unknown("boom"), "Internal INTERNAL -"),
        (Status::unimplemented("Content is compressed"), "Unimplemented METHOD_UNKNOWN -"),
    ];
    for (status, expected) in table {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        complete(&mut headers);
        let completed = Status::from_header_map(&headers).unwrap();
        assert_eq!(line(completed), expected);
    }
}

#[test]
fn a_client_that_is_gone_is_no_defect() {
    let text = "h2 protocol error: error reading a body from connection";
    for status in [Status::internal(text), Status::unknown(text)] {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        complete(&mut headers);
        assert_eq!(Status::from_header_map(&headers).unwrap().code(), Code::Cancelled);
    }
}

#[test]
fn words_of_any_length_are_cut_to_what_peers_take() {
    for (code, words) in [(Code::NotFound, "x".repeat(70_000)), (Code::InvalidArgument, "ä".repeat(40_000))]
    {
        let mut headers = HeaderMap::new();
        Status::new(code, words).add_header(&mut headers).unwrap();
        complete(&mut headers);
        let sent: usize = headers.values().map(|value| value.len()).sum();
        let completed = Status::from_header_map(&headers).unwrap();
        assert!(sent < 8 * 1024, "{sent} bytes of headers");
        assert!(completed.message().ends_with("...") && completed.message().len() > 1_000);
        assert_eq!(completed.code(), code);
    }
}
