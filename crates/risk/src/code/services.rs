//! What services are told through their libraries.

use super::act::{effect, inner};
use super::evaluate::{Call, Names};
use super::grammar::{children, field, kind};
use super::table::{Order, Table};
use super::value::{UNKNOWN_WORD, Value, filled};
use crate::model::{EffectKind, Found, Scope, Undo};
use crate::shell;

/// What objects of git's libraries have git do.
const GIT: [&str; 12] = [
    "set_value",
    "push",
    "pull",
    "fetch",
    "reset",
    "clean",
    "rebase",
    "checkout",
    "merge",
    "clone",
    "stash",
    "raw",
];

/// What a call does that stands for a program with its arguments: Django's `call_command`, and
/// the libraries that run git (`repo.git.reset('--hard')`, `git.push('origin')`).
pub fn program(names: &Names<'_>, call: &Call<'_>) -> Option<Found> {
    let words: Vec<String> = match Table::get().command(&call.name) {
        Some(words) => words.to_vec(),
        None => {
            let (package, rest) = call.name.split_once('.')?;
            // `sh.rm('-rf', x)`: the module's members are programs.
            if package == "sh" && !rest.contains('.') && names.language == super::Language::Python {
                return Some(shell::argv(&words_of(&[rest.to_owned()], call), &inner(names.context)));
            }
            if !matches!(package, "git" | "Git" | "simple-git" | "simpleGit" | "pygit2")
                || call.receiver.is_none()
            {
                return None;
            }
            let method = rest.rsplit('.').next().unwrap_or(rest);
            // Other methods of such libraries are objects' own.
            if !rest.contains("git.") && !GIT.contains(&method) {
                return Some(Found::default());
            }
            match (method, call.args.as_slice()) {
                ("set_value", [section, option, ..]) => {
                    let key = format!("{}.{}", section.partial(), option.partial());
                    let given = Call { args: call.args[2..].to_vec(), named: Vec::new(), ..call.clone() };
                    let words = ["git".to_owned(), "config".to_owned(), filled(&key, UNKNOWN_WORD)];
                    return Some(shell::argv(&words_of(&words, &given), &inner(names.context)));
                }
                _ => vec!["git".to_owned(), method.replace('_', "-")],
            }
        }
    };
    // A remote is written as a member: `repo.remotes.origin.push(..)`.
    let remote = call.name.contains(".remotes.") || call.name.contains(".remote.");
    let forced = ["force", "f"]
        .iter()
        .any(|name| call.named(name).is_some_and(|value| matches!(value.name(), Some("True" | "true"))));
    let before: Vec<String> = words.into_iter().chain(remote.then(|| "origin".to_owned())).collect();
    let mut words = words_of(&before, call);
    words.extend(forced.then(|| "--force".to_owned()));
    Some(shell::argv(&words, &inner(names.context)))
}

/// Words, and the call's arguments as further ones.
fn words_of(before: &[String], call: &Call<'_>) -> Vec<String> {
    let given = call.args.iter().flat_map(|arg| match arg {
        Value::List(list) => list.clone(),
        other => vec![other.clone()],
    });
    let given = given.map(|word| match word {
        Value::Text(text) => filled(&text, UNKNOWN_WORD),
        _ => UNKNOWN_WORD.to_owned(),
    });
    before.iter().cloned().chain(given).collect()
}

/// What a service is told through its library.
pub fn told(service: &str, method: &str) -> Found {
    let (rule, scope) = ("code.service", Scope::Remote);
    let small = method.to_lowercase();
    if ["secret", "password", "credential"].iter().any(|word| small.contains(word)) {
        let why = "touches what a service keeps secret";
        return effect(
            EffectKind::Credential,
            &format!("{service} {method}"),
            scope,
            Undo::Nothing,
            rule,
            why,
        );
    }
    match Table::get().order(method) {
        Some(Order::Ends) => {
            let why = "tells a service to end or remove something";
            effect(EffectKind::Delete, &format!("{service} {method}"), scope, Undo::Hard, rule, why)
        }
        Some(Order::Changes) => {
            let why = "tells a service to change something";
            effect(EffectKind::Network, &format!("{service} {method}"), scope, Undo::Hard, rule, why)
        }
        // Some methods have no other use.
        None if Table::get().telling(method) => {
            let why = "tells a service to change something";
            effect(EffectKind::Network, &format!("{service} {method}"), scope, Undo::Hard, rule, why)
        }
        None => Found::default(),
    }
}

/// `client.send(new DeleteBucketCommand(..))`: the cloud's own libraries name what they send.
pub fn command(names: &Names<'_>, call: &Call<'_>) -> Option<Found> {
    let sends = call.name.ends_with(".send");
    let made = field(call.node, &["arguments"]).and_then(|list| children(list).first().copied());
    let made = made.filter(|made| sends && kind(*made) == "new_expression");
    let name = match made.and_then(|made| field(made, &["constructor"])) {
        Some(constructor) => names.written(constructor),
        None => Some(call.name.as_str()).filter(|name| name.contains("aws-sdk"))?,
    };
    let order = name.rsplit('.').next()?.strip_suffix("Command")?;
    let order = Some(order).filter(|order| order.starts_with(|c: char| c.is_ascii_uppercase()))?;
    let end = order.char_indices().skip(1).find(|(_, c)| c.is_ascii_uppercase());
    let verb = end.map_or(order, |(at, _)| &order[..at]).to_lowercase();
    Table::get().order(&verb)?;
    Some(told("a cloud", &verb))
}
