//! What can go wrong in a use case: who is to blame and whether to try again is
//! in the variant. The edge turns each into exactly one status.

use quarterdeck_core::{Refusal, Span};
use quarterdeck_store::StoreError;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Does not exist, or is not the caller's.
    #[error("no such {0:?}")]
    NotFound(Noun),
    #[error("the page token or cursor is not valid here")]
    CursorInvalid,
    #[error("the cursor is from before the store was restored")]
    CursorLost,
    #[error("the request id was used for another request")]
    RequestIdReused,
    #[error("the credential is not known")]
    CredentialInvalid,
    #[error("the credential has expired")]
    CredentialExpired,
    #[error("the credential was revoked")]
    CredentialRevoked,
    #[error("the credential does not cover the project `{project}`")]
    ProjectNotCovered { project: String },
    #[error("the caller does not hold the role {role} that it wants to give")]
    RoleMissing { role: &'static str },
    #[error("the credential covers several projects; name one")]
    ProjectUnnamed,
    /// The policy does not load; the text says where and why.
    #[error("{0}")]
    PolicyInvalid(String),
    /// The action, or what is said of it, breaks a rule that fields cannot state.
    #[error("{0}")]
    ActionInvalid(String),
    #[error("the audit has no such entries, or they are not sealed yet")]
    AuditRangeInvalid,
    #[error(
        "webhooks may not tell {address}: an operator allows it with `--webhook-allow`, or the webhook names another address"
    )]
    WebhookAddressNotAllowed { address: String },
    #[error("the session has expired")]
    SessionExpired,
    #[error("{0}")]
    SessionProtocol(String),
    /// Others kept changing the same aggregate.
    #[error("too many changes at the same time")]
    Contention,
    #[error("a queue of the server is full")]
    Overloaded { retry_after: Span },
    #[error("the limit of {limit} {what} is reached")]
    LimitReached { what: &'static str, limit: u64 },
    #[error("the server is stopping")]
    Draining,
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A defect. The text is for the log, not for callers.
    #[error("{0}")]
    Internal(String),
}

/// Things that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    Project,
    Task,
    Step,
    Session,
    Key,
    Approval,
    Grant,
    Webhook,
}

impl Error {
    /// True where the same call may succeed a little later, and does no harm.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Contention
                | Self::Overloaded { .. }
                | Self::Store(StoreError::Unavailable(_) | StoreError::Unknown(_))
        )
    }
}
