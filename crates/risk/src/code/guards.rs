//! Guards that code switches off: checks of certificates and signatures, limits of what
//! memory may run, sandboxes of pages.
//!
//! A switch is found by its name wherever it is set: as an argument, a member, a field.

use tree_sitter::Node;

use super::Language;
use super::act::{effect, gap};
use super::evaluate::{Call, Names};
use super::grammar::{Form, children, field};
use super::table::Table;
use super::value::Value;
use crate::model::{EffectKind, Found, Scope, Undo};

/// Bytes of what a switch is set to; what is longer is a value of another kind.
const VALUE_MAX: usize = 200;

/// What a node switches off.
pub fn off(names: &Names<'_>, node: Node<'_>, of: (&'static str, Form)) -> Found {
    let Some((name, value)) = switch(names, node, of.0) else {
        return if of.1 == Form::Member { mentioned(names, node) } else { Found::default() };
    };
    if value.len() > VALUE_MAX {
        return Found::default();
    }
    let value = value.strip_prefix("Some(").unwrap_or(value);
    // One value, or a list of them.
    let off = value.split(',').any(|value| {
        let value = value.trim_matches(['[', ']', '(', ')', ' ', '"', '\'', '`']);
        Table::get().switch(&name, value.rsplit(['.', ':']).next().unwrap_or(value))
    });
    match off {
        true => weakened(&name),
        false => Found::default(),
    }
}

fn weakened(name: &str) -> Found {
    let why = "switches a guard off";
    effect(EffectKind::Network, name, Scope::Remote, Undo::Hard, "code.guard.off", why)
}

/// The name and the value of what is set.
fn switch<'a>(names: &Names<'a>, node: Node<'_>, kind: &str) -> Option<(String, &'a str)> {
    let (name, value) = match kind {
        "pair" | "keyword_argument" | "field_initializer" => {
            (field(node, &["key", "name", "field"])?, field(node, &["value"])?)
        }
        "keyed_element" => {
            let parts = children(node);
            (*parts.first()?, *parts.get(1)?)
        }
        "assignment" | "assignment_expression" => (field(node, &["left"])?, field(node, &["right"])?),
        // `.danger_accept_invalid_certs(true)`
        "call_expression" if names.language == Language::Rust => {
            let method = field(field(node, &["function"])?, &["field"])?;
            let list = children(field(node, &["arguments"])?);
            (method, *list.first().filter(|_| list.len() == 1)?)
        }
        _ => return None,
    };
    // `os.environ['PYTHONHTTPSVERIFY']`, `http.verify_mode`, `:verify`
    let written = names.written(name);
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let end = written.trim_end_matches(|c| !word(c));
    let start = end.rfind(|c| !word(c)).map_or(0, |at| at + 1);
    Some((end.get(start..)?.to_owned(), names.written(value).trim()))
}

/// A debugger that runs what it is sent, open to the whole network.
pub fn debugger(call: &Call<'_>) -> Found {
    let on = call.named("debug").and_then(Value::name) == Some("True");
    let open =
        call.named("host").and_then(Value::text).is_some_and(|host| matches!(host, "0.0.0.0" | "::" | ""));
    match call.name.ends_with(".run") && on && open {
        true => weakened("debug"),
        false => Found::default(),
    }
}

/// Pages of anybody may ask in the name of who looks at them.
pub fn shared(call: &Call<'_>) -> Found {
    let options = call.args.iter().find_map(|arg| match arg {
        Value::Map(members) => Some(members),
        _ => None,
    });
    let get = |name: &str| {
        options.and_then(|options| options.iter().find(|(key, _)| key == name)).map(|(_, value)| value)
    };
    let credentials = get("credentials").and_then(Value::name) == Some("true");
    let anybody = match get("origin") {
        Some(Value::Text(origin)) => origin == "*",
        Some(Value::Name(origin)) => origin == "true",
        Some(Value::Function) => true,
        _ => false,
    };
    match call.name.rsplit('.').next() == Some("cors") && credentials && anybody {
        true => weakened("origin"),
        false => Found::default(),
    }
}

/// A constant that has no other use than to switch something off.
fn mentioned(names: &Names<'_>, node: Node<'_>) -> Found {
    let around = names.around.parent;
    let compared = around.contains("comparison") || around.starts_with("binary");
    if compared {
        return Found::default();
    }
    let last = names.written(node).rsplit(['.', ':']).next().unwrap_or_default();
    match last {
        last if Table::get().mention(last) => weakened(last),
        // From any object to all that the interpreter holds.
        "__globals__" | "__base__" => {
            gap("code.member", "reaches what runs code through an object's insides")
        }
        _ => Found::default(),
    }
}
