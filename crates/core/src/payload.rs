//! What steps take and give.
//!
//! Small content travels inside events; content above [`INLINE_MAX`] is kept
//! apart under its digest, so that histories stay small and purging possible.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Largest content that is stored inside an event, in bytes.
pub const INLINE_MAX: usize = 4 * 1024;
/// Largest content that is accepted, in bytes.
pub const SIZE_MAX: usize = 256 * 1024;

pub const JSON: &str = "application/json";
pub const OCTETS: &str = "application/octet-stream";

/// A media type and its content, here or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    pub media_type: String,
    pub body: Body,
}

/// Where the content is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// UTF-8 content as it is (most payloads; readable in the log).
    Text(Arc<str>),
    /// Other content, base64 in the log.
    #[serde(with = "base64_bytes")]
    Bytes(Bytes),
    /// Content in the payload table.
    Stored { digest: Digest, size: u32 },
}

impl Payload {
    /// Content as given. Refused above [`SIZE_MAX`] by the edge, not here.
    pub fn new(media_type: impl Into<String>, content: Bytes) -> Self {
        let body = match std::str::from_utf8(&content) {
            Ok(text) if !text.contains('\0') => Body::Text(text.into()),
            _ => Body::Bytes(content),
        };
        Self { media_type: media_type.into(), body }
    }

    /// Splits off content of more than `most` bytes.
    pub fn detach(self, most: usize) -> (Self, Option<(Digest, Bytes)>) {
        if matches!(self.body, Body::Stored { .. }) || self.size() <= most {
            return (self, None);
        }
        let Some(content) = self.content() else {
            return (self, None);
        };
        let digest = Digest::of_content(&content);
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let stored = Self { media_type: self.media_type, body: Body::Stored { digest, size } };
        (stored, Some((digest, content)))
    }

    /// The content, unless it is stored elsewhere.
    pub fn content(&self) -> Option<Bytes> {
        match &self.body {
            Body::Text(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
            Body::Bytes(bytes) => Some(bytes.clone()),
            Body::Stored { .. } => None,
        }
    }

    /// Size of the content in bytes, wherever it is.
    pub fn size(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.len(),
            Body::Bytes(bytes) => bytes.len(),
            Body::Stored { size, .. } => *size as usize,
        }
    }

    pub fn digest(&self) -> Digest {
        match &self.body {
            Body::Text(text) => Digest::of_content(text.as_bytes()),
            Body::Bytes(bytes) => Digest::of_content(bytes),
            Body::Stored { digest, .. } => *digest,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Content may be secret; sizes are enough to debug with.
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Stored { digest, size } => write!(f, "Stored({digest}, {size} bytes)"),
        }
    }
}

mod base64_bytes {
    use super::*;

    pub fn serialize<S: serde::Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Bytes::from).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_content_is_detached_under_its_digest_and_small_is_not() {
        let small = Payload::new(JSON, Bytes::from(vec![b'x'; INLINE_MAX]));
        assert_eq!(small.clone().detach(INLINE_MAX), (small, None));
        let content = Bytes::from(vec![b'x'; INLINE_MAX + 1]);
        let large = Payload::new(JSON, content.clone());
        let digest = large.digest();
        let (stored, detached) = large.detach(INLINE_MAX);
        assert_eq!(stored.body, Body::Stored { digest, size: INLINE_MAX as u32 + 1 });
        assert_eq!(detached, Some((Digest::of_content(&content), content)));
        assert_eq!(stored.clone().detach(INLINE_MAX), (stored, None), "detaching twice changes nothing");
    }

    #[test]
    fn any_bytes_survive_the_log() {
        for content in [&b""[..], b"text", b"\xff\xfe", b"nul\0inside"] {
            let payload = Payload::new(OCTETS, Bytes::copy_from_slice(content));
            let json = serde_json::to_string(&payload).unwrap();
            assert!(!json.contains('\0'));
            assert_eq!(serde_json::from_str::<Payload>(&json).unwrap(), payload);
        }
    }
}
