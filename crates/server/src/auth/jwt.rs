//! JWTs of other issuers: HS256, RS256 and EdDSA, keys from files.
//!
//! Invariants: the algorithm is that of the key, never that of the token, so a
//! token cannot pass a public key off as an HMAC secret; `exp` is required;
//! `iss` and `aud` are required where they are configured. A JWKS file is looked
//! at again at most every [`RELOAD_EVERY`]; if the new content is broken the old
//! keys stay. It knows nothing of API keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use quarterdeck_core::key::{Role, Scope};
use quarterdeck_core::{Span, Timestamp};
use quarterdeck_engine::{Clock, Principal};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::secrets::SecretError;
use crate::config::JwtSettings;

/// Longest token that is looked at, in bytes.
pub const TOKEN_MAX: usize = 8 * 1024;
/// How often the JWKS file is looked at, at most.
const RELOAD_EVERY: Span = Span::from_secs(10);
/// Most keys of a JWKS file.
const JWKS_MAX: usize = 100;

/// Why JWT keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the {what} cannot be read from {}: {source}. Check the path and that this user may read it.", path.display())]
    Unreadable { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{} holds no {what}: {problem}. {mend}", path.display())]
    Unusable { what: &'static str, path: PathBuf, problem: String, mend: &'static str },
}

/// Why a token is not believed. For the log; callers learn no more than whether
/// it expired.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    #[error("the token has expired")]
    Expired,
    #[error("{0}")]
    Invalid(String),
}

/// Checks tokens against the configured keys.
pub struct Verifier {
    fixed: Vec<TrustedKey>,
    jwks: Option<Mutex<JwksFile>>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: u64,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct TrustedKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

struct JwksFile {
    path: PathBuf,
    keys: Vec<TrustedKey>,
    /// Modification time and size of what was read.
    seen: Option<(SystemTime, u64)>,
    looked_at: Timestamp,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(default)]
    roles: Vec<String>,
    projects: Option<Projects>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Projects {
    Word(String),
    Names(BTreeSet<String>),
}

impl Verifier {
    /// Reads all keys. `None` where no JWT is to be believed.
    pub fn load(settings: &JwtSettings, clock: Arc<dyn Clock>) -> Result<Option<Self>, JwtError> {
        if !settings.enabled() {
            return Ok(None);
        }
        let mut fixed = Vec::new();
        if let Some(source) = &settings.hs256_secret {
            let secret = source.read("HS256 secret")?;
            let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
            fixed.push(TrustedKey { id: None, algorithm: Algorithm::HS256, key });
        }
        for path in &settings.rs256_keys {
            fixed.push(public_key(path, Algorithm::RS256)?);
        }
        for path in &settings.eddsa_keys {
            fixed.push(public_key(path, Algorithm::EdDSA)?);
        }
        let jwks = match &settings.jwks {
            Some(path) => {
                let (keys, seen) = read_jwks(path)?;
                Some(Mutex::new(JwksFile { path: path.clone(), keys, seen, looked_at: clock.now() }))
            }
            None => None,
        };
        Ok(Some(Self {
            fixed,
            jwks,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            leeway: settings.leeway.as_secs(),
            clock,
        }))
    }

    /// The principal that a token speaks for.
    pub fn verify(&self, token: &str) -> Result<Principal, Disbelief> {
        if token.len() > TOKEN_MAX {
            return Err(invalid("the token is too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| invalid(error.to_string()))?;
        let mut why = invalid("no key fits the token's algorithm and key id");
        for trusted in self.candidates(header.alg, header.kid.as_deref()) {
            match jsonwebtoken::decode::<Claims>(token, &trusted.key, &self.validation(trusted.algorithm)) {
                Ok(data) => return principal(data.claims, self.leeway),
                Err(error) => match error.kind() {
                    ErrorKind::ExpiredSignature => return Err(Disbelief::Expired),
                    _ => why = invalid(error.to_string()),
                },
            }
        }
        Err(why)
    }

    fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> Vec<TrustedKey> {
        let fitting = |key: &&TrustedKey| key.algorithm == algorithm;
        let mut keys: Vec<TrustedKey> = self.fixed.iter().filter(fitting).cloned().collect();
        if let (Some(jwks), Some(id)) = (&self.jwks, id) {
            let mut file = jwks.lock().unwrap_or_else(PoisonError::into_inner);
            file.refresh(self.clock.now());
            let named = file.keys.iter().filter(fitting).filter(|key| key.id.as_deref() == Some(id));
            keys.extend(named.cloned());
        }
        keys
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.leeway;
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        match &self.issuer {
            Some(issuer) => {
                validation.set_issuer(&[issuer]);
                required.push("iss");
            }
            None => validation.iss = None,
        }
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

impl JwksFile {
    /// Reads the file again if it has changed and it is time to look.
    fn refresh(&mut self, now: Timestamp) {
        if now.since(self.looked_at) < RELOAD_EVERY {
            return;
        }
        self.looked_at = now;
        if stamp(&self.path) == self.seen {
            return;
        }
        match read_jwks(&self.path) {
            Ok((keys, seen)) => {
                tracing::info!(path = %self.path.display(), keys = keys.len(), "JWKS file read again");
                (self.keys, self.seen) = (keys, seen);
            }
            Err(error) => tracing::warn!(%error, "the changed JWKS file cannot be used; its old keys stay"),
        }
    }
}

fn invalid(why: impl Into<String>) -> Disbelief {
    Disbelief::Invalid(why.into())
}

fn principal(claims: Claims, leeway: u64) -> Result<Principal, Disbelief> {
    let sub = claims.sub;
    if sub.is_empty() || sub.chars().count() > 200 || sub.chars().any(char::is_control) {
        return Err(invalid("`sub` must have 1 to 200 visible characters"));
    }
    let mut roles = BTreeSet::new();
    for role in &claims.roles {
        let role = role_by_name(role).ok_or_else(|| invalid(format!("`{role:.40}` is no role")))?;
        roles.insert(role);
    }
    let scope = match claims.projects {
        Some(Projects::Word(word)) if word == "*" => Scope::All,
        Some(Projects::Names(names)) if !names.is_empty() && names.len() <= 1_000 => Scope::Projects(names),
        _ => return Err(invalid("`projects` must be a list of project names or \"*\"")),
    };
    // Whole seconds are enough, and the cast saturates.
    let end = (claims.exp as i64).saturating_add(i64::try_from(leeway).unwrap_or(0));
    let expires_at = Some(Timestamp::from_micros(end.saturating_mul(1_000_000)));
    Ok(Principal { subject: format!("jwt:{sub}"), roles, scope, expires_at })
}

fn role_by_name(name: &str) -> Option<Role> {
    Some(match name {
        "viewer" => Role::Viewer,
        "user" => Role::User,
        "approver" => Role::Approver,
        "admin" => Role::Admin,
        "agent" => Role::Agent,
        "service" => Role::Service,
        _ => return None,
    })
}

fn public_key(path: &Path, algorithm: Algorithm) -> Result<TrustedKey, JwtError> {
    let what = if algorithm == Algorithm::RS256 { "RSA public key" } else { "Ed25519 public key" };
    let unreadable = |source| JwtError::Unreadable { what, path: path.to_owned(), source };
    let pem = std::fs::read(path).map_err(unreadable)?;
    let parsed = match algorithm {
        Algorithm::RS256 => DecodingKey::from_rsa_pem(&pem),
        _ => DecodingKey::from_ed_pem(&pem),
    };
    let key = parsed.map_err(|error| JwtError::Unusable {
        what,
        path: path.to_owned(),
        problem: error.to_string(),
        mend: "It must be PEM as `openssl pkey -pubout` writes it.",
    })?;
    Ok(TrustedKey { id: None, algorithm, key })
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

type ReadJwks = (Vec<TrustedKey>, Option<(SystemTime, u64)>);

fn read_jwks(path: &Path) -> Result<ReadJwks, JwtError> {
    let what = "JWKS";
    let unusable = |problem: String| JwtError::Unusable {
        what,
        path: path.to_owned(),
        problem,
        mend: "It must be a JWK set with RSA or Ed25519 public keys that have a `kid`.",
    };
    // Taken before reading: a change in between is then seen at the next look.
    let seen = stamp(path);
    let unreadable = |source| JwtError::Unreadable { what, path: path.to_owned(), source };
    let text = std::fs::read(path).map_err(unreadable)?;
    let set: JwkSet = serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
    if set.keys.len() > JWKS_MAX {
        return Err(unusable(format!("it has more than {JWKS_MAX} keys")));
    }
    let keys: Vec<TrustedKey> = set.keys.iter().filter_map(trusted).collect();
    if keys.is_empty() {
        return Err(unusable("no key in it can be used".to_owned()));
    }
    Ok((keys, seen))
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

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
