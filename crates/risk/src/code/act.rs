//! What a known call does.

use super::evaluate::{Call, Names};
use super::grammar::field;
use super::send;
use super::table::{Does, Order, Table};
use super::value::{HOLE, UNKNOWN_WORD, Value};
use super::{Language, source};
use crate::model::{Context, Effect, EffectKind, Found, Scope, Undo, Unresolved};
use crate::path::Operation;
use crate::{path, shell, sql};

/// One action deeper.
pub fn inner(context: &Context) -> Context {
    Context { depth: context.depth.saturating_add(1), ..context.clone() }
}

pub fn gap(rule: &str, why: &str) -> Found {
    Unresolved::new(rule, why).into()
}

pub fn effect(kind: EffectKind, target: &str, scope: Scope, undo: Undo, rule: &str, why: &str) -> Found {
    Effect::new(kind, target.replace(HOLE, "?"), scope, undo, rule, why).into()
}

/// What the call does.
pub fn call(names: &Names<'_>, call: &Call<'_>) -> Found {
    if call.name.contains(HOLE) {
        return gap("code.member", "calls a member that is only known when it runs");
    }
    if let Some(Value::Process(words)) = &call.receiver {
        return started(names, words, call);
    }
    let mut found = handed(names, call);
    let Some(rule) = Table::get().call(names.language, &call.name) else {
        found.extend(indirect(names, call));
        return found;
    };
    let first = call.at(rule.at).cloned().unwrap_or(Value::Unknown);
    for way in first.ways() {
        found.extend(done(names, call, rule.does, way));
    }
    found
}

fn done(names: &Names<'_>, call: &Call<'_>, does: Does, first: &Value) -> Found {
    match does {
        Does::Shell => command_line(names, first),
        Does::Argv => argv(names, call, &call.args),
        Does::ArgvAfter => argv(names, call, call.args.get(1..).unwrap_or_default()),
        Does::Eval => evaluated(names, call, first),
        Does::Timer => match first {
            Value::Text(_) => evaluated(names, call, first),
            _ => Found::default(),
        },
        Does::Dispatch => dispatched(names, call, first),
        Does::Load => loaded(call),
        Does::Tree | Does::Delete => deleted(names, call, does == Does::Tree, first),
        Does::Wipe => effect(
            EffectKind::BulkData,
            &call.name,
            Scope::Remote,
            Undo::Never,
            "code.wipe",
            "deletes many rows",
        ),
        // Django's managers: what a query of them holds is deleted at once.
        Does::WipeRows => match names.written(call.node).contains(".objects.") {
            true => done(names, call, Does::Wipe, first),
            false => Found::default(),
        },
        Does::Spend => {
            let why = "orders what costs money";
            effect(EffectKind::Spend, &call.name, Scope::Remote, Undo::Never, "code.spend", why)
        }
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
        // What is given beside the address is sent.
        Does::Get
            if call.name.ends_with("urlopen") && (call.args.len() > 1 || call.named("data").is_some()) =>
        {
            send::requested(names, call, "POST", first)
        }
        Does::Get => send::requested(names, call, "GET", first),
        Does::Send => send::sent(names, call, first),
        Does::SendUrl => match first.text().is_some_and(|text| text.starts_with("http")) {
            true => send::sent(names, call, first),
            false => Found::default(),
        },
        Does::Fetch => send::fetched(names, call, first),
        Does::Sql => statement(names, first),
        Does::Privilege => effect(
            EffectKind::Privilege,
            &call.name,
            Scope::System,
            Undo::Hard,
            "code.privilege",
            "changes the process's rights",
        ),
        Does::Control => effect(
            EffectKind::Control,
            &call.name,
            Scope::System,
            Undo::Hard,
            "code.control",
            "ends other processes",
        ),
        Does::Exit => exited(names, call),
        Does::Show => shown(call),
        Does::Module
            if matches!(first, Value::Unknown | Value::Name(_) | Value::Secret)
                || first.text().is_none() && names.language == Language::Python =>
        {
            gap("code.module", "loads a module that is only known when it runs")
        }
        _ => Found::default(),
    }
}

/// A command line; one with unknown parts can be any.
fn command_line(names: &Names<'_>, line: &Value) -> Found {
    match line {
        Value::List(_) => argv_of(names, std::slice::from_ref(line)),
        line => match line.text() {
            Some(text) => shell::script(text, &inner(names.context)),
            None => gap("code.shell.built", "a command line is only known when it runs"),
        },
    }
}

/// A program and its arguments, or a command line where the call asks for a shell.
fn argv(names: &Names<'_>, call: &Call<'_>, args: &[Value]) -> Found {
    let truth = |value: &Value| !matches!(value, Value::Name(name) if matches!(name.as_str(), "False" | "false" | "nil" | "None"));
    let option = args.iter().find_map(|arg| match arg {
        Value::Map(members) => members.iter().find(|(key, _)| key == "shell").map(|(_, value)| value),
        _ => None,
    });
    let shell = call.named("shell").or(option).is_some_and(truth);
    let words: Vec<Value> = args.iter().filter(|arg| !matches!(arg, Value::Map(_))).cloned().collect();
    let exec = call.name.rsplit('.').next().unwrap_or_default();
    let python_exec = names.language == Language::Python
        && (exec.starts_with("exec") || exec.starts_with("spawn") && call.name.starts_with("os."));
    match (names.language, words.as_slice()) {
        (_, [Value::List(line), ..]) if shell => {
            line.first().map_or_else(Found::default, |line| command_line(names, line))
        }
        (_, [line, rest @ ..]) if shell => {
            let line = rest.iter().fold(line.clone(), |line, word| {
                line.joined(&Value::Text(" ".to_owned())).joined(&flat(word))
            });
            command_line(names, &line)
        }
        // One text is a command line to Ruby.
        (Language::Ruby, [line]) if !matches!(line, Value::List(_)) => command_line(names, line),
        (Language::Python, [program, rest @ ..]) if python_exec => {
            let mut all = vec![program.clone()];
            // `execl(path, arg0, ...)`: the second names the process and does no more.
            let spelled = usize::from(exec.starts_with("execl"));
            all.extend(
                rest.iter().skip(spelled).flat_map(|word| {
                    spread(word).into_iter().skip(usize::from(matches!(word, Value::List(_))))
                }),
            );
            argv_of(names, &all)
        }
        (Language::Python, [line, ..]) => argv_of(names, std::slice::from_ref(line)),
        (_, words) => argv_of(names, words),
    }
}

fn flat(value: &Value) -> Value {
    match value {
        Value::List(words) => Value::Text(words.iter().map(Value::partial).collect::<Vec<_>>().join(" ")),
        other => other.clone(),
    }
}

fn spread(value: &Value) -> Vec<Value> {
    match value {
        Value::List(words) => words.clone(),
        other => vec![other.clone()],
    }
}

/// The program must be known; an unknown argument stays a word that nobody expands.
fn argv_of(names: &Names<'_>, args: &[Value]) -> Found {
    let all: Vec<Value> = args.iter().flat_map(spread).collect();
    let whole = args
        .iter()
        .enumerate()
        .all(|(at, arg)| at == 0 || !matches!(arg, Value::Unknown | Value::Name(_)) || args.len() > 2);
    let program = match all.first() {
        Some(Value::Name(name)) if name == "sys.executable" => Some("python3"),
        Some(Value::Name(name)) if name == "process.execPath" => Some("node"),
        Some(first) => first.text(),
        None => None,
    };
    let Some(program) = program.filter(|_| whole) else {
        return gap("code.argv.built", "which program runs is only known when it runs");
    };
    let rest = all.iter().skip(1).map(|word| match word {
        Value::Text(text) => text.replace(HOLE, UNKNOWN_WORD),
        Value::Temp => "/tmp/fresh".to_owned(),
        _ => UNKNOWN_WORD.to_owned(),
    });
    let words: Vec<String> = std::iter::once(program.to_owned()).chain(rest).collect();
    // A shell's own text must be known.
    let command = words.iter().position(|word| word == "-c" || word == "-e");
    if command.and_then(|at| words.get(at + 1)).is_some_and(|text| text.contains(UNKNOWN_WORD)) {
        return gap("code.shell.built", "a command line is only known when it runs");
    }
    shell::argv(&words, &inner(names.context))
}

/// A builder that is run.
fn started(names: &Names<'_>, words: &[Value], call: &Call<'_>) -> Found {
    match call.name.rsplit('.').next() {
        Some("status" | "output" | "spawn" | "exec" | "run" | "read" | "start") => argv_of(names, words),
        _ => Found::default(),
    }
}

fn evaluated(names: &Names<'_>, call: &Call<'_>, first: &Value) -> Found {
    // A block of Ruby's is read like any other code.
    if call.args.is_empty() && names.language == Language::Ruby {
        return Found::default();
    }
    let last = call.args.last().unwrap_or(first);
    let code = if call.name == "Function" || call.name.ends_with("constructor") { last } else { first };
    // `this.constructor(x)` makes one more of a kind; the constructor of a constructor compiles.
    let twice = field(call.node, &["function"])
        .is_some_and(|function| names.written(function).matches("constructor").count() > 1);
    if call.name.ends_with(".constructor") && !twice && !matches!(code, Value::Text(_)) {
        return Found::default();
    }
    match code.text() {
        Some(text) => {
            // Also where the text is known now: nobody reviews code that lies within texts.
            let (rule, why) = ("code.eval", "runs code that lies within a text");
            let mut found = effect(EffectKind::Exec, &call.name, Scope::Unknown, Undo::Hard, rule, why);
            found.extend(source(names.language, text, &inner(names.context)));
            found
        }
        None => gap("code.eval", "runs code that is only known when it runs"),
    }
}

/// Ruby's `send`: the method's name decides.
fn dispatched(names: &Names<'_>, call: &Call<'_>, first: &Value) -> Found {
    let Some(method) = first.text() else {
        return match &call.receiver {
            Some(Value::Name(object)) if Table::get().sensitive(object) => {
                gap("code.member", "calls a member that is only known when it runs")
            }
            Some(_) => Found::default(),
            None => gap("code.member", "calls a member that is only known when it runs"),
        };
    };
    let name = match &call.receiver {
        Some(Value::Name(object)) if object.starts_with(char::is_uppercase) => format!("{object}.{method}"),
        _ => method.to_owned(),
    };
    let args = call.args.get(1..).unwrap_or_default().to_vec();
    let inner = Call { name, receiver: None, args, named: call.named.clone(), node: call.node };
    match Table::get().call(names.language, &inner.name) {
        Some(rule) if rule.does != Does::Dispatch => {
            done(names, &inner, rule.does, &inner.at(rule.at).cloned().unwrap_or(Value::Unknown))
        }
        _ => Found::default(),
    }
}

/// Objects out of foreign bytes; YAML's safe loaders and weights alone make none.
fn loaded(call: &Call<'_>) -> Found {
    let safe = |value: &Value| matches!(value, Value::Name(name) if name.contains("Safe") || name.contains("BaseLoader"));
    let named = call.named("Loader").or_else(|| call.args.get(1)).is_some_and(safe);
    let weights = call.named("weights_only").is_some_and(|value| value.name() == Some("True"));
    let array = call.name.ends_with("np.load") || call.name == "numpy.load";
    let pickles = call.named("allow_pickle").is_some_and(|value| value.name() == Some("True"));
    match named || weights || array && !pickles {
        true => Found::default(),
        false => effect(
            EffectKind::Exec,
            &call.name,
            Scope::Unknown,
            Undo::Hard,
            "code.load",
            "bytes that are loaded may run code",
        ),
    }
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
        _ => gap("code.delete.unknown", "what is deleted is only known when it runs"),
    }
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
        Value::Text(text) => {
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

const VERBS: [&str; 19] = [
    "select", "insert", "update", "delete", "drop", "alter", "create", "truncate", "grant", "revoke", "with",
    "copy", "call", "merge", "replace", "pragma", "attach", "vacuum", "set",
];

/// SQL that is written out; what is not known to be SQL is left alone.
fn statement(names: &Names<'_>, text: &Value) -> Found {
    let Value::Text(text) = text else { return Found::default() };
    let head: String = text.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    if !VERBS.contains(&head.to_lowercase().as_str()) {
        return Found::default();
    }
    if text.contains(HOLE) {
        return gap("code.sql.built", "a statement is put together when it runs");
    }
    sql::statements("", &without_placeholders(text), "", &inner(names.context))
}

/// `%s` and `%(name)s` are values that the driver fills in.
fn without_placeholders(text: &str) -> String {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.strip_prefix('s').or_else(|| {
            let (_, rest) = part.strip_prefix('(')?.split_once(')')?;
            rest.strip_prefix('s')
        });
        match rest {
            Some(rest) => {
                plain.push('?');
                plain.push_str(rest);
            }
            None => {
                plain.push('%');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// Ending the process within what serves requests ends the service.
fn exited(names: &Names<'_>, call: &Call<'_>) -> Found {
    let why = "a request ends the whole service";
    match names.served {
        true => effect(EffectKind::Control, &call.name, Scope::System, Undo::Hard, "code.exit", why),
        false => Found::default(),
    }
}

fn shown(call: &Call<'_>) -> Found {
    match call.args.iter().any(Value::secret) {
        true => effect(
            EffectKind::Credential,
            "environment",
            Scope::System,
            Undo::Never,
            "code.show.secret",
            "shows the environment's secrets",
        ),
        false => Found::default(),
    }
}

/// `f.call(...)`, `f.apply(...)` of what is dangerous, and functions handed to others.
fn indirect(names: &Names<'_>, call: &Call<'_>) -> Found {
    if ordered(&call.name) {
        let why = "orders an end or a removal from a service";
        return effect(EffectKind::Delete, &call.name, Scope::Remote, Undo::Hard, "code.order", why);
    }
    let Some((base, method)) = call.name.rsplit_once('.') else { return Found::default() };
    if let Some(service) = Table::get().service(base) {
        return told(service, method);
    }
    let dangerous = Table::get().exact(names.language, base).is_some_and(|rule| rule.does.dangerous());
    match dangerous && matches!(method, "call" | "apply" | "bind" | "__call__") {
        true => gap("code.indirect", "calls what runs programs in a roundabout way"),
        false => Found::default(),
    }
}

/// What a service is told through its library.
fn told(service: &str, method: &str) -> Found {
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
        None => Found::default(),
    }
}

/// `DeleteBucketCommand`, as the cloud's own libraries name what they send.
fn ordered(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let Some(order) = last.strip_suffix("Command") else { return false };
    let ends = ["Delete", "Terminate", "Destroy", "Purge", "Remove", "Drop", "Deregister"];
    let noun = |head: &&str| {
        order.strip_prefix(*head).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    ends.iter().any(noun) && name.contains("aws-sdk")
}

fn handed(names: &Names<'_>, call: &Call<'_>) -> Found {
    let known = Table::get().call(names.language, &call.name).map(|rule| rule.does);
    if known == Some(Does::Text) {
        return Found::default();
    }
    let dangerous = |value: &Value| {
        value
            .name()
            .and_then(|name| Table::get().exact(names.language, name))
            .is_some_and(|rule| rule.does.dangerous())
    };
    match call.args.iter().chain(call.named.iter().map(|(_, value)| value)).any(dangerous) {
        true => gap("code.handed", "hands on a function that runs programs or deletes"),
        false => Found::default(),
    }
}
