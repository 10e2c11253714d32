//! Commands that the shell itself runs, and that change what the evaluator knows.

use std::ops::Range;

use super::escape::{printf, unescape};
use super::state::State;
use super::stream::{Origin, Stream, UNKNOWN, known};
use crate::model::{EffectKind, Scope, Undo};

/// Builtins without an effect outside the shell that runs them.
const QUIET: [&str; 34] = [
    "true", "false", ":", "test", "[", "[[", "type", "hash", "wait", "jobs", "fg", "bg", "return", "exit",
    "break", "continue", "let", "getopts", "ulimit", "umask", "shopt", "disown", "complete", "compgen",
    "times", "caller", "logout", "help", "dirs", "suspend", "sleep", "which", "unalias", "bind",
];

/// Builtins that work out the indices of arrays, and run substitutions within them.
const SUMS: [&str; 10] = ["test", "[", "[[", "let", "read", "printf", "declare", "typeset", "local", "unset"];

/// Builtins that take a command to be run later, or another file for a name.
const HANDLERS: [&str; 4] = ["bind", "complete", "compgen", "hash"];

/// Whether the shell itself knows a command of this name.
pub fn is(name: &str) -> bool {
    const LOUD: [&str; 26] = [
        "echo",
        "printf",
        "pwd",
        "cd",
        "pushd",
        "popd",
        "chdir",
        "eval",
        "source",
        ".",
        "alias",
        "trap",
        "read",
        "readarray",
        "mapfile",
        "set",
        "shift",
        "export",
        "declare",
        "local",
        "readonly",
        "typeset",
        "unset",
        "history",
        "enable",
        "exec",
    ];
    QUIET.contains(&name) || LOUD.contains(&name)
}

/// `a[$(...)]` that is no longer quoted.
pub fn runs_in_index(text: &str) -> bool {
    text.match_indices('[').any(|(at, _)| {
        let (name, index) = text.split_at(at);
        let index = index.split(']').next().unwrap_or(index);
        name.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && (index.contains("$(") || index.contains('`'))
    })
}

impl State {
    /// `None` for what is no builtin.
    pub fn builtin(
        &mut self,
        name: &str,
        words: &[String],
        stdin: &Stream,
        span: &Range<usize>,
    ) -> Option<Stream> {
        if SUMS.contains(&name) && words.iter().any(|word| runs_in_index(word)) {
            self.gap(
                "shell.index",
                "A substitution within an index is run where it is worked out.",
                span.clone(),
            );
        }
        if HANDLERS.contains(&name) {
            self.handler(name, words, span);
        }
        if QUIET.contains(&name) {
            return Some(Stream::unknown(Origin::Local));
        }
        Some(match name {
            "echo" => echo(words),
            "printf" => self.print(words),
            "pwd" => Stream::text(if self.lost { UNKNOWN.to_string() } else { self.context.cwd.clone() }),
            "cd" | "pushd" | "popd" | "chdir" => self.change_directory(words),
            "eval" => self.run_stream(&Stream::text(words.join(" ")), span.clone(), stdin),
            "source" | "." => self.source_file(words, stdin, span),
            "alias" => self.define_aliases(words),
            "trap" => self.trap(words, span),
            "read" | "readarray" | "mapfile" => self.read_words(name, words, stdin),
            "set" => self.set(words, span),
            "shift" => {
                if let Some(given) = self.positional.as_mut().filter(|given| !given.is_empty()) {
                    given.remove(0);
                }
                Stream::none()
            }
            "export" | "declare" | "local" | "readonly" | "typeset" => self.assign_words(words, span),
            "unset" => {
                for word in words.iter().filter(|word| !word.starts_with('-')) {
                    self.environment(word, &[], span);
                    self.vars.one(word, String::new());
                }
                Stream::none()
            }
            "history" => self.history(words, span),
            "enable" if words.iter().any(|word| word == "-f") => {
                self.gap("shell.loads_code", "Loads a library into the shell.", span.clone());
                Stream::none()
            }
            "enable" => Stream::none(),
            _ => return None,
        })
    }

    fn handler(&mut self, name: &str, words: &[String], span: &Range<usize>) {
        let value = |flag: &str| words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1));
        match (name, value("-C"), value("-x"), value("-p")) {
            ("complete" | "compgen", Some(code), ..) => {
                self.run_stream(&Stream::text(code.as_str()), span.clone(), &Stream::none());
            }
            ("bind", _, Some(code), _) => {
                let code = code.split_once(':').map_or(code.as_str(), |(_, code)| code);
                self.run_stream(&Stream::text(code.trim().trim_matches('"')), span.clone(), &Stream::none());
            }
            ("hash", .., Some(_)) => {
                self.gap("shell.hash", "Another file runs under a known name from now on.", span.clone());
            }
            _ => {}
        }
    }

    fn print(&mut self, words: &[String]) -> Stream {
        let words = match words {
            [flag, name, rest @ ..] if flag == "-v" => {
                let text = format(rest);
                self.vars.one(name, text);
                return Stream::none();
            }
            [flag, rest @ ..] if flag == "--" => rest,
            _ => words,
        };
        Stream::text(format(words))
    }

    fn change_directory(&mut self, words: &[String]) -> Stream {
        let back = self.context.cwd.clone();
        let target = words.iter().find(|word| !word.starts_with('-') || word.as_str() == "-");
        let target = match target.map(String::as_str) {
            None => self.context.home.clone(),
            Some("-") => self.values("OLDPWD").first().cloned().unwrap_or_default(),
            Some(path) => path.to_owned(),
        };
        let relative = !target.starts_with(['/', '~']);
        if !known(&target) || (self.lost && relative) {
            self.lost = true;
            return Stream::none();
        }
        self.context.cwd = self.canonical(&target);
        self.lost = false;
        self.vars.one("OLDPWD", back);
        Stream::none()
    }

    fn source_file(&mut self, words: &[String], stdin: &Stream, span: &Range<usize>) -> Stream {
        match words.split_first() {
            Some((path, rest)) if path == "/dev/stdin" || path == "-" => {
                let _ = rest;
                self.run_stream(stdin, span.clone(), &Stream::none())
            }
            Some((path, rest)) => self.run_file(path, rest, stdin, span),
            None => Stream::none(),
        }
    }

    fn define_aliases(&mut self, words: &[String]) -> Stream {
        for (name, text) in words.iter().filter_map(|word| word.split_once('=')) {
            self.aliases.insert(name.to_owned(), text.to_owned());
        }
        Stream::none()
    }

    fn trap(&mut self, words: &[String], span: &Range<usize>) -> Stream {
        let code = words.iter().find(|word| word.as_str() != "--");
        match code.map(String::as_str) {
            None | Some("-" | "" | "-l" | "-p") => Stream::none(),
            // A script within this one ends before this one does.
            Some(code) if self.depth > 1 || !known(code) => {
                self.run_stream(&Stream::text(code), span.clone(), &Stream::none())
            }
            Some(code) => {
                self.keep_trap(code, span);
                Stream::none()
            }
        }
    }

    /// What is read is known where all of it is one line.
    fn read_words(&mut self, name: &str, words: &[String], stdin: &Stream) -> Stream {
        let mut text = stdin.text.trim_end_matches('\n').to_owned();
        if stdin.absent || text.contains('\n') {
            text = UNKNOWN.to_string();
        }
        let mut names: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
        // Values of `-p`, `-d` and others look like names; to set one too many does no harm.
        let default = if name == "read" { "REPLY" } else { "MAPFILE" }.to_owned();
        if names.is_empty() {
            names.push(&default);
        }
        let single = names.len() == 1;
        for name in names {
            let value = if single { text.clone() } else { UNKNOWN.to_string() };
            self.vars.one(name, value);
        }
        Stream::none()
    }

    fn set(&mut self, words: &[String], span: &Range<usize>) -> Stream {
        if let Some(at) = words.iter().position(|word| word == "--") {
            self.positional = Some(words.get(at + 1..).unwrap_or_default().to_vec());
        } else if words.first().is_some_and(|word| !word.starts_with(['-', '+'])) {
            self.positional = Some(words.to_vec());
        }
        let flags = words.iter().take_while(|word| word.starts_with('-'));
        if flags.clone().any(|word| word.contains('e'))
            || words.windows(2).any(|pair| pair == ["-o", "errexit"])
        {
            self.strict = true;
        }
        if words.windows(2).any(|pair| pair == ["+o", "history"]) {
            self.no_history(span);
        }
        if words.is_empty() { Stream::secrets() } else { Stream::unknown(Origin::Local) }
    }

    fn assign_words(&mut self, words: &[String], span: &Range<usize>) -> Stream {
        for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
            let values = vec![value.to_owned()];
            self.environment(name, &values, span);
            self.vars.insert(name, values);
        }
        Stream::none()
    }

    fn history(&mut self, words: &[String], span: &Range<usize>) -> Stream {
        if words.iter().any(|word| word.starts_with('-') && word.contains(['c', 'd', 'w'])) {
            self.no_history(span);
        }
        Stream::unknown(Origin::Local)
    }

    fn no_history(&mut self, span: &Range<usize>) {
        let why = "Hides or removes the record of what was run.";
        self.effect(
            EffectKind::Write,
            "history",
            Scope::Guard,
            Undo::Never,
            "shell.history",
            why,
            span.clone(),
        );
    }
}

fn format(words: &[String]) -> String {
    let Some((format, rest)) = words.split_first() else { return String::new() };
    printf(format, rest).unwrap_or_else(|| UNKNOWN.to_string())
}

fn echo(words: &[String]) -> Stream {
    let flag = |word: &&String| {
        word.len() > 1 && word.starts_with('-') && word.chars().skip(1).all(|c| "neE".contains(c))
    };
    let flags: String = words.iter().take_while(flag).cloned().collect();
    let text: Vec<&str> = words.iter().skip_while(flag).map(String::as_str).collect();
    let mut text = text.join(" ");
    // Many shells' `echo` reads escapes unasked; without any both readings are the same.
    if flags.contains('e') {
        text = unescape(&text, true);
    }
    if !flags.contains('n') {
        text.push('\n');
    }
    Stream::text(text)
}
