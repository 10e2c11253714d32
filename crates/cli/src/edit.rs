//! Editing an action in the person's own editor.
//!
//! Invariant: a masked action is never sent back as if it were the whole; what was
//! revealed lies in a file of its own that nobody else reads, and is removed.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use quarterdeck_client::api::approvals::v1::{Action, Approval, EditApprovalRequest, RevealActionRequest};
use quarterdeck_client::{Client, from_json, to_json};
use quarterdeck_risk::preview::visible;

use crate::connect::unreadable;
use crate::failure::{Exit, Failure};

/// Bytes of a file with an action: its text and what JSON adds to it.
const FILE_MAX: u64 = 1024 * 1024;

/// The action as JSON, with escapes for what a terminal acts on.
pub fn written(action: &Action) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(&to_json(action)?).unwrap_or_default();
    let escaped = text.chars().map(|letter| match letter {
        '\n' | ' '..='~' => letter.to_string(),
        letter if visible(&letter.to_string()).chars().eq([letter]) => letter.to_string(),
        letter => letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    });
    Ok(escaped.collect())
}

/// An action from a file.
pub fn read(path: &Path) -> Result<Action, Failure> {
    let unreadable = |error| unreadable(path, "--file", &error);
    let mut text = String::new();
    match path == Path::new("-") {
        true => std::io::stdin().take(FILE_MAX).read_to_string(&mut text).map_err(unreadable)?,
        false => {
            let file = std::fs::File::open(path).map_err(unreadable)?;
            file.take(FILE_MAX).read_to_string(&mut text).map_err(unreadable)?
        }
    };
    parsed(&text).map_err(|failure| failure.at(path.display().to_string()))
}

fn parsed(text: &str) -> Result<Action, Failure> {
    let wrong =
        |words: String| Failure::usage(words).fix("write it as `quarterdeck approvals reveal` shows it");
    let value = serde_json::from_str(text).map_err(|error| wrong(format!("this is no JSON: {error}")))?;
    from_json(value).map_err(|error| wrong(error.to_string()))
}

/// The action to begin with: revealed where it is masked.
pub async fn original(
    client: &Client,
    approval: &Approval,
    masked: bool,
    reveal: Option<&str>,
) -> Result<Action, Failure> {
    let Some(reason) = reveal else {
        return match masked {
            false => Ok(approval.action.clone().unwrap_or_default()),
            true => Err(Failure::new(Exit::Refused, "parts of the action are masked, and would be lost")
                .at(&approval.id)
                .fix("edit it without masks, for a reason that goes on record: --reveal <reason>")),
        };
    };
    let request = RevealActionRequest { approval_id: approval.id.clone(), reason: reason.to_owned() };
    Ok(client.reveal_action(request).await?.action.unwrap_or_default())
}

/// The action after the editor was closed.
pub fn in_editor(before: &Action) -> Result<Action, Failure> {
    let mut file = tempfile::Builder::new().prefix("quarterdeck-").suffix(".json").tempfile()?;
    let text = written(before)?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    let editor = ["VISUAL", "EDITOR"].iter().find_map(std::env::var_os).filter(|editor| !editor.is_empty());
    let editor = editor.map_or_else(|| "vi".to_owned(), |editor| editor.to_string_lossy().into_owned());
    let mut words = editor.split_whitespace();
    let status = Command::new(words.next().unwrap_or("vi")).args(words).arg(file.path()).status();
    let status = status.map_err(|error| {
        Failure::new(Exit::Unavailable, format!("the editor cannot be started: {error}"))
            .at(&editor)
            .fix("name another one with EDITOR, or hand over a file: --file")
    })?;
    if !status.success() {
        return Err(Failure::new(Exit::Refused, "the editor ended with a failure; nothing was changed"));
    }
    let after = parsed(&std::fs::read_to_string(file.path())?)?;
    match after == *before {
        true => Err(Failure::new(Exit::Refused, "the action is as it was; nothing was changed")),
        false => Ok(after),
    }
}

/// The call that replaces an action.
pub fn request(approval: &Approval, action: Action, comment: &str, request_id: &str) -> EditApprovalRequest {
    EditApprovalRequest {
        approval_id: approval.id.clone(),
        digest: approval.digest.clone(),
        action: Some(action),
        comment: comment.to_owned(),
        request_id: request_id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_client::api::approvals::v1::{CommandAction, action::Kind};

    #[test]
    fn a_written_action_is_plain_and_comes_back() {
        let script = "echo é\u{1b}[2J\u{202e}\u{9b}😀\r\n\u{200b}".to_owned();
        let command = CommandAction { script, ..Default::default() };
        let action = Action { kind: Some(Kind::Command(command)) };
        let text = written(&action).unwrap();
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n' || ('\u{200b}'..='\u{202e}').contains(&c)),
            "{text}"
        );
        assert_eq!(parsed(&text).unwrap(), action);
    }

    #[test]
    fn what_is_no_action_is_refused() {
        for text in ["", "{", "{\"comand\": {}}", "[]"] {
            assert_eq!(parsed(text).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }
}
