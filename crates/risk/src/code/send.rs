//! Requests and connections that code makes.

use super::act::{effect, gap, inner};
use super::evaluate::{Call, Names};
use super::table::Does;
use super::value::{HOLE, MARK, Value, filled};
use crate::http;
use crate::model::{EffectKind, Found, Scope, Undo};

pub fn done(names: &Names<'_>, call: &Call<'_>, does: Does, first: &Value) -> Option<Found> {
    let list = matches!(first, Value::List(_));
    Some(match does {
        // What is given beside the address is sent.
        Does::Get
            if call.name.ends_with("urlopen") && (call.args.len() > 1 || call.named("data").is_some()) =>
        {
            requested(names, call, "POST", first)
        }
        Does::Get => requested(names, call, "GET", first),
        Does::Send => sent(names, call, first),
        Does::SendUrl if first.text().is_some_and(|text| text.starts_with("http")) => {
            sent(names, call, first)
        }
        Does::Fetch => fetched(names, call, first),
        Does::Connect if list && !own(first) => connected(first),
        Does::Listen if (list || first.text().is_some()) && !own(first) => {
            let why = "listens to the whole network";
            effect(EffectKind::Network, &first.partial(), Scope::Remote, Undo::Hard, "code.listen", why)
        }
        _ => return None,
    })
}

/// `fetch(url, { method })`: the method is an option.
fn fetched(names: &Names<'_>, call: &Call<'_>, first: &Value) -> Found {
    let members = call.args.iter().find_map(|arg| match arg {
        Value::Map(members) => Some(members),
        _ => None,
    });
    let get = |key: &str| {
        members.and_then(|members| members.iter().find(|(name, _)| name == key)).map(|(_, value)| value)
    };
    let method = match get("method") {
        Some(method) => method.text().unwrap_or("POST").to_uppercase(),
        None if get("body").is_some() || get("data").is_some() => "POST".to_owned(),
        None => "GET".to_owned(),
    };
    let url = match first {
        Value::Map(_) => get("url").cloned().unwrap_or(Value::Unknown),
        other => other.clone(),
    };
    requested(names, call, &method, &url)
}

fn sent(names: &Names<'_>, call: &Call<'_>, first: &Value) -> Found {
    let last = call.name.rsplit('.').next().unwrap_or_default().to_uppercase();
    let method = match last.as_str() {
        "POST" | "PUT" | "PATCH" | "DELETE" => last.as_str(),
        "POSTFORM" | "POST_FORM" => "POST",
        "REQUEST" | "NEWREQUEST" => {
            let method = first.text().unwrap_or("POST").to_uppercase();
            return match call.name.as_str() {
                "urllib.request.Request" => requested(names, call, "GET", first),
                _ => requested(names, call, &method, call.args.get(1).unwrap_or(&Value::Unknown)),
            };
        }
        _ if own(first) => return Found::default(),
        _ => return connected(first),
    };
    requested(names, call, method, first)
}

fn connected(address: &Value) -> Found {
    let why = "connects to another machine";
    effect(EffectKind::Network, &address.partial(), Scope::Remote, Undo::Hard, "code.connect", why)
}

/// A request whose method is known.
fn requested(names: &Names<'_>, call: &Call<'_>, method: &str, url: &Value) -> Found {
    let mut found = Found::default();
    let args = call.args.iter().chain(call.named.iter().map(|(_, value)| value));
    if args.clone().any(Value::secret) {
        found.extend(secret(url));
    }
    match url {
        // The page's own server is this machine as far as the agent's work goes.
        Value::Text(text) if text.starts_with('/') && !text.starts_with("//") && names.scripts() => {
            let why = "asks the page's own server";
            found.extend(effect(EffectKind::Network, text, Scope::Unknown, Undo::Nothing, "code.get", why));
        }
        Value::Foreign => found.extend(foreign()),
        Value::Text(text) if text.contains(MARK) && !authority(text) => found.extend(foreign()),
        Value::Text(text) => {
            let text = filled(text, "1");
            let body = call.named("data").or(call.named("json")).and_then(Value::text);
            let known = http::Call { method, url: &text, headers: headers(call), body };
            found.extend(http::call(&known, &inner(names.context)));
        }
        _ if method == "GET" || method == "HEAD" => {
            // The headers count also where the machine is not known.
            let known =
                http::Call { method, url: "https://unresolved.invalid/", headers: headers(call), body: None };
            found.extend(http::call(&known, &inner(names.context)));
        }
        _ => found.extend(gap("code.send.unknown", "sends to a machine that is only known when it runs")),
    }
    found
}

fn headers<'c>(call: &'c Call<'_>) -> Vec<(&'c str, &'c str)> {
    match call.named("headers") {
        Some(Value::Map(members)) => members
            .iter()
            .map(|(name, value)| (name.as_str(), value.text().unwrap_or("$unresolved")))
            .collect(),
        _ => Vec::new(),
    }
}

pub fn secret(url: &Value) -> Found {
    let why = "sends the environment's secrets";
    effect(EffectKind::Credential, &url.partial(), Scope::Remote, Undo::Never, "code.send.secret", why)
}

fn foreign() -> Found {
    gap("code.send.foreign", "whoever asks decides which machine is spoken to")
}

/// Whether the machine is written out before anything that is not known.
fn authority(url: &str) -> bool {
    let known = url.split(HOLE).next().unwrap_or_default();
    known.starts_with('/') || known.split_once("://").is_some_and(|(_, rest)| rest.contains('/'))
}

/// Whether an address is this machine's own.
fn own(address: &Value) -> bool {
    let host = match address {
        Value::List(parts) => parts.first().and_then(Value::text),
        other => other.text(),
    };
    host.is_some_and(|host| {
        let host = host.rsplit_once("://").map_or(host, |(_, rest)| rest);
        let name = host.split([':', '/']).next().unwrap_or(host);
        name == "localhost"
            || name.starts_with("127.")
            || host.starts_with("::1")
            || host.starts_with("[::1]")
    })
}
