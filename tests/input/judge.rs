//! What an answer may be, whatever the request was.

use prost_reflect::DynamicMessage;
use quarterdeck_client::{Code, Error, Reason};
use tonic::Status;

use crate::contract::Method;
use crate::expect::code_of;
use crate::raw::{Answer, NoAnswer};

/// Most bytes of a status: more do not fit into the trailers that peers take.
const STATUS_MAX: usize = 7 * 1024;

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Accepted,
    /// Not a message was answered. The code, and the reason where one was given.
    Refused(Code, String),
    /// A stream was still open, and silent, when we left.
    Silent,
    /// The server's time for it ran out: it may have happened.
    Late,
}

impl Outcome {
    /// For the tally.
    pub fn told(&self) -> String {
        match self {
            Self::Accepted => "accepted".to_owned(),
            Self::Refused(code, reason) => format!("{code:?} {reason}").trim_end().to_owned(),
            Self::Silent => "silent".to_owned(),
            Self::Late => "late".to_owned(),
        }
    }

    /// Whether nothing can have happened.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(..))
    }

    /// Whether the request was refused for what it is, and not for what it names.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Refused(Code::InvalidArgument, _))
    }

    /// Whether the server is out of something.
    pub fn is_exhausted(&self) -> bool {
        matches!(self, Self::Refused(Code::ResourceExhausted, reason) if reason != "MESSAGE_TOO_LARGE")
    }
}

/// What became of the call, or what about its answer must not be.
pub fn judge(method: &Method, answer: &Result<Answer, NoAnswer>) -> Result<Outcome, String> {
    let answer = answer.as_ref().map_err(|error| format!("there is no answer: {error:?}"))?;
    for message in &answer.messages {
        DynamicMessage::decode(method.output.clone(), message.clone())
            .map_err(|error| format!("the answer is no {}: {error}", method.output.full_name()))?;
    }
    let Some(status) = &answer.status else {
        return match (method.says_many, answer.messages.is_empty()) {
            (false, _) => Err("there is no answer in time".to_owned()),
            (true, true) => Ok(Outcome::Silent),
            (true, false) => Ok(Outcome::Accepted),
        };
    };
    if status.code() == Code::Ok {
        return match (method.says_many, answer.messages.len()) {
            (true, _) | (false, 1) => Ok(Outcome::Accepted),
            (false, count) => Err(format!("OK with {count} messages")),
        };
    }
    let outcome = refusal(method, status)?;
    // A session that was opened before it was refused was opened.
    Ok(if answer.messages.is_empty() { outcome } else { Outcome::Accepted })
}

fn refusal(method: &Method, status: &Status) -> Result<Outcome, String> {
    let error = Error::from(status.clone());
    let told = format!("{:?} {} ({})", status.code(), error.reason_name(), status.message());
    match status.code() {
        Code::DeadlineExceeded => return Ok(Outcome::Late),
        // The cursor may be one of another store, or look like it.
        Code::DataLoss if error.reason_name() == "CURSOR_LOST" => {}
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable | Code::Unimplemented => {
            return Err(format!("must not be answered: {told}"));
        }
        Code::Unauthenticated => return Err(format!("the credential is good: {told}")),
        _ => {}
    }
    if status.message().len() + status.details().len() * 4 / 3 > STATUS_MAX {
        return Err(format!("the status is too large: {told}"));
    }
    if method.access.is_some() {
        match &error.reason {
            Reason::Known(reason) if code_of(*reason) == status.code() => {}
            _ => return Err(format!("the reason is not one of the contract, or not of this code: {told}")),
        }
        if status.message().is_empty() {
            return Err(format!("no words for people: {told}"));
        }
    }
    Ok(Outcome::Refused(status.code(), error.reason_name().to_owned()))
}
