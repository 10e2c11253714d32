//! Who may decide, and in whose place.
//!
//! Invariant: a seat is a person's own, or one lent to it; a seat is used once, and a
//! person uses one seat.

use std::collections::BTreeSet;

use crate::canary::{Mistake, planted};
use crate::key::Role;
use crate::refusal::Refusal;
use crate::time::Timestamp;

use super::command::Voter;
use super::state::Approval;

/// A right to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Role that counts; `None` where the right is lent.
    pub role: Option<Role>,
    pub lent_by: Option<String>,
}

impl Seat {
    /// The person whose seat it is.
    pub fn owner<'a>(&'a self, voter: &'a Voter) -> &'a str {
        self.lent_by.as_deref().unwrap_or(&voter.person)
    }
}

/// The seat that `voter` may use at `now`.
pub fn seat(approval: &Approval, voter: &Voter, now: Timestamp) -> Result<Seat, Refusal> {
    barred(approval, &voter.person)?;
    if let Some(role) = programs(&voter.roles) {
        return not(format!(
            "a credential with the role {role:?} is a program's, and programs do not decide"
        ));
    }
    if let Some(&role) = roles(approval).iter().find(|role| voter.roles.contains(role)) {
        return Ok(Seat { role: Some(role), lent_by: None });
    }
    let lent = approval.delegations.iter().find(|lent| lent.to == voter.person && now < lent.until);
    match lent {
        Some(lent) => Ok(Seat { role: None, lent_by: Some(lent.from.clone()) }),
        None => not(format!("this needs one of the roles {:?}", roles(approval))),
    }
}

/// Refuses people who have a part in the request.
pub fn barred(approval: &Approval, person: &str) -> Result<(), Refusal> {
    let parties = &approval.asked.parties;
    for (party, part) in [
        (&parties.requester, "asked for this action"),
        (&parties.owner, "owns the task that wants this action"),
        (&parties.author, "wrote this action"),
    ] {
        if party == person && !planted(Mistake::OwnVoteCounts) {
            return not(format!("`{person}` {part}, and nobody decides on their own"));
        }
    }
    Ok(())
}

/// Roles that may decide by now.
pub fn roles(approval: &Approval) -> BTreeSet<Role> {
    let terms = &approval.asked.terms;
    let more = terms.escalation.iter().take(approval.level as usize).flat_map(|level| &level.roles);
    terms.roles.iter().chain(more).copied().collect()
}

fn programs(roles: &BTreeSet<Role>) -> Option<Role> {
    [Role::Agent, Role::Service].into_iter().find(|role| roles.contains(role))
}

fn not<T>(why: String) -> Result<T, Refusal> {
    Err(Refusal::NotEligible { why })
}
