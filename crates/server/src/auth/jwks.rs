//! Sets of public keys that issuers publish (RFC 7517).
//!
//! Invariants: a set gives public signing keys only, each with a `kid`; a set
//! that cannot be read, fetched or used never takes the place of one that could.
//! A file is looked at again at most every [`RELOAD_EVERY`]; see
//! [`super::jwks_url`] for addresses.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use quarterdeck_core::{Span, Timestamp};
use quarterdeck_engine::Clock;

use super::jwks_url::JwksUrl;
use super::jwt::JwtError;
use crate::config::JwksSource;

/// How often the file is looked at, at most.
const RELOAD_EVERY: Span = Span::from_secs(10);
/// Most keys of a set.
const KEYS_MAX: usize = 100;

/// A key that tokens are checked with.
#[derive(Clone)]
pub struct TrustedKey {
    pub id: Option<String>,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

/// A published set, wherever it is.
pub enum KeySet {
    File(Mutex<JwksFile>, Arc<dyn Clock>),
    Url(Arc<JwksUrl>),
}

impl KeySet {
    /// A file has to be there and right. An address may be down: then no token
    /// that needs it is believed until it answers.
    pub fn open(source: &JwksSource, clock: &Arc<dyn Clock>) -> Result<Self, JwtError> {
        Ok(match source {
            JwksSource::File(path) => {
                let file = JwksFile::read(path, clock.now())?;
                Self::File(Mutex::new(file), Arc::clone(clock))
            }
            JwksSource::Url(uri) => Self::Url(JwksUrl::new(uri.clone(), Arc::clone(clock))?),
        })
    }

    /// The keys of this id, at most a few.
    pub async fn named(&self, id: &str) -> Vec<TrustedKey> {
        match self {
            Self::File(file, clock) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.refresh(clock.now());
                named(&file.keys, id)
            }
            Self::Url(set) => set.named(id).await,
        }
    }

    /// What has to run for the set to stay up to date.
    pub fn upkeep(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        match self {
            Self::File(..) => None,
            Self::Url(set) => Some(Arc::clone(set).keep()),
        }
    }
}

pub fn named(keys: &[TrustedKey], id: &str) -> Vec<TrustedKey> {
    keys.iter().filter(|key| key.id.as_deref() == Some(id)).cloned().collect()
}

pub struct JwksFile {
    path: PathBuf,
    keys: Vec<TrustedKey>,
    /// Modification time and size of what was read.
    seen: Option<(SystemTime, u64)>,
    looked_at: Timestamp,
}

impl JwksFile {
    fn read(path: &Path, now: Timestamp) -> Result<Self, JwtError> {
        let what = "JWKS";
        // Taken before reading: a change in between is then seen at the next look.
        let seen = stamp(path);
        let unreadable = |source| JwtError::Unreadable { what, path: path.to_owned(), source };
        let text = std::fs::read(path).map_err(unreadable)?;
        let keys = parse(&text).map_err(|problem| JwtError::Unusable {
            what,
            path: path.to_owned(),
            problem,
            mend: "It must be a JWK set with RSA or Ed25519 public keys that have a `kid`.",
        })?;
        Ok(Self { path: path.to_owned(), keys, seen, looked_at: now })
    }

    /// Reads the file again if it has changed and it is time to look.
    fn refresh(&mut self, now: Timestamp) {
        if now.since(self.looked_at) < RELOAD_EVERY {
            return;
        }
        self.looked_at = now;
        if stamp(&self.path) == self.seen {
            return;
        }
        match Self::read(&self.path, now) {
            Ok(file) => {
                tracing::info!(path = %file.path.display(), keys = file.keys.len(), "JWKS file read again");
                *self = file;
            }
            Err(error) => tracing::warn!(%error, "the changed JWKS file cannot be used; its old keys stay"),
        }
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The usable keys of a set, or why there are none.
pub fn parse(text: &[u8]) -> Result<Vec<TrustedKey>, String> {
    let set: JwkSet = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("it has more than {KEYS_MAX} keys"));
    }
    let keys: Vec<TrustedKey> = set.keys.iter().filter_map(trusted).collect();
    match keys.is_empty() {
        true => Err("no key in it can be used".to_owned()),
        false => Ok(keys),
    }
}

/// A key of the set if it is a public signing key of a kind that we accept. A
/// symmetric key in a set is never accepted: sets are published.
fn trusted(jwk: &Jwk) -> Option<TrustedKey> {
    let id = jwk.common.key_id.clone()?;
    if matches!(&jwk.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let stated = jwk.common.key_algorithm.map(|stated| stated.to_string());
    if stated.is_some_and(|stated| stated != format!("{algorithm:?}")) {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(TrustedKey { id: Some(id), algorithm, key })
}
