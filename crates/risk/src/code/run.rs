//! Programs and command lines that code runs.

use super::Language;
use super::act::{gap, inner};
use super::evaluate::{Call, Names};
use super::value::{UNKNOWN_WORD, Value, filled};
use crate::model::Found;
use crate::shell;

/// A command line; one with unknown parts can be any.
pub fn command_line(names: &Names<'_>, line: &Value) -> Found {
    match line {
        Value::List(_) => argv_of(names, std::slice::from_ref(line)),
        line => match line.text() {
            Some(text) => shell::script(text, &inner(names.context)),
            None => gap("code.shell.built", "a command line is only known when it runs"),
        },
    }
}

/// A program and its arguments, or a command line where the call asks for a shell.
pub fn argv(names: &Names<'_>, call: &Call<'_>, args: &[Value]) -> Found {
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
        Value::Text(text) => filled(text, UNKNOWN_WORD),
        Value::Temp => "/tmp/fresh".to_owned(),
        _ => UNKNOWN_WORD.to_owned(),
    });
    let words: Vec<String> = std::iter::once(program.to_owned()).chain(rest).collect();
    // A shell's own text must be known, and an interpreter's.
    let base = program.rsplit('/').next().unwrap_or(program);
    let scripts = ["node", "deno", "bun", "nodejs"].contains(&base);
    let command = words.iter().position(|word| {
        word == "-c"
            || word == "-e"
            || scripts && matches!(word.as_str(), "--eval" | "-p" | "--print" | "-pe")
    });
    if command.and_then(|at| words.get(at + 1)).is_some_and(|text| text.contains(UNKNOWN_WORD)) {
        return gap("code.shell.built", "a command line is only known when it runs");
    }
    let fed = words.iter().skip(1).all(|word| word.starts_with('-') && !word.contains('c'));
    if fed && matches!(base, "sh" | "bash" | "zsh" | "dash" | "ksh" | "cmd.exe" | "powershell" | "pwsh") {
        return gap("code.shell.fed", "a shell is told what to do while it runs");
    }
    shell::argv(&words, &inner(names.context))
}

/// A builder that is run.
pub fn started(names: &Names<'_>, words: &[Value], call: &Call<'_>) -> Found {
    match call.name.rsplit('.').next() {
        Some("status" | "output" | "spawn" | "exec" | "run" | "read" | "start") => argv_of(names, words),
        _ => Found::default(),
    }
}
