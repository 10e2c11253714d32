//! Credentials that a call carries: in its headers, its URL, its body.

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
}

fn in_body(call: &Call<'_>, request: &Request, push: &mut Push<'_>) {
    let Some(text) = call.body else { return };
    let known = &Table::get().parameters.secret_body;
    let named = |(name, value): &(String, String)| known.contains(&word(name)) && !value.is_empty();
    if request.body.pairs.iter().any(named) || redact::holds_secret(text) {
        push("http.body.secret", "the body holds a secret", true);
    }
}
