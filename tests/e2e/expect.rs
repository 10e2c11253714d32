//! What an error must say.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::{Code, Error};
use quarterdeck_harness::eventually;

/// Longest wait of any test for anything that must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The answer, if it comes in time.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(answer) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("waited {PATIENCE:?} in vain for {what}");
    };
    answer
}

/// The first `Some` of `probe`, if it comes in time.
pub async fn until<T, F, Fut>(what: &str, probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    eventually(what, PATIENCE, probe).await.unwrap()
}

/// The status that the contract states for each reason.
pub fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::MessageMalformed
        | Reason::FieldsInvalid
        | Reason::PlanInvalid
        | Reason::CursorInvalid
        | Reason::PolicyInvalid
        | Reason::GrantNotPossible
        | Reason::AuditRangeInvalid => Code::InvalidArgument,
        Reason::CursorLost | Reason::StoreCorrupt => Code::DataLoss,
        Reason::CredentialMissing
        | Reason::CredentialInvalid
        | Reason::CredentialExpired
        | Reason::CredentialRevoked => Code::Unauthenticated,
        Reason::RoleMissing
        | Reason::ProjectNotCovered
        | Reason::NotEligible
        | Reason::WebhookAddressNotAllowed => Code::PermissionDenied,
        Reason::ProjectNotFound
        | Reason::TaskNotFound
        | Reason::StepNotFound
        | Reason::SessionNotFound
        | Reason::KeyNotFound
        | Reason::ApprovalNotFound
        | Reason::GrantNotFound
        | Reason::WebhookNotFound => Code::NotFound,
        Reason::RequestIdReused | Reason::ProjectExists => Code::AlreadyExists,
        Reason::TaskEnded
        | Reason::TaskNotRetryable
        | Reason::LeaseStale
        | Reason::SessionExpired
        | Reason::SessionProtocol
        | Reason::ProjectArchived
        | Reason::ApprovalEnded
        | Reason::ApprovalPending
        | Reason::DigestMismatch
        | Reason::AlreadyDecided => Code::FailedPrecondition,
        Reason::RevisionMismatch | Reason::Contention => Code::Aborted,
        Reason::MessageTooLarge | Reason::Overloaded | Reason::LimitReached => Code::ResourceExhausted,
        Reason::StoreUnavailable | Reason::Draining | Reason::OutcomeUnknown => Code::Unavailable,
        Reason::DeadlineExceeded => Code::DeadlineExceeded,
        Reason::MethodUnknown => Code::Unimplemented,
        Reason::Unspecified | Reason::Internal => Code::Internal,
    }
}

/// The error of a call that must be refused for this reason, with its status.
#[track_caller]
pub fn refused<T: Debug>(what: &str, answer: Result<T, impl Into<Error>>, reason: Reason) -> Error {
    let error: Error = match answer {
        Ok(answer) => panic!("{what}: must be refused as {reason:?}, was answered {answer:?}"),
        Err(error) => error.into(),
    };
    assert!(
        error.is(reason) && error.code == code_of(reason),
        "{what}: must be {:?} {reason:?}, is {:?} {} ({error})",
        code_of(reason),
        error.code,
        error.reason_name()
    );
    assert!(!error.message.is_empty(), "{what}: has no words for people");
    error
}

/// As [`refused`], and names this field.
#[track_caller]
pub fn refused_field<T: Debug>(what: &str, answer: Result<T, impl Into<Error>>, reason: Reason, field: &str) {
    let error = refused(what, answer, reason);
    let named: Vec<&str> = error.fields.iter().map(|violation| violation.field.as_str()).collect();
    assert!(named.contains(&field), "{what}: must name {field}, names {named:?}");
    assert!(error.fields.iter().all(|violation| !violation.description.is_empty()), "{what}");
}
