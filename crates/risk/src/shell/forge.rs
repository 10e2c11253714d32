//! `gh api`, `glab api`: calls of a forge's interface, as HTTP.

use serde_json::{Map, Value};

use super::invoke::Command;
use super::state::State;
use super::stream::{Origin, Stream, guessed};
use crate::http::{self, Call};

impl State {
    /// `None` for other subcommands: the table says what these do.
    pub fn forge(&mut self, command: &Command<'_>) -> Option<Stream> {
        let args = command.args;
        let [sub, path, ..] = args.operands.as_slice() else { return None };
        if sub != "api" {
            return None;
        }
        let fields = args.values("-f --raw-field -F --field");
        let input = args.has("--input");
        let method = match args.value("-X --method") {
            Some(method) => method,
            None if input || !fields.is_empty() => "POST",
            None => "GET",
        };
        let host = if command.name == "glab" { "gitlab.com/api/v4" } else { "api.github.com" };
        let path = guessed(path);
        let url = match path.contains("://") {
            true => path,
            false => format!("https://{host}/{}", path.trim_start_matches('/')),
        };
        let pairs = fields.iter().map(|field| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            (name.to_owned(), Value::String(guessed(value)))
        });
        let body = Value::Object(pairs.collect::<Map<_, _>>()).to_string();
        let headers = args.values("-H --header");
        let headers = headers.iter().filter_map(|line| line.split_once(':'));
        let call = Call {
            method,
            url: &url,
            headers: headers.map(|(name, value)| (name, value.trim())).collect(),
            body: (input || !fields.is_empty()).then_some(body.as_str()),
        };
        let found = http::call(&call, &self.inner());
        self.adopt(found, command.span);
        if input {
            let why = "Sends what a file or another command holds.";
            self.gap("shell.unknown_body", why, command.span.clone());
        }
        Some(Stream::unknown(Origin::Remote))
    }
}
