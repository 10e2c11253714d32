//! Who is calling, and whether the key is good.

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit as _, Mac as _};
use quarterdeck_core::id::{decode_base32, encode_base32};
use quarterdeck_core::key::{Role, Scope, usable};
use quarterdeck_core::{Digest, KeyId, Refusal, Timestamp, project};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::engine::{Engine, Shared};
use crate::error::{Error, Noun, Result};

/// Secrets of the installation. `Debug` shows none.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Secret part of `qd_bootstrap_<secret>`, the first administrator.
    pub bootstrap: Option<String>,
    /// Key of the hash under which API keys are stored.
    pub pepper: Vec<u8>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// A caller that has shown a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Such as `key:ci`, `jwt:alice` or `bootstrap`.
    pub subject: String,
    /// Who it is: two credentials of one person are the same here.
    pub person: String,
    /// Who vouches for the subject: this installation, or a token's issuer.
    pub issuer: String,
    pub roles: BTreeSet<Role>,
    pub scope: Scope,
    pub expires_at: Option<Timestamp>,
}

/// What vouches for keys.
pub const INSTALLATION: &str = "quarterdeck";

impl Principal {
    /// Programs act, and do not decide.
    pub fn is_program(&self) -> bool {
        self.roles.contains(&Role::Agent) || self.roles.contains(&Role::Service)
    }

    /// The project that a request is about: the one it names, if the credential
    /// covers it; else the credential's only one, or the default where it covers all.
    pub fn project(&self, named: &str) -> Result<String> {
        if !named.is_empty() {
            return match self.scope.covers(named) {
                true => Ok(named.to_owned()),
                // Not yours is answered like not there.
                false => Err(Error::NotFound(Noun::Project)),
            };
        }
        match &self.scope {
            Scope::All => Ok(project::DEFAULT.to_owned()),
            Scope::Projects(names) if names.len() == 1 => {
                Ok(names.iter().next().cloned().unwrap_or_default())
            }
            Scope::Projects(_) => Err(Error::ProjectUnnamed),
        }
    }
}

/// The text of an API key.
pub(crate) fn key_text(id: KeyId, secret: &[u8; 32]) -> String {
    let (high, low) = secret.split_at(16);
    let part = |half: &[u8]| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(half);
        encode_base32(u128::from_be_bytes(bytes))
    };
    format!("qd_{}_{}{}", encode_base32(id.as_uuid().as_u128()), part(high), part(low))
}

fn parse_key(text: &str) -> Option<(KeyId, &str)> {
    let (id, secret) = text.strip_prefix("qd_")?.split_once('_')?;
    let id = KeyId::from_uuid(Uuid::from_u128(decode_base32(id)?));
    (secret.len() == 52).then_some((id, secret))
}

impl Secrets {
    /// Keyed hash under which a key's secret is stored.
    pub(crate) fn hash(&self, secret: &str) -> Result<Digest> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.pepper)
            .map_err(|_| Error::Internal("the key pepper cannot be used".to_owned()))?;
        mac.update(b"quarterdeck.key.v1\0");
        mac.update(secret.as_bytes());
        Ok(Digest::from_bytes(mac.finalize().into_bytes().into()))
    }
}

impl Engine {
    /// Recognises `qd_<id>_<secret>` and `qd_bootstrap_<secret>`.
    pub async fn authenticate_key(&self, text: &str) -> Result<Principal> {
        if let Some(given) = text.strip_prefix("qd_bootstrap_") {
            return self.0.bootstrap(given);
        }
        let (id, secret) = parse_key(text).ok_or(Error::CredentialInvalid)?;
        let hash = self.0.secrets.hash(secret)?;
        let Some(key) = self.0.key(id).await? else {
            return Err(Error::CredentialInvalid);
        };
        // The secret first: whoever does not have it learns nothing of the key.
        if !bool::from(key.hash.as_bytes().ct_eq(hash.as_bytes())) {
            return Err(Error::CredentialInvalid);
        }
        match usable(&key, self.0.time.now()) {
            Ok(()) => Ok(Principal {
                subject: format!("key:{}", key.display_name),
                person: key.person.clone(),
                issuer: INSTALLATION.to_owned(),
                roles: key.roles.clone(),
                scope: key.scope.clone(),
                expires_at: key.expires_at,
            }),
            Err(Refusal::KeyExpired(_)) => Err(Error::CredentialExpired),
            Err(_) => Err(Error::CredentialRevoked),
        }
    }
}

impl Shared {
    fn bootstrap(&self, given: &str) -> Result<Principal> {
        let known = self.secrets.bootstrap.as_deref().unwrap_or_default();
        // Both are hashed first, so that the comparison takes no longer for a better guess.
        let same = self.secrets.hash(known)?.as_bytes().ct_eq(self.secrets.hash(given)?.as_bytes());
        if known.is_empty() || !bool::from(same) {
            return Err(Error::CredentialInvalid);
        }
        let roles = [Role::Viewer, Role::User, Role::Approver, Role::Admin, Role::Agent, Role::Service];
        Ok(Principal {
            subject: "bootstrap".to_owned(),
            person: "bootstrap".to_owned(),
            issuer: INSTALLATION.to_owned(),
            roles: BTreeSet::from(roles),
            scope: Scope::All,
            expires_at: None,
        })
    }
}
