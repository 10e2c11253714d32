//! Actions: what an agent wants to do, exactly, and the digest that a yes is bound to.
//!
//! Invariant: two actions that differ in any byte that could matter when they run
//! have different digests; what the agent says about its action is no part of one.

use serde::{Deserialize, Serialize};

use crate::digest::{Canonical, Digest};

/// Most bytes of text in one action.
pub const TEXT_MAX: usize = 64 * 1024;

/// One thing that an agent wants to do. These types are stored: a field is added with
/// a default or not at all.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    Command {
        /// Handed to the system as it is; empty where there is a script.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        argv: Vec<String>,
        /// Text for a shell; empty where there is `argv`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        script: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        cwd: String,
        /// Names only: values stay with the agent.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        environment: Vec<String>,
    },
    File {
        path: String,
        operation: FileOperation,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        destination: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        diff: String,
    },
    Code {
        language: String,
        source: String,
    },
    Sql {
        #[serde(default, skip_serializing_if = "String::is_empty")]
        dialect: String,
        text: String,
    },
    Http {
        method: String,
        url: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        headers: Vec<(String, String)>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        body: String,
    },
    Git {
        arguments: Vec<String>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        cwd: String,
    },
    Workflow {
        name: String,
        operation: FileOperation,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        definition: String,
    },
    Tool {
        name: String,
        /// JSON text.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        arguments: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileOperation {
    Read,
    Write,
    Append,
    Delete,
    Move,
}

/// Why something is no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    #[error("the action has {size} bytes of text, {TEXT_MAX} are the most: split it")]
    TooLarge { size: usize },
    #[error("give either `argv` or `script`, and not both: they are run in different ways")]
    OneOfArgvAndScript,
    #[error("the first of `argv` names the program and cannot be empty")]
    NoProgram,
    #[error("a move needs a `destination`, and nothing else takes one")]
    Destination,
    #[error("the arguments of a tool are JSON text: {0}")]
    ToolArguments(String),
}

impl FileOperation {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Append => "append",
            Self::Delete => "delete",
            Self::Move => "move",
        }
    }
}

impl Action {
    /// The word for its kind in policies and audit.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
            Self::File { .. } => "file",
            Self::Code { .. } => "code",
            Self::Sql { .. } => "sql",
            Self::Http { .. } => "http",
            Self::Git { .. } => "git",
            Self::Workflow { .. } => "workflow",
            Self::Tool { .. } => "tool",
        }
    }

    /// Checks what the contract's field rules cannot say.
    pub fn check(&self) -> Result<(), ActionError> {
        let size = self.size();
        if size > TEXT_MAX {
            return Err(ActionError::TooLarge { size });
        }
        match self {
            Self::Command { argv, script, .. } if argv.is_empty() == script.is_empty() => {
                Err(ActionError::OneOfArgvAndScript)
            }
            Self::Command { argv, .. } if argv.first().is_some_and(String::is_empty) => {
                Err(ActionError::NoProgram)
            }
            Self::File { operation, destination, .. }
                if (*operation == FileOperation::Move) == destination.is_empty() =>
            {
                Err(ActionError::Destination)
            }
            Self::Tool { arguments, .. } if !arguments.is_empty() => {
                let read = serde_json::from_str::<serde::de::IgnoredAny>(arguments);
                read.map(drop).map_err(|error| ActionError::ToolArguments(error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Bytes of text in it.
    pub fn size(&self) -> usize {
        self.texts().iter().map(|text| text.len()).sum()
    }

    /// SHA-256 over the canonical encoding.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("quarterdeck.action.v1");
        canonical.text(self.kind());
        match self {
            Self::Command { argv, script, cwd, environment } => {
                list(&mut canonical, argv);
                canonical.text(script).text(cwd);
                list(&mut canonical, environment);
            }
            Self::File { path, operation, destination, diff } => {
                canonical.text(path).text(operation.word()).text(destination).text(diff);
            }
            Self::Code { language, source } => {
                canonical.text(language).text(source);
            }
            Self::Sql { dialect, text } => {
                canonical.text(dialect).text(text);
            }
            Self::Http { method, url, headers, body } => {
                canonical.text(method).text(url).int(headers.len() as i64);
                for (name, value) in headers {
                    canonical.text(name).text(value);
                }
                canonical.text(body);
            }
            Self::Git { arguments, cwd } => {
                list(&mut canonical, arguments);
                canonical.text(cwd);
            }
            Self::Workflow { name, operation, definition } => {
                canonical.text(name).text(operation.word()).text(definition);
            }
            Self::Tool { name, arguments } => {
                canonical.text(name).text(arguments);
            }
        }
        canonical.finish()
    }

    /// The same with every text passed through `change`.
    #[must_use]
    pub fn map_texts(mut self, mut change: impl FnMut(&str) -> String) -> Self {
        for text in self.texts_mut() {
            *text = change(text);
        }
        self
    }

    fn texts_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::Command { argv, script, cwd, environment } => {
                argv.iter_mut().chain(environment).chain([script, cwd]).collect()
            }
            Self::File { path, destination, diff, .. } => vec![path, destination, diff],
            Self::Code { language, source } => vec![language, source],
            Self::Sql { dialect, text } => vec![dialect, text],
            Self::Http { method, url, headers, body } => headers
                .iter_mut()
                .flat_map(|(name, value)| [name, value])
                .chain([method, url, body])
                .collect(),
            Self::Git { arguments, cwd } => arguments.iter_mut().chain([cwd]).collect(),
            Self::Workflow { name, definition, .. } => vec![name, definition],
            Self::Tool { name, arguments } => vec![name, arguments],
        }
    }

    fn texts(&self) -> Vec<&str> {
        match self {
            Self::Command { argv, script, cwd, environment } => argv
                .iter()
                .chain(environment)
                .map(String::as_str)
                .chain([script.as_str(), cwd.as_str()])
                .collect(),
            Self::File { path, destination, diff, .. } => vec![path, destination, diff],
            Self::Code { language, source } => vec![language, source],
            Self::Sql { dialect, text } => vec![dialect, text],
            Self::Http { method, url, headers, body } => headers
                .iter()
                .flat_map(|(name, value)| [name.as_str(), value.as_str()])
                .chain([method.as_str(), url.as_str(), body.as_str()])
                .collect(),
            Self::Git { arguments, cwd } => {
                arguments.iter().map(String::as_str).chain([cwd.as_str()]).collect()
            }
            Self::Workflow { name, definition, .. } => vec![name, definition],
            Self::Tool { name, arguments } => vec![name, arguments],
        }
    }
}

impl std::fmt::Debug for Action {
    /// Actions may hold secrets: logs get the kind and the digest.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.kind(), self.digest())
    }
}

fn list(canonical: &mut Canonical, parts: &[String]) {
    canonical.int(parts.len() as i64);
    for part in parts {
        canonical.text(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Action {
        let argv = words.iter().map(|word| (*word).to_owned()).collect();
        Action::Command { argv, script: String::new(), cwd: String::new(), environment: Vec::new() }
    }

    fn script(text: &str, cwd: &str) -> Action {
        let (argv, environment) = (Vec::new(), Vec::new());
        Action::Command { argv, script: text.to_owned(), cwd: cwd.to_owned(), environment }
    }

    #[test]
    fn what_would_run_otherwise_has_another_digest() {
        let http = |headers: &[(&str, &str)], body: &str| Action::Http {
            method: "GET".into(),
            url: "https://a.example".into(),
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            body: body.into(),
        };
        let actions = [
            argv(&["rm", "a b"]),
            argv(&["rm", "a", "b"]),
            argv(&["rm a b"]),
            script("rm a b", ""),
            script("rm a b", "/tmp"),
            script("rm a b ", ""),
            Action::Code { language: "bash".into(), source: "rm a b".into() },
            http(&[("a", "b")], ""),
            http(&[], "ab"),
            http(&[("a", ""), ("b", "")], ""),
        ];
        for (index, one) in actions.iter().enumerate() {
            for other in &actions[index + 1..] {
                assert_ne!(one.digest(), other.digest(), "{}", serde_json::to_string(other).unwrap());
            }
        }
        assert_eq!(argv(&["ls"]).digest(), argv(&["ls"]).digest());
    }

    #[test]
    fn the_digest_is_the_same_in_every_version() {
        // Grants of older versions are bound to it.
        let known = "c3934da37813066eafa7880bf85a8daaf19f41f9a0d3982128b37a427c199403";
        assert_eq!(argv(&["ls", "-l"]).digest().to_string(), known);
    }

    #[test]
    fn an_action_comes_back_from_the_store_and_debug_shows_nothing_of_it() {
        for action in [argv(&["ls", "secret"]), script("echo secret", "/x")] {
            let json = serde_json::to_string(&action).unwrap();
            assert_eq!(serde_json::from_str::<Action>(&json).unwrap(), action);
            assert!(!format!("{action:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_no_action_is_refused() {
        let file = |operation, destination: &str| Action::File {
            path: "a".into(),
            operation,
            destination: destination.into(),
            diff: String::new(),
        };
        for (action, expected) in [
            (argv(&[]), Err(ActionError::OneOfArgvAndScript)),
            (argv(&[""]), Err(ActionError::NoProgram)),
            (argv(&["ls"]), Ok(())),
            (script(&"x".repeat(TEXT_MAX + 1), ""), Err(ActionError::TooLarge { size: TEXT_MAX + 1 })),
            (file(FileOperation::Move, ""), Err(ActionError::Destination)),
            (file(FileOperation::Write, "b"), Err(ActionError::Destination)),
            (file(FileOperation::Move, "b"), Ok(())),
        ] {
            assert_eq!(action.check(), expected);
        }
        let tool = Action::Tool { name: "t".into(), arguments: "{".into() };
        assert!(matches!(tool.check(), Err(ActionError::ToolArguments(_))));
    }

    #[test]
    fn every_text_is_reached_by_masking() {
        let masked = script("echo secret", "/secret").map_texts(|text| text.replace("secret", "***"));
        assert_eq!(masked, script("echo ***", "/***"));
    }
}
