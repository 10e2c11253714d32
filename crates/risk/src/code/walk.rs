//! Every call of a text in order, with what is bound before it.

use tree_sitter::{Node, Tree};

use super::Language;
use super::act;
use super::callers::{Callers, Given};
use super::evaluate::{Around, Names};
use super::foreign;
use super::grammar::{self, Form, children, field, form, kind, known};
use super::guards;
use super::scope;
use super::send;
use super::table::Table;
use super::value::{HOLE, Value};
use crate::model::{Context, DEPTH_MAX, Found, Unresolved};
use crate::shell;
use crate::tree::Grammar;
use crate::work;

/// Most nodes that are looked at; a text has fewer than its bytes.
const NODES_MAX: usize = 20_000;
/// Units of work of one.
const NODE: usize = 200;

/// A node to be looked at, or the end of a function.
enum Step<'t> {
    Look { node: Node<'t>, branch: u32, around: Around, given: Option<Given> },
    Leave,
}

/// What running the text does. The stack is a list, so that depth costs no stack.
pub fn effects(language: Language, text: &str, tree: &Tree, context: &Context) -> Found {
    let mut names = Names::new(language, text, context);
    let callers = scope::survey(&mut names, tree);
    walked(names, tree, &callers)
}

fn walked<'a, 't>(mut names: Names<'a>, tree: &'t Tree, callers: &Callers<'a, 't>) -> Found {
    let language = names.language;
    let mut found = Found::default();
    let around = names.around;
    let mut waiting = vec![Step::Look { node: tree.root_node(), branch: 0, around, given: None }];
    let mut seen = 0;
    while let Some(step) = waiting.pop() {
        let Step::Look { node, branch, around, given } = step else {
            names.leave();
            continue;
        };
        seen += 1;
        if seen > NODES_MAX || !work::spend(NODE) {
            found.gap(Unresolved::new("limit.nodes", "the code is larger than is looked at"));
            break;
        }
        let of = known(node);
        if of.1 == Form::Function && scope::function(language, node) {
            if given.is_none()
                && !around.served
                && around.parent != "export_statement"
                && let Some(calls) = callers.given(&mut names, node)
            {
                let each = calls.into_iter().rev().map(Some);
                waiting.extend(each.map(|given| Step::Look { node, branch, around, given }));
                continue;
            }
            names.enter(node, around.served);
            names.bound.extend(given.into_iter().flatten());
            waiting.push(Step::Leave);
        }
        bind(&mut names, node, of.0, branch > 0);
        names.around = around;
        found.extend(looked_at(&mut names, node, of).at(&node.byte_range()));
        let branch = branch + u32::from(grammar::branches(of.0));
        let calls = of.1 == Form::Call;
        let serves = calls.then(|| serves(&names, node)).flatten().map(|list| list.id());
        let decorates = of.0 == "decorated_definition";
        let decorated = decorates && foreign::decorated(&names, node);
        let mocked = around.mocked || decorates && foreign::mocked(&names, node);
        let below = |child: Node<'_>| Around {
            served: around.served || decorated || serves == Some(child.id()),
            mocked,
            parent: of.0,
        };
        let look = |node| Step::Look { node, branch, around: below(node), given: None };
        let looks = children(node).into_iter().rev().map(look);
        waiting.extend(looks);
    }
    found
}

/// What one node does.
fn looked_at(names: &mut Names<'_>, node: Node<'_>, of: (&'static str, Form)) -> Found {
    let (kind, form) = of;
    let mut found = guards::off(names, node, of);
    match form {
        Form::Call => {
            names.goes_through(node);
            found.extend(called(names, node));
        }
        Form::Command => found.extend(command(names, node)),
        _ => {}
    }
    if kind == "return_statement" && names.around.served {
        let answered = children(node).first().map_or(Value::Unknown, |value| names.value(*value));
        found.extend(act::shown(std::slice::from_ref(&answered)));
    }
    if kind == "assignment_expression" {
        found.extend(loaded_from(names, node));
    }
    if kind == "macro_invocation" {
        if field(node, &["macro"]).is_some_and(|name| names.written(name).ends_with("asm")) {
            found.extend(act::gap("code.memory", "machine code that nothing checks"));
        }
        found.extend(expanded(names, node));
    }
    found
}

/// Whether the tokens may call what is known: most macros only show values.
fn calls(names: &Names<'_>, tokens: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let known = |name: &str| {
        let bound = names.bound.get(name);
        bound.is_some_and(|value| matches!(value, Value::Name(_) | Value::Process(_) | Value::Either(_)))
            || Table::get().call(names.language, name).is_some()
            || Table::get().exact(names.language, &format!("?.{name}")).is_some_and(|rule| !rule.does.plain())
    };
    tokens.contains('(')
        && (tokens.contains("::") || tokens.split(|c| !word(c)).any(|name| !name.is_empty() && known(name)))
}

/// A page asks for whatever a source or an address is set to.
fn loaded_from(names: &Names<'_>, node: Node<'_>) -> Found {
    let target = field(node, &["left"]).map(|left| names.written(left)).unwrap_or_default();
    let asks = [".src", ".href", "location"].iter().any(|end| target.ends_with(end));
    let markup = [".innerHTML", ".outerHTML"].iter().any(|end| target.ends_with(end));
    match field(node, &["right"]).filter(|_| asks || markup).map(|value| names.value(value)) {
        Some(value) if value.secret() => send::secret(&value),
        Some(value) if markup && value.foreign() => {
            act::gap("code.template", "whoever made the address writes a part of the page")
        }
        _ => Found::default(),
    }
}

/// What a macro of Rust's is given is read as its arguments: nothing else is known of it.
fn expanded(names: &Names<'_>, node: Node<'_>) -> Found {
    let Some(tokens) = children(node).into_iter().find(|part| kind(*part) == "token_tree") else {
        return Found::default();
    };
    let written = names.written(tokens);
    let Some(inner) = written.get(1..written.len().saturating_sub(1)).filter(|inner| calls(names, inner))
    else {
        return Found::default();
    };
    if names.context.depth >= DEPTH_MAX {
        return Unresolved::new("limit.depth", "code lies too deep within other code").into();
    }
    let text = format!("fn given() {{ given({inner}); }}");
    let Some((tree, _)) = grammar::parsed(names.language, Grammar::Rust, &text) else {
        return Unresolved::new("limit.work", "the code takes more looking at than is done").into();
    };
    // A macro with a grammar of its own says nothing that is read here.
    if tree.root_node().has_error() {
        return Found::default();
    }
    let context = act::inner(names.context);
    let mut within = Names::new(names.language, &text, &context);
    within.bound.clone_from(&names.bound);
    within.stars.clone_from(&names.stars);
    within.around = names.around;
    walked(within, &tree, &Callers::default())
}

/// The arguments of a call that makes them serve requests.
fn serves<'t>(names: &Names<'_>, node: Node<'t>) -> Option<Node<'t>> {
    let method = field(field(node, &["function"])?, &["property", "field", "attribute"])?;
    let object = field(node, &["function"]).and_then(|function| field(function, &["object"]));
    let own = object.is_some_and(|object| names.written(object) == "process");
    let list = field(node, &["arguments"])?;
    (Table::get().server(names.written(method)) && !own).then_some(list)
}

fn called(names: &mut Names<'_>, node: Node<'_>) -> Found {
    let Some(call) = names.called(node) else { return Found::default() };
    let found = act::call(names, &call);
    // A builder that is a variable keeps what it is given.
    if let Some(Value::Process(_)) = &call.receiver {
        let object = field(node, &["function"]).and_then(|function| field(function, &["value"]));
        if let Some(object) = object.filter(|object| form(*object) == Form::Name) {
            let value = names.result(&call);
            names.bind(names.written(object), value, false);
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
fn bind(names: &mut Names<'_>, node: Node<'_>, kind: &'static str, branch: bool) {
    match kind {
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
                let value = names.value(right);
                give(names, left, value, How { branch, declares: kind == "short_var_declaration" });
            }
        }
        "augmented_assignment" | "augmented_assignment_expression" | "operator_assignment" => {
            grow(names, node, branch)
        }
        "variable_declarator"
        | "var_spec"
        | "const_spec"
        | "let_declaration"
        | "const_item"
        | "static_item" => {
            let sides = (field(node, &["name", "pattern"]), field(node, &["value"]));
            if let (Some(left), Some(right)) = sides {
                let value = names.value(right);
                give(names, left, value, How { branch: false, declares: true });
            }
        }
        "with_item" | "as_pattern" => {
            let parts = children(node);
            let alias = field(node, &["alias"]).or(parts.get(1).copied());
            if let (Some(value), Some(alias)) = (parts.first(), alias) {
                let name = names.written(alias).to_owned();
                let value = names.value(*value);
                names.bind(&name, value, true);
            }
        }
        "for_statement" | "for_in_statement" | "for_expression" | "range_clause" => looped(names, node),
        // What runs for each comes before the names that it uses.
        "list_comprehension" | "set_comprehension" | "dictionary_comprehension" | "generator_expression" => {
            children(node)
                .into_iter()
                .filter(|part| grammar::kind(*part) == "for_in_clause")
                .for_each(|part| looped(names, part));
        }
        "global_statement" | "nonlocal_statement" => names.disown(node),
        "field_definition" | "public_field_definition" => {
            let sides = (field(node, &["name", "property"]), field(node, &["value"]));
            if let (Some(name), Some(value)) = sides {
                let value = names.value(value);
                names.bind(&format!("this.{}", names.written(name)), value, false);
            }
        }
        _ => {}
    }
}

/// How a value is given: perhaps only sometimes, perhaps to a new name.
#[derive(Clone, Copy)]
struct How {
    branch: bool,
    declares: bool,
}

fn give(names: &mut Names<'_>, left: Node<'_>, value: Value, how: How) {
    match kind(left) {
        "object_pattern" => unpack(names, left, &value, how),
        "expression_list" | "pattern_list" | "tuple_pattern" | "left_assignment_list" | "array_pattern" => {
            let each = children(left);
            let values = match placed(value, each.len()) {
                // `x, err := f()`: the first is what counts.
                Value::List(values) if values.len() == each.len() => values,
                Value::Secret => vec![Value::Secret; each.len()],
                Value::List(mut values) if values.len() == 1 => vec![values.pop().unwrap_or(Value::Unknown)],
                other => vec![other],
            };
            let values = values.into_iter().chain(std::iter::repeat(Value::Unknown));
            each.into_iter().zip(values).for_each(|(name, value)| give(names, name, value, how));
        }
        _ => {
            let name = names.written(left).trim_start_matches("mut ").to_owned();
            let value = match (how.branch, names.bound.get(&name).cloned()) {
                (true, Some(before)) => before.or(value),
                _ => value,
            };
            names.bind(&name, value, how.declares);
        }
    }
}

/// Lists of which one is taken apart: each place may hold what any of them has there.
fn placed(value: Value, places: usize) -> Value {
    let Value::Either(ways) = &value else { return value };
    let lists = ways.iter().map(|way| match way {
        Value::List(values) if values.len() == places => Some(values.clone()),
        _ => None,
    });
    let Some(lists) = lists.collect::<Option<Vec<_>>>() else { return value };
    let either = |one: Vec<Value>, other: Vec<Value>| -> Vec<Value> {
        one.into_iter().zip(other).map(|(one, other)| one.or(other)).collect()
    };
    lists.into_iter().reduce(either).map_or(value, Value::List)
}

/// `const { exec, spawn: run } = require('child_process')`.
fn unpack(names: &mut Names<'_>, pattern: Node<'_>, value: &Value, how: How) {
    let of = |members: &[(String, Value)], key: &str| {
        members.iter().find(|(known, _)| known == key).map_or(Value::Unknown, |(_, value)| value.clone())
    };
    for part in children(pattern) {
        let (key, name) = match (field(part, &["key"]), field(part, &["value"])) {
            (Some(key), Some(name)) => (member_key(names, key), names.written(name)),
            _ => (names.written(part).to_owned(), names.written(part)),
        };
        let member = match value {
            Value::Name(object) => names.named_member(object, &key),
            Value::Map(members) => of(members, &key),
            // Whichever of them it is.
            Value::Either(ways) => ways
                .iter()
                .map(|way| if let Value::Map(members) = way { of(members, &key) } else { Value::Unknown })
                .reduce(Value::or)
                .unwrap_or(Value::Unknown),
            Value::Secret if !Table::get().harmless(&key) => Value::Secret,
            Value::Foreign => Value::Foreign,
            _ => Value::Unknown,
        };
        names.bind(name, member, how.declares);
    }
}

/// `{ [`ex${'ec'}`]: run }` names the member by an expression.
fn member_key(names: &Names<'_>, key: Node<'_>) -> String {
    match kind(key) {
        "computed_property_name" => {
            children(key).first().map_or(HOLE.to_string(), |inner| names.value(*inner).partial())
        }
        _ => names.written(key).trim_matches(['"', '\'']).to_owned(),
    }
}

/// `x += y`.
fn grow(names: &mut Names<'_>, node: Node<'_>, branch: bool) {
    if let (Some(left), Some(right)) = (field(node, &["left"]), field(node, &["right"])) {
        let before = names.value(left);
        let grown = before.joined(&names.value(right));
        // It may grow never, once, or with each round.
        let value = if branch { before.or(grown).or(Value::Unknown) } else { grown };
        names.bind(names.written(left), value, false);
    }
}

/// Loops over a known list run with each of its values.
fn looped(names: &mut Names<'_>, node: Node<'_>) {
    let sides = (field(node, &["left", "pattern"]), field(node, &["right", "value"]));
    if let (Some(left), Some(right)) = sides {
        let value = match names.value(right) {
            Value::List(values) => values.into_iter().reduce(Value::or).unwrap_or(Value::Unknown),
            Value::Secret => Value::Secret,
            Value::Foreign => Value::Foreign,
            Value::Name(name) => match Table::get().service(&name) {
                Some(service) => Value::Name(format!("{service}.?")),
                None => Value::Unknown,
            },
            // Each of what a listing or a service gives.
            Value::Each(one) => *one,
            _ => Value::Unknown,
        };
        give(names, left, value, How { branch: false, declares: true });
    }
}

fn import(names: &mut Names<'_>, node: Node<'_>) {
    names.answers.get_mut().clear();
    match (names.language, kind(node)) {
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
        names.bind(&name, Value::Name(Table::get().plain(&value).to_owned()), true);
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
        if kind(part) == "wildcard_import" {
            names.stars.push(written.clone());
            continue;
        }
        let (name, alias) = aliased(names, part);
        let full = format!("{written}.{name}");
        names.bind(&alias, Value::Name(Table::get().plain(&full).to_owned()), true);
    }
}

fn javascript(names: &mut Names<'_>, node: Node<'_>) {
    let Some(source) = field(node, &["source"]) else { return };
    let module = names.value(source).partial().trim_start_matches("node:").to_owned();
    let mut waiting = children(node);
    while let Some(part) = waiting.pop() {
        match kind(part) {
            "import_specifier" => {
                let (name, alias) = aliased(names, part);
                let alias = if field(part, &["alias"]).is_some() { alias } else { name.clone() };
                let value = if name == "default" { module.clone() } else { format!("{module}.{name}") };
                names.bind(&alias, Value::Name(value), true);
            }
            "identifier" => {
                names.bind(names.written(part), Value::Name(module.clone()), true);
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
            names.bind(alias, Value::Name(package), true);
        }
        None => {
            names.bind(&package.clone(), Value::Name(package), true);
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
    match kind(tree) {
        "use_as_clause" => {
            if let (Some(path), Some(alias)) = (field(tree, &["path"]), field(tree, &["alias"])) {
                let value = full(names.written(path));
                names.bind(names.written(alias), Value::Name(Table::get().plain(&value).to_owned()), true);
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
                names.bind(&module, Value::Name(Table::get().plain(before).to_owned()), true);
            } else {
                names.bind(&name, Value::Name(Table::get().plain(&value).to_owned()), true);
            }
        }
    }
}
