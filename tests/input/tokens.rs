//! JSON Web Tokens, good ones and bad ones.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.invalid";
pub const AUDIENCE: &str = "quarterdeck-input";
const SECRET: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c";

/// Writes the secret that the server shares with the issuer.
pub fn secret_file(directory: &Path) -> PathBuf {
    let file = directory.join("jwt_secret");
    std::fs::write(&file, SECRET).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// The claims of a token that is believed.
pub fn claims(roles: &[&str], project: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({
        "sub": "somebody", "iss": ISSUER, "aud": AUDIENCE, "exp": now + 3_600,
        "roles": roles, "projects": [project],
    })
}

/// A token that the issuer signed.
pub fn token(claims: &Value) -> String {
    signed(claims, Algorithm::HS256, SECRET)
}

fn signed(claims: &Value, algorithm: Algorithm, secret: &str) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// Tokens that nobody believes, each with what is wrong, and whether that is its age.
pub fn bad(roles: &[&str], project: &str) -> Vec<(&'static str, String, bool)> {
    let good = claims(roles, project);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        token(&claims)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        token(&claims)
    };
    let now = good["exp"].as_u64().unwrap() - 3_600;
    let whole = token(&good);
    let parts: Vec<&str> = whole.split('.').collect();
    let (header, body, signature) = (parts[0], parts[1], parts[2]);
    let other_body = token(&claims(&["admin"], "default"));
    let other_body = other_body.split('.').nth(1).unwrap();
    vec![
        ("an expired JWT", with("exp", json!(now - 3_600)), true),
        ("a JWT without an end", without("exp"), false),
        ("a JWT with an end that is no number", with("exp", json!("never")), false),
        ("a JWT for later", with("nbf", json!(now + 3_000)), false),
        ("a JWT of another issuer", with("iss", json!("https://other.invalid")), false),
        ("a JWT of no issuer", without("iss"), false),
        ("a JWT for another audience", with("aud", json!("somebody-else")), false),
        ("a JWT for no audience", without("aud"), false),
        ("a JWT of nobody", without("sub"), false),
        ("a JWT with an empty subject", with("sub", json!("")), false),
        ("a JWT with a role that is none", with("roles", json!(["admin", "root"])), false),
        ("a JWT without projects", without("projects"), false),
        ("a JWT signed by somebody else", signed(&good, Algorithm::HS256, &SECRET.replace('9', "8")), false),
        ("a JWT signed in another way", signed(&good, Algorithm::HS512, SECRET), false),
        // {"alg":"none"}
        ("an unsigned JWT", format!("eyJhbGciOiJub25lIn0.{body}."), false),
        ("a JWT with another's claims", format!("{header}.{other_body}.{signature}"), false),
        ("a JWT without its signature", format!("{header}.{body}"), false),
        ("a JWT of 9 KiB", format!("{whole}{}", "A".repeat(9 * 1024)), false),
    ]
}
