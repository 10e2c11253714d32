//! Calls of tools that no analyser knows.
//!
//! Invariant: the tool stays unresolved whatever its arguments are; what they look like
//! only adds to that.

use std::ops::Range;

use super::effects::{gap, of_code};
use super::json::{self, Token};
use super::layout::{Field, Layout};
use crate::model::{Certainty, Context, EffectKind, Found};
use crate::{http, path, shell, sql};

/// Most arguments that are looked into.
const ARGUMENTS_MAX: usize = 50;

/// What a key says of its value.
#[derive(Clone, Copy, PartialEq)]
enum Meant {
    Command,
    Path,
    Url,
    Sql,
    Query,
    Code,
}

fn meant(key: &str) -> Option<Meant> {
    Some(match key.to_ascii_lowercase().as_str() {
        "command" | "cmd" | "script" | "shell" | "commands" => Meant::Command,
        "path" | "file" | "file_path" | "filepath" | "filename" => Meant::Path,
        "url" | "uri" => Meant::Url,
        "sql" => Meant::Sql,
        "query" | "statement" => Meant::Query,
        "code" | "source" => Meant::Code,
        _ => return None,
    })
}

/// A value under a key that is known.
struct Argument {
    meant: Meant,
    said: String,
    /// Bytes of the text, without the quotes.
    at: Range<usize>,
    /// Where the list begins that it is an element of.
    list: Option<usize>,
}

pub fn found(layout: &Layout<'_>, context: &Context) -> Found {
    let name = layout.part(Field::Name).map_or(layout.all(), |part| part.at.clone());
    let mut found = gap("tool.unknown", "no analyser knows this tool", &name);
    let Some(part) = layout.part(Field::Arguments) else { return found };
    let context = Context { depth: context.depth + 1, ..context.clone() };
    let arguments = arguments(&part.raw, part.at.start);
    if arguments.len() > ARGUMENTS_MAX {
        found.extend(gap("limit.arguments", "it has more arguments than are looked at", &part.at));
    }
    let language = said(&part.raw, "language");
    let method = said(&part.raw, "method").unwrap_or_else(|| "GET".to_owned());
    let mut rest = arguments.get(..ARGUMENTS_MAX.min(arguments.len())).unwrap_or_default();
    while let Some((first, others)) = rest.split_first() {
        let words = listed(first, others);
        found.extend(match first.meant {
            Meant::Command if words > 0 => of_words(rest.get(..=words).unwrap_or_default(), &context),
            _ => of_one(first, layout, language.as_deref(), &method, &context),
        });
        rest = others.get(words..).unwrap_or_default();
    }
    found
}

/// How many that follow are words of the same command.
fn listed(first: &Argument, others: &[Argument]) -> usize {
    if first.meant != Meant::Command || first.list.is_none() {
        return 0;
    }
    others.iter().take_while(|other| other.list == first.list).count()
}

/// The text values under known keys, in order.
fn arguments(text: &str, start: usize) -> Vec<Argument> {
    let tokens = json::tokens(text);
    let keys = json::keys(text, &tokens);
    let mut arguments = Vec::new();
    let mut lists: Vec<Option<usize>> = Vec::new();
    for (at, (token, range)) in tokens.iter().enumerate() {
        match token {
            Token::Open => lists.push((text.get(range.clone()) == Some("[")).then_some(at)),
            Token::Close => {
                lists.pop();
            }
            Token::Text if arguments.len() <= ARGUMENTS_MAX => {
                let key = json::key(text, &tokens, keys.get(at).copied().flatten());
                let Some(meant) = key.as_deref().and_then(meant) else { continue };
                let Some(said) = text.get(range.clone()).and_then(json::decoded) else { continue };
                let at = start + range.start + 1..start + range.end - 1;
                arguments.push(Argument { meant, said, at, list: lists.last().copied().flatten() });
            }
            _ => {}
        }
    }
    arguments
}

/// The first text under a key.
fn said(text: &str, key: &str) -> Option<String> {
    let tokens = json::tokens(text);
    let keys = json::keys(text, &tokens);
    let mut pairs = tokens.iter().zip(&keys).filter(|((token, _), _)| *token == Token::Text);
    let found = pairs.find(|(_, at)| json::key(text, &tokens, **at).as_deref() == Some(key));
    found.and_then(|((_, range), _)| text.get(range.clone())).and_then(json::decoded)
}

fn of_words(words: &[Argument], context: &Context) -> Found {
    let at = words.first().map_or(0, |word| word.at.start)..words.last().map_or(0, |word| word.at.end);
    let argv: Vec<String> = words.iter().map(|word| word.said.clone()).collect();
    let mut found = shell::argv(&argv, context).at(&at);
    // A list may as well be of commands.
    if words.iter().all(|word| word.said.contains(' ')) {
        words.iter().for_each(|word| found.extend(shell::script(&word.said, context).at(&word.at)));
    }
    found
}

fn of_one(
    argument: &Argument,
    layout: &Layout<'_>,
    language: Option<&str>,
    method: &str,
    context: &Context,
) -> Found {
    let said = &argument.said;
    let whole = |found: Found| found.at(&argument.at);
    match argument.meant {
        Meant::Command => placed(shell::script(said, context), argument, layout),
        Meant::Path => whole(of_path(said, context)),
        Meant::Url => whole(http::call(&http::Call { method, url: said, ..Default::default() }, context)),
        Meant::Sql => placed(sql::statements("", said, "", context), argument, layout),
        Meant::Query => {
            let found = sql::statements("", said, "", context);
            match found.unresolved.iter().any(|gap| gap.rule == "sql.unparsed") {
                true => Found::default(),
                false => placed(found, argument, layout),
            }
        }
        Meant::Code => placed(of_any_code(language, said, context), argument, layout),
    }
}

/// What a tool does to a path is not known: for the worse, it may change it.
fn of_path(path: &str, context: &Context) -> Found {
    let mut found = path::operation(path::Operation::Write, path, context);
    let changes = found.effects.iter_mut().filter(|effect| effect.kind == EffectKind::Write);
    changes.for_each(|effect| effect.certainty = Certainty::Possible);
    found
}

/// Code of a language that nobody named is read as each that it may be.
fn of_any_code(language: Option<&str>, source: &str, context: &Context) -> Found {
    if let Some(language) = language {
        return of_code(language, source, context);
    }
    let mut found = Found::default();
    for language in ["python", "javascript", "bash"] {
        let one = of_code(language, source, context);
        found.effects.extend(one.effects);
    }
    found.extend(gap("code.language", "which language this is was not said", &(0..source.len())));
    found
}

/// What was found in what the value says, where that is written.
fn placed(mut found: Found, argument: &Argument, layout: &Layout<'_>) -> Found {
    let inner = layout.text.get(argument.at.clone()).unwrap_or_default();
    let place = |span: &Range<usize>| {
        let at = json::within(inner, &argument.said, std::slice::from_ref(span));
        at.first().map_or(argument.at.clone(), |at| argument.at.start + at.start..argument.at.start + at.end)
    };
    found.effects.iter_mut().for_each(|effect| effect.span = place(&effect.span));
    found.unresolved.iter_mut().for_each(|gap| gap.span = place(&gap.span));
    found
}
