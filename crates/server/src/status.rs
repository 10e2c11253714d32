//! From failures to statuses: the only file that builds a `tonic::Status`.
//!
//! Invariants: every status carries an `ErrorInfo` with a reason of the contract
//! under [`DOMAIN`]; whatever may be tried again later (RESOURCE_EXHAUSTED,
//! UNAVAILABLE) carries a `RetryInfo`, except a message that is too large for
//! ever; texts of the store and of defects are logged and not sent. The matches
//! are exhaustive: a new variant does not compile until it has a status.

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderMap;
use quarterdeck_api::errors::v1::Reason;
use quarterdeck_core::Refusal;
use quarterdeck_engine::{Error, Noun};
use quarterdeck_risk::redact::secrets;
use quarterdeck_store::StoreError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Domain of every `ErrorInfo`.
pub const DOMAIN: &str = "quarterdeck.dev";
/// Most bytes of a library's words in a status; percent-encoded they may be three
/// times as many.
const MESSAGE_MAX: usize = 1024;
/// When to try again where nobody knows better.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What goes wrong at the edge, before or beside the engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("no credential was sent; send `authorization: Bearer <key>`")]
    CredentialMissing,
    #[error("this method needs one of the roles {roles}")]
    RoleMissing { roles: String },
    #[error("this method needs a credential that covers all projects")]
    AllProjectsNeeded,
    #[error("this server has no method {path}")]
    MethodUnknown { path: String },
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    #[error("the request breaks {} of the contract's rules", if .0.len() == 1 { "one" } else { "several" })]
    Fields(Vec<Violation>),
    #[error("{}", .0.description)]
    Plan(Violation),
    #[error("a message may have at most {limit} bytes")]
    TooLarge { limit: u32 },
    #[error("the deadline passed; a change may have happened, so repeat it with the same request id")]
    DeadlineExceeded,
    #[error("{0}")]
    SessionProtocol(String),
    #[error("the server is stopping; connect again")]
    Draining,
    #[error("a defect of the server; its log has more under the request id of this answer")]
    Defect,
}

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path such as `plan.steps[3].after`.
    pub field: String,
    pub description: String,
}

/// Anything that a handler can fail with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Fault(Fault),
    Engine(Error),
    /// Decided elsewhere, such as by the validating codec.
    Status(Box<Foreign>),
}

/// A status that another layer built. Compared by what callers see.
#[derive(Clone, Debug)]
pub struct Foreign(Status);

impl PartialEq for Foreign {
    fn eq(&self, other: &Self) -> bool {
        self.0.code() == other.0.code() && self.0.message() == other.0.message()
    }
}

impl Eq for Foreign {}

impl Failure {
    /// The caller may not call, or not so many at a time: work for nothing, that costs it nothing.
    pub fn is_fruitless(&self) -> bool {
        use Error::{CredentialExpired, CredentialInvalid, CredentialRevoked, LimitReached};
        match self {
            Self::Fault(fault) => matches!(fault, Fault::CredentialMissing | Fault::MethodUnknown { .. }),
            Self::Engine(error) => matches!(
                error,
                CredentialInvalid | CredentialExpired | CredentialRevoked | LimitReached { .. }
            ),
            Self::Status(_) => false,
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(Foreign(status)))
    }
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self::Fault(Fault::Fields(vec![violation]))
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Fault(fault) => of_fault(&fault).build(),
            Failure::Engine(error) => of_error(&error).build(),
            Failure::Status(foreign) => adopt(foreign.0),
        }
    }
}

/// Everything that a status says.
struct Answer {
    code: Code,
    reason: Reason,
    message: String,
    metadata: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
    fields: Vec<Violation>,
}

fn answer(code: Code, reason: Reason, message: impl ToString) -> Answer {
    let retry_after = matches!(code, Code::ResourceExhausted | Code::Unavailable).then_some(RETRY_AFTER);
    let (metadata, fields) = (Vec::new(), Vec::new());
    Answer { code, reason, message: message.to_string(), metadata, retry_after, fields }
}

impl Answer {
    fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    fn retry(self, after: Option<Duration>) -> Self {
        Self { retry_after: after, ..self }
    }

    fn fields(self, fields: Vec<Violation>) -> Self {
        Self { fields, ..self }
    }

    /// What a request said is told back without the secrets that were in it: statuses
    /// end up in the logs of callers.
    fn build(self) -> Status {
        let metadata: HashMap<String, String> =
            self.metadata.into_iter().map(|(key, value)| (key.to_owned(), secrets(&value))).collect();
        let mut details = ErrorDetails::with_error_info(reason_name(self.reason), DOMAIN, metadata);
        if self.retry_after.is_some() {
            details.set_retry_info(self.retry_after);
        }
        for Violation { field, description } in self.fields {
            details.add_bad_request_violation(field, secrets(&description));
        }
        Status::with_error_details(self.code, secrets(&self.message), details)
    }
}

fn reason_name(reason: Reason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("REASON_").unwrap_or(name)
}

fn of_fault(fault: &Fault) -> Answer {
    use Code::*;
    let text = fault.to_string();
    match fault {
        Fault::CredentialMissing => answer(Unauthenticated, Reason::CredentialMissing, text),
        Fault::RoleMissing { roles } => {
            answer(PermissionDenied, Reason::RoleMissing, text).with("roles", roles)
        }
        Fault::AllProjectsNeeded => answer(PermissionDenied, Reason::ProjectNotCovered, text),
        Fault::MethodUnknown { path } => {
            answer(Unimplemented, Reason::MethodUnknown, text).with("path", path)
        }
        Fault::Malformed(_) => answer(InvalidArgument, Reason::MessageMalformed, text),
        Fault::Fields(fields) => {
            let listed: Vec<String> =
                fields.iter().take(3).map(|one| format!("{}: {}", one.field, one.description)).collect();
            answer(InvalidArgument, Reason::FieldsInvalid, listed.join("; ")).fields(fields.clone())
        }
        Fault::Plan(one) => answer(InvalidArgument, Reason::PlanInvalid, text).fields(vec![one.clone()]),
        Fault::TooLarge { limit } => {
            // A repetition would be as large.
            answer(ResourceExhausted, Reason::MessageTooLarge, text).with("limit", limit).retry(None)
        }
        Fault::DeadlineExceeded => answer(DeadlineExceeded, Reason::DeadlineExceeded, text),
        Fault::SessionProtocol(_) => answer(FailedPrecondition, Reason::SessionProtocol, text),
        Fault::Draining => {
            answer(Unavailable, Reason::Draining, text).retry(Some(Duration::from_millis(100)))
        }
        Fault::Defect => answer(Internal, Reason::Internal, text),
    }
}

fn of_error(error: &Error) -> Answer {
    use Code::*;
    let text = error.to_string();
    match error {
        Error::Refused(refusal) => of_refusal(refusal),
        Error::NotFound(noun) => of_noun(*noun),
        Error::CursorInvalid => answer(
            InvalidArgument,
            Reason::CursorInvalid,
            "the page token or cursor is not one of ours, or was given with another filter; start without it",
        ),
        Error::CursorLost => answer(
            DataLoss,
            Reason::CursorLost,
            "the cursor is from before the store was restored; start again without it",
        ),
        Error::RequestIdReused => answer(
            AlreadyExists,
            Reason::RequestIdReused,
            "the request id was used for another request; use a new one",
        ),
        Error::CredentialInvalid => answer(Unauthenticated, Reason::CredentialInvalid, text),
        Error::CredentialExpired => answer(Unauthenticated, Reason::CredentialExpired, text),
        Error::CredentialRevoked => answer(Unauthenticated, Reason::CredentialRevoked, text),
        Error::ProjectNotCovered { project } => {
            answer(PermissionDenied, Reason::ProjectNotCovered, text).with("project", project)
        }
        Error::RoleMissing { role } => answer(PermissionDenied, Reason::RoleMissing, text).with("role", role),
        Error::ProjectUnnamed => {
            let field = Violation { field: "project".to_owned(), description: text.clone() };
            answer(InvalidArgument, Reason::FieldsInvalid, text).fields(vec![field])
        }
        Error::PolicyInvalid(_) => {
            let field = Violation { field: "source".to_owned(), description: text.clone() };
            answer(InvalidArgument, Reason::PolicyInvalid, text).fields(vec![field])
        }
        Error::ActionInvalid(_) => {
            let field = Violation { field: "action".to_owned(), description: text.clone() };
            answer(InvalidArgument, Reason::FieldsInvalid, text).fields(vec![field])
        }
        Error::AuditRangeInvalid => answer(InvalidArgument, Reason::AuditRangeInvalid, text),
        Error::WebhookAddressNotAllowed { address } => {
            answer(PermissionDenied, Reason::WebhookAddressNotAllowed, text).with("address", address)
        }
        Error::SessionExpired => answer(
            FailedPrecondition,
            Reason::SessionExpired,
            "the session has expired; open a new one without the resume token",
        ),
        Error::SessionProtocol(_) => answer(FailedPrecondition, Reason::SessionProtocol, text),
        Error::Contention => {
            answer(Aborted, Reason::Contention, "too many changes at the same time; try again")
        }
        Error::Overloaded { retry_after } => {
            answer(ResourceExhausted, Reason::Overloaded, text).retry(Some(retry_after.as_std()))
        }
        Error::LimitReached { what, limit } => {
            answer(ResourceExhausted, Reason::LimitReached, text).with("limit", limit).with("what", what)
        }
        Error::Draining => of_fault(&Fault::Draining),
        Error::Store(error) => of_store(error),
        Error::Internal(text) => {
            tracing::error!(text, "a defect of the engine");
            of_fault(&Fault::Defect)
        }
    }
}

fn of_refusal(refusal: &Refusal) -> Answer {
    use Code::*;
    let text = refusal.to_string();
    match refusal {
        Refusal::TaskEnded => {
            answer(FailedPrecondition, Reason::TaskEnded, "the task has ended; ended tasks do not change")
        }
        Refusal::TaskNotRetryable => answer(FailedPrecondition, Reason::TaskNotRetryable, text),
        Refusal::StepNotFound { step_key } => {
            answer(NotFound, Reason::StepNotFound, text).with("step_key", step_key)
        }
        Refusal::StepNotReady | Refusal::StepRefusedBefore => {
            tracing::error!("an assignment's refusal reached a caller");
            of_fault(&Fault::Defect)
        }
        Refusal::LeaseStale => answer(FailedPrecondition, Reason::LeaseStale, text),
        Refusal::PartialOutputGap { .. } => {
            let field = Violation { field: "partial_offset".to_owned(), description: text.clone() };
            answer(InvalidArgument, Reason::FieldsInvalid, text).fields(vec![field])
        }
        Refusal::PartialOutputTooLong => {
            let field = Violation { field: "partial_output".to_owned(), description: text.clone() };
            answer(InvalidArgument, Reason::FieldsInvalid, text).fields(vec![field])
        }
        Refusal::RevisionMismatch { required, actual } => {
            answer(Aborted, Reason::RevisionMismatch, text).with("required", required).with("actual", actual)
        }
        Refusal::ApprovalEnded { phase } => {
            answer(FailedPrecondition, Reason::ApprovalEnded, text).with("state", phase.word())
        }
        Refusal::ApprovalInvalid { .. } => answer(FailedPrecondition, Reason::ApprovalEnded, text),
        Refusal::ApprovalPending => answer(FailedPrecondition, Reason::ApprovalPending, text),
        Refusal::DigestMismatch { .. } => answer(FailedPrecondition, Reason::DigestMismatch, text),
        Refusal::NotEligible { .. } => answer(PermissionDenied, Reason::NotEligible, text),
        Refusal::AlreadyDecided { .. } => answer(FailedPrecondition, Reason::AlreadyDecided, text),
        Refusal::GrantNotFound => of_noun(Noun::Grant),
        Refusal::GrantNotPossible { .. } => answer(InvalidArgument, Reason::GrantNotPossible, text),
        Refusal::TooManyGrants { most } => {
            answer(ResourceExhausted, Reason::LimitReached, text).with("limit", most).retry(None)
        }
        Refusal::WebhookNotFound => of_noun(Noun::Webhook),
        Refusal::TooManyWebhooks { most } => {
            answer(ResourceExhausted, Reason::LimitReached, text).with("limit", most).retry(None)
        }
        Refusal::ProjectExists => answer(AlreadyExists, Reason::ProjectExists, text),
        Refusal::ProjectArchived => answer(
            FailedPrecondition,
            Reason::ProjectArchived,
            "the project is archived and takes no new tasks",
        ),
        Refusal::KeyRevoked => answer(Unauthenticated, Reason::CredentialRevoked, text),
        Refusal::KeyExpired(_) => answer(Unauthenticated, Reason::CredentialExpired, "the key has expired"),
    }
}

fn of_noun(noun: Noun) -> Answer {
    let (reason, text) = match noun {
        Noun::Project => (Reason::ProjectNotFound, "no such project"),
        Noun::Task => (Reason::TaskNotFound, "no such task"),
        Noun::Step => (Reason::StepNotFound, "the task has no such step"),
        Noun::Session => (Reason::SessionNotFound, "no such agent or session"),
        Noun::Key => (Reason::KeyNotFound, "no such key"),
        Noun::Approval => (Reason::ApprovalNotFound, "no such approval"),
        Noun::Grant => (Reason::GrantNotFound, "the project has no such standing grant"),
        Noun::Webhook => (Reason::WebhookNotFound, "the project has no such webhook"),
    };
    answer(Code::NotFound, reason, text)
}

fn of_store(error: &StoreError) -> Answer {
    use Code::*;
    match error {
        StoreError::Unavailable(text) => {
            tracing::warn!(text, "the store is unavailable");
            answer(Unavailable, Reason::StoreUnavailable, "the database cannot be reached; nothing was done")
        }
        StoreError::Unknown(text) => {
            tracing::warn!(text, "the store's outcome is not known");
            answer(
                Unavailable,
                Reason::OutcomeUnknown,
                "the outcome is not known; repeat the call with the same request id",
            )
        }
        StoreError::Corrupt { .. } => {
            tracing::error!(%error, "stored data cannot be read");
            answer(DataLoss, Reason::StoreCorrupt, "stored data cannot be read; an operator has to look")
        }
        StoreError::Schema(text) => {
            tracing::error!(text, "the database has another schema");
            answer(
                Unavailable,
                Reason::StoreUnavailable,
                "the database has another version; nothing was done",
            )
        }
        StoreError::Poison(text) => {
            tracing::error!(text, "the database refuses content that the edge let through");
            of_fault(&Fault::Defect)
        }
    }
}

/// Gives a status of tonic or of the codec the shape of ours.
fn adopt(status: Status) -> Status {
    if !status.details().is_empty() {
        return status;
    }
    let text = status.message();
    // tonic blames itself for what clients frame wrongly, and for what health and
    // reflection, which are decoded without our codec, cannot read.
    let clients = [
        "protocol error",
        "Missing request message",
        "Unexpected EOF",
        "Unexpected compression",
        "failed to decode Protobuf message",
    ];
    match status.code() {
        Code::OutOfRange => of_fault(&Fault::TooLarge { limit: limit_in(text) }).build(),
        Code::InvalidArgument => of_fault(&Fault::Malformed(text.to_owned())).build(),
        Code::Internal if clients.iter().any(|start| text.starts_with(start)) => {
            of_fault(&Fault::Malformed(text.to_owned())).build()
        }
        // The connection or the stream is gone: nobody hears this, and nothing of ours is wrong.
        Code::Internal | Code::Unknown if text.starts_with("h2 protocol error") => {
            Status::cancelled("the client is gone")
        }
        Code::Unimplemented => answer(Code::Unimplemented, Reason::MethodUnknown, text).build(),
        Code::Internal | Code::Unknown => {
            tracing::error!(text, code = ?status.code(), "a status without a reason");
            of_fault(&Fault::Defect).build()
        }
        _ => status,
    }
}

/// The limit in tonic's "... the limit is: N bytes".
fn limit_in(text: &str) -> u32 {
    let number = text.rsplit_once("the limit is: ").and_then(|(_, rest)| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Completes the status in the headers, or trailers, of an answer.
pub fn complete(headers: &mut HeaderMap) {
    let Some(status) = Status::from_header_map(headers) else { return };
    if status.code() == Code::Ok || !status.details().is_empty() {
        return;
    }
    let adopted = adopt(shortened(status));
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        headers.remove(name);
    }
    // Fails only for a message that is no header, which percent-encoding excludes.
    let _ = adopted.add_header(headers);
}

/// Words of a library may repeat what the client sent, however long. A peer that is
/// sent more headers than it takes gives up the connection, and with it the calls
/// of everybody else on it.
fn shortened(status: Status) -> Status {
    let text = status.message();
    if text.len() <= MESSAGE_MAX {
        return status;
    }
    let mut end = MESSAGE_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Status::new(status.code(), format!("{}...", &text[..end]))
}

/// Trailers that end a stream with this failure.
pub fn trailers(failure: Failure) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let _ = Status::from(failure).add_header(&mut trailers);
    trailers
}

/// A whole answer with nothing but this failure.
pub fn response(failure: Failure) -> http::Response<tonic::body::Body> {
    Status::from(failure).into_http()
}

/// The code in headers or trailers; `Ok` where none is stated.
pub fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
