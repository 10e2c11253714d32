//! Shells and interpreters: where their program comes from.

use std::ops::Range;

use super::invoke::Command;
use super::state::State;
use super::stream::{Origin, Stream, known};
use crate::code::{self, Language};
use crate::model::{EffectKind, Scope, Undo};
use crate::path::Operation;
use crate::sql;

impl State {
    /// `sh`, `bash` and their like.
    pub fn shell(&mut self, command: &Command<'_>) -> Stream {
        let Command { args, span, stdin, .. } = *command;
        if args.exactly("-n") || args.value("-o") == Some("noexec") {
            return Stream::none();
        }
        for file in args.values("--rcfile --init-file") {
            self.run_file(&file, &[], stdin, span);
        }
        let (first, rest) = match args.operands.split_first() {
            Some((first, rest)) => (first.as_str(), rest),
            None => ("", Default::default()),
        };
        if args.has("-c") {
            let named = rest.get(1..).unwrap_or_default().to_vec();
            let before = self.positional.replace(named);
            let vars = self.vars.clone();
            let out = self.run_stream(&Stream::text(first), span.clone(), stdin);
            self.vars = vars;
            self.positional = before;
            return out;
        }
        if args.has("-s") || matches!(first, "" | "-" | "/dev/stdin") {
            if stdin.absent && !args.exactly("--version --help -V") {
                self.gap(
                    "shell.interactive",
                    "Opens a session; what is typed there nobody reviews.",
                    span.clone(),
                );
            }
            return self.run_stream(stdin, span.clone(), &Stream::none());
        }
        self.run_file(first, rest, stdin, span)
    }

    /// Interpreters of other languages.
    pub fn interpreter(&mut self, command: &Command<'_>) -> Stream {
        let Command { args, span, stdin, .. } = *command;
        let code = self.inline_code(command);
        if args.value("-r").is_some_and(|library| library == "un") {
            let why = "Runs a program of the library, which may serve or change files.";
            self.gap("ruby.program", why, span.clone());
        }
        if let Some(module) = args.value("-m").filter(|_| command.name.starts_with("py")) {
            return self.module(module, command);
        }
        let first = args.operands.first().map_or("", String::as_str);
        if code {
            let edits = args.has("-i") && matches!(command.name, "perl" | "ruby");
            let operation = if edits { Operation::Write } else { Operation::Read };
            for operand in &args.operands {
                self.path_effect(operation, operand, "program.edits", span);
            }
            return stdin.blurred();
        }
        match first {
            "" | "-" | "/dev/stdin" => {
                if stdin.absent && args.values("-r --require --import").is_empty() {
                    let why = "Opens a session; what is typed there nobody reviews.";
                    self.gap("shell.interactive", why, span.clone());
                }
                self.code_stream(command, stdin);
            }
            "inspect" => {}
            _ if known(first) && self.files.contains_key(&self.canonical(first)) => {
                let script = self.files.get(&self.canonical(first)).cloned().unwrap_or_else(Stream::none);
                self.code_stream(command, &script);
            }
            _ => {
                self.file_exec(first, span);
                self.own_wrapper(first, args.operands.get(1..).unwrap_or_default(), stdin, span);
            }
        }
        Stream::unknown(Origin::Local)
    }

    /// Code in options' values; whether there was any.
    fn inline_code(&mut self, command: &Command<'_>) -> bool {
        let mut any = false;
        for (names, role) in &command.program.opts {
            for value in command.args.values(names) {
                match role.as_str() {
                    "code" => {
                        any = true;
                        self.code_stream(command, &Stream::text(value));
                    }
                    role => self.role(role, &value, command),
                }
            }
        }
        any
    }

    fn code_stream(&mut self, command: &Command<'_>, stream: &Stream) {
        let span = command.span;
        if stream.absent {
            return;
        }
        if stream.origin == Origin::Remote {
            let why = "Runs code that comes over the network and that nobody reviewed.";
            let rule = "shell.remote_code";
            self.effect(EffectKind::Exec, command.name, Scope::Remote, Undo::Never, rule, why, span.clone());
            return;
        }
        if !stream.is_known() {
            self.gap("shell.unknown_script", "Runs code that is only known when it runs.", span.clone());
            return;
        }
        if self.depth >= crate::model::DEPTH_MAX {
            self.gap("shell.too_deep", "Scripts lie too deep within scripts.", span.clone());
            return;
        }
        match language(command.name) {
            Some(Language::Perl) if super::perl::calm(&stream.text) => {}
            Some(language) => {
                let found = code::source(language, &stream.text, &self.inner());
                self.adopt(found, span);
            }
            None => {
                self.gap("shell.no_grammar", "Runs code of a language that is not understood.", span.clone())
            }
        }
    }

    /// `python -m`: a module is a program of its own.
    fn module(&mut self, module: &str, command: &Command<'_>) -> Stream {
        let calm = [
            "json.tool",
            "venv",
            "compileall",
            "py_compile",
            "unittest",
            "doctest",
            "timeit",
            "cProfile",
            "tokenize",
            "ast",
            "dis",
            "calendar",
            "this",
            "site",
            "sysconfig",
            "platform",
            "trace",
            "zipfile",
            "build",
            "pydoc",
            "zipapp",
            "ensurepip",
            "pyperf",
            "tarfile",
            "http",
        ];
        if calm.contains(&module) {
            return Stream::unknown(Origin::Local);
        }
        if module == "http.server" && !loopback(command.words) {
            let why = "Shows the directory to whoever reaches the machine.";
            let span = command.span.clone();
            self.effect(EffectKind::Publish, module, Scope::Project, Undo::Hard, "python.serves", why, span);
            return Stream::none();
        }
        if module == "http.server" {
            return Stream::none();
        }
        let mut words = vec![module.to_owned()];
        words.extend(command.args.operands.iter().cloned());
        self.invoke(words, command.stdin, command.span.clone())
    }

    /// Clients of databases run what they read, unless their words say what to run.
    pub fn fed_statements(&mut self, command: &Command<'_>) {
        let program = command.program;
        let words =
            program.opts.iter().filter(|(_, role)| matches!(role.as_str(), "sql" | "sqlfile" | "mongo"));
        let given = words.map(|(names, _)| names).any(|names| !command.args.values(names).is_empty());
        let operand = program.operands.contains("sql") && command.args.operands.len() > 1;
        if program.stdin.is_empty() || command.stdin.absent || given || operand {
            return;
        }
        match command.stdin.is_known() {
            true => self.role(&program.stdin, &command.stdin.text, command),
            false => {
                let why = "Runs statements that are only known when they run.";
                self.gap("shell.unknown_script", why, command.span.clone());
            }
        }
    }

    /// Code for MongoDB's shell: methods that only ask are told from the others.
    pub fn mongo(&mut self, code: &str, span: &Range<usize>) {
        const ASKS: [&str; 34] = [
            "find",
            "findOne",
            "count",
            "countDocuments",
            "estimatedDocumentCount",
            "distinct",
            "aggregate",
            "getIndexes",
            "stats",
            "explain",
            "limit",
            "sort",
            "skip",
            "toArray",
            "pretty",
            "forEach",
            "map",
            "printjson",
            "print",
            "getCollection",
            "getCollectionNames",
            "getCollectionInfos",
            "getSiblingDB",
            "version",
            "hello",
            "isMaster",
            "serverStatus",
            "listCommands",
            "help",
            "status",
            "size",
            "ISODate",
            "ObjectId",
            "projection",
        ];
        let mut calls = code.split('(').map(|before| {
            let name = before.trim_end().rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next();
            name.unwrap_or_default()
        });
        let last = code.matches('(').count();
        let asks = calls.by_ref().take(last).all(|name| ASKS.contains(&name));
        let writes = ["$out", "$merge", "$where", "$function", "=", "`", "[\"", "['"]
            .iter()
            .any(|mark| code.contains(mark));
        if !asks || writes || !known(code) {
            let why = "Runs code in a database.";
            let (kind, rule) = (EffectKind::BulkData, "program.mongosh");
            self.effect(kind, "mongosh", Scope::Unknown, Undo::Hard, rule, why, span.clone());
        }
    }

    /// A statement for the database that the command names.
    pub fn sql(&mut self, command: &Command<'_>, text: &str) {
        let span = command.span;
        if !known(text) {
            self.gap("shell.unknown_script", "Runs SQL that is only known when it runs.", span.clone());
            return;
        }
        let dialect = match command.name {
            "psql" | "pgcli" => "postgresql",
            "mysql" | "mariadb" | "mycli" => "mysql",
            "sqlite3" | "sqlite" => "sqlite",
            _ => "",
        };
        let target = command.args.value("-d --dbname -D --database -h --host").unwrap_or("").to_owned();
        let target = match command.args.operands.first() {
            Some(first) if target.is_empty() && first != text => first.clone(),
            _ => target,
        };
        let found = sql::statements(dialect, text, &target, &self.inner());
        self.adopt(found, span);
    }
}

fn language(name: &str) -> Option<Language> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    Some(match stem {
        "python" | "pypy" | "ipython" => Language::Python,
        "node" | "nodejs" | "bun" | "deno" => Language::JavaScript,
        "ts-node" | "tsx" => Language::TypeScript,
        "ruby" | "irb" => Language::Ruby,
        "perl" => Language::Perl,
        "php" => Language::Php,
        "lua" | "luajit" => Language::Lua,
        _ => return None,
    })
}

/// `--bind 127.0.0.1`: only this machine gets an answer.
fn loopback(words: &[String]) -> bool {
    let own = |address: &str| ["127.0.0.1", "localhost", "::1", "[::1]"].contains(&address);
    words
        .windows(2)
        .any(|pair| matches!(pair, [flag, address] if (flag == "-b" || flag == "--bind") && own(address)))
        || words.iter().any(|word| word.strip_prefix("--bind=").is_some_and(own))
}
