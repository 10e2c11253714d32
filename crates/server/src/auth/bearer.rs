//! From an `authorization` header to a principal.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use quarterdeck_core::Span;
use quarterdeck_engine::{Clock, Engine, Error, Principal};
use secrecy::{ExposeSecret, SecretString};

use super::jwt::{Disbelief, TOKEN_MAX, Verifier};
use crate::status::{Failure, Fault};

/// How often a stream's credential is looked at again. A revoked key is useless
/// within two seconds, also for streams that are open.
const RECHECK_EVERY: Span = Span::from_secs(1);

/// Who calls, as handlers find it in the request's extensions.
#[derive(Clone)]
pub struct Caller {
    pub principal: Arc<Principal>,
    credential: Credential,
}

#[derive(Clone)]
enum Credential {
    /// Text of an API key or of the bootstrap credential; looked at again.
    Key(Arc<SecretString>),
    /// Believed until it expires.
    Token,
}

/// Knows all kinds of credentials.
pub struct Authenticator {
    engine: Engine,
    jwt: Option<Verifier>,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    pub fn new(engine: Engine, jwt: Option<Verifier>, clock: Arc<dyn Clock>) -> Self {
        Self { engine, jwt, clock }
    }

    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Failure> {
        let text = bearer(headers)?;
        if text.starts_with("qd_") {
            let principal = Arc::new(self.engine.authenticate_key(text).await?);
            let secret = SecretString::from(text.to_owned());
            return Ok(Caller { principal, credential: Credential::Key(Arc::new(secret)) });
        }
        let Some(jwt) = &self.jwt else { return Err(Error::CredentialInvalid.into()) };
        match jwt.verify(text).await {
            Ok(principal) => Ok(Caller { principal: Arc::new(principal), credential: Credential::Token }),
            Err(Disbelief::Expired) => Err(Error::CredentialExpired.into()),
            Err(Disbelief::Invalid(why)) => {
                tracing::debug!(why, "a JWT is not believed");
                Err(Error::CredentialInvalid.into())
            }
        }
    }

    /// Ready once the caller's credential does not count any more, with the reason.
    /// A store that cannot be asked ends nobody's stream.
    pub async fn until_invalid(&self, caller: &Caller) -> Error {
        loop {
            let now = self.clock.now();
            let wait = match caller.principal.expires_at {
                Some(end) if end <= now => return Error::CredentialExpired,
                Some(end) => RECHECK_EVERY.min(end.since(now)),
                None => RECHECK_EVERY,
            };
            self.clock.sleep(wait).await;
            let Credential::Key(text) = &caller.credential else { continue };
            let again = self.engine.authenticate_key(text.expose_secret()).await;
            if let Err(error) = again
                && matches!(
                    error,
                    Error::CredentialInvalid | Error::CredentialExpired | Error::CredentialRevoked
                )
            {
                return error;
            }
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Failure> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(Fault::CredentialMissing.into()) };
    if values.next().is_some() || value.len() > TOKEN_MAX + 7 {
        return Err(Error::CredentialInvalid.into());
    }
    let text = value.to_str().map_err(|_| Error::CredentialInvalid)?;
    match text.split_once(' ') {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => Ok(credential.trim()),
        _ => Err(Error::CredentialInvalid.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn one_bearer_credential_is_taken_and_nothing_else() {
        assert_eq!(bearer(&headers(&["Bearer qd_x"])).unwrap(), "qd_x");
        assert_eq!(bearer(&headers(&["bearer  qd_x"])).unwrap(), "qd_x");
        assert!(matches!(bearer(&headers(&[])), Err(Failure::Fault(Fault::CredentialMissing))));
        for wrong in [&["Basic abc"][..], &["qd_x"], &["Bearer a", "Bearer b"]] {
            let headers = headers(wrong);
            let refused = bearer(&headers);
            assert!(matches!(refused, Err(Failure::Engine(Error::CredentialInvalid))), "{wrong:?}");
        }
    }
}
