//! What a known call does.

use tree_sitter::Node;

use super::evaluate::{Call, Names};
use super::files;
use super::grammar::{Form, children, field, form, kind};
use super::guards;
use super::rows::statement;
use super::run::{argv, command_line, started};
use super::send;
use super::services::{self, told};
use super::table::{Does, Table};
use super::value::{HOLE, OWN_FILE, UNKNOWN_WORD, Value, filled};
use super::{Language, source};
use crate::model::{Context, Effect, EffectKind, Found, Scope, Undo, Unresolved};
use crate::{path, shell};

/// One action deeper.
pub fn inner(context: &Context) -> Context {
    Context { depth: context.depth.saturating_add(1), ..context.clone() }
}

pub fn gap(rule: &str, why: &str) -> Found {
    Unresolved::new(rule, why).into()
}

pub fn effect(kind: EffectKind, target: &str, scope: Scope, undo: Undo, rule: &str, why: &str) -> Found {
    Effect::new(kind, filled(target, "?"), scope, undo, rule, why).into()
}

/// What the call does.
pub fn call(names: &Names<'_>, call: &Call<'_>) -> Found {
    if call.name.contains(HOLE) {
        return gap("code.member", "calls a member that is only known when it runs");
    }
    if let Some(Value::Process(words)) = &call.receiver {
        return started(names, words, call);
    }
    if let Some(found) = tagged(names, call) {
        return found;
    }
    let mut found = handed(names, call);
    found.extend(guards::debugger(call));
    found.extend(guards::shared(call));
    found.extend(logged(names, call));
    let Some(rule) = Table::get().call(names.language, &call.name) else {
        found.extend(indirect(names, call));
        return found;
    };
    if matches!(rule.does, Does::Wipe | Does::Spend) && rehearsed(names, call) {
        return found;
    }
    let first = call.at(rule.at).cloned().unwrap_or(Value::Unknown);
    for way in first.ways() {
        found.extend(done(names, call, rule.does, way));
    }
    found
}

fn done(names: &Names<'_>, call: &Call<'_>, does: Does, first: &Value) -> Found {
    match does {
        Does::Shell => command_line(names, first),
        Does::Argv => {
            let mut args = call.args.clone();
            if let Some(line) = args.first_mut() {
                line.clone_from(first);
            }
            argv(names, call, &args)
        }
        Does::ArgvAfter => argv(names, call, call.args.get(1..).unwrap_or_default()),
        Does::Eval => evaluated(names, call, first),
        Does::Timer => match first {
            Value::Text(_) => evaluated(names, call, first),
            _ => Found::default(),
        },
        Does::Load => loaded(names, call),
        Does::Memory => {
            let why = "reads or writes memory that nothing checks";
            effect(EffectKind::Exec, &call.name, Scope::Unknown, Undo::Hard, "code.memory", why)
        }
        // A database in memory ends with the process.
        Does::Sql if call.receiver == Some(Value::Temp) => Found::default(),
        Does::Sql => statement(names, first),
        Does::Exit => exited(names, call),
        Does::Serve => published(names, first),
        Does::Show => shown(&call.args),
        _ => files::done(names, call, does, first)
            .or_else(|| send::done(names, call, does, first))
            .or_else(|| reached(names, call, does, first))
            .or_else(|| ordered(call, does))
            .or_else(|| asked(call, does, first))
            .unwrap_or_default(),
    }
}

/// Orders to the system, to databases and to who takes money.
fn ordered(call: &Call<'_>, does: Does) -> Option<Found> {
    let of = |kind, scope, undo, rule, why| Some(effect(kind, &call.name, scope, undo, rule, why));
    use {EffectKind as Kind, Scope as At};
    match does {
        Does::Wipe => of(Kind::BulkData, At::Remote, Undo::Never, "code.wipe", "deletes many rows"),
        Does::Spend => of(Kind::Spend, At::Remote, Undo::Never, "code.spend", "orders what costs money"),
        Does::Privilege => {
            of(Kind::Privilege, At::System, Undo::Hard, "code.privilege", "changes the process's rights")
        }
        Does::Vault => {
            of(Kind::Credential, At::Home, Undo::Nothing, "code.vault", "reads what a person keeps secret")
        }
        Does::Publish => of(Kind::Publish, At::Remote, Undo::Never, "code.publish", "makes something public"),
        Does::Persist => {
            of(Kind::Persistence, At::System, Undo::Hard, "code.persist", "stays after it has run")
        }
        // Signal 0 only asks whether the process is there.
        Does::Control if call.args.get(1).and_then(Value::text) == Some("0") => None,
        Does::Control => of(Kind::Control, At::System, Undo::Hard, "code.control", "ends other processes"),
        _ => None,
    }
}

/// Members and modules that are reached by a name.
fn reached(names: &Names<'_>, call: &Call<'_>, does: Does, first: &Value) -> Option<Found> {
    let unknown = || Some(gap("code.member", "calls a member that is only known when it runs"));
    match does {
        Does::Dispatch => Some(dispatched(names, call, first)),
        // Django's managers: what a query of them holds is deleted at once.
        Does::WipeRows => {
            names.written(call.node).contains(".objects.").then(|| ordered(call, Does::Wipe))?
        }
        Does::Method => match first.text() {
            Some(method) if !runs(names, method) => None,
            _ => unknown(),
        },
        Does::MethodNamed if first.text().is_none() => unknown(),
        Does::Module
            if matches!(first, Value::Unknown | Value::Name(_) | Value::Secret)
                || first.foreign()
                || first.partial().starts_with("data:")
                || first.text().is_some_and(|text| outside(names, text))
                || first.text().is_none() && names.language == Language::Python && !packaged(first) =>
        {
            Some(gap("code.module", "loads a module that is only known when it runs"))
        }
        _ => None,
    }
}

/// Whether a method of this name runs programs or deletes, in a module that has it.
fn runs(names: &Names<'_>, method: &str) -> bool {
    ["os", "subprocess", "shutil", "builtins"].iter().any(|module| {
        let rule = Table::get().exact(names.language, &format!("{module}.{method}"));
        rule.is_some_and(|rule| rule.does.dangerous())
    })
}

/// What is harmless unless whoever asks decides on it.
fn asked(call: &Call<'_>, does: Does, first: &Value) -> Option<Found> {
    let sent = call.receiver.as_ref().is_some_and(Value::foreign);
    let (rule, why) = match does {
        Does::Template if first.foreign() => {
            ("code.template", "whoever asks writes a template, and templates run code")
        }
        Does::Extract if sent => ("code.extract", "an archive that was sent decides where its files go"),
        Does::Fragment if first.foreign() => ("code.sql.built", "whoever asks writes a part of a statement"),
        Does::Query if first.foreign() => ("code.eval", "whoever asks writes what is evaluated"),
        _ => return None,
    };
    Some(gap(rule, why))
}

fn evaluated(names: &Names<'_>, call: &Call<'_>, first: &Value) -> Found {
    // A block of Ruby's is read like any other code.
    if call.args.is_empty() && names.language == Language::Ruby {
        return Found::default();
    }
    // A block that is handed on, and a file of the project's own, which could be run as well.
    let blocks = field(call.node, &["arguments"])
        .is_some_and(|list| children(list).iter().all(|part| kind(*part) == "block_argument"));
    if blocks || matches!(first, Value::Name(name) if name.starts_with(OWN_FILE)) {
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
            Some(receiver) if receiver.foreign() || first.foreign() => {
                gap("code.member", "whoever asks decides what is called")
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
fn loaded(names: &Names<'_>, call: &Call<'_>) -> Found {
    // What was made here is known here.
    let dumped = children(call.node).last().and_then(|list| children(*list).first().copied());
    if dumped.is_some_and(|inner| {
        form(inner) == Form::Call
            && names.written(inner).split('(').next().is_some_and(|name| name.contains("dump"))
    }) {
        return Found::default();
    }
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

/// Files that whoever asks is given.
fn published(names: &Names<'_>, directory: &Value) -> Found {
    let Some(text) = directory.text() else { return Found::default() };
    let place = path::locate(text, names.context);
    match place.scope {
        Scope::Project | Scope::Temp => Found::default(),
        scope => {
            let why = "gives files outside of the project to whoever asks";
            effect(EffectKind::Publish, &place.path, scope, Undo::Never, "code.serve", why)
        }
    }
}

/// Ending the process within what serves requests ends the service.
fn exited(names: &Names<'_>, call: &Call<'_>) -> Found {
    let why = "a request ends the whole service";
    match names.around.served {
        true => effect(EffectKind::Control, &call.name, Scope::System, Undo::Hard, "code.exit", why),
        false => Found::default(),
    }
}

/// What is shown to others.
pub fn shown(values: &[Value]) -> Found {
    match values.iter().any(Value::secret) {
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
    if let Some(found) = services::command(names, call) {
        return found;
    }
    if let Some(found) = services::program(names, call) {
        return found;
    }
    let (base, method) = call.name.rsplit_once('.').unwrap_or(("", &call.name));
    let service = Table::get().service(base).or(Table::get().telling(method).then_some("a service"));
    if let Some(service) = service {
        return if rehearsed(names, call) { Found::default() } else { told(service, method) };
    }
    let dangerous = Table::get().exact(names.language, base).is_some_and(|rule| rule.does.dangerous());
    match dangerous && matches!(method, "call" | "apply" | "bind" | "__call__") {
        true => gap("code.indirect", "calls what runs programs in a roundabout way"),
        false => Found::default(),
    }
}

/// `$`..``: a command line whose insertions are quoted by who runs it.
fn tagged(names: &Names<'_>, call: &Call<'_>) -> Option<Found> {
    let template = field(call.node, &["arguments"]).is_some_and(|list| kind(list) == "template_string");
    let runs = matches!(call.name.as_str(), "$" | "zx.$" | "Bun.$" | "execa" | "execa.$" | "bun.$");
    match call.args.first() {
        Some(Value::Text(line)) if template && runs => {
            Some(shell::script(&filled(line, UNKNOWN_WORD), &inner(names.context)))
        }
        _ => None,
    }
}

/// A variable whose name says that it is secret is written where others read.
fn logged(names: &Names<'_>, call: &Call<'_>) -> Found {
    let method = call.name.rsplit('.').next().unwrap_or(&call.name);
    let Some(list) = field(call.node, &["arguments"]).filter(|_| Table::get().log(method)) else {
        return Found::default();
    };
    let hidden = |part: &Node<'_>| {
        let part = field(*part, &["value"]).filter(|_| kind(*part) == "pair").unwrap_or(*part);
        let last = names.written(part).rsplit('.').next().unwrap_or_default();
        matches!(form(part), Form::Name | Form::Member) && Table::get().hidden(last)
    };
    let parts = children(list).into_iter().flat_map(|part| match form(part) {
        Form::Map => children(part),
        _ => vec![part],
    });
    match parts.collect::<Vec<_>>().iter().any(hidden) || call.args.iter().any(Value::secret) {
        true => Effect::new(
            EffectKind::Credential,
            "log",
            Scope::System,
            Undo::Never,
            "code.show.secret",
            "writes what is secret where others read",
        )
        .possible()
        .into(),
        false => Found::default(),
    }
}

/// A module by its path, which lies outside of the project.
fn outside(names: &Names<'_>, module: &str) -> bool {
    let place = module.strip_prefix("file://").unwrap_or(module);
    place.starts_with(['/', '~']) && path::locate(place, names.context).scope != Scope::Project
}

/// Whether the service only says what it would do, or is none.
fn rehearsed(names: &Names<'_>, call: &Call<'_>) -> bool {
    let dry = ["DryRun", "dry_run", "dryRun"]
        .iter()
        .any(|name| call.named(name).is_some_and(|value| matches!(value.name(), Some("True" | "true"))));
    dry || names.around.mocked || call.receiver == Some(Value::Temp)
}

/// Within a package that is written out.
fn packaged(module: &Value) -> bool {
    module.partial().split(HOLE).next().is_some_and(|known| known.contains('.') && !known.starts_with('.'))
}

fn handed(names: &Names<'_>, call: &Call<'_>) -> Found {
    let known = Table::get().call(names.language, &call.name).map(|rule| rule.does);
    if matches!(known, Some(Does::Text | Does::Looks)) || call.same().is_some() {
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
