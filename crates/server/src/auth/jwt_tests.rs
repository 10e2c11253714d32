use super::*;
use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use quarterdeck_core::Span;
use quarterdeck_engine::ports::{SystemClock, Wait};
use rcgen::{KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::auth::secrets::SecretSource;
use crate::config::JwksSource;

const SECRET: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b";

/// A clock that the test moves.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, _span: Span) -> Wait {
        Box::pin(async {})
    }
}

struct Keys {
    dir: TempDir,
    rsa: KeyPair,
    ed: KeyPair,
}

impl Keys {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        fs::write(dir.path().join("rsa.pem"), rsa.public_key_pem()).unwrap();
        fs::write(dir.path().join("ed.pem"), ed.public_key_pem()).unwrap();
        Self { dir, rsa, ed }
    }

    fn settings(&self) -> JwtSettings {
        JwtSettings {
            hs256_secret: Some(SecretSource::Given(SECRET.to_owned().into())),
            rs256_keys: vec![self.dir.path().join("rsa.pem")],
            eddsa_keys: vec![self.dir.path().join("ed.pem")],
            issuer: Some("https://issuer".into()),
            audience: Some("quarterdeck".into()),
            leeway: Duration::from_secs(5),
            ..JwtSettings::default()
        }
    }

    fn verifier(&self) -> Verifier {
        load(&self.settings())
    }

    fn rsa_key(&self) -> EncodingKey {
        EncodingKey::from_rsa_pem(self.rsa.serialize_pem().as_bytes()).unwrap()
    }

    fn ed_key(&self) -> EncodingKey {
        EncodingKey::from_ed_pem(self.ed.serialize_pem().as_bytes()).unwrap()
    }
}

fn load(settings: &JwtSettings) -> Verifier {
    Verifier::load(settings, Arc::new(SystemClock)).unwrap().unwrap()
}

fn hs_key() -> EncodingKey {
    EncodingKey::from_secret(SECRET.as_bytes())
}

fn in_seconds(seconds: i64) -> i64 {
    SystemClock.now().as_micros() / 1_000_000 + seconds
}

fn claims() -> Value {
    json!({
        "sub": "alice", "exp": in_seconds(60), "iss": "https://issuer", "aud": ["other", "quarterdeck"],
        "roles": ["user", "viewer"], "projects": ["alpha", "beta"],
    })
}

fn with(change: Value) -> Value {
    let mut claims = claims();
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn sign(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

#[tokio::test]
async fn tokens_of_each_algorithm_are_believed() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    for (algorithm, key) in
        [(Algorithm::HS256, hs_key()), (Algorithm::RS256, keys.rsa_key()), (Algorithm::EdDSA, keys.ed_key())]
    {
        let principal = verifier.verify(&sign(algorithm, &key, &claims())).await.unwrap();
        assert_eq!(principal.subject, "jwt:alice");
        assert_eq!(principal.roles, BTreeSet::from([Role::User, Role::Viewer]));
        assert!(principal.scope.covers("beta") && !principal.scope.covers("gamma"));
        assert!(principal.expires_at.is_some());
    }
    let all = sign(Algorithm::HS256, &hs_key(), &with(json!({"projects": "*"})));
    assert_eq!(verifier.verify(&all).await.unwrap().scope, Scope::All);
}

#[tokio::test]
async fn a_public_key_is_never_taken_for_an_hmac_secret() {
    let keys = Keys::new();
    for public in [keys.rsa.public_key_pem(), keys.ed.public_key_pem()] {
        let forged = sign(Algorithm::HS256, &EncodingKey::from_secret(public.as_bytes()), &claims());
        // Refused with an HS256 secret configured, and without one.
        assert!(keys.verifier().verify(&forged).await.is_err());
        let settings = JwtSettings { hs256_secret: None, ..keys.settings() };
        assert!(load(&settings).verify(&forged).await.is_err());
    }
}

#[tokio::test]
async fn other_algorithms_and_none_are_refused() {
    let verifier = Keys::new().verifier();
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        assert!(verifier.verify(&sign(algorithm, &hs_key(), &claims())).await.is_err(), "{algorithm:?}");
    }
    let good = sign(Algorithm::HS256, &hs_key(), &claims());
    let payload = good.split('.').nth(1).unwrap();
    // {"alg":"none"}
    for unsigned in [format!("eyJhbGciOiJub25lIn0.{payload}."), format!("{payload}.{payload}"), String::new()]
    {
        assert!(verifier.verify(&unsigned).await.is_err(), "{unsigned}");
    }
}

#[tokio::test]
async fn claims_that_do_not_hold_are_refused() {
    let verifier = Keys::new().verifier();
    let check = async |claims: &Value| verifier.verify(&sign(Algorithm::HS256, &hs_key(), claims)).await;
    assert_eq!(check(&with(json!({"exp": in_seconds(-6)}))).await, Err(Disbelief::Expired));
    assert!(check(&with(json!({"exp": in_seconds(-2)}))).await.is_ok(), "within the leeway");
    for bad in [
        without("exp"),
        without("sub"),
        without("iss"),
        without("aud"),
        without("projects"),
        with(json!({"iss": "https://other"})),
        with(json!({"aud": "other"})),
        with(json!({"nbf": in_seconds(60)})),
        with(json!({"roles": ["user", "root"]})),
        with(json!({"projects": []})),
        with(json!({"projects": "alpha"})),
        with(json!({"sub": ""})),
        with(json!({"sub": "a\nb"})),
    ] {
        assert!(matches!(check(&bad).await, Err(Disbelief::Invalid(_))), "{bad}");
    }
}

#[tokio::test]
async fn a_changed_token_or_a_foreign_key_is_refused() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let stranger = Keys::new();
    assert!(verifier.verify(&sign(Algorithm::RS256, &stranger.rsa_key(), &claims())).await.is_err());
    assert!(verifier.verify(&sign(Algorithm::EdDSA, &stranger.ed_key(), &claims())).await.is_err());
    let good = sign(Algorithm::EdDSA, &keys.ed_key(), &claims());
    let other = sign(Algorithm::EdDSA, &keys.ed_key(), &with(json!({"sub": "mallory"})));
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (good, other) = (parts(&good), parts(&other));
    assert!(verifier.verify(&format!("{}.{}.{}", good[0], other[1], good[2])).await.is_err());
    assert!(verifier.verify(&"a".repeat(TOKEN_MAX + 1)).await.is_err());
}

fn jwk(keys: &Keys, id: &str) -> Value {
    use base64::Engine as _;
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(keys.ed.der_bytes());
    json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": id, "x": x})
}

fn sign_as(keys: &Keys, id: &str) -> String {
    let header = Header { kid: Some(id.into()), ..Header::new(Algorithm::EdDSA) };
    encode(&header, &claims(), &keys.ed_key()).unwrap()
}

#[tokio::test]
async fn a_jwks_file_is_read_again_when_it_changes() {
    let (first, second) = (Keys::new(), Keys::new());
    let path = first.dir.path().join("jwks.json");
    fs::write(&path, json!({"keys": [jwk(&first, "one")]}).to_string()).unwrap();
    let clock = Arc::new(Hand(AtomicI64::new(1_000_000_000)));
    let settings = JwtSettings { jwks: Some(JwksSource::File(path.clone())), ..JwtSettings::default() };
    let verifier = Verifier::load(&settings, Arc::<Hand>::clone(&clock)).unwrap().unwrap();
    assert!(verifier.verify(&sign_as(&first, "one")).await.is_ok());
    assert!(verifier.verify(&sign_as(&first, "two")).await.is_err(), "the key id decides");
    assert!(verifier.verify(&sign_as(&second, "one")).await.is_err());

    let both = json!({"keys": [jwk(&first, "one"), jwk(&second, "two")]});
    fs::write(&path, both.to_string()).unwrap();
    assert!(verifier.verify(&sign_as(&second, "two")).await.is_err(), "not looked at again yet");
    clock.0.fetch_add(10_000_000, Ordering::Relaxed);
    assert!(verifier.verify(&sign_as(&second, "two")).await.is_ok());

    fs::write(&path, "broken").unwrap();
    clock.0.fetch_add(10_000_000, Ordering::Relaxed);
    assert!(verifier.verify(&sign_as(&second, "two")).await.is_ok(), "broken content changes nothing");
}

#[test]
fn a_published_set_gives_no_symmetric_key() {
    let keys = Keys::new();
    let path = keys.dir.path().join("jwks.json");
    let symmetric =
        json!({"kty": "oct", "kid": "s", "alg": "HS256", "k": "OWY4NmQwODE4ODRjN2Q2NTlhMmZlYWEwYzU1YWQwMTU"});
    fs::write(&path, json!({"keys": [symmetric]}).to_string()).unwrap();
    let settings = JwtSettings { jwks: Some(JwksSource::File(path)), ..JwtSettings::default() };
    let error = Verifier::load(&settings, Arc::new(SystemClock)).err().unwrap().to_string();
    assert!(error.contains("jwks.json") && error.contains("kid"), "{error}");
}

#[test]
fn key_files_that_are_none_are_named() {
    let keys = Keys::new();
    let settings = JwtSettings { rs256_keys: vec![keys.dir.path().join("ed.pem")], ..JwtSettings::default() };
    let error = Verifier::load(&settings, Arc::new(SystemClock)).err().unwrap().to_string();
    assert!(error.contains("ed.pem") && error.contains("openssl pkey"), "{error}");
    assert!(Verifier::load(&JwtSettings::default(), Arc::new(SystemClock)).unwrap().is_none());
}
