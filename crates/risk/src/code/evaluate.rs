//! From expressions to values, through imports and constants.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use tree_sitter::Node;

use super::Language;
use super::answers::path_joined;
use super::grammar::{self, Form, children, field, form, kind};
use super::scope::Frame;
use super::table::Table;
use super::texts::{braces, formatted, unescaped, unquoted};
use super::value::{HOLE, SIZE_DEEP, Value};
use crate::model::Context;
use crate::work;

/// Expressions within expressions that are followed.
const DEEP: u8 = 48;
/// Size of a call's answer that is kept.
const ANSWER_MAX: usize = 256;
/// Units of work of one expression.
const EXPRESSION: usize = 150;

/// What is around a place of the text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around {
    /// It serves requests.
    pub served: bool,
    /// The cloud is a stand-in (`moto`).
    pub mocked: bool,
    /// The kind of what it stands in; asking the tree for it costs a walk from its root.
    pub parent: &'static str,
}

/// What names stand for, at one place of the text.
pub struct Names<'a> {
    pub language: Language,
    pub text: &'a str,
    pub context: &'a Context,
    pub bound: HashMap<String, Value>,
    /// Modules all of whose names are there (`from os import *`).
    pub stars: Vec<String>,
    /// What calls answer, until a name stands for something else.
    pub answers: RefCell<HashMap<usize, Value>>,
    /// The functions that are walked right now, the innermost last.
    pub frames: Vec<Frame>,
    /// Names outside of functions that get several values, and those that functions change.
    pub changing: HashSet<String>,
    pub shared: HashSet<String>,
    /// What fields of the object at hand hold that get a value at one place, and which do.
    pub fields: HashMap<String, Value>,
    pub fixed: HashSet<String>,
    /// Names that are declared without a value and get one at one place.
    pub late: HashSet<String>,
    /// What is around what is looked at right now.
    pub around: Around,
    /// What functions that are still to be walked are called with, by their nodes.
    pub elements: HashMap<usize, Value>,
}

/// A call, taken apart.
#[derive(Clone)]
pub struct Call<'t> {
    /// The full name, as far as it is known; `?.x` for a method of something unknown.
    pub name: String,
    pub receiver: Option<Value>,
    pub args: Vec<Value>,
    pub named: Vec<(String, Value)>,
    pub node: Node<'t>,
}

impl Call<'_> {
    /// The argument that a rule is about.
    pub fn at(&self, at: i8) -> Option<&Value> {
        match usize::try_from(at) {
            Ok(at) => self.args.get(at),
            Err(_) => self.receiver.as_ref(),
        }
    }

    /// The function that `partial` answers with, where it is given nothing before its arguments.
    pub fn same(&self) -> Option<&Value> {
        const PLAIN: [&str; 7] =
            ["text", "capture_output", "check", "stdout", "stderr", "encoding", "universal_newlines"];
        let plain = self.named.iter().all(|(name, _)| PLAIN.contains(&name.as_str()));
        match self.args.as_slice() {
            [function] if plain && matches!(self.name.as_str(), "functools.partial" | "partial") => {
                Some(function)
            }
            _ => None,
        }
    }

    pub fn named(&self, name: &str) -> Option<&Value> {
        self.named.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl<'a> Names<'a> {
    pub fn new(language: Language, text: &'a str, context: &'a Context) -> Self {
        Self {
            language,
            text,
            context,
            bound: HashMap::new(),
            stars: Vec::new(),
            answers: RefCell::default(),
            frames: Vec::new(),
            changing: HashSet::new(),
            shared: HashSet::new(),
            fields: HashMap::new(),
            fixed: HashSet::new(),
            late: HashSet::new(),
            around: Around::default(),
            elements: HashMap::new(),
        }
    }

    pub fn written(&self, node: Node<'_>) -> &'a str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    pub fn value(&self, node: Node<'_>) -> Value {
        self.deep(node, DEEP)
    }

    fn deep(&self, node: Node<'_>, deep: u8) -> Value {
        let Some(deep) = deep.checked_sub(1).filter(|_| work::spend(EXPRESSION)) else {
            return Value::Unknown;
        };
        match form(node) {
            Form::Text => self.string(node, deep),
            Form::Name => self.named(self.written(node)),
            Form::Member => self.member(node, deep),
            Form::Index => self.index(node, deep),
            Form::Call => self.answered(node, deep),
            Form::Binary => self.binary(node, deep),
            Form::Unary => self.unary(node, deep),
            Form::List => self.list(node, deep),
            Form::Map => self.map(node, deep),
            Form::Choice => self.choice(node, deep),
            Form::Last => children(node).last().map_or(Value::Unknown, |last| self.deep(*last, deep)),
            Form::Constant => Value::Name(self.written(node).to_owned()),
            Form::Function => Value::Function,
            Form::Other if kind(node) == "macro_invocation" => self.formatting(node, deep),
            Form::Command | Form::Other => Value::Unknown,
        }
    }

    /// What a call answers; one within others is asked for by each of them.
    fn answered(&self, node: Node<'_>, deep: u8) -> Value {
        if let Some(value) = self.answers.borrow().get(&node.id()) {
            return value.clone();
        }
        let value = self.call(node, deep).map_or(Value::Unknown, |call| self.result(&call));
        // What was cut short by its depth is not kept, nor what takes much memory.
        if deep >= DEEP / 2 && value.size(SIZE_DEEP).is_some_and(|size| size <= ANSWER_MAX) {
            self.answers.borrow_mut().insert(node.id(), value.clone());
        }
        value
    }

    fn named(&self, name: &str) -> Value {
        match self.bound.get(name) {
            Some(value) => {
                // Copies of what is long are work as well.
                work::spend(8 * value.size(SIZE_DEEP).unwrap_or_default());
                match self.unsure(name) {
                    true => value.clone().or(Value::Unknown),
                    false => value.clone(),
                }
            }
            None if self.fields.contains_key(name) => self.fields[name].clone(),
            None => {
                work::spend(self.stars.len() * EXPRESSION);
                let plain = Table::get().plain(name);
                let star = self.stars.iter().map(|module| format!("{module}.{plain}"));
                let known = star.into_iter().find(|full| Table::get().exact(self.language, full).is_some());
                let meant = || Table::get().alias(self.language, plain).unwrap_or(plain).to_owned();
                self.known(known.unwrap_or_else(meant))
            }
        }
    }

    /// What a full name stands for where nothing was bound to it.
    pub fn known(&self, full: String) -> Value {
        match full.as_str() {
            name if Table::get().environment(name) => Value::Secret,
            name if Table::get().foreign(self.language, name) => Value::Foreign,
            // A source lies somewhere within its project.
            "__file__" | "__filename" | "import.meta.filename" => {
                Value::Text(format!("{}/src/main", self.context.project))
            }
            "__dirname" | "import.meta.dirname" => Value::Text(format!("{}/src", self.context.project)),
            "Rails.root" => Value::Text(self.context.project.clone()),
            _ => Value::Name(full),
        }
    }

    /// A text with its insertions; unknown insertions are holes.
    pub fn string(&self, node: Node<'_>, deep: u8) -> Value {
        let Some(deep) = deep.checked_sub(1) else { return Value::Unknown };
        let of = kind(node);
        if matches!(of, "integer" | "number") {
            return Value::Text(self.written(node).to_owned());
        }
        if of == "simple_symbol" {
            return Value::Text(self.written(node).trim_start_matches(':').to_owned());
        }
        let parts = children(node);
        if matches!(of, "concatenated_string" | "chained_string") {
            let empty = Value::Text(String::new());
            return parts.iter().fold(empty, |text, part| text.joined(&self.deep(*part, deep)));
        }
        if parts.is_empty() {
            return Value::Text(unquoted(self.written(node)).to_owned());
        }
        let mut text = Value::Text(String::new());
        for part in parts {
            let written = self.written(part);
            let value = match kind(part) {
                "string_start" | "string_end" => continue,
                "escape_sequence" => Value::Text(unescaped(written)),
                "interpolation" | "template_substitution" => {
                    children(part).first().map_or(Value::Unknown, |inner| self.deep(*inner, deep))
                }
                // A literal's own escapes lie within its content in some grammars.
                "string_content" if part.named_child_count() > 0 => self.escaped(part),
                _ => Value::Text(written.to_owned()),
            };
            text = text.joined(&value);
        }
        text
    }

    /// `format!("..{}", x)`: every insertion is a hole, one that whoever asks fills where any of
    /// what is named within it is theirs.
    fn formatting(&self, node: Node<'_>, deep: u8) -> Value {
        let name = field(node, &["macro"]).map(|name| self.written(name)).unwrap_or_default();
        let tokens = children(node).into_iter().find(|part| kind(*part) == "token_tree");
        let (Some(tokens), "format" | "concat" | "format_args") = (tokens, name) else {
            return Value::Unknown;
        };
        let parts = children(tokens);
        let Some(pattern) = parts.iter().find(|part| form(**part) == Form::Text) else {
            return Value::Unknown;
        };
        let text = self.deep(*pattern, deep).partial();
        let named = parts.iter().filter(|part| kind(**part) == "identifier").map(|part| self.written(*part));
        let within = text.split('{').skip(1).filter_map(|rest| rest.split(['}', ':', '.']).next());
        let foreign = named.chain(within).any(|name| self.bound.get(name).is_some_and(Value::foreign));
        Value::Text(braces(&text, if foreign { &Value::Foreign } else { &Value::Unknown }))
    }

    /// Content whose escapes are nodes of their own, with plain text between them.
    fn escaped(&self, node: Node<'_>) -> Value {
        let mut text = String::new();
        let mut at = node.start_byte();
        for part in children(node) {
            text.push_str(self.text.get(at..part.start_byte()).unwrap_or_default());
            text.push_str(&unescaped(self.written(part)));
            at = part.end_byte();
        }
        text.push_str(self.text.get(at..node.end_byte()).unwrap_or_default());
        Value::Text(text)
    }

    fn member(&self, node: Node<'_>, deep: u8) -> Value {
        match (self.written(node), self.fields.get(self.written(node))) {
            (_, Some(value)) => return value.clone(),
            // A place of its own in the grammar.
            (place @ ("import.meta.dirname" | "import.meta.filename"), _) => {
                return self.known(place.to_owned());
            }
            _ => {}
        }
        let Some((object, name)) = grammar::member(node) else { return Value::Unknown };
        let name = self.written(name);
        match object.map(|object| self.deep(object, deep)) {
            Some(Value::Name(object)) => self.named_member(&object, name),
            Some(Value::Map(members)) => value_of(&members, name),
            Some(Value::Secret) => self.variable(name),
            Some(Value::Foreign) => Value::Foreign,
            Some(Value::Text(text)) if name == "parent" => Value::Text(parent(&text)),
            // The constructor of any function compiles texts.
            Some(Value::Function) if name == "constructor" => Value::Name("Function".to_owned()),
            Some(Value::List(_)) if name != "constructor" && self.scripts() => Value::Function,
            Some(_) => Value::Unknown,
            None => self.named(name),
        }
    }

    pub fn named_member(&self, object: &str, name: &str) -> Value {
        let full = format!("{object}.{name}");
        self.known(Table::get().plain(&full).to_owned())
    }

    /// Whether pages and servers are written in it.
    pub fn scripts(&self) -> bool {
        matches!(self.language, Language::JavaScript | Language::TypeScript)
    }

    /// One variable of the environment.
    pub fn variable(&self, name: &str) -> Value {
        match name {
            "HOME" | "USERPROFILE" => Value::Text(self.context.home.clone()),
            "PWD" => Value::Text(self.context.cwd.clone()),
            name if Table::get().harmless(name) => Value::Unknown,
            _ => Value::Secret,
        }
    }

    fn index(&self, node: Node<'_>, deep: u8) -> Value {
        let parts = children(node);
        let object = field(node, &["value", "object", "operand"]).or(parts.first().copied());
        let index = field(node, &["subscript", "index"]).or(parts.get(1).copied());
        let (Some(object_node), Some(index)) = (object, index) else { return Value::Unknown };
        let (object, key) = (self.deep(object_node, deep), self.deep(index, deep));
        match (object, key.text()) {
            (Value::Name(object), Some(module)) if object == "sys.modules" => Value::Name(module.to_owned()),
            (Value::Name(object), Some(key)) => self.named_member(&object, key),
            (Value::Name(object), None) if Table::get().sensitive(&object) => {
                Value::Name(format!("{object}.{HOLE}"))
            }
            (Value::Map(members), Some(key)) => value_of(&members, key),
            // Which of them nobody knows before it runs.
            (Value::Map(members), None) => {
                members.into_iter().map(|(_, value)| value).reduce(Value::or).unwrap_or(Value::Unknown)
            }
            (Value::Secret, Some(key)) => self.variable(key),
            (Value::Foreign, _) => Value::Foreign,
            (Value::Secret, None) => Value::Secret,
            (Value::Text(text), Some(up)) if self.written(object_node).ends_with(".parents") => {
                let up = up.parse::<usize>().unwrap_or(0).min(8);
                Value::Text((0..=up).fold(text, |path, _| parent(&path)))
            }
            (Value::List(values), Some(key)) => {
                key.parse::<usize>().ok().and_then(|at| values.get(at).cloned()).unwrap_or(Value::Unknown)
            }
            (Value::Text(text), _) if self.written(index).replace(' ', "") == "::-1" => {
                Value::Text(text.chars().rev().collect())
            }
            _ => Value::Unknown,
        }
    }

    fn binary(&self, node: Node<'_>, deep: u8) -> Value {
        let sides = (field(node, &["left"]), field(node, &["right"]));
        let (Some(left), Some(right)) = sides else { return Value::Unknown };
        let operator = field(node, &["operator"]).map(|operator| self.written(operator)).unwrap_or_default();
        let (left, right) = (self.deep(left, deep), self.deep(right, deep));
        match operator {
            "+" | "<<" => left.joined(&right),
            "/" if self.language == Language::Python => path_joined(&[left, right]),
            "%" => formatted(&left, &right),
            "||" | "or" | "??" => left.or(right),
            "&&" | "and" => right,
            _ => Value::Unknown,
        }
    }

    fn unary(&self, node: Node<'_>, deep: u8) -> Value {
        let inner = field(node, &["argument", "value", "operand", "function"])
            .or_else(|| children(node).first().copied());
        inner.map_or(Value::Unknown, |inner| self.deep(inner, deep))
    }

    fn list(&self, node: Node<'_>, deep: u8) -> Value {
        if kind(node) == "composite_literal" {
            return field(node, &["body"]).map_or(Value::Unknown, |body| self.list(body, deep));
        }
        if kind(node) == "literal_value" && children(node).iter().any(|part| kind(*part) == "keyed_element") {
            return Value::Unknown;
        }
        let element = |part: &Node<'_>| match kind(*part) {
            "literal_element" => {
                children(*part).first().map_or(Value::Unknown, |inner| self.deep(*inner, deep))
            }
            _ => self.deep(*part, deep),
        };
        let mut elements = Vec::new();
        for part in children(node) {
            match spreads(part) {
                true => elements.extend(self.spread(part, deep)),
                false => elements.push(element(&part)),
            }
        }
        Value::List(elements)
    }

    /// The elements that a list is written out for; one that is not known where the list is not.
    fn spread(&self, node: Node<'_>, deep: u8) -> Vec<Value> {
        match children(node).first().map_or(Value::Unknown, |inner| self.deep(*inner, deep)) {
            Value::List(elements) => elements,
            // Its letters.
            Value::Text(_) => vec![Value::Unknown],
            other => vec![other],
        }
    }

    fn map(&self, node: Node<'_>, deep: u8) -> Value {
        let mut members = Vec::new();
        for pair in children(node) {
            if let (Some(key), Some(value)) = (field(pair, &["key"]), field(pair, &["value"])) {
                let name = match self.deep(key, deep) {
                    Value::Text(text) if form(key) == Form::Text => text,
                    _ => self.written(key).trim_end_matches(':').to_owned(),
                };
                members.push((name, self.deep(value, deep)));
            } else {
                members.push((
                    self.written(pair).trim_start_matches(['.', '*']).to_owned(),
                    self.unary_or(pair, deep),
                ));
            }
        }
        Value::Map(members)
    }

    fn unary_or(&self, node: Node<'_>, deep: u8) -> Value {
        match form(node) {
            Form::Name => self.named(self.written(node)),
            _ => children(node).first().map_or(Value::Unknown, |inner| self.deep(*inner, deep)),
        }
    }

    fn choice(&self, node: Node<'_>, deep: u8) -> Value {
        let parts = children(node);
        // Python writes the condition between the two, the others before them.
        let (first, second) = match kind(node) {
            "conditional_expression" => (parts.first(), parts.get(2)),
            _ => (parts.get(1), parts.get(2)),
        };
        let condition = match kind(node) {
            "conditional_expression" => parts.get(1),
            _ => parts.first(),
        };
        // What is looked for in a list is one of it.
        let tested = condition.is_some_and(|condition| {
            let written = self.written(*condition);
            ["include?", ".includes(", " in ", ".has(", "contains"].iter().any(|test| written.contains(test))
        });
        match (first, second) {
            (Some(first), Some(second)) => {
                let ways = [self.deep(*first, deep), self.deep(*second, deep)];
                let [first, second] =
                    ways.map(|way| if tested && way.foreign() { Value::Unknown } else { way });
                first.or(second)
            }
            _ => Value::Unknown,
        }
    }

    /// The call at a node.
    pub fn called<'t>(&self, node: Node<'t>) -> Option<Call<'t>> {
        self.call(node, DEEP)
    }

    fn call<'t>(&self, node: Node<'t>, deep: u8) -> Option<Call<'t>> {
        let deep = deep.checked_sub(1)?;
        let (name, receiver) = self.callee(node, deep)?;
        let (args, named) = self.arguments(node, deep);
        Some(Call { name: Table::get().plain(&name).to_owned(), receiver, args, named, node })
    }

    /// The full name of what is called, and what it belongs to.
    fn callee(&self, node: Node<'_>, deep: u8) -> Option<(String, Option<Value>)> {
        if self.language == Language::Ruby {
            return self.ruby_callee(node, deep);
        }
        let function = field(node, &["function", "constructor"])?;
        let function = bare(function);
        if form(function) == Form::Member {
            let (object, name) = grammar::member(function)?;
            let receiver = object.map(|object| self.picked(self.deep(object, deep)));
            // The constructor of any function compiles texts.
            if receiver == Some(Value::Function) && self.written(name) == "constructor" {
                return Some(("Function".to_owned(), None));
            }
            let full = match &receiver {
                Some(Value::Name(object)) => format!("{object}.{}", self.written(name)),
                None => self.written(name).to_owned(),
                _ => format!("?.{}", self.written(name)),
            };
            return Some((full, receiver));
        }
        // `handlers[request.name](x)`
        if form(function) == Form::Index
            && let Some(key) = field(function, &["subscript", "index"])
            && self.deep(key, deep).foreign()
        {
            return Some((format!("?.{HOLE}"), None));
        }
        match self.picked(self.deep(function, deep)) {
            Value::Name(name) => Some((name, None)),
            _ => None,
        }
    }

    /// Of several ways the one that does most harm: which is called nobody knows.
    fn picked(&self, value: Value) -> Value {
        let Value::Either(ways) = value else { return value };
        let harm = |way: &Value| match way {
            Value::Name(name) => {
                let rule = Table::get().exact(self.language, name);
                let dangerous = rule.is_some_and(|rule| rule.does.dangerous());
                1 + 2 * u8::from(dangerous) + u8::from(Table::get().sensitive(name))
            }
            Value::Process(_) => 2,
            _ => 0,
        };
        ways.into_iter().max_by_key(harm).unwrap_or(Value::Unknown)
    }

    fn ruby_callee(&self, node: Node<'_>, deep: u8) -> Option<(String, Option<Value>)> {
        let method = field(node, &["method"]).map(|method| self.written(method)).unwrap_or("call");
        match field(node, &["receiver"]).map(|receiver| self.picked(self.deep(receiver, deep))) {
            None => Some((method.to_owned(), None)),
            Some(Value::Name(object)) if object.starts_with(char::is_uppercase) || object == "binding" => {
                Some((format!("{}.{method}", object.replace("::", ".")), Some(Value::Name(object))))
            }
            Some(other) => Some((format!("?.{method}"), Some(other))),
        }
    }

    fn arguments(&self, node: Node<'_>, deep: u8) -> (Vec<Value>, Vec<(String, Value)>) {
        let Some(list) = field(node, &["arguments"]) else { return (Vec::new(), Vec::new()) };
        if form(list) == Form::Text {
            return (vec![self.deep(list, deep)], Vec::new());
        }
        let (mut args, mut named) = (Vec::new(), Vec::new());
        for part in children(list) {
            let pair = matches!(kind(part), "keyword_argument" | "pair");
            match (field(part, &["name", "key"]), field(part, &["value"])) {
                (Some(key), Some(value)) if pair => {
                    let key = self.written(key).trim_start_matches(':').trim_matches(['"', '\'']);
                    named.push((key.to_owned(), self.deep(value, deep)));
                }
                _ if kind(part) == "dictionary_splat" => {
                    named.push(("**".to_owned(), self.unary_or(part, deep)));
                }
                _ if spreads(part) => args.extend(self.spread(part, deep)),
                _ => args.push(self.deep(part, deep)),
            }
        }
        (args, named)
    }
}

/// Whether a list stands for its elements here.
fn spreads(node: Node<'_>) -> bool {
    matches!(kind(node), "list_splat" | "spread_element" | "splat_argument" | "variadic_argument")
}

/// Without parentheses and the like.
fn bare(mut node: Node<'_>) -> Node<'_> {
    for _ in 0..DEEP {
        let inner = match form(node) {
            Form::Unary => field(node, &["argument", "value", "operand", "function"])
                .or_else(|| children(node).first().copied()),
            Form::Last => children(node).last().copied(),
            _ => None,
        };
        match inner {
            Some(inner) => node = inner,
            None => break,
        }
    }
    node
}

/// The directory that a path lies in.
pub fn parent(path: &str) -> String {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((parent, _)) => parent.to_owned(),
        None => ".".to_owned(),
    }
}

fn value_of(members: &[(String, Value)], name: &str) -> Value {
    members.iter().find(|(key, _)| key == name).map_or(Value::Unknown, |(_, value)| value.clone())
}
