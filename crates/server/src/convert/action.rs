//! Actions, both ways.

use quarterdeck_api::approvals::v1 as pb;
use quarterdeck_core::action::{Action, FileOperation};

use super::violation;
use crate::status::Violation;

/// The action in a request. The codec has checked every field by itself.
pub fn from_wire(field: &str, wire: Option<pb::Action>) -> Result<Action, Violation> {
    use pb::action::Kind;
    let missing = || violation(field, "says what is to be done, in one of its kinds");
    let action = match wire.and_then(|wire| wire.kind).ok_or_else(missing)? {
        Kind::Command(wire) => Action::Command {
            argv: wire.argv,
            script: wire.script,
            cwd: wire.cwd,
            environment: wire.environment_names,
        },
        Kind::File(wire) => Action::File {
            operation: operation(field, wire.operation)?,
            path: wire.path,
            destination: wire.destination,
            diff: wire.diff,
        },
        Kind::Code(wire) => Action::Code { language: wire.language, source: wire.source },
        Kind::Sql(wire) => Action::Sql { dialect: wire.dialect, text: wire.text },
        Kind::Http(wire) => Action::Http {
            method: wire.method,
            url: wire.url,
            headers: wire.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            body: wire.body,
        },
        Kind::Git(wire) => Action::Git { arguments: wire.arguments, cwd: wire.cwd },
        Kind::Workflow(wire) => Action::Workflow {
            operation: operation(field, wire.operation)?,
            name: wire.name,
            definition: wire.definition,
        },
        Kind::Tool(wire) => Action::Tool { name: wire.name, arguments: wire.arguments_json },
    };
    action.check().map_err(|error| violation(field, error.to_string()))?;
    Ok(action)
}

fn operation(field: &str, number: i32) -> Result<FileOperation, Violation> {
    Ok(match pb::FileOperation::try_from(number) {
        Ok(pb::FileOperation::Read) => FileOperation::Read,
        Ok(pb::FileOperation::Write) => FileOperation::Write,
        Ok(pb::FileOperation::Append) => FileOperation::Append,
        Ok(pb::FileOperation::Delete) => FileOperation::Delete,
        Ok(pb::FileOperation::Move) => FileOperation::Move,
        Ok(pb::FileOperation::Unspecified) | Err(_) => {
            return Err(violation(format!("{field}.operation"), "is no operation on a file"));
        }
    })
}

pub fn to_wire(action: Action) -> pb::Action {
    use pb::action::Kind;
    let kind = match action {
        Action::Command { argv, script, cwd, environment } => {
            Kind::Command(pb::CommandAction { argv, script, cwd, environment_names: environment })
        }
        Action::File { path, operation, destination, diff } => {
            let operation = operation_to_wire(operation).into();
            Kind::File(pb::FileAction { path, operation, destination, diff })
        }
        Action::Code { language, source } => Kind::Code(pb::CodeAction { language, source }),
        Action::Sql { dialect, text } => Kind::Sql(pb::SqlAction { dialect, text }),
        Action::Http { method, url, headers, body } => {
            let headers = headers.into_iter().map(|(name, value)| pb::HttpHeader { name, value });
            Kind::Http(pb::HttpAction { method, url, headers: headers.collect(), body })
        }
        Action::Git { arguments, cwd } => Kind::Git(pb::GitAction { arguments, cwd }),
        Action::Workflow { name, operation, definition } => {
            let operation = operation_to_wire(operation).into();
            Kind::Workflow(pb::WorkflowAction { name, operation, definition })
        }
        Action::Tool { name, arguments } => Kind::Tool(pb::ToolAction { name, arguments_json: arguments }),
    };
    pb::Action { kind: Some(kind) }
}

const fn operation_to_wire(operation: FileOperation) -> pb::FileOperation {
    match operation {
        FileOperation::Read => pb::FileOperation::Read,
        FileOperation::Write => pb::FileOperation::Write,
        FileOperation::Append => pb::FileOperation::Append,
        FileOperation::Delete => pb::FileOperation::Delete,
        FileOperation::Move => pb::FileOperation::Move,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<Action> {
        let text = || "text".to_owned();
        vec![
            Action::Command {
                argv: vec![text()],
                script: String::new(),
                cwd: text(),
                environment: vec![text()],
            },
            Action::File { path: text(), operation: FileOperation::Move, destination: text(), diff: text() },
            Action::Code { language: text(), source: text() },
            Action::Sql { dialect: text(), text: text() },
            Action::Http { method: text(), url: text(), headers: vec![(text(), text())], body: text() },
            Action::Git { arguments: vec![text()], cwd: text() },
            Action::Workflow { name: text(), operation: FileOperation::Delete, definition: text() },
            Action::Tool { name: text(), arguments: "{}".to_owned() },
        ]
    }

    #[test]
    fn every_kind_comes_back_as_the_same_bytes() {
        for action in every_kind() {
            let back = from_wire("action", Some(to_wire(action.clone()))).unwrap();
            assert_eq!(back.digest(), action.digest(), "{action:?}");
        }
    }

    #[test]
    fn what_is_no_action_names_its_field() {
        for wire in [None, Some(pb::Action { kind: None })] {
            assert_eq!(from_wire("action", wire).unwrap_err().field, "action");
        }
        let file = pb::FileAction { path: "a".into(), operation: 99, ..Default::default() };
        let wire = pb::Action { kind: Some(pb::action::Kind::File(file)) };
        assert_eq!(from_wire("action", Some(wire)).unwrap_err().field, "action.operation");
    }
}
