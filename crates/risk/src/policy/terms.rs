//! What a policy asks of people: how many, who, and for how long their yes counts.
//!
//! Invariants: of several policies the strictest of each obligation counts; the life of
//! a grant shrinks with the risk unless a policy says otherwise; running out of levels
//! of escalation is never a yes, the request then ends with its pending life.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::Level;

/// Who may decide where no policy names a role.
const ROLES: [&str; 2] = ["approver", "admin"];
/// Who may decide where policies name roles that have nothing in common.
const LAST_ROLE: &str = "admin";

/// What a request asks of people. Times are seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// So many different people must approve.
    pub approvals: u32,
    /// Whoever decides has one of these roles; never empty.
    pub roles: Vec<String>,
    /// So many people who deny end the request.
    pub deny_threshold: u32,
    /// How long the request waits for people.
    pub pending: u64,
    /// How long their yes counts from then on.
    pub grant: u64,
    /// Who may decide in addition when nobody has, in order of time.
    pub escalation: Vec<Escalation>,
}

/// Who may decide in addition, after a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    pub after_seconds: u64,
    pub roles: Vec<String>,
}

/// What policies say of the terms; what they leave out is as usual for the level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Obligations {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvals: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_threshold: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub escalation: Vec<Escalation>,
}

impl Obligations {
    /// Whether nothing is asked beyond what is usual.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Both: the strictest of each. Most approvals, fewest denials, shortest lives, roles
    /// that both name, every level of escalation.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        fn both<T: Copy>(one: Option<T>, two: Option<T>, strictest: fn(T, T) -> T) -> Option<T> {
            match (one, two) {
                (Some(one), Some(two)) => Some(strictest(one, two)),
                (one, two) => one.or(two),
            }
        }
        self.approvals = both(self.approvals, other.approvals, u32::max);
        self.deny_threshold = both(self.deny_threshold, other.deny_threshold, u32::min);
        self.pending = both(self.pending, other.pending, u64::min);
        self.grant = both(self.grant, other.grant, u64::min);
        self.roles = match (self.roles.take(), &other.roles) {
            (Some(one), Some(two)) => Some(one.intersection(two).cloned().collect()),
            (one, two) => one.or_else(|| two.clone()),
        };
        self.escalation.extend(other.escalation.iter().cloned());
        self
    }

    /// The terms of a request at this level.
    pub fn terms(self, level: Level) -> Terms {
        let usual = Usual::of(level);
        let roles: Vec<String> = match self.roles {
            Some(roles) if roles.is_empty() => vec![LAST_ROLE.to_owned()],
            Some(roles) => roles.into_iter().collect(),
            None => ROLES.iter().map(|role| (*role).to_owned()).collect(),
        };
        let pending = self.pending.unwrap_or(usual.pending);
        Terms {
            approvals: self.approvals.unwrap_or(1),
            deny_threshold: self.deny_threshold.unwrap_or(1),
            pending,
            grant: self.grant.unwrap_or(usual.grant),
            escalation: levels(self.escalation, pending),
            roles,
        }
    }
}

/// What counts where no policy says anything.
struct Usual {
    pending: u64,
    grant: u64,
}

impl Usual {
    /// Pending 4, 8, 24 hours: the more is at stake, the longer people may take. The yes
    /// itself grows stale sooner the more is at stake: 8 hours, 1 hour, 10 minutes.
    fn of(level: Level) -> Self {
        match level {
            Level::Low => Self { pending: 4 * 3600, grant: 8 * 3600 },
            Level::Medium => Self { pending: 8 * 3600, grant: 3600 },
            Level::High => Self { pending: 24 * 3600, grant: 600 },
        }
    }
}

/// One level a time, in order, within the request's life.
fn levels(mut all: Vec<Escalation>, pending: u64) -> Vec<Escalation> {
    all.sort_by_key(|level| level.after_seconds);
    let mut levels: Vec<Escalation> = Vec::new();
    for mut level in all {
        if level.after_seconds >= pending {
            continue;
        }
        match levels.last_mut().filter(|last| last.after_seconds == level.after_seconds) {
            Some(last) => last.roles.append(&mut level.roles),
            None => levels.push(level),
        }
    }
    for level in &mut levels {
        level.roles.sort();
        level.roles.dedup();
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str]) -> Option<BTreeSet<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn level(after_seconds: u64, names: &[&str]) -> Escalation {
        Escalation { after_seconds, roles: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn the_strictest_of_each_counts() {
        let one = Obligations {
            approvals: Some(2),
            roles: roles(&["admin", "approver"]),
            pending: Some(7200),
            grant: Some(60),
            escalation: vec![level(600, &["approver"]), level(60, &["admin"])],
            ..Obligations::default()
        };
        let two = Obligations {
            approvals: Some(1),
            roles: roles(&["admin", "dba"]),
            deny_threshold: Some(2),
            pending: Some(3600),
            grant: Some(30),
            ..Obligations::default()
        };
        let expected = Terms {
            approvals: 2,
            roles: vec!["admin".to_owned()],
            deny_threshold: 2,
            pending: 3600,
            grant: 30,
            escalation: vec![level(60, &["admin"]), level(600, &["approver"])],
        };
        assert_eq!(one.clone().and(&two).terms(Level::High), expected);
        assert_eq!(two.and(&one).terms(Level::High), expected, "in either order");
    }

    #[test]
    fn roles_without_a_common_one_leave_the_last() {
        let one = Obligations { roles: roles(&["dba"]), ..Obligations::default() };
        let two = Obligations { roles: roles(&["security"]), ..Obligations::default() };
        assert_eq!(one.and(&two).terms(Level::Low).roles, ["admin"]);
    }

    #[test]
    fn a_grant_lives_shorter_the_more_is_at_stake() {
        let [low, medium, high] =
            [Level::Low, Level::Medium, Level::High].map(|level| Obligations::default().terms(level));
        assert_eq!([low.pending, medium.pending, high.pending], [14_400, 28_800, 86_400]);
        assert_eq!([low.grant, medium.grant, high.grant], [28_800, 3_600, 600]);
    }

    #[test]
    fn levels_are_in_order_and_end_with_the_request() {
        let all =
            vec![level(900, &["admin"]), level(60, &["b", "a"]), level(60, &["a"]), level(1000, &["a"])];
        assert_eq!(levels(all, 1000), [level(60, &["a", "b"]), level(900, &["admin"])]);
    }
}
