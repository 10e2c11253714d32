//! One call, seen from its headers to the end of its answer: request id, span,
//! metrics and one log line whose level follows the code.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use metrics::{Gauge, counter, gauge, histogram};
use quarterdeck_core::Timestamp;
use quarterdeck_engine::{Clock, Entropy};
use tonic::Code;
use tracing::Span;

use crate::telemetry;

/// Header that carries the request id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id taken from a client.
const ID_MAX: usize = 64;

/// Makes ids that no other process makes.
pub struct RequestIds {
    prefix: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut prefix = [0; 8];
        prefix.copy_from_slice(&entropy.draw()[..8]);
        Self { prefix: u64::from_be_bytes(prefix), next: AtomicU64::new(1) }
    }

    /// The client's id if it is fit to be logged, else a new one.
    pub fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let given = headers.get(&REQUEST_ID);
        let fit = |value: &&HeaderValue| {
            !value.is_empty() && value.len() <= ID_MAX && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        if let Some(value) = given.filter(fit) {
            return value.clone();
        }
        let id = format!("{:016x}-{:x}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
    }
}

/// A call that is being answered. Counted as cancelled if dropped unfinished.
pub struct Call {
    method: &'static str,
    pub id: HeaderValue,
    pub span: Span,
    clock: Arc<dyn Clock>,
    started: Timestamp,
    in_flight: Gauge,
    code: Option<Code>,
}

impl Call {
    pub fn begin(method: &'static str, id: HeaderValue, clock: Arc<dyn Clock>) -> Self {
        let span = tracing::info_span!("call", method, request_id = id.to_str().unwrap_or("-"));
        let in_flight = gauge!(telemetry::IN_FLIGHT, "method" => method);
        in_flight.increment(1.0);
        let started = clock.now();
        Self { method, id, span, clock, started, in_flight, code: None }
    }

    /// The answer's code is known. The call ends when this is dropped.
    pub fn code(&mut self, code: Code) {
        self.code.get_or_insert(code);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.in_flight.decrement(1.0);
        let code = self.code.unwrap_or(Code::Cancelled);
        let took = self.clock.now().since(self.started).as_std();
        histogram!(telemetry::LATENCY, "method" => self.method).record(took.as_secs_f64());
        counter!(telemetry::REQUESTS, "method" => self.method, "code" => name(code)).increment(1);
        let _entered = self.span.enter();
        let took_ms = took.as_secs_f64() * 1_000.0;
        match severity(code) {
            Severity::Quiet => tracing::debug!(code = name(code), took_ms, "answered"),
            Severity::Caller => tracing::info!(code = name(code), took_ms, "answered"),
            Severity::Trouble => tracing::warn!(code = name(code), took_ms, "answered"),
            Severity::Defect => tracing::error!(code = name(code), took_ms, "answered"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Severity {
    Quiet,
    Caller,
    Trouble,
    Defect,
}

/// Whose fault it is decides how loud it is.
const fn severity(code: Code) -> Severity {
    match code {
        // Nothing here answers UNKNOWN: it is what becomes of a call whose client vanished.
        Code::Ok | Code::Cancelled | Code::Unknown => Severity::Quiet,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Severity::Caller,
        // What is lost is told loudly where it is found; here it may be but a cursor
        // that the caller made up.
        Code::DeadlineExceeded | Code::ResourceExhausted | Code::Unavailable | Code::DataLoss => {
            Severity::Trouble
        }
        Code::Internal => Severity::Defect,
    }
}

/// The code as the protocol's documents write it.
pub const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_engine::ports::SystemEntropy;

    #[test]
    fn ids_are_taken_if_fit_and_made_otherwise() {
        let ids = RequestIds::new(&SystemEntropy);
        let with = |value: &[u8]| {
            ids.of(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_bytes(value).unwrap())]))
        };
        assert_eq!(with(b"abc-1"), "abc-1");
        for unfit in [&b""[..], b"with space", &[b'a'; 65], b"\xff\xfe"] {
            assert_ne!(with(unfit).as_bytes(), unfit);
        }
        assert_ne!(ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
    }
}
