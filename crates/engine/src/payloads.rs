//! Contents that are stored apart from events.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use quarterdeck_core::payload::{Body, INLINE_MAX};
use quarterdeck_core::task::{Partial, Report};
use quarterdeck_core::{Digest, Payload};
use quarterdeck_risk::redact;
use quarterdeck_store::StoreError;

use crate::engine::{Engine, Shared};
use crate::error::Result;

/// Contents kept in memory: at most this many of at most 256 KiB each.
const CACHED_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Contents read or written lately.
pub struct Contents(Mutex<LruCache<Digest, Bytes>>);

impl Default for Contents {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(CACHED_MAX)))
    }
}

impl Contents {
    pub(crate) fn remember(&self, contents: &[(Digest, Bytes)]) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (digest, bytes) in contents {
            cache.put(*digest, bytes.clone());
        }
    }

    fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }
}

impl Engine {
    /// Contents of those payloads that are stored apart, in order, while they fit
    /// into `budget` bytes.
    pub async fn contents(&self, payloads: &[&Payload], budget: usize) -> Result<BTreeMap<Digest, Bytes>> {
        let mut left = budget;
        let mut found = BTreeMap::new();
        for payload in payloads {
            let Body::Stored { digest, .. } = payload.body else {
                continue;
            };
            if payload.size() > left || found.contains_key(&digest) {
                continue;
            }
            left -= payload.size();
            found.insert(digest, self.0.stored(digest).await?);
        }
        Ok(found)
    }
}

impl Shared {
    /// The payload with its content.
    pub(crate) async fn content(&self, payload: &Payload) -> Result<Payload> {
        match payload.body {
            Body::Stored { digest, .. } => {
                Ok(Payload::new(payload.media_type.clone(), self.stored(digest).await?))
            }
            _ => Ok(payload.clone()),
        }
    }

    pub(crate) async fn stored(&self, digest: Digest) -> Result<Bytes> {
        if let Some(bytes) = self.contents.get(&digest) {
            return Ok(bytes);
        }
        let bytes = self.store.payload(digest).await?.ok_or_else(|| StoreError::Corrupt {
            table: "payload",
            column: "bytes",
            id: digest.to_string(),
            why: "an event refers to content that is not there".to_owned(),
        })?;
        self.contents.remember(&[(digest, bytes.clone())]);
        Ok(bytes)
    }
}

/// Splits off contents that are too large for events, and those with a secret: whoever
/// follows events learns their digest, and only who reads the task or does the step gets them.
pub(crate) fn detached(payload: Payload, apart: &mut Vec<(Digest, Bytes)>) -> Payload {
    // What is large goes apart as it is: looking through it would hold up everybody.
    let inline = payload.size() <= INLINE_MAX;
    let secret = matches!(&payload.body, Body::Text(text) if inline && redact::holds_secret(text));
    let (payload, detached) = payload.detach(if secret { 0 } else { INLINE_MAX });
    apart.extend(detached);
    payload
}

/// The same where there may be none.
pub(crate) fn detach(payload: Option<Payload>, apart: &mut Vec<(Digest, Bytes)>) -> Option<Payload> {
    payload.map(|payload| detached(payload, apart))
}

/// What an agent says of its progress, without secrets and personal data. What watchers put
/// together by its offsets keeps its length.
pub(crate) fn report(report: Report) -> Report {
    let partial = report.partial.map(|piece| Partial { text: redact::blotted(&piece.text), ..piece });
    Report { message: redact::text(&report.message), partial, ..report }
}
