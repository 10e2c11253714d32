//! Secrets of the environment that a script prints.
//!
//! A variable whose name says that it holds a secret expands to a marked text; where the
//! mark reaches the end of the script or a file, the secret was told.

use std::ops::Range;

use super::invoke::Command;
use super::state::State;
use super::stream::{Origin, Stream};
use crate::model::{EffectKind, Scope, Undo};

/// Filters whose output holds what their input held.
const PASSING: [&str; 38] = [
    "cat", "tee", "sort", "uniq", "head", "tail", "cut", "grep", "egrep", "fgrep", "rg", "sed", "awk",
    "gawk", "tr", "base64", "base32", "rev", "tac", "fold", "fmt", "nl", "paste", "column", "xxd", "od",
    "hexdump", "less", "more", "most", "pv", "sponge", "bat", "strings", "gzip", "xz", "openssl", "jq",
];

/// Words in a pattern that looks for secrets.
const WANTED: [&str; 13] = [
    "secret", "token", "pass", "pwd", "key", "cred", "auth", "private", "api", "aws", "login", "user", "dsn",
];

impl State {
    /// What a script prints in the end.
    pub fn told(&mut self, out: &Stream, span: Range<usize>) {
        if out.tells() {
            let why = "Prints secrets of the environment.";
            let (kind, rule) = (EffectKind::Credential, "shell.prints_secret");
            self.effect(kind, "environment", Scope::Home, Undo::Nothing, rule, why, span);
        }
    }
}

/// What a command makes of secrets that it reads.
pub fn passed(command: &Command<'_>) -> Stream {
    let args = command.args;
    let first = args.operands.first().map_or("", String::as_str);
    let tells = PASSING.contains(&command.name)
        && match command.name {
            "grep" | "egrep" | "fgrep" | "rg" => {
                let pattern = args.value("-e --regexp").unwrap_or(first);
                !args.has("-c -q -l -L --count --quiet --silent") && (args.has("-v") || seeks(pattern))
            }
            // Names without their values.
            "cut" => args.value("-f --fields").is_none_or(|fields| fields != "1"),
            "sed" => !args.value("-e").unwrap_or(first).contains("=.*"),
            "awk" | "gawk" => args.value("-F").is_none_or(|mark| !mark.contains('=')) || first.contains("$2"),
            _ => true,
        };
    if tells { Stream::secrets() } else { Stream::unknown(Origin::Local) }
}

/// Whether lines with secrets are among those that a pattern finds.
fn seeks(pattern: &str) -> bool {
    let pattern = pattern.to_lowercase();
    let letters = pattern.chars().filter(char::is_ascii_alphanumeric).count();
    letters < 3 || WANTED.iter().any(|word| pattern.contains(word))
}
