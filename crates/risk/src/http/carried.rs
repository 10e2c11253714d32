//! Credentials that a call carries: in its headers, its URL, its body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use url::Url;

use super::Call;
use super::address::{Address, Reach};
use super::request::Request;
use super::table::{Table, word};
use crate::model::{Effect, EffectKind, Found, Scope, Undo};
use crate::redact;

pub fn credentials(call: &Call<'_>, request: &Request, address: &Address) -> Found {
    let mut found = Found::default();
    let mut push = |rule: &str, why: &str, certain: bool| {
        let effect =
            Effect::new(EffectKind::Credential, &address.host, Scope::Remote, Undo::Never, rule, why);
        found.push(if certain { effect } else { effect.possible() });
    };
    let own = address.reach == Reach::Loopback;
    for (name, value) in &call.headers {
        header(&name.to_lowercase(), value, own, &mut push);
    }
    if !own {
        in_url(call.url, request, &mut push);
        in_body(call, request, &mut push);
    }
    found
}

type Push<'a> = dyn FnMut(&str, &str, bool) + 'a;

fn header(name: &str, value: &str, own: bool, push: &mut Push<'_>) {
    let known = &Table::get().headers;
    if known.metadata.contains(name) {
        push("http.metadata", "asks a service that hands out credentials", true);
    } else if known.origins.contains(name) && internal(value) {
        push("http.origin", "says that it comes from elsewhere", false);
    } else if own {
    } else if known.credentials.contains(name) && !value.is_empty() {
        push("http.header.credential", "sends credentials to another machine", false);
    } else if redact::holds_secret(value) {
        push("http.header.secret", "sends a secret to another machine", true);
    }
}

/// An origin that servers trust.
fn internal(value: &str) -> bool {
    value == "localhost"
        || value.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_private() || ip.is_loopback())
        || value.contains("admin")
}

fn in_url(raw: &str, request: &Request, push: &mut Push<'_>) {
    let user = Url::parse(raw).is_ok_and(|url| url.password().is_some_and(|password| !password.is_empty()));
    if user {
        push("http.url.password", "the URL holds a password", true);
    }
    let known = &Table::get().parameters.secret;
    let secret = |(name, value): &(String, String)| {
        known.contains(&word(name))
            && value.len() >= 6
            && !value.chars().all(|c| c.is_ascii_alphabetic() && c.is_lowercase())
    };
    if request.parameters.iter().any(secret) || redact::holds_secret(raw) {
        push("http.url.secret", "the URL holds a secret", true);
    }
    let values = request.parameters.iter().map(|(_, value)| value).chain(&request.written);
    if values.filter_map(|value| encoded(value)).any(|text| tells(&text)) {
        push("http.url.encoded", "the URL holds a secret that is encoded", true);
    }
}

/// Shortest text that is taken for an encoded one, and longest that is decoded.
const ENCODED: std::ops::Range<usize> = 16..16 * 1024;

/// The text that a value encodes in base64 or in hexadecimal digits.
fn encoded(value: &str) -> Option<String> {
    if !ENCODED.contains(&value.len()) {
        return None;
    }
    let digits = value.len().is_multiple_of(2) && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits {
        let pairs = value.as_bytes().chunks_exact(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        return String::from_utf8(pairs.map(byte).collect::<Option<Vec<u8>>>()?).ok();
    }
    let plain = value.trim_end_matches('=').replace('-', "+").replace('_', "/").replace(' ', "+");
    String::from_utf8(STANDARD_NO_PAD.decode(plain).ok()?).ok()
}

/// Whether a text holds a secret by its shape, or gives a value to a name of one.
fn tells(text: &str) -> bool {
    let known = &Table::get().parameters.secret_body;
    let named = |part: &str| {
        let (name, value) = part.split_once(['=', ':']).unwrap_or((part, ""));
        let name = name.split_whitespace().last().unwrap_or_default();
        !value.trim().is_empty() && known.contains(&word(name.trim().trim_matches('"')))
    };
    redact::holds_secret(text) || text.split(['\n', '&', ',', '{', '}', ';']).any(named)
}

fn in_body(call: &Call<'_>, request: &Request, push: &mut Push<'_>) {
    let Some(text) = call.body else { return };
    let known = &Table::get().parameters.secret_body;
    let named = |(name, value): &(String, String)| known.contains(&word(name)) && !value.is_empty();
    if request.body.pairs.iter().any(named) || redact::holds_secret(text) {
        push("http.body.secret", "the body holds a secret", true);
    }
}
