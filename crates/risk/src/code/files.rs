//! Files that code reads, writes and deletes.

use super::Language;
use super::act::{effect, gap};
use super::evaluate::{Call, Names};
use super::run::command_line;
use super::table::Does;
use super::value::{HOLE, MARK, Value, filled};
use crate::model::{Effect, EffectKind, Found, Scope, Undo};
use crate::path::{self, Operation};

pub fn done(names: &Names<'_>, call: &Call<'_>, does: Does, first: &Value) -> Option<Found> {
    Some(match does {
        Does::Tree | Does::Delete => deleted(names, call, does == Does::Tree, first),
        Does::Move => moved(names, call),
        Does::Write => {
            let mut found = written(names, first, Operation::Write);
            // A copy reads what it copies.
            if let (Some(source), true) = (call.args.first(), call.at(1) == Some(first)) {
                found.extend(read(names, source));
            }
            found
        }
        Does::Append => written(names, first, Operation::Append),
        Does::Read => read(names, first),
        Does::Mode => opened(names, call, first),
        Does::Flags => match call.args.get(1) {
            Some(Value::Name(flag)) if flag.ends_with("O_RDONLY") => read(names, first),
            _ => written(names, first, Operation::Write),
        },
        Does::Chmod => chmod(names, call, first),
        Does::Database if production(first) => {
            let why = "speaks to a database in production";
            effect(
                EffectKind::Network,
                &first.partial(),
                Scope::Production,
                Undo::Hard,
                "code.production",
                why,
            )
        }
        // A file that is opened as a database; other addresses are no paths.
        Does::Database if first.text().is_some_and(|text| text.starts_with(['/', '~', '.'])) => {
            read(names, first)
        }
        Does::Extract if first.text().is_some() && !call.receiver.as_ref().is_some_and(Value::foreign) => {
            written(names, first, Operation::Write)
        }
        _ => return None,
    })
}

fn deleted(names: &Names<'_>, call: &Call<'_>, tree: bool, target: &Value) -> Found {
    let options = call
        .args
        .iter()
        .any(|arg| matches!(arg, Value::Map(members) if members.iter().any(|(key, _)| key == "recursive")));
    let tree = tree && (options || !call.name.contains("fs.rm") || call.name.contains("rmtree"));
    match target {
        Value::Temp => located(names, "/tmp/fresh", Operation::Delete),
        Value::List(targets) => targets.iter().fold(Found::default(), |mut found, target| {
            found.extend(deleted(names, call, tree, target));
            found
        }),
        Value::Text(text) if !text.contains(HOLE) => {
            let mut found = located(names, text, Operation::Delete);
            let place = path::locate(text, names.context);
            if tree && place.scope == Scope::Project && !built(text, names) {
                found.extend(effect(
                    EffectKind::Delete,
                    text,
                    place.scope,
                    Undo::Hard,
                    "code.delete.tree",
                    "deletes a whole tree",
                ));
            }
            found
        }
        Value::Text(text) if text.starts_with("/tmp/fresh") => located(names, text, Operation::Delete),
        // Files of a known place and kind, one at a time.
        Value::Text(text) if !tree && !text.contains(MARK) && known_place(text) => {
            located(names, &filled(text, "name"), Operation::Delete)
        }
        _ => gap("code.delete.unknown", "what is deleted is only known when it runs"),
    }
}

/// Whether an address names a machine of production's.
fn production(address: &Value) -> bool {
    let text = address.partial().to_lowercase();
    let host = text.split(['@', '/', '=', ' ', '?']).filter(|part| part.contains('.'));
    host.flat_map(|host| host.split(['.', '-', ':']))
        .any(|label| matches!(label, "prod" | "production" | "live"))
}

/// Whether all that is not known of a path is the last name in a directory that is.
fn known_place(text: &str) -> bool {
    let place = text.rsplit_once('/').map_or("", |(place, _)| place);
    !place.is_empty() && !place.contains(HOLE)
}

/// A tree that a build makes again: something within it would be rebuildable as a database is not.
fn built(text: &str, names: &Names<'_>) -> bool {
    path::locate(&format!("{text}/probe.log"), names.context).rebuildable
        && path::locate(&format!("{text}/probe.sqlite"), names.context).rebuildable
}

fn moved(names: &Names<'_>, call: &Call<'_>) -> Found {
    let from = call.args.first().unwrap_or(&Value::Unknown);
    let to = call.args.get(1).unwrap_or(&Value::Unknown);
    let mut found = written(names, to, Operation::Write);
    if let Some(from) = from.text() {
        found.extend(located(names, from, Operation::Delete));
    }
    found
}

fn located(names: &Names<'_>, text: &str, operation: Operation) -> Found {
    path::operation(operation, text, names.context)
}

fn written(names: &Names<'_>, target: &Value, operation: Operation) -> Found {
    match target {
        Value::Temp => located(names, "/tmp/fresh", operation),
        Value::Text(text) if !text.contains(HOLE) => located(names, text, operation),
        // A known directory is enough where nothing can climb out of the last name.
        Value::Text(text) if !text.contains(MARK) => {
            let known = text.split(HOLE).next().unwrap_or_default();
            let place = path::locate(&format!("{known}name"), names.context);
            match known.contains('/') && place.scope != Scope::Unknown && !known.is_empty() {
                true => located(names, &format!("{known}name"), operation),
                false => gap("code.write.unknown", "what is written is only known when it runs"),
            }
        }
        _ => gap("code.write.unknown", "what is written is only known when it runs"),
    }
}

fn read(names: &Names<'_>, target: &Value) -> Found {
    match target.text() {
        Some(text) => located(names, text, Operation::Read),
        None if target.foreign() => gap("code.read.foreign", "whoever asks decides which file is read"),
        None => {
            Effect::new(EffectKind::Read, "?", Scope::Unknown, Undo::Nothing, "code.read", "reads a file")
                .possible()
                .into()
        }
    }
}

fn opened(names: &Names<'_>, call: &Call<'_>, target: &Value) -> Found {
    if names.language == Language::Ruby && target.partial().trim_start().starts_with('|') {
        let line = target.partial();
        return command_line(names, &Value::Text(line.trim_start().trim_start_matches('|').to_owned()));
    }
    // A path's own `open` is told the mode first, and other things' perhaps none at all.
    let place = usize::from(call.name != "?.open" && !call.name.ends_with("Path.open"));
    let mode = call.named("mode").or_else(|| call.args.get(place)).and_then(Value::text).unwrap_or("r");
    let mode = if mode.chars().all(|c| "rwaxbtU+".contains(c)) { mode } else { "r" };
    let operation = match mode {
        mode if mode.contains(['w', 'x', '+']) => Operation::Write,
        mode if mode.contains('a') => Operation::Append,
        _ => return read(names, target),
    };
    written(names, target, operation)
}

fn chmod(names: &Names<'_>, call: &Call<'_>, target: &Value) -> Found {
    // Ruby takes the mode first, and methods belong to their path.
    let target = match (names.language, target) {
        (Language::Ruby, _) => call.args.last().unwrap_or(target),
        (_, Value::Text(text)) if text.chars().all(|c| c.is_ascii_digit() || c == 'o') => {
            call.receiver.as_ref().unwrap_or(target)
        }
        _ => target,
    };
    let Some(text) = target.text() else {
        return gap("code.chmod.unknown", "whose rights change is only known when it runs");
    };
    let place = path::locate(text, names.context);
    let open = call
        .args
        .iter()
        .filter_map(Value::text)
        .any(|mode| matches!(mode, "0o777" | "0777" | "777" | "0o666" | "0666" | "511"));
    let undo = if place.rebuildable && !open { Undo::Easy } else { Undo::Hard };
    effect(EffectKind::Chmod, &place.path, place.scope, undo, "code.chmod", "changes rights of a file")
}
