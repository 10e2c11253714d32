//! What a handler answers, made fit for the wire.
//!
//! Invariant: nothing built here breaks a rule of the contract. A message that did
//! would end the whole session, again and again, and not just its own step.

use std::fmt;
use std::time::Duration;

use quarterdeck_api::r#type::v1 as payload;

use crate::payload::Payload;

/// Largest content of a payload in bytes.
const MAX_CONTENT: usize = 262_144;
/// Longest reason and longest words, in characters.
const MAX_REASON: usize = 64;
const MAX_FAIL_MESSAGE: usize = 4_000;
const MAX_SHORT_MESSAGE: usize = 1_000;
/// Bytes of partial output in one message.
const MAX_PIECE: usize = 4_096;
/// Bytes of partial output of one attempt.
pub(super) const MAX_SHOWN: usize = 1 << 20;
/// Longest wait that an agent may ask for: 7 days.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(604_800);

/// Why a handler did not finish its step.
///
/// Any standard error becomes one by `?`, with the reason `AGENT_ERROR`.
#[derive(Clone, PartialEq)]
pub struct StepError(pub(super) Outcome);

/// How a handler ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Complete(payload::Payload),
    Fail { reason: String, message: String, not_retryable: bool, retry_after: Option<Duration> },
    Refuse { message: String },
}

impl StepError {
    /// The attempt failed; the step's retry policy decides what follows. The reason
    /// is an UPPER_SNAKE_CASE word for machines.
    pub fn fail(reason: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Self::failed(reason.as_ref(), message.as_ref(), false)
    }

    /// The step cannot succeed, whoever tries.
    pub fn not_retryable(reason: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Self::failed(reason.as_ref(), message.as_ref(), true)
    }

    /// This agent does not want the step; another session gets it, and it costs no attempt.
    pub fn refuse(message: impl AsRef<str>) -> Self {
        Self(Outcome::Refuse { message: words(message.as_ref(), MAX_SHORT_MESSAGE) })
    }

    /// Try again after this long (at most 7 days) instead of the policy's backoff.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        if let Outcome::Fail { retry_after, .. } = &mut self.0 {
            *retry_after = Some(wait.min(MAX_RETRY_AFTER));
        }
        self
    }

    fn failed(reason: &str, message: &str, not_retryable: bool) -> Self {
        Self(Outcome::Fail {
            reason: word(reason),
            message: words(message, MAX_FAIL_MESSAGE),
            not_retryable,
            retry_after: None,
        })
    }
}

// No `std::error::Error` for `StepError` itself: it would forbid this conversion.
impl<E: std::error::Error> From<E> for StepError {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::fail("AGENT_ERROR", text)
    }
}

impl fmt::Debug for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Outcome::Fail { reason, message, .. } => write!(f, "{message} ({reason})"),
            Outcome::Refuse { message } => f.write_str(message),
            Outcome::Complete(_) => f.write_str("completed"),
        }
    }
}

impl Outcome {
    /// What a handler returned; an output that the contract does not take fails the step for good.
    pub(super) fn of(result: Result<Payload, StepError>) -> Self {
        let output = match result {
            Ok(output) => output,
            Err(StepError(outcome)) => return outcome,
        };
        match check_payload(&output) {
            Ok(()) => Self::Complete(output.into_proto()),
            Err(why) => {
                StepError::not_retryable("OUTPUT_INVALID", format!("the output cannot be sent: {why}")).0
            }
        }
    }
}

/// An agent's word on its progress.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    pub(super) fraction: f64,
    pub(super) message: String,
    pub(super) checkpoint: Option<payload::Payload>,
    /// Partial output that was not sent yet.
    pub(super) partial: String,
}

impl Draft {
    pub(super) fn new(fraction: f64, message: &str, checkpoint: Option<Payload>) -> Self {
        Self {
            fraction: if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) },
            message: words(message, MAX_SHORT_MESSAGE),
            checkpoint: checkpoint.map(Payload::into_proto),
            partial: String::new(),
        }
    }

    /// The later word wins, but neither a checkpoint nor partial output is lost with
    /// the earlier one.
    pub(super) fn superseded_by(self, later: Self) -> Self {
        let partial = self.partial + &later.partial;
        Self { checkpoint: later.checkpoint.or(self.checkpoint), partial, ..later }
    }

    /// Cuts off the partial output that does not fit into one message.
    pub(super) fn cut(&mut self) -> Option<Self> {
        let end = (0..=MAX_PIECE.min(self.partial.len())).rev().find(|&at| self.partial.is_char_boundary(at));
        let partial = self.partial.split_off(end.unwrap_or_default());
        (!partial.is_empty()).then(|| Self { partial, checkpoint: None, ..self.clone() })
    }
}

/// Whether a payload may be sent, by the rules of the contract.
pub(super) fn check_payload(payload: &Payload) -> Result<(), String> {
    if payload.is_omitted() {
        return Err("its content was omitted when it was received".to_owned());
    }
    let size = payload.size();
    if size > MAX_CONTENT {
        return Err(format!("{size} bytes are more than {MAX_CONTENT}"));
    }
    let given = &payload.as_proto().media_type;
    if !given.is_empty() && !is_media_type(given) {
        return Err(format!("`{given}` is no media type"));
    }
    Ok(())
}

/// The pattern of `Payload.media_type`.
fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let mut parts = text.split(';');
    let essence = parts.next().and_then(|essence| essence.split_once('/'));
    text.len() <= 127
        && essence.is_some_and(|(kind, subtype)| token(kind) && token(subtype))
        && parts.all(|parameter| {
            let parameter = parameter.strip_prefix(' ').unwrap_or(parameter);
            parameter.split_once('=').is_some_and(|(name, value)| plain(name) && plain(value))
        })
}

/// A reason as the contract wants it: `^[A-Z][A-Z0-9_]*$`.
fn word(text: &str) -> String {
    let fit = |c: char| {
        if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }
    };
    let word: String = text.chars().map(fit).collect();
    let word =
        if word.starts_with(|c: char| c.is_ascii_uppercase()) { word } else { format!("AGENT_{word}") };
    word.chars().take(MAX_REASON).collect()
}

fn words(text: &str, limit: usize) -> String {
    text.chars().filter(|c| *c != '\0').take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_agent_says_fits_the_contract() {
        for (given, sent) in [
            ("BAD_INPUT", "BAD_INPUT"),
            ("bad input", "BAD_INPUT"),
            ("4xx", "AGENT_4XX"),
            ("", "AGENT_"),
            ("größe", "GR__E"),
        ] {
            let Outcome::Fail { reason, .. } = StepError::fail(given, "").0 else { panic!("not a failure") };
            assert_eq!(reason, sent);
        }
        assert_eq!(word(&"x".repeat(100)).len(), MAX_REASON);
        assert_eq!(words(&"ü\0".repeat(9_000), MAX_FAIL_MESSAGE).chars().count(), MAX_FAIL_MESSAGE);
        assert_eq!(Draft::new(f64::NAN, "", None).fraction, 0.0);
        assert_eq!(Draft::new(7.0, "", None).fraction, 1.0);
    }

    #[test]
    fn an_output_that_cannot_be_sent_fails_the_step_instead_of_the_session() {
        for payload in [
            Payload::bytes("application/octet-stream", vec![0; MAX_CONTENT + 1]),
            Payload::bytes("no media type", vec![0]),
            Payload::json(&"x".repeat(MAX_CONTENT)).unwrap(),
        ] {
            let outcome = Outcome::of(Ok(payload));
            let Outcome::Fail { reason, not_retryable, .. } = outcome else { panic!("{outcome:?}") };
            assert!(not_retryable && reason == "OUTPUT_INVALID");
        }
        let largest = Payload::bytes("text/plain; charset=utf-8", vec![0; MAX_CONTENT]);
        assert!(matches!(Outcome::of(Ok(largest)), Outcome::Complete(_)));
    }
}
