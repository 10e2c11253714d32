//! Requests and connections that code makes.

use super::act::{effect, gap, inner};
use super::evaluate::{Call, Names};
use super::value::{HOLE, Value};
use crate::http;
use crate::model::{EffectKind, Found, Scope, Undo};

/// `fetch(url, { method })`: the method is an option.
pub fn fetched(names: &Names<'_>, call: &Call<'_>, first: &Value) -> Found {
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

pub fn sent(names: &Names<'_>, call: &Call<'_>, first: &Value) -> Found {
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
        _ => {
            return effect(
                EffectKind::Network,
                &first.partial(),
                Scope::Remote,
                Undo::Hard,
                "code.connect",
                "connects to another machine",
            );
        }
    };
    requested(names, call, method, first)
}

/// A request whose method is known.
pub fn requested(names: &Names<'_>, call: &Call<'_>, method: &str, url: &Value) -> Found {
    let mut found = Found::default();
    let args = call.args.iter().chain(call.named.iter().map(|(_, value)| value));
    if args.clone().any(Value::secret) {
        found.extend(effect(
            EffectKind::Credential,
            &url.partial(),
            Scope::Remote,
            Undo::Never,
            "code.send.secret",
            "sends the environment's secrets",
        ));
    }
    let off = |value: &Value| matches!(value.name(), Some("False" | "false"));
    if call.named("verify").is_some_and(off) {
        found.extend(effect(
            EffectKind::Network,
            &url.partial(),
            Scope::Remote,
            Undo::Hard,
            "code.unverified",
            "does not check whom it speaks to",
        ));
    }
    match url {
        // The page's own server is this machine as far as the agent's work goes.
        Value::Text(text)
            if text.starts_with('/') && !text.starts_with("//") && matches!(method, "GET" | "HEAD") =>
        {
            let why = "asks the page's own server";
            found.extend(effect(EffectKind::Network, text, Scope::Unknown, Undo::Nothing, "code.get", why));
        }
        Value::Text(text) => {
            let text = text.replace(HOLE, "1");
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
