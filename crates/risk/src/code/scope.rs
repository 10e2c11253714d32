//! Which variable a name stands for: functions have names of their own.
//!
//! Invariant: a name that may have been given another value elsewhere (by a function, or
//! before a function is called) is never known for certain where that could be.

use std::collections::{HashMap, HashSet};

use tree_sitter::{Node, Tree};

use super::Language;
use super::callers::Callers;
use super::evaluate::Names;
use super::foreign;
use super::grammar::{self, Form, children, field, form, kind, known};
use super::table::Table;
use super::value::Value;
use crate::work;

/// Nodes that are looked at before the walk; the walk itself stops no later.
const NODES_MAX: usize = 20_000;
const NODE: usize = 60;
/// Stands for fields whose names are only known when the code runs.
const ANY_FIELD: &str = "[]";
/// Nodes of what is given a value that are looked at.
const TARGETS_MAX: usize = 64;

/// The names of one function while it is walked.
#[derive(Debug, Default)]
pub struct Frame {
    /// What its own names stood for outside.
    own: HashMap<String, Option<Value>>,
    /// Names that it says are not its own.
    outer: HashSet<String>,
    /// Names that are given a value belong to what is around it (Ruby's blocks).
    open: bool,
}

impl Names<'_> {
    /// Gives a name a value. `declares`: the statement makes a name of this function.
    pub fn bind(&mut self, name: &str, value: Value, declares: bool) {
        self.answers.get_mut().clear();
        // What holds wherever methods are called: functions have no such names of their own.
        let own = ["self.", "this.", "@"].iter().find_map(|own| name.strip_prefix(own));
        if own.is_some_and(|own| self.fixed.contains(own)) && value != Value::Unknown {
            self.fields.insert(name.to_owned(), value.clone().bounded());
        }
        let assigns = matches!(self.language, Language::Python | Language::Ruby);
        match self.frames.last_mut() {
            // What a block gives the first value is its own.
            Some(frame)
                if (!frame.open || !self.bound.contains_key(name))
                    && !frame.outer.contains(name)
                    && (declares || assigns) =>
            {
                let before = self.bound.get(name).cloned();
                frame.own.entry(name.to_owned()).or_insert(before);
                self.bound.insert(name.to_owned(), value.bounded());
            }
            Some(frame) if frame.own.contains_key(name) => {
                self.bound.insert(name.to_owned(), value.bounded());
            }
            Some(_) if self.late.contains(name) => {
                self.bound.insert(name.to_owned(), value.bounded());
            }
            // A function that may never be called, or called later.
            Some(_) => {
                let before = self.bound.get(name).cloned().unwrap_or(Value::Unknown);
                self.bound.insert(name.to_owned(), before.or(value).bounded());
            }
            None => {
                self.bound.insert(name.to_owned(), value.bounded());
            }
        }
    }

    /// Whether the name may stand for something else by the time that this runs.
    pub fn unsure(&self, name: &str) -> bool {
        let own = self.frames.iter().any(|frame| frame.own.contains_key(name));
        !own && (self.shared.contains(name) || !self.frames.is_empty() && self.changing.contains(name))
    }

    /// Begins a function: its parameters are whatever it is called with.
    /// `served`: it serves requests.
    pub fn enter(&mut self, node: Node<'_>, served: bool) {
        self.answers.get_mut().clear();
        let open = matches!(kind(node), "block" | "do_block") && self.language == Language::Ruby;
        let mut frame = Frame { open, ..Frame::default() };
        let mut element = self.elements.remove(&node.id());
        for (name, part) in self.parameters(node) {
            let value = element.take().unwrap_or_else(|| foreign::parameter(self, part, &name, served));
            let value = match (value, field(part, &["value", "right"])) {
                (Value::Unknown, Some(default)) => self.value(default).or(Value::Unknown),
                (value, _) => value,
            };
            let before = self.bound.insert(name.clone(), value);
            frame.own.entry(name).or_insert(before);
        }
        self.frames.push(frame);
    }

    /// Remembers what a function is called with that goes through a listing:
    /// `files.forEach(f => ..)`.
    pub fn goes_through(&mut self, call: Node<'_>) {
        const METHODS: [&str; 7] = ["forEach", "map", "filter", "each", "some", "every", "flatMap"];
        let part = |name| {
            field(call, &["function"]).map_or_else(
                || field(call, &[name]),
                |function| field(function, &[if name == "method" { "property" } else { "object" }]),
            )
        };
        // `Dir.mktmpdir do |dir|`
        if let Some(block) = field(call, &["block"])
            && self.value(call) == Value::Temp
        {
            self.elements.insert(block.id(), Value::Temp);
        }
        let (Some(method), Some(object)) = (part("method"), part("receiver")) else { return };
        let list = field(call, &["arguments"]).and_then(|list| children(list).first().copied());
        let goes = field(call, &["block"]).or(list).filter(|node| form(*node) == Form::Function);
        let Some(function) = goes.filter(|_| METHODS.contains(&self.written(method))) else { return };
        let element = match self.value(object) {
            Value::Each(one) => Some(*one),
            Value::List(values) => values.into_iter().reduce(Value::or),
            Value::Name(name) => {
                Table::get().service(&name).map(|service| Value::Name(format!("{service}.?")))
            }
            _ => None,
        };
        if let Some(element) = element {
            self.elements.insert(function.id(), element.bounded());
        }
    }

    pub fn leave(&mut self) {
        self.answers.get_mut().clear();
        let Some(frame) = self.frames.pop() else { return };
        for (name, before) in frame.own {
            match before {
                Some(value) => self.bound.insert(name, value),
                None => self.bound.remove(&name),
            };
        }
    }

    /// `global x`, `nonlocal x`.
    pub fn disown(&mut self, node: Node<'_>) {
        let names: Vec<String> =
            children(node).into_iter().map(|name| self.written(name).to_owned()).collect();
        if let Some(frame) = self.frames.last_mut() {
            frame.outer.extend(names);
        }
    }

    /// Names of the parameters, each with the parameter that it is in.
    fn parameters<'t>(&self, node: Node<'t>) -> Vec<(String, Node<'t>)> {
        let Some(list) = field(node, &["parameters", "parameter"]) else { return Vec::new() };
        if form(list) == Form::Name {
            return vec![(self.written(list).to_owned(), list)];
        }
        let named = |part: Node<'t>| self.parameter(part, 6).into_iter().map(move |name| (name, part));
        children(list).into_iter().flat_map(named).collect()
    }

    /// The names within a parameter; its default and its type give none.
    fn parameter(&self, part: Node<'_>, deep: u8) -> Vec<String> {
        let Some(deep) = deep.checked_sub(1) else { return Vec::new() };
        if form(part) == Form::Name || kind(part) == "shorthand_property_identifier_pattern" {
            return vec![self.written(part).to_owned()];
        }
        match field(part, &["name", "pattern", "left"]) {
            Some(name) => self.parameter(name, deep),
            None => children(part)
                .into_iter()
                .filter(|child| !kind(*child).contains("type") && kind(*child) != "default_value")
                .flat_map(|child| self.parameter(child, deep))
                .collect(),
        }
    }
}

/// Whether the node is a function with names of its own. Blocks of most languages are not.
pub fn function(language: Language, node: Node<'_>) -> bool {
    form(node) == Form::Function
        && (language == Language::Ruby || !matches!(kind(node), "block" | "do_block"))
}

/// Names outside of functions that are given a value more than once, and those that
/// functions give one; who calls what.
pub fn survey<'a, 't>(names: &mut Names<'a>, tree: &'t Tree) -> Callers<'a, 't> {
    if names.scripts() {
        // Functions of the text itself are there before anything runs.
        let own = children(tree.root_node()).into_iter().filter(|node| kind(*node) == "function_declaration");
        let own = own.filter_map(|node| field(node, &["name"])).map(|name| names.written(name).to_owned());
        names.bound = own.map(|name| (name, Value::Function)).collect();
    }
    let mut counts: HashMap<&str, u32> = HashMap::new();
    let mut inside: HashSet<&str> = HashSet::new();
    let mut empty: HashSet<&str> = HashSet::new();
    // How often names get a value, wherever.
    let mut gifts: HashMap<&str, u32> = HashMap::new();
    // How often fields get one, of whatever object; of several classes nobody knows which.
    let mut fields: HashMap<String, u32> = HashMap::new();
    let mut classes = 0_u32;
    let mut callers = Callers::default();
    let mut waiting = vec![(tree.root_node(), false)];
    let mut seen = 0;
    while let Some((node, within)) = waiting.pop() {
        seen += 1;
        if seen > NODES_MAX || !work::spend(NODE) {
            break;
        }
        let of = known(node);
        callers.note(names, node, of);
        fields_given(names, node, of.0, &mut fields);
        classes += u32::from(matches!(
            of.0,
            "class_definition" | "class_declaration" | "abstract_class_declaration" | "class"
        ));
        match (of.0, within) {
            ("global_statement" | "nonlocal_statement", _) => {
                inside.extend(children(node).into_iter().map(|name| names.written(name)));
            }
            ("variable_declarator", false) if field(node, &["value"]).is_none() => {
                let name = field(node, &["name"]).map(|name| names.written(name)).unwrap_or_default();
                empty.insert(name);
                counts.entry(name).or_default();
            }
            (kind, false) if gives(kind) => {
                if let Some(left) = field(node, &["left", "name", "pattern"]) {
                    *counts.entry(names.written(left)).or_default() += 1;
                    *gifts.entry(names.written(left)).or_default() += 1;
                }
            }
            ("assignment_expression" | "augmented_assignment_expression" | "assignment_statement", true) => {
                let left = field(node, &["left"]).map(|left| names.written(left)).unwrap_or_default();
                inside.insert(left);
                *gifts.entry(left).or_default() += 1;
            }
            _ => {}
        }
        let within = within || of.1 == Form::Function && function(names.language, node);
        waiting.extend(children(node).into_iter().map(|child| (child, within)));
    }
    let twice = counts.iter().filter(|(_, count)| **count > 1).map(|(name, _)| (*name).to_owned());
    names.changing = twice.collect();
    // Given a value at one place alone, they have that one wherever they have any.
    let once = empty.into_iter().filter(|name| gifts.get(name) == Some(&1));
    names.late = once.map(str::to_owned).collect();
    let shared = inside.into_iter().filter(|name| counts.contains_key(name));
    names.shared = shared.filter(|name| !names.late.contains(*name)).map(str::to_owned).collect();
    callers.closed =
        (callers.any() || !fields.is_empty()) && !Table::get().by_name(names.language, names.text);
    if classes <= 1 && callers.closed && !fields.contains_key(ANY_FIELD) {
        names.fixed = fields.into_iter().filter(|(_, count)| *count == 1).map(|(name, _)| name).collect();
    }
    callers
}

/// Counts what fields are given values, wherever and of whatever object.
fn fields_given(names: &Names<'_>, node: Node<'_>, kind: &str, fields: &mut HashMap<String, u32>) {
    let target = match kind {
        "field_definition" | "public_field_definition" => {
            if let Some(name) = field(node, &["name", "property"]) {
                *fields.entry(names.written(name).to_owned()).or_default() += 1;
            }
            None
        }
        "as_pattern" => field(node, &["alias"]),
        "for_in_clause" | "for_in_statement" | "for_expression" => field(node, &["left", "pattern"]),
        kind if gives(kind) => field(node, &["left", "name", "pattern"]),
        _ => None,
    };
    let mut waiting: Vec<_> = target.into_iter().collect();
    let mut seen = 0;
    while let Some(part) = waiting.pop() {
        seen += 1;
        // `this[name] = x` may be any of them.
        if form(part) == Form::Index && names.scripts() {
            fields.insert(ANY_FIELD.to_owned(), 1);
            continue;
        }
        let name = match grammar::member(part) {
            Some((_, name)) => Some(name),
            None if grammar::kind(part) == "instance_variable" => Some(part),
            // `a.out = x` is a call to Ruby.
            None => field(part, &["method"]),
        };
        match name {
            Some(name) => {
                let name = names.written(name).trim_start_matches('@').to_owned();
                *fields.entry(name).or_default() += 1;
            }
            None if seen < TARGETS_MAX => waiting.extend(children(part)),
            None => {}
        }
    }
}

fn gives(kind: &str) -> bool {
    matches!(
        kind,
        "assignment"
            | "assignment_expression"
            | "assignment_statement"
            | "short_var_declaration"
            | "augmented_assignment"
            | "augmented_assignment_expression"
            | "operator_assignment"
            | "variable_declarator"
            | "var_spec"
            | "let_declaration"
            | "for_statement"
            | "named_expression"
    )
}
