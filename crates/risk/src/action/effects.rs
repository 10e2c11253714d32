//! What each kind of action does.

use std::ops::Range;

use quarterdeck_core::action::{Action, FileOperation};

use super::layout::{Field, Layout};
use super::{mask, tool};
use crate::code::Language;
use crate::model::{Context, Effect, EffectKind, Found, Scope, TEXT_MAX, Undo, Unresolved};
use crate::{code, http, path, redact, shell, sql};

/// Most secrets of a file that are named one by one.
const SECRETS_MAX: usize = 20;

/// Variables through which whoever sets them runs other code than the command's.
const HIJACKING: [&str; 22] = [
    "LD_PRELOAD",
    "LD_AUDIT",
    "DYLD_INSERT_LIBRARIES",
    "BASH_ENV",
    "ENV",
    "SHELLOPTS",
    "BASHOPTS",
    "PROMPT_COMMAND",
    "IFS",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_EXTERNAL_DIFF",
    "GIT_EXEC_PATH",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_ASKPASS",
    "PYTHONSTARTUP",
    "PERL5OPT",
    "RUBYOPT",
    "NODE_OPTIONS",
    "JAVA_TOOL_OPTIONS",
    "PERL5DB",
];

/// What the action does. Spans point into [`super::text`] of it.
pub fn found(action: &Action, context: &Context) -> Found {
    let layout = Layout::of(action);
    let size: usize = layout.parts.iter().map(|part| part.raw.len()).sum();
    let mut found = match size > TEXT_MAX {
        true => gap("limit.text", "the action is longer than is looked at", &layout.all()),
        false => of_kind(action, &layout, context),
    };
    fit(&mut found, &layout.text);
    found
}

fn of_kind(action: &Action, layout: &Layout<'_>, context: &Context) -> Found {
    match action {
        Action::Command { argv, script, cwd, environment } => {
            let (mut found, context) = within(cwd, context, &layout.all());
            found.extend(hijacked(environment, &layout.all()));
            found.extend(match argv.is_empty() {
                true => shell::script(script, &context),
                false => of_words(argv, layout, 0, &context),
            });
            found
        }
        Action::Git { arguments, cwd } => {
            let (mut found, context) = within(cwd, context, &layout.all());
            let words: Vec<String> =
                std::iter::once("git".to_owned()).chain(arguments.iter().cloned()).collect();
            found.extend(of_words(&words, layout, "git ".len(), &context));
            found
        }
        Action::File { path, operation, destination, .. } => {
            of_file(layout, path, *operation, destination, context)
        }
        Action::Code { language, source } => of_code(language, source, context),
        Action::Sql { dialect, text } => sql::statements(dialect, text, "", context),
        Action::Http { method, url, headers, body } => {
            let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let body = (!body.is_empty()).then_some(body.as_str());
            of_http(layout, &http::Call { method, url, headers, body }, context)
        }
        Action::Workflow { name, operation, .. } => of_workflow(layout, name, *operation, context),
        Action::Tool { .. } => tool::found(layout, context),
    }
}

pub(super) fn gap(rule: &str, why: &str, at: &Range<usize>) -> Found {
    Found::from(Unresolved::new(rule, why)).at(at)
}

/// Invariant: spans lie in the text, and begin and end where letters do.
fn fit(found: &mut Found, text: &str) {
    let fitted = |span: &Range<usize>| {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        start..text.ceil_char_boundary(span.end.min(text.len())).max(start)
    };
    found.effects.iter_mut().for_each(|effect| effect.span = fitted(&effect.span));
    found.unresolved.iter_mut().for_each(|gap| gap.span = fitted(&gap.span));
}

/// The context in the directory that the action names.
fn within(cwd: &str, context: &Context, all: &Range<usize>) -> (Found, Context) {
    let mut inner = Context { cwd: context.project.clone(), ..context.clone() };
    if cwd.is_empty() {
        return (Found::default(), inner);
    }
    let doubts = path::operation(path::Operation::Read, cwd, &inner).unresolved;
    let mut found = Found { effects: Vec::new(), unresolved: doubts }.at(all);
    match path::canonical(cwd, &inner) {
        Some(cwd) => inner.cwd = cwd,
        None => {
            // Relative paths are then taken for the system's, which is the worse.
            inner.cwd = "/".to_owned();
            found.extend(gap("action.cwd", "which directory it runs in is only known there", all));
        }
    }
    (found, inner)
}

fn hijacked(environment: &[String], all: &Range<usize>) -> Found {
    let known = |name: &String| HIJACKING.contains(&name.as_str()) || name.starts_with("BASH_FUNC_");
    match environment.iter().any(known) {
        true => gap("action.environment", "a variable that it is given may make it run other code", all),
        false => Found::default(),
    }
}

fn of_words(words: &[String], layout: &Layout<'_>, before: usize, context: &Context) -> Found {
    let mut found = shell::argv(words, context);
    let end = words.iter().map(|word| word.len() + 1).sum::<usize>().saturating_sub(1);
    let place = |span: &Range<usize>| match *span == (0..end) {
        true => layout.all(),
        false => layout.of_words(span, before),
    };
    found.effects.iter_mut().for_each(|effect| effect.span = place(&effect.span));
    found.unresolved.iter_mut().for_each(|gap| gap.span = place(&gap.span));
    found
}

fn of_file(
    layout: &Layout<'_>,
    path: &str,
    operation: FileOperation,
    destination: &str,
    context: &Context,
) -> Found {
    let at = |field| layout.part(field).map_or(layout.all(), |part| part.at.clone());
    let operate = |operation, path| path::operation(operation, path, context);
    let here = at(Field::Path);
    let mut found = match operation {
        FileOperation::Read => operate(path::Operation::Read, path).at(&here),
        FileOperation::Write => operate(path::Operation::Write, path).at(&here),
        FileOperation::Append => operate(path::Operation::Append, path).at(&here),
        FileOperation::Delete => operate(path::Operation::Delete, path).at(&here),
        FileOperation::Move => {
            let mut found = operate(path::Operation::Delete, path).at(&here);
            found.extend(operate(path::Operation::Write, destination).at(&at(Field::Destination)));
            found
        }
    };
    let target = if destination.is_empty() { path } else { destination };
    found.extend(secrets(layout, Field::Change, &path::locate(target, context)));
    found
}

/// Secrets that the action would leave in a file.
fn secrets(layout: &Layout<'_>, field: Field, place: &path::Place) -> Found {
    let mut found = Found::default();
    let Some(part) = layout.part(field) else { return found };
    let marks = redact::marks(&part.raw);
    for mark in marks.iter().filter(|mark| mark.kind.starts_with("secret")).take(SECRETS_MAX) {
        let (rule, why) = ("file.secret", "its content holds a secret");
        let kind = EffectKind::Credential;
        let effect = Effect::new(kind, &place.path, place.scope, Undo::Hard, rule, why);
        found.extend(Found::from(effect).at(&part.place(&mark.range)));
    }
    found
}

/// Code of a language by its name; shells are languages too.
pub(super) fn of_code(language: &str, source: &str, context: &Context) -> Found {
    match language.trim().to_ascii_lowercase().as_str() {
        "bash" | "sh" | "shell" | "zsh" | "ksh" | "dash" => shell::script(source, context),
        "sql" => sql::statements("", source, "", context),
        name => match Language::named(name) {
            Some(language) => code::source(language, source, context),
            None => gap("code.language", "no grammar for this language", &(0..source.len())),
        },
    }
}

/// The analyser answers for the call as a whole; what it says of a header or the body is
/// placed there.
fn of_http(layout: &Layout<'_>, call: &http::Call<'_>, context: &Context) -> Found {
    let url = layout.part(Field::Url).map_or(layout.all(), |part| part.at.clone());
    let line = 0..url.end;
    let mut found = http::call(call, context).at(&line);
    for effect in &mut found.effects {
        effect.span = match effect.rule.as_str() {
            "http.header.credential" => {
                header(layout, |name, value| mask::secret_header(name) && !value.is_empty())
            }
            "http.header.secret" => header(layout, |_, value| redact::holds_secret(value)),
            "http.body.secret" => layout.part(Field::Body).map(|part| part.at.clone()),
            "http.url.password" | "http.url.secret" => Some(url.clone()),
            _ => None,
        }
        .unwrap_or_else(|| line.clone());
    }
    let broken = |text: &str| text.contains(['\r', '\n', '\0']);
    let head = call.headers.iter().any(|(name, value)| broken(name) || broken(value));
    if head || broken(call.method) || broken(call.url) {
        found.extend(gap("http.broken", "a line of its head holds another line", &layout.all()));
    }
    found
}

/// The first header, from its name on, that fits.
fn header(layout: &Layout<'_>, fits: impl Fn(&str, &str) -> bool) -> Option<Range<usize>> {
    layout.parts.windows(2).find_map(|pair| match pair {
        [name, value] if name.field == Field::HeaderName && fits(&name.raw, &value.raw) => {
            Some(name.at.start..value.at.end)
        }
        _ => None,
    })
}

/// What runs by itself runs without being asked: changing it is never the project's affair alone.
fn of_workflow(layout: &Layout<'_>, name: &str, operation: FileOperation, context: &Context) -> Found {
    let at = layout.part(Field::Name).map_or(layout.all(), |part| part.at.clone());
    let place = path::locate(name, context);
    let changed = |kind, undo, rule: &str, why: &str| {
        Found::from(Effect::new(kind, &place.path, Scope::Guard, undo, rule, why)).at(&at)
    };
    let mut found = match operation {
        FileOperation::Read => return path::operation(path::Operation::Read, name, context).at(&at),
        FileOperation::Delete => {
            changed(EffectKind::Delete, Undo::Hard, "workflow.delete", "removes what runs by itself")
        }
        FileOperation::Move => {
            changed(EffectKind::Write, Undo::Hard, "workflow.move", "moves what runs by itself")
        }
        FileOperation::Write | FileOperation::Append => {
            let why = "will run by itself from then on";
            changed(EffectKind::Persistence, Undo::Hard, "workflow.write", why)
        }
    };
    found.extend(secrets(layout, Field::Definition, &place));
    found
}
