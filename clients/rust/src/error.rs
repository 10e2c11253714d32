//! One error type for everything that can go wrong between a caller and the server.
//!
//! Invariant: every error says whose word it is ([`Origin`]), so that a caller can
//! tell "the server refused" from "nobody answered".

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use quarterdeck_api::errors::v1::Reason as KnownReason;
use tonic::Code;
use tonic_types::StatusExt;

/// The domain of Quarterdeck's reasons.
const DOMAIN: &str = "quarterdeck.dev";

/// What went wrong with a call.
#[derive(Debug, Clone)]
pub struct Error {
    /// gRPC status code.
    pub code: Code,
    /// The server's reason, if it gave one.
    pub reason: Reason,
    /// Words for people.
    pub message: String,
    /// How long the server asks to wait before trying again.
    pub retry_after: Option<Duration>,
    /// Fields of the request that break their rules.
    pub fields: Vec<FieldViolation>,
    /// Whose word this is.
    pub origin: Origin,
}

/// The machine-readable part of an error; pages in docs/errors explain each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// One that this client knows.
    Known(KnownReason),
    /// One that a newer server knows; go by the code.
    Unknown(String),
    /// None was given.
    Absent,
}

/// Whose word an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The server answered with it.
    Server,
    /// No answer: the connection failed, or time ran out.
    Transport,
    /// This library refused before or after calling.
    Client,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, as in `plan.steps[3].key`.
    pub field: String,
    /// What it breaks.
    pub description: String,
}

impl Error {
    /// An error of this library.
    pub(crate) fn client(code: Code, message: impl Into<String>) -> Self {
        Self::bare(code, message, Origin::Client)
    }

    pub(crate) fn transport(code: Code, message: impl Into<String>) -> Self {
        Self::bare(code, message, Origin::Transport)
    }

    fn bare(code: Code, message: impl Into<String>, origin: Origin) -> Self {
        Self {
            code,
            reason: Reason::Absent,
            message: message.into(),
            retry_after: None,
            fields: Vec::new(),
            origin,
        }
    }

    /// True where the server gave this reason.
    #[must_use]
    pub fn is(&self, reason: KnownReason) -> bool {
        self.reason == Reason::Known(reason)
    }

    /// The reason's name without prefix, such as `TASK_NOT_FOUND`; empty where none was given.
    #[must_use]
    pub fn reason_name(&self) -> &str {
        match &self.reason {
            Reason::Known(reason) => reason.as_str_name().trim_start_matches("REASON_"),
            Reason::Unknown(name) => name,
            Reason::Absent => "",
        }
    }

    /// True where the same call, with the same request id, may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match (self.origin, self.code) {
            (Origin::Client, _) => false,
            (_, Code::Unavailable | Code::DeadlineExceeded) => true,
            (Origin::Server, Code::ResourceExhausted) => {
                self.retry_after.is_some() || self.is(KnownReason::Overloaded)
            }
            (Origin::Server, Code::Aborted) => self.is(KnownReason::Contention),
            // What HTTP/2 makes of a broken connection, by the kind of break.
            (
                Origin::Transport,
                Code::Cancelled | Code::Unknown | Code::Internal | Code::ResourceExhausted,
            ) => true,
            _ => false,
        }
    }

    /// True where a broken stream may be opened again: all that [`Error::is_retryable`]
    /// says, and a CANCELLED without a reason (an intermediary or a stopping server).
    pub(crate) fn is_stream_break(&self) -> bool {
        self.is_retryable()
            || (self.origin != Origin::Client
                && matches!(self.code, Code::Cancelled | Code::Unknown)
                && self.reason == Reason::Absent)
    }

    /// True where the server certainly did nothing.
    pub(crate) fn is_certainly_not_done(&self) -> bool {
        self.is(KnownReason::Overloaded) || self.is(KnownReason::StoreUnavailable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.reason_name();
        if name.is_empty() {
            write!(f, "{}", self.message)?;
        } else {
            write!(f, "{} ({name})", self.message)?;
        }
        for violation in &self.fields {
            write!(f, "; {}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        let details = status.get_error_details();
        let reason = match details.error_info() {
            Some(info) if info.domain == DOMAIN => {
                match KnownReason::from_str_name(&format!("REASON_{}", info.reason)) {
                    Some(known) => Reason::Known(known),
                    None => Reason::Unknown(info.reason.clone()),
                }
            }
            Some(info) => Reason::Unknown(info.reason.clone()),
            None => Reason::Absent,
        };
        // A status that arrived has no cause in this process.
        let origin = if reason == Reason::Absent && status.source().is_some() {
            Origin::Transport
        } else {
            Origin::Server
        };
        Self {
            code: status.code(),
            reason,
            message: match origin {
                Origin::Transport => with_causes(status.message(), status.source()),
                _ => status.message().to_owned(),
            },
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            fields: details.bad_request().map_or_else(Vec::new, |bad| {
                let violations = bad.field_violations.iter();
                violations
                    .map(|violation| FieldViolation {
                        field: violation.field.clone(),
                        description: violation.description.clone(),
                    })
                    .collect()
            }),
            origin,
        }
    }
}

impl From<tonic::transport::Error> for Error {
    fn from(error: tonic::transport::Error) -> Self {
        Self::transport(Code::Unavailable, with_causes(&error.to_string(), error.source()))
    }
}

/// The message and what is below it, each cause once: "transport error: connection refused".
fn with_causes(message: &str, mut cause: Option<&(dyn std::error::Error + 'static)>) -> String {
    let mut text = message.to_owned();
    while let Some(error) = cause {
        let words = error.to_string();
        if !words.is_empty() && !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    fn status(code: Code, details: ErrorDetails) -> tonic::Status {
        tonic::Status::with_error_details(code, "words", details)
    }

    #[test]
    fn reason_delay_and_fields_are_read_from_the_details() {
        let mut details =
            ErrorDetails::with_error_info("OVERLOADED", DOMAIN, std::collections::HashMap::new());
        details.set_retry_info(Some(Duration::from_millis(250)));
        details.add_bad_request_violation("plan.steps[0].key", "is empty");
        let error = Error::from(status(Code::ResourceExhausted, details));
        assert!(error.is(KnownReason::Overloaded));
        assert_eq!(error.reason_name(), "OVERLOADED");
        assert_eq!(error.retry_after, Some(Duration::from_millis(250)));
        assert_eq!(error.fields[0].field, "plan.steps[0].key");
        assert_eq!(error.origin, Origin::Server);
        assert_eq!(error.to_string(), "words (OVERLOADED); plan.steps[0].key: is empty");
    }

    #[test]
    fn only_errors_that_may_pass_are_retryable() {
        let with = |code, reason: &str| {
            let none = std::collections::HashMap::new();
            Error::from(status(code, ErrorDetails::with_error_info(reason, DOMAIN, none)))
        };
        for (error, expected) in [
            (with(Code::Unavailable, "STORE_UNAVAILABLE"), true),
            (with(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), true),
            (with(Code::ResourceExhausted, "OVERLOADED"), true),
            (with(Code::ResourceExhausted, "LIMIT_REACHED"), false),
            (with(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"), false),
            (with(Code::Aborted, "CONTENTION"), true),
            (with(Code::Aborted, "REVISION_MISMATCH"), false),
            (with(Code::Internal, "INTERNAL"), false),
            (with(Code::NotFound, "TASK_NOT_FOUND"), false),
            (with(Code::InvalidArgument, "FIELDS_INVALID"), false),
            (Error::transport(Code::Internal, "h2 protocol error"), true),
            (Error::client(Code::Unavailable, "refused here"), false),
        ] {
            assert_eq!(error.is_retryable(), expected, "{error:?}");
        }
    }

    #[test]
    fn a_reason_of_a_newer_server_is_kept_by_name() {
        let none = std::collections::HashMap::new();
        let error = Error::from(status(
            Code::FailedPrecondition,
            ErrorDetails::with_error_info("FROM_THE_FUTURE", DOMAIN, none),
        ));
        assert_eq!(error.reason, Reason::Unknown("FROM_THE_FUTURE".to_owned()));
    }
}
