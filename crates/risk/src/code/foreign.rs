//! What whoever asks sends: requests, messages, uploads.
//!
//! Invariant: what is known to come from outside stays so through members, calls on it and
//! texts that it is put into; what checks or reduces it (`basename`, `int`) gives something
//! that is merely not known.

use tree_sitter::Node;

use super::Language;
use super::evaluate::Names;
use super::grammar::{Form, children, field, form, kind};
use super::table::Table;
use super::value::Value;

/// Names by which handlers call what they are asked.
const REQUESTS: [&str; 4] = ["req", "request", "ctx", "event"];
/// Names of what a framework hands to a handler besides what it is asked.
const OWN: [&str; 10] =
    ["self", "cls", "db", "session", "user", "current_user", "settings", "background_tasks", "conn", "pool"];

/// What a parameter stands for when the function is called.
pub fn parameter(names: &Names<'_>, part: Node<'_>, name: &str, served: bool) -> Value {
    let written = names.written(part);
    let kind = field(part, &["type"]).map(|kind| names.written(kind)).unwrap_or_default();
    if let Some(service) = spoken_to(names, kind).filter(|_| !served) {
        return service;
    }
    match names.language {
        Language::Python if name == "tmp_path" || name == "tmpdir" => Value::Temp,
        Language::Rust if Table::get().extractor(kind) => Value::Foreign,
        Language::Go
            if ["http.Request", "gin.Context", "echo.Context", "fiber.Ctx"]
                .iter()
                .any(|t| kind.contains(t)) =>
        {
            Value::Name("request".to_owned())
        }
        Language::Go | Language::Rust => Value::Unknown,
        _ if matches!(name, "res" | "response" | "reply") && names.scripts() => Value::Name("res".to_owned()),
        _ if REQUESTS.contains(&name) => Value::Name(name.to_owned()),
        // What a route names and a form holds; the framework's own are made by functions.
        Language::Python if served && !OWN.contains(&name) && !written.contains("Depends(") => Value::Foreign,
        _ => Value::Unknown,
    }
}

/// What a type of a service's library stands for: `*kubernetes.Clientset`, `&aws_sdk_s3::Client`.
fn spoken_to(names: &Names<'_>, kind: &str) -> Option<Value> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let head = kind.trim_start_matches(|c: char| !word(c)).split(|c| !word(c)).next()?;
    let full = names.bound.get(head).and_then(Value::name).unwrap_or(head);
    let service = Table::get().service(full)?;
    Some(Value::Name(format!("{service}.?")))
}

/// Whether a decorator puts a stand-in in the cloud's place; one of that name which is
/// imported from elsewhere, or written here, is another's.
pub fn mocked(names: &Names<'_>, node: Node<'_>) -> bool {
    let stands_in = |decorator: &Node<'_>| {
        let inner = children(*decorator).into_iter().next();
        let name = inner.and_then(|inner| match form(inner) {
            Form::Call => field(inner, &["function"]),
            _ => Some(inner),
        });
        let value = name.map(|name| names.value(name));
        value.as_ref().and_then(Value::name).is_some_and(|name| {
            name == "mock_aws" && !names.text.contains("def mock_aws") || name.starts_with("moto.mock_")
        })
    };
    children(node).iter().filter(|part| kind(**part) == "decorator").any(stands_in)
}

/// Whether a decorator makes a function serve requests.
pub fn decorated(names: &Names<'_>, node: Node<'_>) -> bool {
    let serves = |decorator: &Node<'_>| {
        let call = children(*decorator).into_iter().next().filter(|call| form(*call) == Form::Call);
        let method = call
            .and_then(|call| field(call, &["function"]))
            .and_then(|function| field(function, &["attribute"]))
            .map(|method| names.written(method));
        method.is_some_and(|method| Table::get().server(method) || method == "websocket")
    };
    children(node).iter().filter(|part| kind(**part) == "decorator").any(serves)
}
