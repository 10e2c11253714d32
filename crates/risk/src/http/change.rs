//! What a call changes.

use super::address::{Address, Reach};
use super::graphql::Operation;
use super::request::Request;
use super::scope;
use super::table::{Table, ends_in, lies_within, verb, word};
use crate::model::{Context, Effect, EffectKind, Found, Scope, Undo, Unresolved};
use crate::{redact, sql};

/// What a call that should only ask does nevertheless: verbs in its path, secrets behind it.
pub fn by_reading(request: &Request, address: &Address, context: &Context) -> Found {
    let mut found = statements(request, context);
    let words = &Table::get().words;
    let texts = &Table::get().addresses.docs;
    let docs = address.host.split('.').next().is_some_and(|first| texts.contains(first))
        || request.names.iter().any(|name| texts.contains(name));
    if request.method == "OPTIONS" {
        return found;
    }
    let push = |kind, undo, rule: &str, why: &str| {
        Effect::new(kind, target(request, address), scope(address), undo, rule, why)
    };
    let own = address.reach == Reach::Loopback;
    let verb_last =
        request.names.last().map(|name| stem(name)).is_some_and(|name| words.orders.contains(name));
    if request.method == "GET" && !docs && !own && request.graphql.is_none() && (verb_last || acts(request)) {
        found.push(push(
            EffectKind::Delete,
            Undo::Hard,
            "http.get.verb",
            "the path or its parameters order a change",
        ));
    }
    let named = request.names.iter().any(|name| words.secrets.contains(stem(name)))
        || lies_within(&Table::get().secret_path, &request.names)
        || request.gives_secret();
    let names_only = ends_in(&Table::get().names_path, &request.names);
    if !docs && !own && !request.dry && named && !names_only {
        let effect = push(
            EffectKind::Credential,
            Undo::Nothing,
            "http.read.secret",
            "reads what the service keeps secret",
        );
        found.push(effect.possible());
    }
    if request.method == "GET" && !docs && !own && sets_off(request, address) {
        let why = "calling the address is enough to set something off";
        found.push(push(EffectKind::Control, Undo::Hard, "http.get.order", why));
    }
    if request.names.iter().any(|name| name == "..") {
        found.push(push(
            EffectKind::Read,
            Undo::Hard,
            "http.path.climb",
            "the path climbs out of what is served",
        ));
    }
    if request.parameters.iter().chain(&request.body.pairs).any(|(_, value)| inward(value)) {
        let why = "a parameter leads the service into a closed network";
        found.push(push(EffectKind::Network, Undo::Hard, "http.parameter.address", why));
    }
    let api = Table::get().api(&address.host, &request.method, &request.names);
    if let Some(api) = api.filter(|_| request.graphql.is_none() && !request.dry && request.method == "GET") {
        found.push(push(api.kind, Undo::Never, "http.api", &api.why));
    }
    found
}

/// Whether the address is one that others call to set something off.
fn sets_off(request: &Request, address: &Address) -> bool {
    let hooks = address.host.split('.').next().is_some_and(|first| {
        matches!(first, "hook" | "hooks" | "webhook" | "webhooks" | "maker")
            || first.strip_prefix("hook").is_some_and(|rest| rest.starts_with('-'))
    });
    hooks && !request.names.is_empty() || ends_in(&Table::get().order_path, &request.names)
}

/// SQL that is sent to be run.
fn statements(request: &Request, context: &Context) -> Found {
    let mut found = Found::default();
    for (name, value) in request.body.pairs.iter().chain(&request.parameters) {
        let named = matches!(name.to_lowercase().as_str(), "sql" | "statement" | "stmt" | "query");
        let verb: String = value.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
        let changes = ["drop", "delete", "truncate", "alter", "update", "grant", "insert", "create", "copy"];
        let whole = format!(" {} ", value.to_lowercase());
        let parts = [" from ", " table ", " into ", " set ", " on ", " database "];
        if named
            && parts.iter().any(|part| whole.contains(part))
            && changes.contains(&verb.to_lowercase().as_str())
        {
            let read = sql::statements("", value, "", context);
            // What does not parse is a question in plain words.
            if read.unresolved.is_empty() {
                found.extend(read);
            }
        }
    }
    found
}

/// A name without its ending: `delete.php`, `delete.json`.
fn stem(name: &str) -> &str {
    match name.split_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

/// `?action=delete&id=7`: an order and what it is for.
fn acts(request: &Request) -> bool {
    let (known, words) = (&Table::get().parameters, &Table::get().words);
    let orders = |(name, value): &(String, String)| {
        let order = verb(value);
        known.action.contains(name)
            && (words.destroy.contains(&word(value)) || words.destroy.contains(&order) && !order.is_empty())
    };
    let Some(at) = request.parameters.iter().position(orders) else { return false };
    request.parameters.iter().enumerate().any(|(other, (name, _))| {
        let name = name.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
        other != at && (known.object.contains(name) || name.ends_with("_id") || name.ends_with("id"))
    })
}

/// A value that is an address of a closed network or of credentials, or a file.
fn inward(value: &str) -> bool {
    let Ok(url) = url::Url::parse(value) else { return false };
    match url.scheme() {
        "file" | "gopher" | "dict" | "ldap" | "jar" => true,
        "http" | "https" => {
            let address = Address::of(&url, value);
            matches!(address.reach, Reach::Metadata | Reach::Private) || address.odd.is_some()
        }
        _ => false,
    }
}

/// What a call that sends does. On this machine only what cannot be undone counts: it is
/// where the agent runs its own services.
pub fn by_sending(request: &Request, address: &Address) -> Found {
    if let Some(operation) = &request.graphql {
        return by_graphql(operation, request, address);
    }
    if address.reach == Reach::Loopback {
        return locally(request, address);
    }
    let mut found = Found::default();
    let table = Table::get();
    if table.methods.delete.contains(&request.method) && ends_in(&table.passing_path, &request.names) {
        return found;
    }
    let mut push = |kind, undo, rule: &str, why: &str| {
        found.push(Effect::new(kind, target(request, address), scope(address), undo, rule, why));
    };
    if table.methods.delete.contains(&request.method) {
        push(EffectKind::Delete, Undo::Hard, "http.delete", "deletes what another machine keeps");
    }
    if let Some(api) = table.api(&address.host, &request.method, &request.names) {
        push(api.kind, Undo::Never, "http.api", &api.why);
    }
    for (kind, rule, why) in ordered(request) {
        push(kind, Undo::Hard, rule, why);
    }
    for (kind, rule, why) in said(request) {
        push(kind, Undo::Hard, rule, why);
    }
    push(EffectKind::Network, Undo::Hard, "http.send", "sends to another machine");
    found
}

type Order = (EffectKind, &'static str, &'static str);

/// What the names of the path order.
fn ordered(request: &Request) -> Vec<Order> {
    let words = &Table::get().words;
    let rows: [(&std::collections::HashSet<String>, Order); 6] = [
        (&words.destroy, (EffectKind::Delete, "http.order.destroy", "the path orders an end or a removal")),
        (&words.spend, (EffectKind::Spend, "http.order.spend", "the path orders what costs money")),
        (&words.publish, (EffectKind::Publish, "http.order.publish", "the path shows something to others")),
        (&words.rights, (EffectKind::Privilege, "http.order.rights", "the path changes who may do what")),
        (&words.persist, (EffectKind::Persistence, "http.order.persist", "the path sets up what runs later")),
        (&words.deploy, (EffectKind::Control, "http.order.deploy", "the path changes what runs")),
    ];
    let named = |set: &std::collections::HashSet<String>| {
        request.names.iter().flat_map(|name| name.split(':')).any(|name| set.contains(stem(name)))
    };
    rows.into_iter().filter(|(set, _)| named(set)).map(|(_, order)| order).collect()
}

/// What the body and the parameters order.
fn said(request: &Request) -> Vec<Order> {
    let (known, words) = (&Table::get().parameters, &Table::get().words);
    let mut orders = Vec::new();
    for (name, value) in request.body.pairs.iter().chain(&request.parameters) {
        let (name, value) = (word(name), value.as_str());
        if known.rights.contains(&name) {
            orders.push((EffectKind::Privilege, "http.body.rights", "the body changes who may do what"));
        }
        let destroys = known.action.contains(&name)
            && (words.destroy.contains(&word(value)) || words.destroy.contains(&verb(value)));
        if destroys || words.destroy.contains(&name) && value != "false" {
            orders.push((EffectKind::Delete, "http.body.destroy", "the body orders an end or a removal"));
        }
        if name == "public" && value == "true"
            || name == "private" && value == "false"
            || name == "visibility" && value == "public"
        {
            orders.push((EffectKind::Publish, "http.body.public", "the body makes something public"));
        }
    }
    orders.dedup();
    orders
}

fn by_graphql(operation: &Operation, request: &Request, address: &Address) -> Found {
    let own = address.reach == Reach::Loopback;
    let make = |kind, undo, rule: &str, why: &str| {
        Effect::new(kind, target(request, address), scope(address), undo, rule, why)
    };
    match operation {
        Operation::Asks => Found::default(),
        Operation::Unclear => Unresolved::new("http.graphql", "what the document does is not known").into(),
        Operation::Changes(fields) => {
            let destroys = fields.iter().any(|field| Table::get().words.destroy.contains(&verb(field)));
            match (destroys, own) {
                (true, false) => make(
                    EffectKind::Delete,
                    Undo::Hard,
                    "http.graphql.destroy",
                    "a mutation orders a removal",
                )
                .into(),
                (_, true) => {
                    make(EffectKind::Write, Undo::Easy, "http.graphql.change", "a mutation changes data")
                        .into()
                }
                _ => make(
                    EffectKind::Network,
                    Undo::Hard,
                    "http.graphql.change",
                    "a mutation changes data elsewhere",
                )
                .into(),
            }
        }
    }
}

/// Names that stand for everything there is.
const ALL: [&str; 4] = ["_all", "*", "_delete_by_query", "_bulk"];

fn locally(request: &Request, address: &Address) -> Found {
    let make = |kind, undo, rule: &str, why: &str| {
        Effect::new(kind, target(request, address), Scope::Temp, undo, rule, why)
    };
    let all = request.names.iter().any(|name| ALL.contains(&name.as_str()) || name.contains('*'));
    let deletes = Table::get().methods.delete.contains(&request.method);
    let destroys = said(request).iter().any(|(kind, ..)| *kind == EffectKind::Delete);
    let query = request.names.iter().any(|name| name == "_delete_by_query");
    match (query || all && (deletes || destroys), deletes) {
        (true, _) => {
            make(EffectKind::BulkData, Undo::Hard, "http.local.all", "deletes all that a service holds")
                .into()
        }
        (_, true) => make(
            EffectKind::Delete,
            Undo::Easy,
            "http.local.delete",
            "deletes from a service on this machine",
        )
        .into(),
        _ if request
            .names
            .last()
            .is_some_and(|name| matches!(name.as_str(), "shutdown" | "reboot" | "poweroff")) =>
        {
            make(EffectKind::Control, Undo::Hard, "http.local.stop", "stops a service on this machine").into()
        }
        _ => make(EffectKind::Network, Undo::Easy, "http.local", "sends to a service on this machine").into(),
    }
}

/// Host and path, without secrets.
fn target(request: &Request, address: &Address) -> String {
    redact::text(&format!("{} {}/{}", request.method, address.host, request.written.join("/")))
}
