//! Every call of a text in order, with what is bound before it.

use tree_sitter::{Node, Tree};

use super::Language;
use super::act;
use super::evaluate::Names;
use super::grammar::{self, Form, children, field, form};
use super::table::Table;
use super::value::{HOLE, Value};
use crate::model::{Context, Found, Unresolved};
use crate::shell;

/// Most nodes that are looked at; a text has fewer than its bytes.
const NODES_MAX: usize = 20_000;

/// What running the text does. The stack is a list, so that depth costs no stack.
pub fn effects(language: Language, text: &str, tree: &Tree, context: &Context) -> Found {
    let mut names = Names::new(language, text, context);
    let mut found = Found::default();
    let mut waiting = vec![(tree.root_node(), 0_u32)];
    let mut seen = 0;
    while let Some((node, branch)) = waiting.pop() {
        seen += 1;
        if seen > NODES_MAX {
            found.gap(Unresolved::new("limit.nodes", "the code is larger than is looked at"));
            break;
        }
        bind(&mut names, node, branch > 0);
        match form(node.kind()) {
            Form::Call => found.extend(called(&mut names, node).at(&node.byte_range())),
            Form::Command => found.extend(command(&names, node).at(&node.byte_range())),
            _ => {}
        }
        let branch = branch + u32::from(grammar::branches(node.kind()));
        waiting.extend(children(node).into_iter().rev().map(|child| (child, branch)));
    }
    found
}

fn called(names: &mut Names<'_>, node: Node<'_>) -> Found {
    let Some(call) = names.called(node) else { return Found::default() };
    let found = act::call(names, &call);
    // A builder that is a variable keeps what it is given.
    if let Some(Value::Process(_)) = &call.receiver {
        let object = field(node, &["function"]).and_then(|function| field(function, &["value"]));
        if let Some(object) = object.filter(|object| form(object.kind()) == Form::Name) {
            let value = names.result(&call);
            names.bound.insert(names.written(object).to_owned(), value.bounded());
        }
    }
    found
}

/// A command line in backticks.
fn command(names: &Names<'_>, node: Node<'_>) -> Found {
    match names.string(node, 16) {
        Value::Text(text) if !text.contains(HOLE) && !children(node).is_empty() => {
            shell::script(&text, &act::inner(names.context))
        }
        _ => Unresolved::new("code.shell.built", "a command line is only known when it runs").into(),
    }
}

/// What a node gives names to.
fn bind(names: &mut Names<'_>, node: Node<'_>, branch: bool) {
    match node.kind() {
        "import_statement" | "import_from_statement" | "import_spec" | "use_declaration" => {
            import(names, node)
        }
        "assignment"
        | "assignment_expression"
        | "short_var_declaration"
        | "assignment_statement"
        | "named_expression" => {
            let sides = (field(node, &["left", "name"]), field(node, &["right", "value"]));
            if let (Some(left), Some(right)) = sides {
                assign(names, left, right, branch);
            }
        }
        "augmented_assignment" | "augmented_assignment_expression" | "operator_assignment" => {
            grow(names, node)
        }
        "variable_declarator"
        | "var_spec"
        | "const_spec"
        | "let_declaration"
        | "const_item"
        | "static_item" => {
            let sides = (field(node, &["name", "pattern"]), field(node, &["value"]));
            if let (Some(left), Some(right)) = sides {
                assign(names, left, right, branch);
            }
        }
        "with_item" | "as_pattern" => {
            let parts = children(node);
            let alias = field(node, &["alias"]).or(parts.get(1).copied());
            if let (Some(value), Some(alias)) = (parts.first(), alias) {
                let name = names.written(alias).to_owned();
                let value = names.value(*value);
                names.bound.insert(name, value.bounded());
            }
        }
        "for_statement" | "for_in_clause" => looped(names, node),
        _ => {}
    }
}

fn assign(names: &mut Names<'_>, left: Node<'_>, right: Node<'_>, branch: bool) {
    let value = names.value(right);
    give(names, left, value, branch);
}

fn give(names: &mut Names<'_>, left: Node<'_>, value: Value, branch: bool) {
    match left.kind() {
        "object_pattern" => unpack(names, left, &value),
        "expression_list" | "pattern_list" | "tuple_pattern" | "left_assignment_list" | "array_pattern" => {
            let each = children(left);
            let values = match value {
                // `x, err := f()`: the first is what counts.
                Value::List(values) if values.len() == each.len() => values,
                Value::List(mut values) if values.len() == 1 => vec![values.pop().unwrap_or(Value::Unknown)],
                other => vec![other],
            };
            let values = values.into_iter().chain(std::iter::repeat(Value::Unknown));
            each.into_iter().zip(values).for_each(|(name, value)| give(names, name, value, branch));
        }
        _ => {
            let name = names.written(left).trim_start_matches("mut ").to_owned();
            let before = names.bound.get(&name).cloned();
            let value = match (branch, before) {
                (true, Some(before)) => before.or(value),
                _ => value,
            };
            // What a free name stands for is not known better by an unknown value of itself.
            names.bound.insert(name, value.bounded());
        }
    }
}

/// `const { exec, spawn: run } = require('child_process')`.
fn unpack(names: &mut Names<'_>, pattern: Node<'_>, value: &Value) {
    for part in children(pattern) {
        let (key, name) = match (field(part, &["key"]), field(part, &["value"])) {
            (Some(key), Some(name)) => (names.written(key), names.written(name)),
            _ => (names.written(part), names.written(part)),
        };
        let member = match value {
            Value::Name(object) => Value::Name(format!("{object}.{key}")),
            Value::Map(members) => members
                .iter()
                .find(|(known, _)| known == key)
                .map_or(Value::Unknown, |(_, value)| value.clone()),
            Value::Secret if !Table::get().harmless(key) => Value::Secret,
            _ => Value::Unknown,
        };
        names.bound.insert(name.to_owned(), member.bounded());
    }
}

/// `x += y`.
fn grow(names: &mut Names<'_>, node: Node<'_>) {
    if let (Some(left), Some(right)) = (field(node, &["left"]), field(node, &["right"])) {
        let value = names.value(left).joined(&names.value(right));
        names.bound.insert(names.written(left).to_owned(), value.bounded());
    }
}

/// Loops over a known list run with each of its values.
fn looped(names: &mut Names<'_>, node: Node<'_>) {
    if let (Some(left), Some(right)) = (field(node, &["left"]), field(node, &["right"])) {
        let value = match names.value(right) {
            Value::List(values) => values.into_iter().reduce(Value::or).unwrap_or(Value::Unknown),
            Value::Secret => Value::Secret,
            _ => Value::Unknown,
        };
        give(names, left, value, false);
    }
}

fn import(names: &mut Names<'_>, node: Node<'_>) {
    match (names.language, node.kind()) {
        (Language::Python, "import_statement") => python(names, node),
        (Language::Python, _) => python_from(names, node),
        (Language::JavaScript | Language::TypeScript, _) => javascript(names, node),
        (Language::Go, _) => go(names, node),
        (Language::Rust, _) => {
            if let Some(tree) = field(node, &["argument"]) {
                rust(names, tree, "", 16);
            }
        }
        _ => {}
    }
}

fn python(names: &mut Names<'_>, node: Node<'_>) {
    for part in children(node) {
        let (module, alias) = aliased(names, part);
        // `import os.path` binds `os`.
        let value = if alias == module {
            module.split('.').next().unwrap_or(&module).to_owned()
        } else {
            module.clone()
        };
        let name = alias.split('.').next().unwrap_or(&alias).to_owned();
        names.bound.insert(name, Value::Name(Table::get().plain(&value).to_owned()));
    }
}

fn aliased(names: &Names<'_>, node: Node<'_>) -> (String, String) {
    match (field(node, &["name"]), field(node, &["alias"])) {
        (Some(name), Some(alias)) => (names.written(name).to_owned(), names.written(alias).to_owned()),
        _ => (names.written(node).to_owned(), names.written(node).to_owned()),
    }
}

fn python_from(names: &mut Names<'_>, node: Node<'_>) {
    let Some(module) = field(node, &["module_name"]) else { return };
    let written = names.written(module).to_owned();
    for part in children(node).into_iter().filter(|part| part.id() != module.id()) {
        if part.kind() == "wildcard_import" {
            names.stars.push(written.clone());
            continue;
        }
        let (name, alias) = aliased(names, part);
        let full = format!("{written}.{name}");
        names.bound.insert(alias, Value::Name(Table::get().plain(&full).to_owned()));
    }
}

fn javascript(names: &mut Names<'_>, node: Node<'_>) {
    let Some(source) = field(node, &["source"]) else { return };
    let module = names.value(source).partial().trim_start_matches("node:").to_owned();
    let mut waiting = children(node);
    while let Some(part) = waiting.pop() {
        match part.kind() {
            "import_specifier" => {
                let (name, alias) = aliased(names, part);
                let alias = if field(part, &["alias"]).is_some() { alias } else { name.clone() };
                let value = if name == "default" { module.clone() } else { format!("{module}.{name}") };
                names.bound.insert(alias, Value::Name(value));
            }
            "identifier" => {
                names.bound.insert(names.written(part).to_owned(), Value::Name(module.clone()));
            }
            "import_clause" | "named_imports" | "namespace_import" | "import_require_clause" => {
                waiting.extend(children(part))
            }
            _ => {}
        }
    }
}

/// Go names a package by the last name of its path.
fn go(names: &mut Names<'_>, node: Node<'_>) {
    let Some(path) = field(node, &["path"]) else { return };
    let path = names.written(path).trim_matches(['"', '`']).to_owned();
    let package = path.rsplit('/').next().unwrap_or(&path).to_owned();
    match field(node, &["name"]).map(|name| names.written(name)) {
        Some(".") => names.stars.push(package),
        Some(alias) => {
            names.bound.insert(alias.to_owned(), Value::Name(package));
        }
        None => {
            names.bound.insert(package.clone(), Value::Name(package));
        }
    }
}

/// `use a::{b as c, d::*};`
fn rust(names: &mut Names<'_>, tree: Node<'_>, before: &str, deep: u8) {
    let Some(deep) = deep.checked_sub(1) else { return };
    let full = |name: &str| {
        let name = name.replace("::", ".");
        if before.is_empty() { name } else { format!("{before}.{name}") }
    };
    match tree.kind() {
        "use_as_clause" => {
            if let (Some(path), Some(alias)) = (field(tree, &["path"]), field(tree, &["alias"])) {
                let value = full(names.written(path));
                names.bound.insert(
                    names.written(alias).to_owned(),
                    Value::Name(Table::get().plain(&value).to_owned()),
                );
            }
        }
        "scoped_use_list" => {
            let path = field(tree, &["path"]).map(|path| full(names.written(path))).unwrap_or_default();
            if let Some(list) = field(tree, &["list"]) {
                rust(names, list, &path, deep);
            }
        }
        "use_list" => children(tree).into_iter().for_each(|part| rust(names, part, before, deep)),
        "use_wildcard" => {
            let module = full(names.written(tree).trim_end_matches("::*"));
            names.stars.push(Table::get().plain(&module).to_owned());
        }
        _ => {
            let value = full(names.written(tree));
            let name = value.rsplit('.').next().unwrap_or(&value).to_owned();
            if name == "self" {
                let module = before.rsplit('.').next().unwrap_or(before).to_owned();
                names.bound.insert(module, Value::Name(Table::get().plain(before).to_owned()));
            } else {
                names.bound.insert(name, Value::Name(Table::get().plain(&value).to_owned()));
            }
        }
    }
}
