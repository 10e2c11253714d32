//! Programs that talk to other machines: `curl`, `wget`, `ssh`, `scp`, `rsync`.

use super::invoke::Command;
use super::state::State;
use super::stream::{Origin, Stream, UNKNOWN, guessed};
use crate::http::{self, Call};
use crate::model::{EffectKind, Scope, Undo};
use crate::path::Operation;

/// One transfer, as far as a command's options say.
#[derive(Default)]
struct Transfer {
    method: String,
    headers: Vec<String>,
    body: Option<String>,
    /// Files that are sent.
    files: Vec<String>,
}

impl State {
    pub fn curl(&mut self, command: &Command<'_>) -> Stream {
        let args = command.args;
        let span = command.span;
        if args.has("-K --config") {
            self.gap("curl.config", "Takes its options from a file.", span.clone());
        }
        let mut transfer = Transfer { headers: args.values("-H --header"), ..Transfer::default() };
        if args.has("-u --user --oauth2-bearer --proxy-user -n --netrc --netrc-file") {
            transfer.headers.push("Authorization: x".to_owned());
        }
        if args.value("-b --cookie").is_some_and(|cookie| cookie.contains('=')) {
            transfer.headers.push("Cookie: x".to_owned());
        }
        for file in args.values("-E --cert --key") {
            self.path_effect(Operation::Read, &file, "curl.reads", span);
        }
        let mut texts = args.values("-d --data --data-ascii --data-binary --data-urlencode --json");
        texts.extend(args.values("-F --form"));
        for text in &texts {
            let file = text
                .split_once('@')
                .filter(|(head, _)| head.is_empty() || head.ends_with('='))
                .map(|(_, file)| file);
            if let Some(file) = file.filter(|file| *file != "-") {
                transfer.files.push(file.split(';').next().unwrap_or(file).to_owned());
            }
        }
        transfer.files.extend(args.values("-T --upload-file").into_iter().filter(|file| file != "-"));
        let raw = args.values("--data-raw --form-string");
        let bodies: Vec<String> = texts.into_iter().chain(raw).collect();
        let posts = !bodies.is_empty() && !args.has("-G --get");
        transfer.body = posts.then(|| bodies.join("&"));
        transfer.method = match args.value("-X --request") {
            Some(method) => method.to_owned(),
            None if args.has("-I --head") => "HEAD".to_owned(),
            None if args.has("-T --upload-file") => "PUT".to_owned(),
            None if posts => "POST".to_owned(),
            None => "GET".to_owned(),
        };
        let mut urls = args.operands.clone();
        urls.extend(args.values("--url"));
        for url in &urls {
            self.transfer(url, &transfer, command);
        }
        self.socket_call(&transfer.method, command);
        for file in args.values("-c --cookie-jar -D --dump-header --trace --trace-ascii --stderr") {
            self.path_effect(Operation::Write, &file, "curl.writes", span);
        }
        let mut outputs: Vec<String> = args.values("-o --output");
        if args.has("-O --remote-name --remote-name-all") {
            let into = args.value("--output-dir").map(|dir| dir.to_owned() + "/").unwrap_or_default();
            outputs.extend(urls.iter().map(|url| into.clone() + file_name(url)));
        }
        self.downloads(outputs, command)
    }

    /// A service behind a socket of this machine: a container engine's can do anything.
    fn socket_call(&mut self, method: &str, command: &Command<'_>) {
        let Some(socket) = command.args.value("--unix-socket --abstract-unix-socket") else { return };
        let reads = matches!(method.to_uppercase().as_str(), "GET" | "HEAD" | "OPTIONS");
        let place = crate::path::locate(&guessed(socket), &self.context);
        if !reads && !matches!(place.scope, Scope::Project | Scope::Temp) {
            let why = "Orders something from a service of this machine.";
            let (kind, rule) = (EffectKind::Privilege, "curl.socket");
            self.effect(kind, socket, Scope::System, Undo::Hard, rule, why, command.span.clone());
        }
    }

    pub fn wget(&mut self, command: &Command<'_>) -> Stream {
        let args = command.args;
        let mut transfer = Transfer { headers: args.values("--header"), ..Transfer::default() };
        if args.has("--user --password --http-user --http-password") {
            transfer.headers.push("Authorization: x".to_owned());
        }
        transfer.body = args.value("--post-data --body-data").map(str::to_owned);
        transfer.files = args.values("--post-file --body-file");
        let posts = transfer.body.is_some() || !transfer.files.is_empty();
        let default = if posts { "POST" } else { "GET" };
        transfer.method = args.value("--method").unwrap_or(default).to_owned();
        for url in &args.operands {
            self.transfer(url, &transfer, command);
        }
        for file in args.values("-o --output-file -a --append-output --save-cookies") {
            self.path_effect(Operation::Write, &file, "wget.writes", command.span);
        }
        if args.has("-i --input-file") && args.operands.is_empty() {
            self.gap("net.unknown", "Fetches what a file lists.", command.span.clone());
        }
        for code in args.values("--use-askpass") {
            self.invoke(vec![code], &Stream::none(), command.span.clone());
        }
        let mut outputs = args.values("-O --output-document");
        if outputs.is_empty() && !args.has("--spider") {
            let into =
                args.value("-P --directory-prefix").map(|dir| dir.to_owned() + "/").unwrap_or_default();
            outputs.extend(args.operands.iter().map(|url| into.clone() + file_name(url)));
        }
        self.downloads(outputs, command)
    }

    fn transfer(&mut self, url: &str, transfer: &Transfer, command: &Command<'_>) {
        let span = command.span;
        if let Some(path) = url.strip_prefix("file://") {
            self.path_effect(Operation::Read, path, "curl.reads", span);
            return;
        }
        for file in &transfer.files {
            self.path_effect(Operation::Read, file, "curl.reads", span);
        }
        let full = match url.contains("://") {
            true => url.to_owned(),
            false => format!("http://{url}"),
        };
        let host = host_of(&full);
        let local =
            ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"].contains(&host) || host.ends_with(".localhost");
        if !transfer.files.is_empty() && !local {
            let why = "Sends files to another machine.";
            self.effect(
                EffectKind::Publish,
                host,
                Scope::Remote,
                Undo::Hard,
                "net.upload",
                why,
                span.clone(),
            );
        }
        let reads = matches!(transfer.method.to_uppercase().as_str(), "GET" | "HEAD" | "OPTIONS");
        if host.starts_with(UNKNOWN) {
            let (undo, why) = match reads {
                true => (Undo::Easy, "Asks a machine that is only known when it runs."),
                false => (Undo::Hard, "Changes something at a place that is only known when it runs."),
            };
            let (kind, rule) = (EffectKind::Network, "net.unknown");
            self.effect(kind, url, Scope::Remote, undo, rule, why, span.clone());
            return;
        }
        let full = guessed(&full);
        let body = transfer.body.as_ref().map(|body| guessed(body));
        let headers: Vec<(&str, &str)> =
            transfer.headers.iter().filter_map(|line| line.split_once(':')).collect();
        let headers = headers.into_iter().map(|(name, value)| (name, value.trim())).collect();
        let call = Call { method: &transfer.method, url: &full, headers, body: body.as_deref() };
        let found = http::call(&call, &self.inner());
        self.adopt(found, span);
        if !command.stdin.absent && !reads && !local {
            let why = "Sends what another command printed to another machine.";
            self.effect(
                EffectKind::Publish,
                host_of(&full),
                Scope::Remote,
                Undo::Hard,
                "net.upload",
                why,
                span.clone(),
            );
        }
    }

    /// Files that come over the network are remembered as such.
    fn downloads(&mut self, outputs: Vec<String>, command: &Command<'_>) -> Stream {
        let mut printed = outputs.is_empty();
        for path in outputs {
            if path == "-" || path == "/dev/stdout" {
                printed = true;
                continue;
            }
            self.path_effect(Operation::Write, &path, "net.download", command.span);
            self.wrote(&path, &Stream::unknown(Origin::Remote), false);
        }
        if printed { Stream::unknown(Origin::Remote) } else { Stream::none() }
    }

    pub fn ssh(&mut self, command: &Command<'_>) -> Stream {
        let args = command.args;
        let span = command.span.clone();
        if args.operands.is_empty() {
            return Stream::none();
        }
        for option in args.values("-o") {
            let (name, code) = option.split_once(['=', ' ']).unwrap_or((&option, ""));
            if ["proxycommand", "localcommand", "knownhostscommand"].contains(&name.to_lowercase().as_str()) {
                self.run_stream(&Stream::text(code), span.clone(), &Stream::none());
            }
        }
        let host = args.operands.first().cloned().unwrap_or_default();
        // A forge answers whom it knows, and runs nothing else.
        if let [login] = args.operands.as_slice()
            && login.starts_with("git@")
            && command.stdin.absent
            && !args.has("-R -L -D -w -W -J")
        {
            let why = "Asks another machine who one is there.";
            let (kind, rule) = (EffectKind::Network, "ssh.asks");
            self.effect(kind, &host, Scope::Remote, Undo::Easy, rule, why, span);
            return Stream::unknown(Origin::Remote);
        }
        let why = "Acts on another machine.";
        self.effect(EffectKind::Exec, &host, Scope::Remote, Undo::Hard, "ssh.remote", why, span);
        Stream::unknown(Origin::Remote)
    }

    /// `scp` and `rsync`: the last operand is written, one side may be another machine.
    pub fn remote_copy(&mut self, command: &Command<'_>) -> Stream {
        let args = command.args;
        let span = command.span;
        let Some((target, sources)) = args.operands.split_last() else { return Stream::none() };
        for code in args.values("-e --rsh --rsync-path -S") {
            let words = code.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            if words.first().is_some_and(|word| word != "ssh") {
                self.invoke(words, &Stream::none(), span.clone());
            }
        }
        for source in sources {
            match is_remote(source) {
                true => {
                    let why = "Fetches files from another machine.";
                    let kind = EffectKind::Network;
                    self.effect(kind, source, Scope::Remote, Undo::Easy, "net.fetch", why, span.clone());
                }
                false => self.read_tree(source, "net.reads", span),
            }
            if args.has("--remove-source-files") {
                self.path_effect(Operation::Delete, source, "net.removes", span);
            }
        }
        if is_remote(target) {
            let why = "Sends files to another machine.";
            self.effect(
                EffectKind::Publish,
                target,
                Scope::Remote,
                Undo::Hard,
                "net.upload",
                why,
                span.clone(),
            );
            return Stream::none();
        }
        let fetched = sources.iter().any(|source| is_remote(source));
        let deletes =
            args.has("--delete --delete-before --delete-after --delete-during --delete-excluded --del");
        let operation = if deletes { Operation::Delete } else { Operation::Append };
        self.path_effect(operation, target, "net.writes", span);
        if fetched {
            self.wrote(target, &Stream::unknown(Origin::Remote), false);
        }
        Stream::unknown(Origin::Local)
    }
}

/// `host:path`, `user@host:path`, `rsync://...`; a slash before the colon makes it a path.
pub fn is_remote(word: &str) -> bool {
    match word.find(':') {
        Some(at) => at > 0 && !word.get(..at).unwrap_or("").contains('/'),
        None => false,
    }
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The name under which a download is kept.
fn file_name(url: &str) -> &str {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let name = path.rsplit('/').next().unwrap_or("");
    if name.is_empty() || !path.contains('/') { "index.html" } else { name }
}
