//! The actions of policies.

use super::names::{Named, named};

/// What is asked of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Is there more at stake than was weighed?
    Raise,
    /// Does it run without asking?
    AutoApprove,
    /// May people be asked?
    Request,
    /// May this person say yes, no, yes in spite of a policy, or change policies?
    Approve,
    Deny,
    Override,
    Administer,
}

named!(Step {
    Raise => "raise",
    AutoApprove => "auto_approve",
    Request => "request",
    Approve => "approve",
    Deny => "deny",
    Override => "override",
    Administer => "administer",
});
