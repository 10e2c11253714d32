//! `find`, `fd` and `xargs`: programs that name files to others.

use super::args::{Args, Style};
use super::filter::filled;
use super::invoke::Command;
use super::state::State;
use super::stream::{Stream, UNKNOWN};
use crate::path::Operation;

/// Commands that `xargs` is taken to start.
const ROUNDS_MAX: usize = 12;
/// Kinds of names that `find` is taken to find.
const NAMES_MAX: usize = 200;
/// Words that `xargs` adds to one command.
const WORDS_MAX: usize = 60;

impl State {
    pub fn find(&mut self, command: &Command<'_>) -> Stream {
        let words = command.words;
        let begins =
            |word: &&String| word.starts_with('-') || matches!(word.as_str(), "(" | "!" | "\\(" | ",");
        let head = words.iter().take_while(|word| ["-H", "-L", "-P"].contains(&word.as_str())).count();
        let rest = words.get(head..).unwrap_or_default();
        let mut roots: Vec<String> = rest.iter().take_while(|word| !begins(word)).cloned().collect();
        let expression = rest.get(roots.len()..).unwrap_or_default();
        if roots.is_empty() {
            roots.push(".".to_owned());
        }
        let names = candidates(&roots, expression);
        let mut at = 0;
        while let Some(word) = expression.get(at) {
            at += 1;
            match word.as_str() {
                "-delete" => {
                    for name in &names {
                        self.path_effect(Operation::Delete, name, "find.delete", command.span);
                    }
                }
                "-exec" | "-execdir" | "-ok" | "-okdir" => {
                    let inner = expression.get(at..).unwrap_or_default();
                    let length =
                        inner.iter().position(|word| word == ";" || word == "+").unwrap_or(inner.len());
                    self.find_exec(inner.get(..length).unwrap_or_default(), &names, command);
                    at += length + 1;
                }
                "-fprint" | "-fprint0" | "-fls" | "-fprintf" => {
                    if let Some(path) = expression.get(at) {
                        self.path_effect(Operation::Write, path, "find.writes", command.span);
                    }
                    at += 1;
                }
                _ => {}
            }
        }
        Stream::names(&names)
    }

    fn find_exec(&mut self, inner: &[String], names: &[String], command: &Command<'_>) {
        for name in names.iter().take(ROUNDS_MAX) {
            let argv = inner.iter().map(|word| filled(word, "{}", name)).collect();
            self.invoke(argv, &Stream::none(), command.span.clone());
        }
    }

    pub fn xargs(&mut self, command: &Command<'_>) -> Stream {
        let style = Style { values: &command.program.values, single: false, stop: true };
        let args = Args::parse(command.words, style);
        let mut inner = args.operands.clone();
        if inner.is_empty() {
            inner.push("echo".to_owned());
        }
        let from_file = args.has("-a --arg-file");
        let items: Vec<String> = match command.stdin.absent || from_file {
            true => vec![UNKNOWN.to_string()],
            false => command
                .stdin
                .text
                .split(['\n', '\0'])
                .map(str::to_owned)
                .filter(|item| !item.is_empty())
                .collect(),
        };
        let mark = args.value("-I --replace").or(args.has("-i --replace").then_some("{}"));
        if let Some(mark) = mark {
            let mut out = Stream::none();
            for item in items.iter().take(ROUNDS_MAX) {
                let argv = inner.iter().map(|word| filled(word, mark, item)).collect();
                out = out.then(&self.invoke(argv, &Stream::none(), command.span.clone()));
            }
            return out;
        }
        let words: Vec<String> = match command.stdin.exact {
            true => items.iter().flat_map(|item| item.split_whitespace()).map(str::to_owned).collect(),
            false => items,
        };
        if words.len() > WORDS_MAX {
            inner.push(UNKNOWN.to_string());
        }
        // Words from elsewhere that a shell would take for its program.
        inner.extend(words.into_iter().take(WORDS_MAX));
        self.invoke(inner, &Stream::none(), command.span.clone())
    }

    /// `parallel` gives its words, joined, to a shell, with each input in the place of `{}`.
    pub fn parallel(&mut self, command: &Command<'_>) -> Stream {
        let style = Style { values: &command.program.values, single: false, stop: true };
        let args = Args::parse(command.words, style);
        let mark = |word: &&String| word.starts_with(":::");
        let code: Vec<String> = args.operands.iter().take_while(|word| !mark(word)).cloned().collect();
        let inputs = args.operands.get(code.len()..).unwrap_or_default();
        let mut items: Vec<String> = match inputs.first().map(String::as_str) {
            Some(":::" | ":::+") => inputs.iter().filter(|word| !mark(word)).cloned().collect(),
            Some(_) => vec![UNKNOWN.to_string()],
            None if command.stdin.absent || args.has("-a --arg-file") => vec![UNKNOWN.to_string()],
            None => command.stdin.text.lines().map(str::to_owned).collect(),
        };
        items.truncate(ROUNDS_MAX);
        let mut code = code.join(" ");
        let marks = ["{}", "{.}", "{/}", "{//}", "{/.}", "{1}", "{2}"];
        if !marks.iter().any(|mark| code.contains(mark)) && !code.is_empty() {
            code.push_str(" {}");
        }
        let mut out = Stream::none();
        for item in items {
            // Inputs are quoted, unless they are the command themselves.
            let item = if code.is_empty() { item } else { format!("'{}'", item.replace('\'', "'\\''")) };
            let code = match code.is_empty() {
                true => item,
                false => marks.iter().fold(code.clone(), |code, mark| filled(&code, mark, &item)),
            };
            out = out.then(&self.run_stream(
                &Stream { exact: true, ..Stream::text(code) },
                command.span.clone(),
                &Stream::none(),
            ));
        }
        out
    }

    /// `fd` names what it finds to the command behind `-x` or `-X`, as `find -exec` does.
    pub fn fd(&mut self, command: &Command<'_>) -> Stream {
        const RUNS: [&str; 4] = ["-x", "-X", "--exec", "--exec-batch"];
        let runs = command.words.iter().position(|word| RUNS.contains(&word.as_str()));
        let (own, inner) = match runs {
            Some(at) => command.words.split_at(at),
            None => (command.words, Default::default()),
        };
        let style = Style { values: &command.program.values, single: false, stop: false };
        let args = Args::parse(own, style);
        let mut roots: Vec<String> = args.operands.iter().skip(1).cloned().collect();
        roots.extend(args.values("--search-path --base-directory"));
        if roots.is_empty() {
            roots.push(".".to_owned());
        }
        let ending =
            args.value("-e --extension").map(|ending| format!("*.{}", ending.trim_start_matches('.')));
        let pattern = ending.as_deref().unwrap_or("*");
        let names: Vec<String> = roots
            .iter()
            .take(NAMES_MAX)
            .map(|root| format!("{}/{pattern}", root.trim_end_matches('/')))
            .collect();
        for inner in inner.split(|word| RUNS.contains(&word.as_str()) || word == ";") {
            let mut inner = inner.to_vec();
            let marks = ["{}", "{/}", "{//}", "{.}", "{/.}"];
            if inner.is_empty() {
                continue;
            }
            if !inner.iter().any(|word| marks.iter().any(|mark| word.contains(mark))) {
                inner.push("{}".to_owned());
            }
            for name in names.iter().take(ROUNDS_MAX) {
                let fill =
                    |word: &String| marks.iter().fold(word.clone(), |word, mark| filled(&word, mark, name));
                self.invoke(inner.iter().map(fill).collect(), &Stream::none(), command.span.clone());
            }
        }
        Stream::names(&names)
    }
}

/// What the names that `find` finds look like: the roots, with the name's pattern if there is one.
fn candidates(roots: &[String], expression: &[String]) -> Vec<String> {
    let mut patterns = Vec::new();
    let mut not = false;
    let mut or = false;
    for (at, word) in expression.iter().enumerate() {
        match word.as_str() {
            "!" | "-not" => not = true,
            "-o" | "-or" => or = true,
            "-name" | "-iname" => {
                if let Some(pattern) = expression.get(at + 1).filter(|_| !not) {
                    patterns.push(pattern.clone());
                }
                not = false;
            }
            word if word.starts_with('-') => not = false,
            _ => {}
        }
    }
    // Another branch of an `-o` without a name finds anything.
    let names = expression.iter().filter(|word| *word == "-name" || *word == "-iname").count();
    let branches = expression.iter().filter(|word| *word == "-o" || *word == "-or").count() + 1;
    if patterns.is_empty() || (or && names < branches) {
        return roots.to_vec();
    }
    // So many names are as good as any.
    if roots.len().saturating_mul(patterns.len()) > NAMES_MAX {
        return roots.to_vec();
    }
    let join = |root: &String, pattern: &String| format!("{}/{pattern}", root.trim_end_matches('/'));
    roots.iter().flat_map(|root| patterns.iter().map(move |pattern| join(root, pattern))).collect()
}
