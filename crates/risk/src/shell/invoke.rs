//! What a command with expanded words does: found by name, then by knowledge.

use std::ops::Range;

use super::args::{Args, Style};
use super::net::is_remote;
use super::programs::{Program, Rule, Table, deeds, roles};
use super::state::State;
use super::stream::{Origin, Stream, guessed, known};
use crate::model::{EffectKind, Scope, Undo};
use crate::path::{self, Operation};
use crate::work;

/// Words of one command.
const WORDS_MAX: usize = 2_000;
/// Commands run by commands.
const NEST_MAX: usize = 12;

/// Where the system keeps programs: a path into these names one of them.
const BINARIES: [&str; 8] = [
    "/bin/",
    "/usr/bin/",
    "/usr/local/bin/",
    "/sbin/",
    "/usr/sbin/",
    "/usr/local/sbin/",
    "/opt/homebrew/bin/",
    "/snap/bin/",
];

impl State {
    pub fn invoke(&mut self, argv: Vec<String>, stdin: &Stream, span: Range<usize>) -> Stream {
        let Some(name) = argv.first().cloned() else { return Stream::none() };
        if self.nested > NEST_MAX || !self.step(&span) {
            self.gap("shell.too_deep", "Commands run commands too deeply.", span);
            return Stream::unknown(Origin::Local);
        }
        let size: usize = argv.iter().map(|word| word.len() + 16).sum();
        if argv.len() > WORDS_MAX || !work::spend(size * 4) {
            self.gap("limit.words", "The command has more words than are looked at.", span);
            return Stream::unknown(Origin::Local);
        }
        self.nested += 1;
        let out = self.dispatch(&name, &argv, stdin, span);
        self.nested -= 1;
        out
    }

    fn dispatch(&mut self, name: &str, argv: &[String], stdin: &Stream, span: Range<usize>) -> Stream {
        let unclear = !known(name) || (name.contains(['*', '?', '[', '{']) && name != "[" && name != "[[");
        if unclear || name.is_empty() {
            self.gap("shell.unknown_command", "Which program runs is only known when it runs.", span);
            return Stream::unknown(Origin::Local);
        }
        let rest = argv.get(1..).unwrap_or_default();
        if self.functions.contains_key(name) {
            let out = self.call(name, rest, stdin, span.clone(), true);
            // A function that takes a program's name may never have been defined: both count.
            if !self.shadows(name) {
                return out;
            }
        }
        if name.starts_with('!') && name.len() > 1 {
            self.gap("shell.unknown_command", "An earlier command of the session is run again.", span);
            return Stream::unknown(Origin::Local);
        }
        if let Some(alias) = self.aliases.get(name).cloned() {
            self.alias(name, &alias, rest, stdin, &span);
        }
        let base = self.base_name(name);
        if let Some(base) = base {
            // `git-push` is `git push`.
            if let Some(sub) = base.strip_prefix("git-").filter(|_| Table::get().program(&base).is_none()) {
                let mut words = vec!["git".to_owned(), sub.to_owned()];
                words.extend(rest.iter().cloned());
                return self.invoke(words, stdin, span);
            }
            if let Some(sub) = base.strip_prefix("cargo-").filter(|_| Table::get().program(&base).is_none()) {
                let mut words = vec!["cargo".to_owned(), sub.to_owned()];
                words.extend(rest.iter().cloned());
                return self.invoke(words, stdin, span);
            }
            if let Some(out) = self.builtin(&base, rest, stdin, &span) {
                return out;
            }
            if let Some(program) = Table::get().program(&base) {
                return self.program(program, &base, rest, stdin, &span);
            }
            if matches!(rest, [only] if ["--help", "--version", "-h", "-V"].contains(&only.as_str())) {
                return Stream::unknown(Origin::Local);
            }
            let why = "Nothing is known of this program.";
            self.effect(
                EffectKind::Exec,
                &base,
                Scope::Unknown,
                Undo::Hard,
                "shell.unknown_program",
                why,
                span,
            );
            return Stream::unknown(Origin::Local);
        }
        self.run_file(name, rest, stdin, &span)
    }

    /// Whether a known program has the name, and the function's own body is not what runs.
    fn shadows(&self, name: &str) -> bool {
        let known = Table::get().program(name).is_some() || super::builtin::is(name);
        known && !self.calls.iter().any(|call| call == name)
    }

    fn alias(&mut self, name: &str, alias: &str, rest: &[String], stdin: &Stream, span: &Range<usize>) {
        let mut words: Vec<String> = alias.split_whitespace().map(str::to_owned).collect();
        let own = words.first().is_none_or(|first| first == name);
        words.extend(rest.iter().cloned());
        if !own {
            self.invoke(words, stdin, span.clone());
        }
    }

    /// The name under which a program is known; `None` for a file that is run by its path.
    fn base_name(&self, name: &str) -> Option<String> {
        if !name.contains('/') {
            return Some(name.to_owned());
        }
        let base = name.rsplit('/').next().unwrap_or(name);
        let canonical = self.canonical(name);
        let system = BINARIES.iter().any(|dir| canonical.strip_prefix(dir) == Some(base));
        let tool = (canonical.contains("/node_modules/.bin/") || canonical.contains("venv/bin/"))
            && Table::get().program(base).is_some()
            && path::locate(name, &self.context).scope == Scope::Project;
        (system || tool).then(|| base.to_owned())
    }

    /// Runs a file by its path: what this script wrote there, or what the project holds.
    pub fn run_file(&mut self, name: &str, rest: &[String], stdin: &Stream, span: &Range<usize>) -> Stream {
        let canonical = self.canonical(name);
        if let Some(script) = self.files.get(&canonical).cloned() {
            let before = self.positional.replace(rest.to_vec());
            let out = self.run_stream(&script, span.clone(), stdin);
            self.positional = before;
            return out;
        }
        self.file_exec(name, span);
        self.own_wrapper(name, rest, stdin, span);
        Stream::unknown(Origin::Local)
    }

    /// `bin/rails`, `./gradlew`: scripts of a project that are known by their names.
    pub fn own_wrapper(&mut self, name: &str, rest: &[String], stdin: &Stream, span: &Range<usize>) {
        let base = name.rsplit('/').next().unwrap_or(name);
        if let Some(program) = Table::get().wrapper(base).filter(|_| known(name)) {
            self.program(program, base, rest, stdin, span);
        }
    }

    /// Running a file is as good as its place.
    pub fn file_exec(&mut self, name: &str, span: &Range<usize>) {
        if !known(name) {
            self.gap("shell.unknown_command", "Which file runs is only known when it runs.", span.clone());
            return;
        }
        let lost = self.lost && !name.starts_with(['/', '~']);
        let place = path::locate(name, &self.context);
        let (scope, undo, why) = match place.scope {
            _ if below(&self.foreign, &place.path) => {
                (Scope::Remote, Undo::Hard, "Runs a file that was cloned from elsewhere.")
            }
            _ if lost => (Scope::Unknown, Undo::Hard, "Runs a file of a place that is not known."),
            Scope::Project if !place.secret => (Scope::Project, Undo::Easy, "Runs a program of the project."),
            Scope::Temp if below(&self.built, &place.path) => {
                (Scope::Temp, Undo::Easy, "Runs what the project's own build made.")
            }
            Scope::Temp => (Scope::Temp, Undo::Hard, "Runs a file that nobody reviewed."),
            scope => (scope, Undo::Hard, "Runs a file from outside the project."),
        };
        self.effect(EffectKind::Exec, &place.path, scope, undo, "shell.file", why, span.clone());
        let base = place.path.rsplit('/').next().unwrap_or("");
        let stem = base.split('.').next().unwrap_or(base);
        if ["deploy", "publish", "release"].contains(&stem)
            || stem.starts_with("deploy-")
            || stem.starts_with("deploy_")
        {
            let why = "By its name the script publishes.";
            let rule = "shell.publishes";
            self.effect(EffectKind::Publish, &place.path, Scope::Remote, Undo::Hard, rule, why, span.clone());
        }
    }

    /// A program of the table.
    pub fn program(
        &mut self,
        program: &Program,
        name: &str,
        words: &[String],
        stdin: &Stream,
        span: &Range<usize>,
    ) -> Stream {
        let values = program.values_of(words);
        let style = Style {
            values: &values,
            single: program.single,
            stop: program.wrap.is_some() || program.special == "shell" || program.special == "code",
        };
        let args = Args::parse(words, style);
        let alone = words.len() == 1 && args.exactly("-h -V -? -help -version --version");
        let alone = alone || (program.special == "code" && !name.starts_with("py") && words == ["-v"]);
        let asks = program.wrap.is_none() && args.exactly("--help")
            || args.operands.is_empty() && args.exactly("--help");
        if !program.helpless && (alone || asks) {
            return Stream::unknown(Origin::Local);
        }
        // What asks before each step is answered by what is piped into it.
        let answered = program.special == "rm" && !stdin.absent;
        if !program.dry.is_empty() && args.exactly(&program.dry) && !answered {
            return Stream::unknown(Origin::Local);
        }
        if !program.special.is_empty() {
            let command = Command { program, name, words, args: &args, stdin, span };
            if let Some(out) = self.special(&command) {
                return out;
            }
        }
        self.by_table(&Command { program, name, words, args: &args, stdin, span })
    }

    pub fn by_table(&mut self, command: &Command<'_>) -> Stream {
        let Command { program, name, args, span, .. } = command;
        self.deeds(name, &program.does, &program.why, span);
        self.written_before(command);
        self.option_roles(command);
        let (fitting, known_sub) = program.fitting(args, &self.vars);
        let mut roles_from = (program.operands.as_str(), 0);
        let mut wrap = program.wrap.map(|skip| (0, skip));
        for (rule, depth) in fitting {
            self.deeds(&title(name, args, depth), &rule.does, &rule.why, span);
            if !rule.operands.is_empty() {
                roles_from = (&rule.operands, depth);
            }
            wrap = rule_wrap(rule, depth).or(wrap);
        }
        if !known_sub && program.other != "calm" {
            self.unknown_subcommand(name, args, span);
        }
        if let Some((depth, skip)) = wrap {
            return self.wrapped(command, depth + skip);
        }
        self.fed_statements(command);
        let operands = args.operands.get(roles_from.1..).unwrap_or_default();
        for (role, operand) in roles(roles_from.0, operands.len()).into_iter().zip(operands) {
            self.role(role, operand, command);
        }
        self.output(command)
    }

    fn unknown_subcommand(&mut self, name: &str, args: &Args, span: &Range<usize>) {
        match args.operands.first() {
            None => {}
            Some(sub) if known(sub) => {
                let target = format!("{name} {sub}");
                let why = "Nothing is known of this subcommand.";
                let rule = "shell.unknown_subcommand";
                self.effect(EffectKind::Exec, &target, Scope::Unknown, Undo::Hard, rule, why, span.clone());
            }
            Some(_) => {
                self.gap("shell.unknown_command", "The subcommand is only known when it runs.", span.clone())
            }
        }
    }

    fn option_roles(&mut self, command: &Command<'_>) {
        for (names, role) in &command.program.opts {
            for value in command.args.values(names) {
                self.role(role, &value, command);
            }
        }
    }

    /// Runs the words behind the first `skip` operands.
    pub fn wrapped(&mut self, command: &Command<'_>, skip: usize) -> Stream {
        let mut at = command.args.at.get(skip).copied().unwrap_or(command.words.len());
        if command.program.assigns {
            while let Some((name, value)) = command.words.get(at).and_then(|word| word.split_once('=')) {
                let values = vec![value.to_owned()];
                self.environment(name, &values, command.span);
                at += 1;
            }
        }
        let inner = command.words.get(at..).unwrap_or_default().to_vec();
        self.invoke(inner, command.stdin, command.span.clone())
    }

    /// The effects that a row names.
    pub fn deeds(&mut self, target: &str, does: &str, why: &str, span: &Range<usize>) {
        for (kind, scope, undo) in deeds(does) {
            let rule = format!("program.{}", target.split(' ').next().unwrap_or(target));
            self.effect(kind, target, scope, undo, &rule, why, span.clone());
        }
    }

    /// What happens to an operand or to an option's value.
    pub fn role(&mut self, role: &str, word: &str, command: &Command<'_>) {
        let span = command.span;
        let rule = format!("program.{}", command.name);
        match role {
            "read" if command.reads_deep() => self.read_tree(word, &rule, span),
            "read" => self.path_effect(Operation::Read, word, &rule, span),
            "build" => {
                self.path_effect(Operation::Write, word, &rule, span);
                if known(word) && self.built.len() < 100 {
                    self.built.push(self.canonical(word));
                }
            }
            "write" => {
                self.path_effect(Operation::Write, word, &rule, span);
                self.wrote(word, &command.stdin.blurred(), false);
            }
            "append" => self.path_effect(Operation::Append, word, &rule, span),
            "delete" => self.path_effect(Operation::Delete, word, &rule, span),
            "create" => self.create(word, &rule, span),
            // Leaves its place: the old one is as good as deleted, yet the bytes live on.
            "move" => self.moved(word, &rule, span),
            "script" => {
                self.run_file(word, &[], command.stdin, span);
            }
            "shell" => {
                self.run_stream(&Stream::text(word), span.clone(), command.stdin);
            }
            "exec" => {
                let words = word.split_whitespace().map(str::to_owned).collect();
                self.invoke(words, command.stdin, span.clone());
            }
            "sql" => self.sql(command, word),
            "mongo" => self.mongo(word, span),
            "from" if is_remote(word) => self.role("host", word, command),
            "from" => self.read_tree(word, &rule, span),
            "to" if is_remote(word) => {
                let why = "Sends files to another machine.";
                let kind = EffectKind::Publish;
                self.effect(kind, word, Scope::Remote, Undo::Hard, "net.upload", why, span.clone());
            }
            "to" => self.path_effect(Operation::Append, word, &rule, span),
            "host" => {
                let why = "Talks to another machine.";
                self.effect(EffectKind::Network, word, Scope::Remote, Undo::Easy, &rule, why, span.clone());
            }
            _ => {}
        }
    }

    /// A file of the project that gets another name is still there.
    fn moved(&mut self, word: &str, rule: &str, span: &Range<usize>) {
        let place = path::locate(&guessed(word), &self.context);
        let ours = matches!(place.scope, Scope::Project | Scope::Temp) && !place.secret && !place.persistent;
        if !(ours && known(word)) {
            self.path_effect(Operation::Delete, word, rule, span);
        }
    }

    /// What the command prints.
    pub fn output(&mut self, command: &Command<'_>) -> Stream {
        if command.stdin.tells() {
            return super::secret::passed(command);
        }
        if let Some(out) = self.filter(command) {
            return out;
        }
        match command.program.gives.as_str() {
            "names" if command.args.operands.is_empty() => Stream::names(&["*".to_owned()]),
            "names" => {
                let names: Vec<String> = command.args.operands.iter().map(|dir| format!("{dir}/*")).collect();
                Stream::names(&names)
            }
            "remote" => Stream::unknown(Origin::Remote),
            "none" => Stream::none(),
            _ => command.stdin.blurred(),
        }
    }

    /// What a variable changes for the programs that come after.
    pub fn environment(&mut self, name: &str, values: &[String], span: &Range<usize>) {
        if name == "PATH" {
            self.search_path(values, span);
            return;
        }
        let Some(variable) = Table::get().variable(name) else { return };
        let value = values.first().cloned().unwrap_or_default();
        if variable.command && values.len() <= 1 {
            if !value.is_empty() {
                self.run_stream(&Stream::text(value), span.clone(), &Stream::none());
            }
            return;
        }
        let ours = variable.directories && known(&value) && value.split(':').all(|part| self.is_ours(part));
        if !(ours || variable.harmless(&value)) {
            self.deeds(name, &variable.does, &variable.why, span);
        }
    }

    /// Whether a directory lies in the project.
    fn is_ours(&self, path: &str) -> bool {
        let place = path::locate(path, &self.context);
        path.is_empty() || !self.lost && place.scope == Scope::Project && !place.secret
    }

    /// Programs found in a new place first are programs nobody reviewed.
    fn search_path(&mut self, values: &[String], span: &Range<usize>) {
        let value = values.first().cloned().unwrap_or_default();
        for part in value.split(':').take_while(|part| known(part)) {
            if !work::spend(2 * work::STEP) {
                break;
            }
            let place = path::locate(part, &self.context);
            let fine = part.is_empty() && value.is_empty()
                || BINARIES.iter().any(|dir| dir.trim_end_matches('/') == place.path)
                || matches!(place.scope, Scope::Project | Scope::System | Scope::Home);
            if !fine {
                let why = "Programs of that place would run instead of the system's.";
                let rule = "shell.search_path";
                self.effect(EffectKind::Exec, part, place.scope, Undo::Hard, rule, why, span.clone());
            }
        }
    }
}

/// A program's call with all that is known of it.
pub struct Command<'a> {
    pub program: &'a Program,
    pub name: &'a str,
    pub words: &'a [String],
    pub args: &'a Args,
    pub stdin: &'a Stream,
    pub span: &'a Range<usize>,
}

/// Whether a path is one of the directories or lies below one.
fn below(directories: &[String], path: &str) -> bool {
    directories.iter().any(|directory| {
        path.strip_prefix(directory.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

impl Command<'_> {
    /// Whether it reads directories with all that lies in them.
    fn reads_deep(&self) -> bool {
        let deep = self.program.deep.as_str();
        deep == "*" || !deep.is_empty() && self.args.has(deep)
    }
}

fn rule_wrap(rule: &Rule, depth: usize) -> Option<(usize, usize)> {
    rule.wrap.map(|skip| (depth, skip))
}

fn title(name: &str, args: &Args, depth: usize) -> String {
    let mut words = vec![name.to_owned()];
    words.extend(args.operands.iter().take(depth.max(1) + 1).cloned());
    words.join(" ")
}
