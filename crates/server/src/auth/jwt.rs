//! JWTs of other issuers: HS256, RS256 and EdDSA.
//!
//! Invariants: the algorithm is that of the key, never that of the token, so a
//! token cannot pass a public key off as an HMAC secret; `exp` is required;
//! `iss` and `aud` are required where they are configured. Keys come from files
//! and from key sets (see [`super::jwks`]). It knows nothing of API keys.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use quarterdeck_core::Timestamp;
use quarterdeck_core::key::{Role, Scope};
use quarterdeck_engine::{Clock, Principal};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::jwks::{KeySet, TrustedKey};
use super::secrets::SecretError;
use crate::config::JwtSettings;

/// Longest token that is looked at, in bytes.
pub const TOKEN_MAX: usize = 8 * 1024;

/// Why JWT keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the {what} cannot be read from {}: {source}. Check the path and that this user may read it.", path.display())]
    Unreadable { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{} holds no {what}: {problem}. {mend}", path.display())]
    Unusable { what: &'static str, path: PathBuf, problem: String, mend: &'static str },
    #[error(
        "the roots of trust of this machine cannot be read: {0}. Install its CA certificates, or name a file with SSL_CERT_FILE."
    )]
    NoRoots(std::io::Error),
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
    jwks: Option<KeySet>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: u64,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(default)]
    roles: Vec<String>,
    projects: Option<Projects>,
    #[serde(default)]
    iss: Option<String>,
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
            Some(source) => Some(KeySet::open(source, &clock)?),
            None => None,
        };
        Ok(Some(Self {
            fixed,
            jwks,
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            leeway: settings.leeway.as_secs(),
        }))
    }

    /// The principal that a token speaks for.
    pub async fn verify(&self, token: &str) -> Result<Principal, Disbelief> {
        if token.len() > TOKEN_MAX {
            return Err(invalid("the token is too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| invalid(error.to_string()))?;
        let mut why = invalid("no key fits the token's algorithm and key id");
        for trusted in self.candidates(header.alg, header.kid.as_deref()).await {
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

    async fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> Vec<TrustedKey> {
        let mut keys = self.fixed.clone();
        if let (Some(jwks), Some(id)) = (&self.jwks, id) {
            keys.extend(jwks.named(id).await);
        }
        keys.retain(|key| key.algorithm == algorithm);
        keys
    }

    /// What has to run so that keys from an address stay up to date.
    pub fn upkeep(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        self.jwks.as_ref().and_then(KeySet::upkeep)
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
    let issuer = claims.iss.unwrap_or_default();
    let person = format!("{issuer}#{sub}");
    Ok(Principal { subject: format!("jwt:{sub}"), person, issuer, roles, scope, expires_at })
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

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
