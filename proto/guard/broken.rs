//! What the guard says of a message that it refuses.

#[cfg(doc)]
use super::MAX_VIOLATIONS;

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The bytes are not the message; says where and why.
    #[error("{0}")]
    Malformed(String),
    /// The message breaks rules: 1 to [`MAX_VIOLATIONS`] of them.
    #[error("{} fields are invalid", .0.len())]
    Rules(Vec<Violation>),
}

/// A rule that the message breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where, as `plan.steps[3].key` or `labels["x"]`; cut at 256 bytes.
    pub field: String,
    /// Which rule, as `string.pattern`.
    pub rule: String,
    /// What must hold, in words that follow the name of the field.
    pub description: String,
}
