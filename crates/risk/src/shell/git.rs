//! `git`: configuration that names programs, and subcommands that name files.

use super::args::{Args, Style};
use super::invoke::Command;
use super::state::State;
use super::stream::{Stream, known};
use crate::model::{EffectKind, Scope, Undo};
use crate::path::{self, Operation};

/// Patterns of paths that are looked at.
const NAMES_MAX: usize = 60;

impl State {
    /// Configuration given with `-c`, and where it works; the table says the rest.
    pub fn git(&mut self, command: &Command<'_>) -> Option<Stream> {
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
        // Behind the subcommand `-c` is another option: `git commit -c <commit>`.
        let head = command.args.at.first().and_then(|at| command.words.get(..*at)).unwrap_or(command.words);
        let style = Style {
            values: "-C -c --git-dir --work-tree --namespace --config-env",
            single: false,
            stop: true,
        };
        let values = Args::parse(head, style).values("-c --config-env");
        for value in values {
            let (name, text) = value.split_once('=').unwrap_or((&value, ""));
            let name = name.to_lowercase();
            let checks = name == "core.hookspath";
            let quiet =
                !checks && ["", "cat", "less", "true", ":", "false", "vim", "/bin/true"].contains(&text);
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
        self.past_hooks(command);
        self.git_secrets(command);
        self.cloned(command);
        self.git_pager(command);
        self.git_names(command)
    }

    /// `SKIP=lint git commit` leaves out what checks a commit.
    fn past_hooks(&mut self, command: &Command<'_>) {
        let sub = command.args.operands.first().map_or("", String::as_str);
        let skips = self.vars.get("SKIP").and_then(|skip| skip.first()).is_some_and(|skip| !skip.is_empty());
        if skips && matches!(sub, "commit" | "push" | "merge" | "rebase" | "am" | "cherry-pick") {
            let why = "Goes past the checks of a commit.";
            let (kind, rule) = (EffectKind::Write, "git.skips_hooks");
            self.effect(kind, "hooks", Scope::Guard, Undo::Hard, rule, why, command.span.clone());
        }
    }

    /// Subcommands that print what a file holds or held, or hand it on.
    fn git_secrets(&mut self, command: &Command<'_>) {
        const SHOW: [&str; 10] =
            ["show", "diff", "log", "blame", "annotate", "cat-file", "grep", "archive", "add", "stage"];
        let Some((sub, rest)) = command.args.operands.split_first() else { return };
        if !SHOW.contains(&sub.as_str())
            || command.args.has("-n --dry-run --name-only --stat") && sub == "add"
        {
            return;
        }
        for word in rest.iter().take(NAMES_MAX) {
            let path = word.rsplit(':').next().unwrap_or(word);
            if known(path) && path::locate(path, &self.context).secret {
                self.path_effect(Operation::Read, path, "git.shows", command.span);
            }
        }
    }

    /// What is cloned nobody has reviewed.
    fn cloned(&mut self, command: &Command<'_>) {
        let [sub, url, rest @ ..] = command.args.operands.as_slice() else { return };
        if sub != "clone" || !known(url) {
            return;
        }
        let name = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or(url);
        let into = rest.first().map_or(name.trim_end_matches(".git"), String::as_str);
        if known(into) && !into.is_empty() && self.foreign.len() < NAMES_MAX {
            self.foreign.push(self.canonical(into));
        }
    }

    /// `git grep -O` opens what it finds with a program of the caller's choice.
    fn git_pager(&mut self, command: &Command<'_>) {
        if command.args.operands.first().is_none_or(|sub| sub != "grep") {
            return;
        }
        for word in command.words {
            let program = word.strip_prefix("-O").or_else(|| word.strip_prefix("--open-files-in-pager="));
            if let Some(program) = program.filter(|program| !program.is_empty()) {
                let code = format!("{program} ./*");
                self.run_stream(&Stream::text(code), command.span.clone(), &Stream::none());
            }
        }
    }

    /// Subcommands that print names of the project's own files.
    fn git_names(&mut self, command: &Command<'_>) -> Option<Stream> {
        let args = command.args;
        let (sub, rest) = args.operands.split_first()?;
        if sub == "rev-parse" && args.has("--show-toplevel") {
            return Some(Stream::text(self.context.project.clone()));
        }
        let names = match sub.as_str() {
            "ls-files" => !args.has("-s --stage --format"),
            "diff" | "show" | "log" | "diff-tree" | "ls-tree" | "diff-index" | "diff-files" => {
                args.has("--name-only")
            }
            "grep" => args.has("-l --files-with-matches --name-only -L --files-without-match"),
            _ => false,
        };
        if !names {
            return None;
        }
        let dashes = command.words.iter().position(|word| word == "--").unwrap_or(0);
        let specs = rest.iter().zip(args.at.iter().skip(1)).filter(|(_, at)| **at > dashes);
        // Without `--`, a word may be a revision as well as a path: only patterns are taken.
        let specs: Vec<String> = specs
            .map(|(spec, _)| spec.trim_start_matches(":/").to_owned())
            .filter(|spec| dashes > 0 || sub == "ls-files" || spec.contains('*'))
            .filter(|spec| !spec.starts_with([':', '!']))
            .take(NAMES_MAX)
            .map(|spec| format!("./{spec}"))
            .collect();
        Some(match specs.is_empty() {
            true => Stream::names(&["./*/*".to_owned()]),
            false => Stream::names(&specs),
        })
    }
}
