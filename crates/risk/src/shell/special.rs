//! Programs whose words have a grammar of their own.

use super::args::{Args, Style};
use super::effects::Mode;
use super::filter::filled;
use super::invoke::Command;
use super::programs::Table;
use super::state::State;
use super::stream::{Origin, Stream, UNKNOWN, known};
use crate::model::{EffectKind, Scope, Undo};
use crate::path::{self, Operation};

/// Commands that `xargs` is taken to start.
const ROUNDS_MAX: usize = 12;
/// Kinds of names that `find` is taken to find.
const NAMES_MAX: usize = 200;
/// Words that `xargs` adds to one command.
const WORDS_MAX: usize = 60;

impl State {
    /// `None` where the table says the rest.
    pub fn special(&mut self, command: &Command<'_>) -> Option<Stream> {
        match command.program.special.as_str() {
            "shell" => Some(self.shell(command)),
            "code" => Some(self.interpreter(command)),
            "find" => Some(self.find(command)),
            "xargs" => Some(self.xargs(command)),
            "rm" => Some(self.remove(command)),
            "dd" => Some(self.copy_blocks(command)),
            "chmod" => Some(self.chmod(command)),
            "sed" => Some(self.sed(command)),
            "awk" => Some(self.awk(command)),
            "tee" => Some(self.tee(command)),
            "kill" => Some(self.kill(command)),
            "env" => self.env(command),
            "joined" => Some(self.joined(command)),
            "su" => Some(self.su(command)),
            "curl" => Some(self.curl(command)),
            "wget" => Some(self.wget(command)),
            "ssh" => Some(self.ssh(command)),
            "scp" => Some(self.remote_copy(command)),
            "git" => self.git(command),
            "container" => self.container(command),
            "command" => Some(self.command_builtin(command)),
            "crontab" => Some(self.crontab(command)),
            "nc" => Some(self.netcat(command)),
            "archive" => self.archive(command),
            "python_run" => Some(self.wrapped(command, 0)),
            _ => None,
        }
    }

    fn find(&mut self, command: &Command<'_>) -> Stream {
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

    fn xargs(&mut self, command: &Command<'_>) -> Stream {
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

    /// A directory goes with whatever lies in it, known to version control or not.
    fn remove(&mut self, command: &Command<'_>) -> Stream {
        let whole = command.args.has("-r -R -d --recursive");
        for path in &command.args.operands {
            let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
            let vague = last.contains('*') && !last.chars().any(char::is_alphanumeric);
            let place = path::locate(&path.replace(UNKNOWN, "x"), &self.context);
            self.path_effect(Operation::Delete, path, "rm.delete", command.span);
            let ours = place.scope == Scope::Project && place.rebuildable;
            let relative = place.path.strip_prefix(&self.context.project).unwrap_or(&place.path);
            if (whole || vague) && ours && !Table::get().built(relative) {
                let why = "Deletes all that lies there, also what version control does not know.";
                let span = command.span.clone();
                self.effect(
                    EffectKind::Delete,
                    &place.path,
                    Scope::Project,
                    Undo::Hard,
                    "rm.tree",
                    why,
                    span,
                );
            }
        }
        Stream::none()
    }

    fn copy_blocks(&mut self, command: &Command<'_>) -> Stream {
        let mut out = command.stdin.blurred();
        for (name, value) in command.words.iter().filter_map(|word| word.split_once('=')) {
            match name {
                "if" => self.path_effect(Operation::Read, value, "dd.reads", command.span),
                "of" => {
                    self.path_effect(Operation::Write, value, "dd.writes", command.span);
                    self.wrote(value, &out, false);
                    out = Stream::none();
                }
                _ => {}
            }
        }
        out
    }

    fn chmod(&mut self, command: &Command<'_>) -> Stream {
        // A mode may look like an option: `chmod -x file`.
        let is_option = |word: &&String| {
            word.starts_with("--") || ["-R", "-v", "-c", "-f", "-h"].contains(&word.as_str())
        };
        let owner = command.name != "chmod";
        let mut words: Vec<&String> = command.words.iter().filter(|word| !is_option(word)).collect();
        let mut mode = Mode { owner, ..Mode::default() };
        if !command.args.has("--reference") && !words.is_empty() {
            let first = words.remove(0);
            mode = if owner { mode } else { Mode::parse(first) };
        }
        for path in words {
            self.mode_effect(path, mode, command.span);
        }
        Stream::none()
    }

    fn sed(&mut self, command: &Command<'_>) -> Stream {
        let args = command.args;
        let mut operands: Vec<String> =
            args.operands.iter().filter(|word| !word.is_empty()).cloned().collect();
        let mut scripts = args.values("-e --expression");
        let files = args.values("-f --file");
        for file in &files {
            self.path_effect(Operation::Read, file, "sed.reads", command.span);
        }
        if scripts.is_empty() && files.is_empty() && !operands.is_empty() {
            scripts.push(operands.remove(0));
        }
        for script in scripts {
            self.sed_script(&script, command.span);
        }
        let operation = if args.has("-i --in-place") { Operation::Write } else { Operation::Read };
        for path in operands {
            self.path_effect(operation, &path, "sed.edits", command.span);
        }
        self.output(command)
    }

    fn awk(&mut self, command: &Command<'_>) -> Stream {
        let args = command.args;
        let mut operands = args.operands.as_slice();
        if let Some((program, rest)) = operands.split_first().filter(|_| !args.has("-f --file -E --exec")) {
            self.awk_program(program, command.span);
            operands = rest;
        }
        for file in args.values("-f --file -E --exec") {
            self.path_effect(Operation::Read, &file, "awk.reads", command.span);
            self.file_exec(&file, command.span);
        }
        let edits = args.value("-i --include") == Some("inplace");
        let operation = if edits { Operation::Write } else { Operation::Read };
        for path in operands.iter().filter(|word| !word.contains('=')) {
            self.path_effect(operation, path, "awk.edits", command.span);
        }
        self.output(command)
    }

    fn tee(&mut self, command: &Command<'_>) -> Stream {
        let append = command.args.has("-a --append");
        let operation = if append { Operation::Append } else { Operation::Write };
        for path in &command.args.operands {
            self.path_effect(operation, path, "tee.writes", command.span);
            self.wrote(path, command.stdin, append);
        }
        command.stdin.clone()
    }

    fn kill(&mut self, command: &Command<'_>) -> Stream {
        let mut words = command.words.iter().map(String::as_str).peekable();
        if words.next_if(|word| ["-l", "-L", "--list", "-0"].contains(word)).is_some() {
            return Stream::unknown(Origin::Local);
        }
        // The first word with a dash is the signal, further ones are groups of processes.
        if let Some("-s" | "-n" | "--signal") = words.next_if(|word| word.starts_with('-')) {
            words.next();
        }
        for word in words.filter(|word| *word != "--") {
            let all = word == "-1" || word == "1" || word == "0";
            let (scope, undo) = if all { (Scope::System, Undo::Never) } else { (Scope::Project, Undo::Easy) };
            let why =
                if all { "Ends every process it may, or the machine's first." } else { "Ends a process." };
            self.effect(EffectKind::Control, word, scope, undo, "kill.process", why, command.span.clone());
        }
        Stream::none()
    }

    /// `env -S` holds a whole command in one word.
    fn env(&mut self, command: &Command<'_>) -> Option<Stream> {
        let split = command.args.value("-S --split-string")?;
        let mut words: Vec<String> = split.split_whitespace().map(str::to_owned).collect();
        words.extend(command.args.operands.iter().cloned());
        let words = words.into_iter().skip_while(|word| word.contains('=')).collect();
        Some(self.invoke(words, command.stdin, command.span.clone()))
    }

    /// Programs that give their words, with spaces between, to a shell.
    fn joined(&mut self, command: &Command<'_>) -> Stream {
        let script = command.args.operands.join(" ");
        match script.is_empty() {
            true => Stream::none(),
            false => self.run_stream(&Stream::text(script), command.span.clone(), command.stdin),
        }
    }

    fn su(&mut self, command: &Command<'_>) -> Stream {
        self.deeds(command.name, &command.program.does, &command.program.why, command.span);
        for code in command.args.values("-c --command") {
            self.run_stream(&Stream::text(code), command.span.clone(), command.stdin);
        }
        Stream::unknown(Origin::Local)
    }

    /// `command -v` only looks; else the words are run, past functions and aliases.
    fn command_builtin(&mut self, command: &Command<'_>) -> Stream {
        if command.args.has("-v -V") {
            return Stream::unknown(Origin::Local);
        }
        let Some(name) = command.args.operands.first() else { return Stream::none() };
        let function = self.functions.remove(name);
        let out = self.wrapped(command, 0);
        if let Some(body) = function {
            self.functions.insert(name.clone(), body);
        }
        out
    }

    fn crontab(&mut self, command: &Command<'_>) -> Stream {
        let args = command.args;
        if args.exactly("-l") && !args.has("-r -e") {
            return Stream::unknown(Origin::Local);
        }
        let why = "Changes what runs by itself from now on.";
        let undo = if args.has("-r") { Undo::Never } else { Undo::Hard };
        self.effect(
            EffectKind::Persistence,
            "crontab",
            Scope::Home,
            undo,
            "crontab.changes",
            why,
            command.span.clone(),
        );
        Stream::none()
    }

    /// Configuration given with `-c`, and where it works; the table says the rest.
    fn git(&mut self, command: &Command<'_>) -> Option<Stream> {
        const RUNS: [&str; 12] = [
            "core.pager",
            "core.editor",
            "core.sshcommand",
            "core.fsmonitor",
            "core.hookspath",
            "core.askpass",
            "sequence.editor",
            "diff.external",
            "credential.helper",
            "alias.",
            "filter.",
            "gpg.program",
        ];
        let values = match command.args.operands.first().map(String::as_str) {
            // `git commit -c <commit>` is another option of that letter.
            Some("commit" | "switch" | "checkout" | "shortlog") => return None,
            _ => command.args.values("-c --config-env"),
        };
        for value in values {
            let (name, text) = value.split_once('=').unwrap_or((&value, ""));
            let name = name.to_lowercase();
            let quiet = ["", "cat", "less", "true", ":", "false", "vim", "/bin/true"].contains(&text);
            if RUNS.iter().any(|run| name.starts_with(run)) && !quiet {
                let text = text.strip_prefix('!').unwrap_or(text).to_owned();
                let why = "Gives git a program to run.";
                let span = command.span.clone();
                self.effect(
                    EffectKind::Exec,
                    &name,
                    Scope::Unknown,
                    Undo::Hard,
                    "git.config",
                    why,
                    span.clone(),
                );
                self.run_stream(&Stream::text(text), span, &Stream::none());
            }
        }
        None
    }

    /// What of the machine a container is given; the table says the rest.
    fn container(&mut self, command: &Command<'_>) -> Option<Stream> {
        for mount in command.args.values("-v --volume --mount --bind") {
            let source = mount.split(',').find_map(|part| {
                part.strip_prefix("source=").or_else(|| part.strip_prefix("src=")).map(str::to_owned)
            });
            let source = source.unwrap_or_else(|| mount.split(':').next().unwrap_or("").to_owned());
            if !source.starts_with(['/', '~', '.']) {
                continue;
            }
            let place = path::locate(&source.replace(UNKNOWN, "x"), &self.context);
            let socket = place.path.ends_with(".sock");
            if socket || place.secret || matches!(place.scope, Scope::System | Scope::Home | Scope::Guard) {
                let why = "Gives a container the machine's own files.";
                let span = command.span.clone();
                self.effect(
                    EffectKind::Privilege,
                    &place.path,
                    place.scope,
                    Undo::Hard,
                    "container.mount",
                    why,
                    span,
                );
            }
        }
        None
    }

    fn netcat(&mut self, command: &Command<'_>) -> Stream {
        let args = command.args;
        let span = command.span;
        for code in args.values("-e -c --exec --sh-exec") {
            let why = "Gives a program of this machine to another one.";
            self.effect(EffectKind::Exec, &code, Scope::Remote, Undo::Never, "nc.exec", why, span.clone());
        }
        let scans = args.has("-z");
        let listens = args.has("-l --listen");
        let sends = !command.stdin.absent;
        let undo = if scans && !sends { Undo::Nothing } else { Undo::Hard };
        let target = args.operands.first().cloned().unwrap_or_default();
        let local = ["localhost", "127.0.0.1", "::1"].contains(&target.as_str());
        if !(local || (listens && !sends && args.values("-e -c").is_empty() && scans)) {
            let why = "Talks to another machine byte by byte.";
            self.effect(
                EffectKind::Network,
                &target,
                Scope::Remote,
                undo,
                "nc.connection",
                why,
                span.clone(),
            );
        }
        Stream::unknown(Origin::Remote)
    }

    /// `tar`'s first word may do without a dash; the table says the rest.
    fn archive(&mut self, command: &Command<'_>) -> Option<Stream> {
        let (first, rest) = command.words.split_first()?;
        let old = !first.starts_with('-')
            && first.chars().all(|c| "xcturAvzjJfpaPkOmhCZ".contains(c))
            && known(first);
        let has = |letter: char, long: &str| {
            (old && first.contains(letter)) || command.args.has(&format!("-{letter} {long}"))
        };
        let mut operands: Vec<String> = match old {
            true => rest.iter().filter(|word| !word.starts_with('-') || word.len() == 1).cloned().collect(),
            false => command.args.operands.clone(),
        };
        let file = match old && first.contains('f') && !operands.is_empty() {
            true => Some(operands.remove(0)),
            false => command.args.value("-f --file").map(str::to_owned),
        };
        self.option_values(command);
        let span = command.span;
        let creates = has('c', "--create") || has('r', "--append") || has('u', "--update");
        let remote =
            file.as_ref().filter(|file| super::net::is_remote(file) && !command.args.has("--force-local"));
        if let Some(place) = remote {
            let why = "Keeps the archive on another machine.";
            let kind = if creates { EffectKind::Publish } else { EffectKind::Network };
            self.effect(kind, place, Scope::Remote, Undo::Hard, "tar.remote", why, span.clone());
        } else if let Some(file) = &file {
            let operation = if creates { Operation::Write } else { Operation::Read };
            self.path_effect(operation, file, "tar.archive", span);
        }
        if creates {
            for path in &operands {
                self.path_effect(Operation::Read, path, "tar.reads", span);
            }
        } else if has('x', "--extract") && !has('O', "--to-stdout") {
            let into = command.args.value("-C --directory").unwrap_or(".").to_owned();
            let absolute = has('P', "--absolute-names");
            self.create(if absolute { "/" } else { &into }, "tar.extracts", span);
        }
        if command.args.has("--remove-files") {
            for path in &operands {
                self.path_effect(Operation::Delete, path, "tar.removes", span);
            }
        }
        Some(Stream::unknown(command.stdin.origin))
    }

    fn option_values(&mut self, command: &Command<'_>) {
        for value in
            command.args.values("--to-command -I --use-compress-program -F --info-script --rsh-command")
        {
            let words = value.split_whitespace().map(str::to_owned).collect();
            self.invoke(words, &Stream::none(), command.span.clone());
        }
        for value in command.args.values("--checkpoint-action") {
            if let Some(code) = value.strip_prefix("exec=") {
                self.run_stream(&Stream::text(code), command.span.clone(), &Stream::none());
            }
        }
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
