//! HTTP calls.
//!
//! - [`address`]: whom a URL reaches, however it is written
//! - [`request`]: method, path and parameters after overrides
//! - [`carried`]: credentials in headers, URL and body
//! - [`change`]: what a call that is no mere question changes
//! - [`graphql`], [`body`]: what is sent
//! - [`table`]: what is known of all these
//!
//! Invariant: a call that reads is low only where nothing secret is read or sent and the
//! address is plain; whatever else is sent to another machine is asked.

mod address;
mod body;
mod carried;
mod change;
mod graphql;
mod request;
mod table;
#[cfg(test)]
mod tests;

use url::Url;

use crate::model::{Context, Effect, EffectKind, Found, Scope, TEXT_MAX, Undo, Unresolved};
use crate::path;
use address::{Address, Reach};
use request::Request;
use table::Table;
pub use table::verb;

#[derive(Clone, Debug, Default)]
pub struct Call<'a> {
    pub method: &'a str,
    pub url: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: Option<&'a str>,
}

/// What the call does.
pub fn call(call: &Call<'_>, context: &Context) -> Found {
    let size = call.url.len() + call.body.map_or(0, str::len);
    if size > TEXT_MAX {
        return Unresolved::new("limit.text", "the call is longer than is looked at").into();
    }
    let Some(url) = parsed(call.url) else {
        return Unresolved::new("http.url", "the URL cannot be read, or is only known when it is called")
            .into();
    };
    let end = (call.method.len() + 1 + call.url.len()).min(size + call.method.len() + 1);
    match url.scheme() {
        "http" | "https" | "ws" | "wss" => within(call, &url, context).at(&(0..end)),
        "file" => path::operation(path::Operation::Read, call.url, context).at(&(0..end)),
        scheme => Found::from(Effect::new(
            EffectKind::Network,
            format!("{scheme}:"),
            Scope::Remote,
            Undo::Hard,
            "http.scheme",
            "speaks another protocol than HTTP",
        ))
        .at(&(0..end)),
    }
}

/// A URL; one without a scheme is taken as `http`, as clients do.
fn parsed(url: &str) -> Option<Url> {
    let url = url.trim().trim_matches(['"', '\'']);
    let host =
        url.split_once("//").map_or(url, |(_, rest)| rest).split(['/', '?']).next().unwrap_or_default();
    if host.is_empty() && !url.starts_with("file:") || host.contains(['$', '{', '}', '<', '>', '`', '*']) {
        return None;
    }
    match Url::parse(url) {
        Ok(url) if url.has_host() || url.scheme() == "file" => Some(url),
        _ if !url.contains("//") => Url::parse(&format!("http://{url}")).ok().filter(Url::has_host),
        _ => None,
    }
}

fn within(call: &Call<'_>, url: &Url, context: &Context) -> Found {
    let address = Address::of(url, call.url);
    let request = Request::of(call, url);
    let mut found = reached(&address, url);
    found.extend(carried::credentials(call, &request, &address));
    // What bills is no mere question, whatever its path ends in.
    let api = Table::get().api(&address.host, &request.method, &request.names);
    let bills = request.graphql.is_none() && api.is_some_and(|api| api.kind == EffectKind::Spend);
    found.extend(match request.reads() && !bills {
        true => change::by_reading(&request, &address, context),
        false => change::by_sending(&request, &address),
    });
    if found.effects.is_empty() && found.unresolved.is_empty() {
        let why = "asks another machine";
        found.push(Effect::new(
            EffectKind::Network,
            &address.host,
            scope(&address),
            Undo::Nothing,
            "http.read",
            why,
        ));
    }
    found
}

/// Whose the machine is; its own names say what is production.
fn scope(address: &Address) -> Scope {
    let production = &Table::get().addresses.production;
    match address.reach {
        Reach::Loopback => Scope::Temp,
        _ if address.host.split(['.', '-']).any(|part| production.contains(part)) => Scope::Production,
        _ => Scope::Remote,
    }
}

/// What reaching the address means, whatever is said there.
fn reached(address: &Address, url: &Url) -> Found {
    let mut found = Found::default();
    let mut push = |kind, undo, rule, why: &str| {
        found.push(Effect::new(kind, &address.host, Scope::Remote, undo, rule, why));
    };
    if let Some(odd) = address.odd {
        push(EffectKind::Network, Undo::Hard, "http.address.odd", odd);
    }
    match address.reach {
        Reach::Metadata => {
            push(
                EffectKind::Credential,
                Undo::Nothing,
                "http.metadata",
                "reaches a service that hands out credentials",
            );
        }
        Reach::Private => {
            push(EffectKind::Network, Undo::Hard, "http.private", "reaches into a closed network")
        }
        Reach::Drop => {
            push(EffectKind::Publish, Undo::Never, "http.drop", "reaches a box that strangers read")
        }
        Reach::Loopback | Reach::Public => {}
    }
    let closed = matches!(address.reach, Reach::Loopback | Reach::Private);
    if let Some(service) = url.port().and_then(|port| Table::get().service(port)).filter(|_| closed) {
        push(service.kind, Undo::Hard, "http.service", &service.why);
    }
    found
}
