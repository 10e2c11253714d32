//! API keys: who may do what with which projects, until when.
//!
//! The log never holds a secret, only its keyed hash.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::KeyId;
use crate::refusal::Refusal;
use crate::stream::{Kind, Recorded, StreamEvent};
use crate::time::Timestamp;

/// What a credential may be used for. The same words as in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Viewer,
    User,
    Approver,
    Admin,
    Agent,
    Service,
}

/// Which projects a credential covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    All,
    Projects(BTreeSet<String>),
}

impl Scope {
    pub fn covers(&self, project: &str) -> bool {
        match self {
            Self::All => true,
            Self::Projects(names) => names.contains(project),
        }
    }

    /// True where nothing that `other` covers lies outside this scope.
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Projects(_), Self::All) => false,
            (Self::Projects(mine), Self::Projects(theirs)) => theirs.is_subset(mine),
        }
    }
}

/// A key after some of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub id: KeyId,
    pub display_name: String,
    pub hash: Digest,
    pub roles: BTreeSet<Role>,
    pub scope: Scope,
    pub expires_at: Option<Timestamp>,
    /// Who uses it.
    pub person: String,
    pub revoked_at: Option<Timestamp>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub revision: u64,
}

/// A key to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    pub id: KeyId,
    pub display_name: String,
    /// Keyed hash of the secret.
    pub hash: Digest,
    pub roles: BTreeSet<Role>,
    pub scope: Scope,
    pub expires_at: Option<Timestamp>,
    pub created_by: String,
    /// Who uses it. Empty in keys from before there were approvals: then it is nobody
    /// but the key itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub person: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    Created(Created),
    Revoked { by: String },
}

impl StreamEvent for Event {
    const KIND: Kind = Kind::Key;
}

/// Revokes a key; revoking a revoked one is no event.
pub fn revoke(key: &Key, by: &str) -> Vec<Event> {
    match key.revoked_at {
        Some(_) => Vec::new(),
        None => vec![Event::Revoked { by: by.to_owned() }],
    }
}

/// Whether the key counts at `now`. Expiry is exclusive: at `expires_at` it is over.
pub fn usable(key: &Key, now: Timestamp) -> Result<(), Refusal> {
    if key.revoked_at.is_some() {
        return Err(Refusal::KeyRevoked);
    }
    match key.expires_at {
        Some(end) if end <= now => Err(Refusal::KeyExpired(end)),
        _ => Ok(()),
    }
}

/// The state after one more event. `None` before the first.
pub fn apply(state: Option<Key>, recorded: &Recorded<Event>) -> Option<Key> {
    match (&recorded.event, state) {
        (Event::Created(created), None) => Some(Key {
            id: created.id,
            display_name: created.display_name.clone(),
            hash: created.hash,
            roles: created.roles.clone(),
            scope: created.scope.clone(),
            expires_at: created.expires_at,
            person: match created.person.as_str() {
                "" => created.id.to_string(),
                person => person.to_owned(),
            },
            revoked_at: None,
            created_by: created.created_by.clone(),
            created_at: recorded.at,
            revision: recorded.sequence,
        }),
        (Event::Revoked { .. }, Some(mut key)) => {
            key.revoked_at = Some(recorded.at);
            key.revision = recorded.sequence;
            Some(key)
        }
        (_, state) => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Ctx;

    #[test]
    fn a_revoked_or_expired_key_is_useless_at_once() {
        let end = Timestamp::from_micros(100);
        let created = Created {
            id: KeyId::new(&Ctx::new(Timestamp::default(), [0; 32]), 0),
            display_name: "ci".into(),
            hash: Digest::of_content(b"x"),
            roles: BTreeSet::from([Role::User]),
            scope: Scope::Projects(BTreeSet::from(["alpha".to_owned()])),
            expires_at: Some(end),
            created_by: "bootstrap".into(),
            person: "ann".into(),
        };
        let first = Recorded { sequence: 1, at: Timestamp::default(), event: Event::Created(created) };
        let key = apply(None, &first).unwrap();
        assert_eq!(usable(&key, Timestamp::from_micros(99)), Ok(()));
        assert_eq!(usable(&key, end), Err(Refusal::KeyExpired(end)));

        let event = revoke(&key, "admin").remove(0);
        let second = Recorded { sequence: 2, at: Timestamp::from_micros(5), event };
        let key = apply(Some(key), &second).unwrap();
        assert_eq!(usable(&key, Timestamp::from_micros(6)), Err(Refusal::KeyRevoked));
        assert!(revoke(&key, "admin").is_empty());
    }

    #[test]
    fn a_scope_never_grows_by_delegation() {
        let some = |names: &[&str]| Scope::Projects(names.iter().map(|name| (*name).to_owned()).collect());
        for (mine, theirs, allowed) in [
            (Scope::All, Scope::All, true),
            (Scope::All, some(&["a"]), true),
            (some(&["a"]), Scope::All, false),
            (some(&["a", "b"]), some(&["a"]), true),
            (some(&["a"]), some(&["a", "b"]), false),
        ] {
            assert_eq!(mine.includes(&theirs), allowed, "{mine:?} {theirs:?}");
        }
    }
}
