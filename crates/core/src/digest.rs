//! SHA-256 digests over one canonical, domain-tagged encoding.
//!
//! Every part is written with its length, so no two lists of parts share an
//! encoding. Digests are never taken over protobuf bytes, which are not
//! canonical. Version and purpose are in the tag.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// 32 bytes of SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of plain content, as `sha256sum` gives it.
    pub fn of_content(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Collects the parts of a canonical encoding.
pub struct Canonical(Sha256);

impl Canonical {
    /// `tag` names purpose and version, such as `quarterdeck.request.v1`.
    pub fn new(tag: &str) -> Self {
        let mut canonical = Self(Sha256::new());
        canonical.bytes(tag.as_bytes());
        canonical
    }

    pub fn bytes(&mut self, part: &[u8]) -> &mut Self {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
        self
    }

    pub fn text(&mut self, part: &str) -> &mut Self {
        self.bytes(part.as_bytes())
    }

    pub fn int(&mut self, part: i64) -> &mut Self {
        self.bytes(&part.to_be_bytes())
    }

    /// Absent and empty differ.
    pub fn optional<T>(
        &mut self,
        part: Option<T>,
        write: impl FnOnce(&mut Self, T) -> &mut Self,
    ) -> &mut Self {
        match part {
            None => self.int(0),
            Some(value) => {
                self.int(1);
                write(self, value)
            }
        }
    }

    pub fn finish(&self) -> Digest {
        Digest(self.0.clone().finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let mut bytes = [0u8; 32];
        let wrong = || serde::de::Error::custom("a digest is 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        for (slot, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *slot = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        let one = Canonical::new("t").text("ab").text("c").finish();
        let other = Canonical::new("t").text("a").text("bc").finish();
        assert_ne!(one, other);
        let absent = Canonical::new("t").optional(None::<&str>, |c, v| c.text(v)).finish();
        let empty = Canonical::new("t").optional(Some(""), |c, v| c.text(v)).finish();
        assert_ne!(absent, empty);
    }

    #[test]
    fn content_digest_is_plain_sha256() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of_content(b"abc").to_string(), known);
        let json = serde_json::to_string(&Digest::of_content(b"abc")).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), Digest::of_content(b"abc"));
    }
}
