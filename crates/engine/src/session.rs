//! What passes between an agent's session and the engine.

use quarterdeck_core::approval::Approval;
use quarterdeck_core::payload::Body;
use quarterdeck_core::task::Report;
use quarterdeck_core::{Action, ApprovalId, Digest, Payload, SessionId, Span, TaskId, Timestamp};

/// How long a session of an agent that calls outlives silence, unless it says.
pub const CALLED_LEASE: Span = Span::from_secs(60);

/// An agent that opens or resumes a session.
#[derive(Clone, Debug, Default)]
pub struct Hello {
    pub agent: String,
    pub build: String,
    pub capabilities: Vec<String>,
    pub slots: u32,
    /// Project name; empty for the credential's own.
    pub project: String,
    /// Empty for a new session.
    pub resume_token: String,
    /// Lease tokens that the agent still works on.
    pub held: Vec<String>,
}

/// An agent that asks for steps by a call. `hello.slots` is how many it takes
/// besides those that it holds.
#[derive(Clone, Debug)]
pub struct Poll {
    pub hello: Hello,
    /// How long to wait where there is nothing to tell.
    pub wait: Span,
    /// How long the session is to outlive silence.
    pub lease: Span,
}

/// The answer to a [`Poll`].
#[derive(Clone, Debug, PartialEq)]
pub struct Acquired {
    pub session: SessionId,
    pub session_token: String,
    pub steps: Vec<Assignment>,
    /// Lease tokens that the agent listed and that are over.
    pub revoked: Vec<(String, RevokeCause)>,
    /// An operator wants the agent to finish.
    pub draining: bool,
    pub lease: Span,
}

/// What an agent says of a lease by a call. It numbers nothing: the token tells a
/// repetition.
#[derive(Clone, Debug)]
pub enum Word {
    Progress(Report),
    Complete { output: Option<Payload> },
    Fail { reason: String, message: String, not_retryable: bool, retry_after: Option<Span> },
}

/// A message of the agent. `token` names the lease, `number` its place in the
/// lease's sequence of messages.
#[derive(Clone, Debug)]
pub enum Up {
    Credit(u32),
    Progress {
        token: String,
        number: i64,
        report: Report,
    },
    Complete {
        token: String,
        number: i64,
        output: Option<Payload>,
    },
    Fail {
        token: String,
        number: i64,
        reason: String,
        message: String,
        not_retryable: bool,
        retry_after: Option<Span>,
    },
    Refuse {
        token: String,
        number: i64,
        message: String,
    },
    /// Tell when this approval is not pending any more.
    AwaitApproval(String),
    Ping,
    Bye,
}

/// A message to the agent.
#[derive(Clone, Debug, PartialEq)]
pub enum Down {
    Welcome {
        session: SessionId,
        resume_token: String,
        resumed: bool,
        lease: Span,
        ping_interval: Span,
    },
    Assign(Box<Assignment>),
    /// All messages of the lease up to the number are durable.
    Ack {
        token: String,
        up_to: i64,
    },
    Reject {
        token: String,
        number: i64,
        reason: RejectReason,
        message: String,
    },
    Revoke {
        token: String,
        cause: RevokeCause,
    },
    /// What became of an approval that the agent waits for.
    ApprovalDecided {
        id: String,
        approval: Result<Box<Approval>, crate::error::Error>,
    },
    Pong,
    GoAway {
        cause: GoAwayCause,
        deadline: Option<Timestamp>,
    },
    /// The session is over; the stream ends with this error.
    Over(crate::error::Error),
}

impl Down {
    pub const fn assigns(&self) -> bool {
        matches!(self, Self::Assign(_))
    }
}

/// A step given to an agent, with everything it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    pub token: String,
    pub project: String,
    pub task: TaskId,
    pub step_key: String,
    pub capability: String,
    pub attempt: u32,
    pub input: Option<Payload>,
    /// Outputs of the steps that this one comes after. Content that did not fit
    /// is left where it is stored.
    pub dependencies: Vec<(String, Option<Payload>)>,
    pub checkpoint: Option<Payload>,
    pub deadline: Option<Timestamp>,
    pub progress_timeout: Option<Span>,
    /// The same for every attempt of the step.
    pub idempotency_key: String,
    /// What this attempt may do, if the step declares it.
    pub granted: Option<GrantedAction>,
}

/// An action that an attempt may carry out.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantedAction {
    pub approval: ApprovalId,
    pub digest: Digest,
    pub content: Digest,
    /// Loaded before the assignment is sent.
    pub action: Option<Action>,
}

impl Assignment {
    /// About how many bytes it takes in an answer.
    pub(crate) fn size(&self) -> usize {
        // Names, ids, times, and what stands for content that is left out.
        const FRAME: usize = 512;
        const PER_OUTPUT: usize = 128;
        let outputs = self.dependencies.iter().filter_map(|(_, payload)| payload.as_ref());
        let carried = self.input.iter().chain(&self.checkpoint).chain(outputs);
        let carried = carried.filter(|payload| !matches!(payload.body, Body::Stored { .. }));
        let action = self.granted.iter().filter_map(|granted| granted.action.as_ref());
        action.map(Action::size).sum::<usize>()
            + FRAME
            + PER_OUTPUT * self.dependencies.len()
            + carried.map(Payload::size).sum::<usize>()
    }
}

/// Why an agent's message does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// The lease is not the step's current one.
    LeaseStale,
    /// The lease token is not one of ours.
    TokenInvalid,
    /// What the message says does not fit what was said before.
    FieldsInvalid,
    /// The message itself cannot be taken, ever.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeCause {
    TaskCanceled,
    TaskEnded,
    Timeout,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoAwayCause {
    /// Reconnect elsewhere with the resume token.
    Rotate,
    /// Finish and end.
    Drain,
    /// Another connection resumed this session.
    Replaced,
}
