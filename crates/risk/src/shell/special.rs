//! Programs whose words have a grammar of their own.

use super::effects::Mode;
use super::invoke::Command;
use super::programs::Table;
use super::state::State;
use super::stream::{Origin, Stream, guessed, known};
use crate::model::{EffectKind, Scope, Undo};
use crate::path::{self, Operation};

/// Links of a script that are followed.
const LINKS_MAX: usize = 100;

impl State {
    /// `None` where the table says the rest.
    pub fn special(&mut self, command: &Command<'_>) -> Option<Stream> {
        match command.program.special.as_str() {
            "shell" => Some(self.shell(command)),
            "code" => Some(self.interpreter(command)),
            "find" => Some(self.find(command)),
            "fd" => Some(self.fd(command)),
            "printenv" => Some(self.print_environment(command)),
            "tools" => self.fetched_tool(command),
            "forge" => self.forge(command),
            "openssl" => self.secure_connection(command),
            "link" => self.link(command),
            "parallel" => Some(self.parallel(command)),
            "mktemp" => Some(self.make_temporary(command)),
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

    /// A directory goes with whatever lies in it, known to version control or not.
    fn remove(&mut self, command: &Command<'_>) -> Stream {
        let tree = matches!(command.name, "rimraf" | "del-cli");
        let whole = tree || command.args.has("-r -R -d --recursive");
        for path in &command.args.operands {
            let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
            let vague = last.contains('*') && !last.chars().any(char::is_alphanumeric);
            if vague && !path.starts_with(['/', '~']) {
                self.remove_before_cd(path, command);
            }
            let place = path::locate(&guessed(path), &self.context);
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

    /// `cd build; rm -rf *` empties the project where there is no `build`.
    fn remove_before_cd(&mut self, path: &str, command: &Command<'_>) {
        let Some(before) = self.before_cd.clone() else { return };
        let place = path::locate(path, &crate::model::Context { cwd: before, ..self.context.clone() });
        if place.scope != Scope::Temp && !Table::get().built(&place.path) {
            let why = "Deletes all of another directory where the `cd` before it fails.";
            let (kind, rule) = (EffectKind::Delete, "rm.unsure_directory");
            self.effect(kind, &place.path, place.scope, Undo::Hard, rule, why, command.span.clone());
        }
    }

    /// A link may lead to what nobody would let be read or written under its own name.
    fn link(&mut self, command: &Command<'_>) -> Option<Stream> {
        let args = command.args;
        let (target, link) = match args.operands.as_slice() {
            [target, link] => (target, link.clone()),
            [target] => (target, target.rsplit('/').next().unwrap_or(target).to_owned()),
            _ => return None,
        };
        // A symbolic link leads from where it lies.
        let dir = link.rsplit_once('/').map_or("", |(dir, _)| dir);
        let target = match args.has("-s --symbolic") && !target.starts_with(['/', '~']) && !dir.is_empty() {
            true => format!("{dir}/{target}"),
            false => target.clone(),
        };
        self.path_effect(Operation::Read, &target, "link.target", command.span);
        let out = self.by_table(command);
        if known(&target) && known(&link) && self.links.len() < LINKS_MAX {
            let (link, target) = (self.canonical(&link), self.canonical(&target));
            if link != target && !target.starts_with(&format!("{link}/")) {
                self.links.insert(link, target);
            }
        }
        Some(out)
    }

    /// `npx eslint` is `eslint`; what is not known as a tool of projects is fetched to be run.
    fn fetched_tool(&mut self, command: &Command<'_>) -> Option<Stream> {
        let first = command.args.operands.first()?;
        // `eslint@9` is `eslint`.
        let name =
            first.get(1..).and_then(|rest| rest.find('@')).and_then(|at| first.get(..=at)).unwrap_or(first);
        let mut args = command.args.clone();
        args.operands.first_mut()?.clone_from(&name.to_owned());
        let (fitting, _) = command.program.fitting(&args, &self.vars);
        let named = fitting.iter().any(|(rule, _)| !rule.sub.is_empty());
        if !named || Table::get().program(name).is_none() || args.has("-p --package") {
            return None;
        }
        let at = command.args.at.first()? + 1;
        let mut words = vec![name.to_owned()];
        words.extend(command.words.get(at..).unwrap_or_default().iter().cloned());
        Some(self.invoke(words, command.stdin, command.span.clone()))
    }

    /// `openssl s_client` sends what it reads; a short text only ends the connection.
    fn secure_connection(&mut self, command: &Command<'_>) -> Option<Stream> {
        const WORD: usize = 16;
        let stdin = command.stdin;
        let client = command.args.operands.first().is_some_and(|sub| sub == "s_client");
        let word = stdin.is_known() && stdin.text.len() <= WORD;
        if client && !stdin.absent && !word {
            let why = "Sends what it reads to another machine.";
            let target = command.args.value("-connect").unwrap_or("").to_owned();
            let (kind, rule) = (EffectKind::Publish, "net.upload");
            self.effect(kind, &target, Scope::Remote, Undo::Hard, rule, why, command.span.clone());
        }
        None
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

    /// `env -S` holds a whole command in one word; without a command all variables are printed.
    fn env(&mut self, command: &Command<'_>) -> Option<Stream> {
        let Some(split) = command.args.value("-S --split-string") else {
            let empty =
                command.args.has("-i --ignore-environment") || command.words.iter().any(|word| word == "-");
            let prints = command.args.operands.iter().all(|word| word.contains('='));
            return (prints && !empty).then(Stream::secrets);
        };
        let mut words: Vec<String> = split.split_whitespace().map(str::to_owned).collect();
        words.extend(command.args.operands.iter().cloned());
        let words = words.into_iter().skip_while(|word| word.contains('=')).collect();
        Some(self.invoke(words, command.stdin, command.span.clone()))
    }

    fn print_environment(&mut self, command: &Command<'_>) -> Stream {
        let names = &command.args.operands;
        match names.is_empty() || names.iter().any(|name| Table::get().secret_variable(name) || !known(name))
        {
            true => Stream::secrets(),
            false => Stream::unknown(Origin::Local),
        }
    }

    /// A name under which nothing lay before.
    fn make_temporary(&mut self, command: &Command<'_>) -> Stream {
        let args = command.args;
        let template = args.operands.first().map_or("tmp.XXXXXXXXXX", String::as_str);
        let inside = args.value("-p --tmpdir").map(str::to_owned);
        let inside = inside.or_else(|| {
            let default = args.operands.is_empty() || args.has("-t --tmpdir -p");
            default.then(|| self.values("TMPDIR").into_iter().next().unwrap_or_default())
        });
        let path = match inside.filter(|dir| !dir.is_empty()) {
            Some(dir) => format!("{}/{template}", dir.trim_end_matches('/')),
            None => template.to_owned(),
        };
        if !args.has("-u --dry-run") {
            self.create(&path, "mktemp.creates", command.span);
        }
        Stream::text(path + "\n")
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
            let place = path::locate(&guessed(&source), &self.context);
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
                self.read_tree(path, "tar.reads", span);
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
