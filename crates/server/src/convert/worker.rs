//! What agents and the server say to each other.

use quarterdeck_api::errors::v1::Reason;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_core::approval::Approval;
use quarterdeck_core::task::{Partial, Report};
use quarterdeck_core::{Payload, Span};
use quarterdeck_engine::Error;
use quarterdeck_engine::session::{
    Acquired, Assignment, CALLED_LEASE, Down, GoAwayCause, Hello, Poll, RejectReason, RevokeCause, Up, Word,
};

use super::payload::{self, Room, Stored};
use super::{action, approvals, int32, time};
use crate::status::{Failure, Fault};

/// The first message of a session.
pub fn hello(wire: pb::SessionRequest) -> Result<Hello, Failure> {
    let Some(pb::session_request::Message::Hello(hello)) = wire.message else {
        return Err(Fault::SessionProtocol("the first message must be Hello".to_owned()).into());
    };
    Ok(Hello {
        agent: hello.agent,
        build: hello.build,
        capabilities: hello.capabilities,
        slots: slots(hello.slots),
        project: hello.project,
        resume_token: hello.resume_token,
        held: hello.held_leases,
    })
}

/// The codec has refused negative ones.
fn slots(wire: i32) -> u32 {
    u32::try_from(wire).unwrap_or(0)
}

/// Any later message of an agent.
pub fn up(wire: pb::SessionRequest) -> Result<Up, Failure> {
    use pb::session_request::Message;
    Ok(match wire.message {
        Some(Message::Credit(credit)) => Up::Credit(slots(credit.slots)),
        Some(Message::Progress(word)) => Up::Progress {
            token: word.lease_token,
            number: word.number,
            report: Report {
                fraction: word.fraction,
                message: word.message,
                checkpoint: payload::from_wire("progress.checkpoint", word.checkpoint)?,
                partial: partial(word.partial_offset, word.partial_output),
            },
        },
        Some(Message::Complete(word)) => Up::Complete {
            token: word.lease_token,
            number: word.number,
            output: payload::from_wire("complete.output", word.output)?,
        },
        Some(Message::Fail(word)) => Up::Fail {
            token: word.lease_token,
            number: word.number,
            reason: word.reason,
            message: word.message,
            not_retryable: word.not_retryable,
            retry_after: word.retry_after.map(time::span),
        },
        Some(Message::Refuse(word)) => {
            Up::Refuse { token: word.lease_token, number: word.number, message: word.message }
        }
        Some(Message::AwaitApproval(word)) => Up::AwaitApproval(word.approval_id),
        Some(Message::Ping(pb::Ping {})) => Up::Ping,
        Some(Message::Bye(pb::Bye {})) => Up::Bye,
        Some(Message::Hello(_)) => {
            return Err(Fault::SessionProtocol("Hello is only the first message".to_owned()).into());
        }
        None => return Err(Fault::SessionProtocol("the message is of no known kind".to_owned()).into()),
    })
}

/// A message to the agent; the session's end is a failure.
pub fn down(down: Down) -> Result<pb::SessionResponse, Failure> {
    use pb::session_response::Message;
    let message = match down {
        Down::Welcome { session, resume_token, resumed, lease, ping_interval } => {
            Message::Welcome(pb::Welcome {
                session_id: session.to_string(),
                resume_token,
                resumed,
                lease: Some(time::duration(lease)),
                ping_interval: Some(time::duration(ping_interval)),
            })
        }
        Down::Assign(assignment) => Message::Assign(assign(*assignment, &mut Room::answer())),
        Down::Ack { token, up_to } => Message::Ack(pb::Ack { lease_token: token, up_to }),
        Down::Reject { token, number, reason, message } => {
            Message::Reject(pb::Reject { lease_token: token, number, reason: reject_reason(reason), message })
        }
        Down::Revoke { token, cause } => Message::Revoke(revoke(token, cause)),
        Down::ApprovalDecided { id, approval } => Message::ApprovalDecided(approval_decided(id, approval)?),
        Down::Pong => Message::Pong(pb::Pong {}),
        Down::GoAway { cause, deadline } => Message::GoAway(pb::GoAway {
            cause: go_away_cause(cause).into(),
            deadline: deadline.map(time::timestamp),
        }),
        Down::Over(error) => return Err(error.into()),
    };
    Ok(pb::SessionResponse { message: Some(message) })
}

/// A call for steps; `most` is how long it may wait in any case.
pub fn poll(wire: pb::AcquireStepsRequest, most: Span) -> Poll {
    Poll {
        hello: Hello {
            agent: wire.agent,
            build: wire.build,
            capabilities: wire.capabilities,
            slots: slots(wire.max_steps),
            project: wire.project,
            resume_token: wire.session_token,
            held: wire.held_leases,
        },
        wait: wire.wait.map_or(Span::ZERO, time::span).min(most),
        lease: wire.lease.map_or(CALLED_LEASE, time::span),
    }
}

/// The answer to a call for steps.
pub fn acquired(acquired: Acquired) -> pb::AcquireStepsResponse {
    // The engine has seen to it that the steps fit together.
    let mut room = Room::answer();
    pb::AcquireStepsResponse {
        session_token: acquired.session_token,
        session_id: acquired.session.to_string(),
        steps: acquired.steps.into_iter().map(|step| assign(step, &mut room)).collect(),
        revoked: acquired.revoked.into_iter().map(|(token, cause)| revoke(token, cause)).collect(),
        draining: acquired.draining,
        lease: Some(time::duration(acquired.lease)),
    }
}

/// A word on progress, and the lease that it is about.
pub fn progress(wire: pb::ReportProgressRequest) -> Result<(String, Word), Failure> {
    let report = Report {
        fraction: wire.fraction,
        message: wire.message,
        checkpoint: payload::from_wire("checkpoint", wire.checkpoint)?,
        partial: partial(wire.partial_offset, wire.partial_output),
    };
    Ok((wire.lease_token, Word::Progress(report)))
}

fn partial(offset: i64, text: String) -> Option<Partial> {
    let offset = u64::try_from(offset).unwrap_or_default();
    (!text.is_empty()).then_some(Partial { offset, text })
}

/// A completion, and the lease that it is about.
pub fn complete(wire: pb::CompleteStepRequest) -> Result<(String, Word), Failure> {
    let output = payload::from_wire("output", wire.output)?;
    Ok((wire.lease_token, Word::Complete { output }))
}

/// A failure, and the lease that it is about.
pub fn fail(wire: pb::FailStepRequest) -> (String, Word) {
    let word = Word::Fail {
        reason: wire.reason,
        message: wire.message,
        not_retryable: wire.not_retryable,
        retry_after: wire.retry_after.map(time::span),
    };
    (wire.lease_token, word)
}

/// What cannot be waited for is said so; any other failure ends the session.
fn approval_decided(
    approval_id: String,
    approval: Result<Box<Approval>, Error>,
) -> Result<pb::ApprovalDecided, Failure> {
    let (approval, reason) = match approval {
        Ok(approval) => (Some(approvals::to_wire(&approval)), None),
        Err(Error::NotFound(_)) => (None, Some(Reason::ApprovalNotFound)),
        Err(Error::LimitReached { .. }) => (None, Some(Reason::LimitReached)),
        Err(error) => return Err(error.into()),
    };
    let reason = reason.map(reason_name).unwrap_or_default();
    Ok(pb::ApprovalDecided { approval_id, approval, reason })
}

fn revoke(token: String, cause: RevokeCause) -> pb::Revoke {
    pb::Revoke { lease_token: token, cause: revoke_cause(cause).into() }
}

fn assign(assignment: Assignment, room: &mut Room) -> pb::Assign {
    let mut wire = |payload: Option<Payload>| payload.map(|one| payload::to_wire(&one, &Stored::new(), room));
    pb::Assign {
        lease_token: assignment.token,
        project: assignment.project,
        task_id: assignment.task.to_string(),
        step_key: assignment.step_key,
        capability: assignment.capability,
        attempt: int32(assignment.attempt),
        // The step's own input and checkpoint cannot be asked for later: they go first.
        input: wire(assignment.input),
        checkpoint: wire(assignment.checkpoint),
        dependencies: assignment
            .dependencies
            .into_iter()
            .map(|(step_key, output)| pb::DependencyOutput { step_key, output: wire(output) })
            .collect(),
        deadline: assignment.deadline.map(time::timestamp),
        idempotency_key: assignment.idempotency_key,
        progress_timeout: assignment.progress_timeout.map(time::duration),
        approval_id: assignment
            .granted
            .as_ref()
            .map(|granted| granted.approval.to_string())
            .unwrap_or_default(),
        action: assignment.granted.and_then(|granted| granted.action).map(action::to_wire),
    }
}

fn reject_reason(reason: RejectReason) -> String {
    let reason = match reason {
        RejectReason::LeaseStale => Reason::LeaseStale,
        RejectReason::FieldsInvalid => Reason::FieldsInvalid,
        RejectReason::TokenInvalid | RejectReason::Refused => Reason::SessionProtocol,
    };
    reason_name(reason)
}

fn reason_name(reason: Reason) -> String {
    reason.as_str_name().trim_start_matches("REASON_").to_owned()
}

const fn revoke_cause(cause: RevokeCause) -> pb::RevokeCause {
    match cause {
        RevokeCause::TaskCanceled => pb::RevokeCause::TaskCanceled,
        RevokeCause::TaskEnded => pb::RevokeCause::TaskEnded,
        RevokeCause::Timeout => pb::RevokeCause::Timeout,
        RevokeCause::Lost => pb::RevokeCause::Lost,
    }
}

const fn go_away_cause(cause: GoAwayCause) -> pb::GoAwayCause {
    match cause {
        GoAwayCause::Rotate => pb::GoAwayCause::Rotate,
        GoAwayCause::Drain => pb::GoAwayCause::Drain,
        GoAwayCause::Replaced => pb::GoAwayCause::Replaced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pb::session_request::Message;

    fn request(message: Option<Message>) -> pb::SessionRequest {
        pb::SessionRequest { message }
    }

    #[test]
    fn messages_out_of_place_are_protocol_errors() {
        let protocol = |failure: Failure| matches!(failure, Failure::Fault(Fault::SessionProtocol(_)));
        assert!(protocol(hello(request(Some(Message::Ping(pb::Ping {})))).unwrap_err()));
        assert!(protocol(hello(request(None)).unwrap_err()));
        assert!(protocol(up(request(Some(Message::Hello(pb::Hello::default())))).unwrap_err()));
        assert!(protocol(up(request(None)).unwrap_err()));
    }

    #[test]
    fn the_end_of_a_session_is_a_failure_with_its_reason() {
        let over = down(Down::Over(Error::SessionExpired)).unwrap_err();
        assert_eq!(over, Failure::Engine(Error::SessionExpired));
        let reject = Down::Reject {
            token: "t".into(),
            number: 3,
            reason: RejectReason::LeaseStale,
            message: "late".into(),
        };
        let Some(pb::session_response::Message::Reject(reject)) = down(reject).unwrap().message else {
            panic!()
        };
        assert_eq!((reject.reason.as_str(), reject.number), ("LEASE_STALE", 3));
    }
}
