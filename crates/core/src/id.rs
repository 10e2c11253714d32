//! Identifiers. One registry: every kind of id, its prefix and nothing else.
//!
//! Ids are UUIDv7 made from a [`Ctx`], so they sort by creation; their text form
//! is the prefix, an underscore and 26 characters of Crockford base32.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::context::Ctx;
use crate::time::Timestamp;

/// Text that is not an id of the kind wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id of the form {prefix}_ and 26 lower-case letters and digits")]
pub struct InvalidId {
    pub prefix: &'static str,
    pub text: String,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 128 bits as 26 characters, most significant first: text sorts like the id.
pub fn encode_base32(value: u128) -> String {
    (0..26).map(|place| ALPHABET[((value >> (125 - 5 * place)) & 31) as usize] as char).collect()
}

/// Inverse of [`encode_base32`]; strict: one text per value.
pub fn decode_base32(text: &str) -> Option<u128> {
    if text.len() != 26 {
        return None;
    }
    let mut value: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|&letter| letter == byte)? as u128;
        // 26 digits are 130 bits; the first may only carry three.
        if place == 0 && digit > 7 {
            return None;
        }
        value = (value << 5) | digit;
    }
    Some(value)
}

macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new id. `index` tells apart ids made from the same `Ctx`.
            pub fn new(ctx: &Ctx, index: u64) -> Self {
                let drawn = ctx.draw($prefix, index);
                let mut random = [0u8; 10];
                random.copy_from_slice(&drawn[..10]);
                let millis = u64::try_from(ctx.now.as_micros() / 1_000).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn as_uuid(self) -> Uuid {
                self.0
            }

            /// The stream that bears this aggregate's events.
            pub const fn stream(self) -> StreamId {
                StreamId(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, encode_base32(self.0.as_u128()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode_base32)
                    .map(|value| Self(Uuid::from_u128(value)))
                    .ok_or_else(|| InvalidId { prefix: $prefix, text: text.chars().take(80).collect() })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

typed_id! {
    /// A task.
    TaskId = "tsk";
    /// One connection of an agent, across its reconnects.
    SessionId = "ses";
    /// An API key.
    KeyId = "key";
    /// An action that was assessed and decided on.
    ApprovalId = "apr";
    /// A yes that is remembered.
    GrantId = "grt";
    /// An address that is told of approvals.
    WebhookId = "whk";
    /// One commit to the log; the same when it is submitted again.
    CommitId = "cmt";
}

impl ApprovalId {
    /// The approval that a step's gate waits for, the `number`-th time. Whichever
    /// replica asks for it, and however often, it is the same one.
    pub fn of_gate(task: TaskId, step: u16, number: u32, since: Timestamp) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"quarterdeck.gate.v1\0");
        hash.update(task.as_uuid().as_bytes());
        hash.update(step.to_be_bytes());
        hash.update(number.to_be_bytes());
        Self::timed(since, &hash.finalize().into())
    }

    /// The approval that an agent asks for under a lease, by its own key.
    pub fn of_request(lease: &str, key: &str, since: Timestamp) -> Self {
        let mut canonical = crate::digest::Canonical::new("quarterdeck.authorize.v1");
        Self::timed(since, canonical.text(lease).text(key).finish().as_bytes())
    }

    fn timed(since: Timestamp, drawn: &[u8; 32]) -> Self {
        let mut random = [0u8; 10];
        random.copy_from_slice(&drawn[..10]);
        let millis = u64::try_from(since.as_micros() / 1_000).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
}

/// The stream of events of one aggregate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(Uuid);

impl StreamId {
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream_{}", encode_base32(self.0.as_u128()))
    }
}

/// A project, derived from its name: the same name is the same stream, so two
/// projects of one name cannot be created, wherever they are created.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProjectId(Uuid);

impl ProjectId {
    pub fn of(name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"quarterdeck.project.v1\0");
        hash.update(name.as_bytes());
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Owner of what belongs to no project, such as API keys.
    pub const fn installation() -> Self {
        Self(Uuid::nil())
    }

    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    pub const fn stream(self) -> StreamId {
        StreamId(self.0)
    }

    /// The stream of the project's policy.
    pub fn policy_stream(self) -> StreamId {
        let mut hash = Sha256::new();
        hash.update(b"quarterdeck.policy.v1\0");
        hash.update(self.0.as_bytes());
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        StreamId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Debug for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "project_{}", encode_base32(self.0.as_u128()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn ids_sort_by_creation_as_bytes_and_as_text() {
        let earlier = TaskId::new(&Ctx::new(Timestamp::from_micros(1_000_000_000), [1; 32]), 0);
        let later = TaskId::new(&Ctx::new(Timestamp::from_micros(1_000_002_000), [0; 32]), 0);
        assert!(earlier < later);
        assert!(earlier.to_string() < later.to_string());
    }

    #[test]
    fn text_is_strict_and_comes_back() {
        let id = TaskId::new(&Ctx::new(Timestamp::from_micros(5), [7; 32]), 3);
        assert_eq!(id.to_string().parse::<TaskId>().unwrap(), id);
        let foreign = id.to_string().replacen("tsk", "ses", 1);
        for bad in ["", "tsk_", "tsk", &foreign, &id.to_string().to_uppercase(), &format!("{id}0")] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad}");
        }
        assert!(format!("tsk_{}", "z".repeat(26)).parse::<TaskId>().is_err(), "130 bits do not fit");
    }

    #[test]
    fn a_project_is_its_name() {
        assert_eq!(ProjectId::of("default"), ProjectId::of("default"));
        assert_ne!(ProjectId::of("default"), ProjectId::of("Default"));
    }
}
