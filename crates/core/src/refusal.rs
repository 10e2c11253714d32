//! Why a command is refused: one variant a reason, data only. The edge turns
//! these into statuses; nobody parses text.

use crate::approval::{Invalid, Phase};
use crate::digest::Digest;
use crate::time::Timestamp;

/// A command that the rules do not allow, with what the caller needs to know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the task has ended")]
    TaskEnded,
    #[error("only a failed or cancelled task can be retried")]
    TaskNotRetryable,
    #[error("the task has no step `{step_key}`")]
    StepNotFound { step_key: String },
    /// The step waits for something else than an agent.
    #[error("the step is not waiting for an agent")]
    StepNotReady,
    /// Another session has to take it.
    #[error("the session has given this step back before")]
    StepRefusedBefore,
    #[error("the lease is not the step's current one")]
    LeaseStale,
    #[error(
        "partial output up to byte {offset} has not come, only up to {known}: send what lies between first"
    )]
    PartialOutputGap { offset: u64, known: u64 },
    #[error("an attempt shows at most 1 MiB of partial output: put the rest into the output, or elsewhere")]
    PartialOutputTooLong,
    #[error("the revision is {actual}, not {required}")]
    RevisionMismatch { required: u64, actual: u64 },
    #[error("the approval is {} and takes this no more", .phase.word())]
    ApprovalEnded { phase: Phase },
    #[error("the approval is not decided yet, or not started")]
    ApprovalPending,
    /// What it was granted under holds no more.
    #[error("what the approval was granted under holds no more ({why:?}): ask again")]
    ApprovalInvalid { why: Invalid },
    #[error("the action is not the one that the approval is for: that has the digest {expected}")]
    DigestMismatch { expected: Digest },
    #[error("{why}")]
    NotEligible { why: String },
    #[error("`{person}` has decided on this already")]
    AlreadyDecided { person: String },
    #[error("the project has no such standing grant")]
    GrantNotFound,
    #[error("{why}")]
    GrantNotPossible { why: String },
    #[error("a project remembers at most {most} standing grants: revoke some")]
    TooManyGrants { most: usize },
    #[error("the project has no such webhook")]
    WebhookNotFound,
    #[error("a project has at most {most} webhooks: delete some")]
    TooManyWebhooks { most: usize },
    #[error("a project of this name exists")]
    ProjectExists,
    #[error("the project is archived")]
    ProjectArchived,
    #[error("the key was revoked")]
    KeyRevoked,
    #[error("the key expired at {0:?}")]
    KeyExpired(Timestamp),
}

impl Refusal {
    /// Whether it is what an agent's word says that cannot be taken, and the lease is good.
    pub fn is_of_the_word(&self) -> bool {
        matches!(self, Self::PartialOutputGap { .. } | Self::PartialOutputTooLong)
    }
}
