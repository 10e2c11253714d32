//! Functions that are called with what the text itself says: they are read once for each call.
//!
//! Invariant: only functions that are mentioned nowhere else, and that others cannot call; only
//! arguments that are written out, for what a name stands for by then is not known yet.

use rustc_hash::{FxHashMap, FxHashSet};
use tree_sitter::Node;

use super::Language;
use super::evaluate::Names;
use super::grammar::{Form, children, field, form, kind};
use super::value::Value;

/// Calls of one function that it is read for.
const CALLS_MAX: usize = 8;
/// Bytes before a function in which an `export` stands.
const NEAR: usize = 64;
/// Lists within lists of what is written out.
const DEEP: u8 = 4;

/// The parameters that are known in one call.
pub type Given = Vec<(String, Value)>;

/// Functions and their calls, as far as names tell.
#[derive(Default)]
pub struct Callers<'a, 't> {
    /// Names of functions, by their nodes.
    functions: FxHashMap<usize, &'a str>,
    calls: FxHashMap<&'a str, Vec<Node<'t>>>,
    /// How often a name is written.
    mentions: FxHashMap<&'a str, usize>,
    /// Where attributes and decorators end.
    marks: FxHashSet<usize>,
    /// Nothing is reached by names that are put together.
    pub closed: bool,
}

impl<'a, 't> Callers<'a, 't> {
    /// Whether there is a function that is called by its name.
    pub fn any(&self) -> bool {
        self.functions.values().any(|name| self.calls.contains_key(name))
    }

    /// Takes note of a node of the text.
    pub fn note(&mut self, names: &Names<'a>, node: Node<'t>, of: (&'static str, Form)) {
        match of {
            ("identifier" | "shorthand_property_identifier" | "shorthand_property_identifier_pattern", _) => {
                self.mention(names.written(node));
            }
            ("simple_symbol", _) => self.mention(names.written(node).trim_start_matches(':')),
            ("decorator" | "attribute_item", _) => {
                self.marks.insert(node.end_byte());
            }
            ("function_definition" | "function_declaration" | "function_item" | "method", _) => {
                self.name(names, field(node, &["name"]), Some(node));
            }
            ("variable_declarator", _) => {
                self.name(names, field(node, &["name"]), field(node, &["value"]));
            }
            ("short_var_declaration", _) => {
                let one = |name| field(node, &[name]).map(children).filter(|parts| parts.len() == 1);
                let first = |name| one(name).and_then(|parts| parts.first().copied());
                self.name(names, first("left"), first("right"));
            }
            (_, Form::Call) => {
                if let Some(name) = callee(names, node) {
                    self.calls.entry(names.written(name)).or_default().push(node);
                }
            }
            _ => {}
        }
    }

    fn mention(&mut self, name: &'a str) {
        *self.mentions.entry(name).or_default() += 1;
    }

    fn name(&mut self, names: &Names<'a>, name: Option<Node<'t>>, function: Option<Node<'t>>) {
        if let (Some(name), Some(function)) = (name, function)
            && form(function) == Form::Function
        {
            self.functions.insert(function.id(), names.written(name));
        }
    }

    /// What a function is given in each of its calls; `None` where it has to be read for any.
    pub fn given(&self, names: &mut Names<'a>, function: Node<'t>) -> Option<Vec<Given>> {
        let name = *self.functions.get(&function.id())?;
        let calls = self.calls.get(name).filter(|calls| calls.len() <= CALLS_MAX)?;
        let elsewhere = self.mentions.get(name) != Some(&(calls.len() + 1));
        if elsewhere || !self.closed || offered(names, function, name, &self.marks) {
            return None;
        }
        let parameters = parameters(names, function).filter(|parameters| !parameters.is_empty())?;
        // What is written out means the same wherever the walk is.
        let bound = std::mem::take(&mut names.bound);
        let each = calls.iter().map(|call| {
            let given = matched(names, &parameters, *call)?;
            (!given.is_empty()).then_some(given)
        });
        let given = each.collect::<Option<Vec<Given>>>();
        names.bound = bound;
        given
    }
}

/// The name that a call calls, where it is no member of anything.
fn callee<'t>(names: &Names<'_>, call: Node<'t>) -> Option<Node<'t>> {
    let name = match names.language {
        Language::Ruby if field(call, &["receiver"]).is_some() => None,
        Language::Ruby => field(call, &["method"]),
        _ => field(call, &["function"]),
    };
    name.filter(|name| kind(*name) == "identifier")
}

/// Whether others may call it as well.
fn offered(names: &Names<'_>, function: Node<'_>, name: &str, marks: &FxHashSet<usize>) -> bool {
    let before = names.text.get(..function.start_byte()).unwrap_or_default();
    let near = before.as_bytes().get(before.len().saturating_sub(NEAR)..).unwrap_or_default();
    let line = near.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    line.windows(6).any(|word| word == b"export")
        || names.written(function).starts_with("pub")
        || marks.contains(&before.trim_end().len())
        || names.language == Language::Go && name.starts_with(char::is_uppercase)
}

/// Names of the parameters, the last perhaps of all that are left; `None` where that is more
/// than a list of names.
fn parameters<'a>(names: &Names<'a>, function: Node<'_>) -> Option<Vec<(&'a str, bool)>> {
    let list = field(function, &["parameters", "parameter"])?;
    if form(list) == Form::Name {
        return Some(vec![(names.written(list), false)]);
    }
    let all: Option<Vec<_>> = children(list).into_iter().map(|part| parameter(names, part)).collect();
    // After one that takes all that are left come others by their names.
    all.filter(|all| all.iter().rev().skip(1).all(|(_, rest)| !rest))
}

fn parameter<'a>(names: &Names<'a>, part: Node<'_>) -> Option<(&'a str, bool)> {
    let plain = |node: Node<'_>| (kind(node) == "identifier").then(|| names.written(node));
    match kind(part) {
        "identifier" => Some((names.written(part), false)),
        "list_splat_pattern" | "rest_pattern" | "splat_parameter" => {
            Some((plain(*children(part).first()?)?, true))
        }
        "typed_parameter" => parameter(names, *children(part).first()?),
        "required_parameter"
        | "optional_parameter"
        | "parameter"
        | "assignment_pattern"
        | "default_parameter"
        | "typed_default_parameter"
        | "keyword_parameter" => parameter(names, field(part, &["pattern", "name", "left"])?),
        // `a, b string` are two.
        "parameter_declaration" => match children(part).as_slice() {
            [name, _] => Some((plain(*name)?, false)),
            _ => None,
        },
        "variadic_parameter_declaration" => Some((plain(field(part, &["name"])?)?, true)),
        _ => None,
    }
}

/// The parameters that a call gives a value that is written out; `None` where it is not known
/// which argument is which.
fn matched(names: &Names<'_>, parameters: &[(&str, bool)], call: Node<'_>) -> Option<Given> {
    let list = field(call, &["arguments"])?;
    let (mut placed, mut named) = (Vec::new(), Vec::new());
    for part in children(list) {
        match (kind(part), field(part, &["name", "key"]), field(part, &["value"])) {
            ("keyword_argument" | "pair", Some(key), Some(value)) => {
                named.push((names.written(key).trim_end_matches(':'), literal(names, value, DEEP)));
            }
            (
                "list_splat"
                | "dictionary_splat"
                | "spread_element"
                | "splat_argument"
                | "hash_splat_argument"
                | "variadic_argument"
                | "block_argument",
                ..,
            ) => return None,
            _ => placed.push(literal(names, part, DEEP)),
        }
    }
    let value = |(at, (name, rest)): (usize, &(&str, bool))| match rest {
        true => Value::List(placed.get(at..).unwrap_or_default().to_vec()),
        false => {
            let by_name = || named.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            placed.get(at).cloned().or_else(by_name).unwrap_or(Value::Unknown)
        }
    };
    let all = parameters.iter().enumerate().map(|of| (of.1.0.to_owned(), value(of)));
    Some(all.filter(|(_, value)| *value != Value::Unknown).collect())
}

/// A value that is written out: a text, or a list of them. What is put into a text is not known.
fn literal(names: &Names<'_>, node: Node<'_>, deep: u8) -> Value {
    let Some(deep) = deep.checked_sub(1) else { return Value::Unknown };
    match form(node) {
        // What is called within it may answer anything.
        Form::Text if children(node).iter().any(|part| names.written(*part).contains('(')) => Value::Unknown,
        Form::Text => names.string(node, deep),
        Form::List if kind(node) != "composite_literal" && kind(node) != "literal_value" => {
            Value::List(children(node).into_iter().map(|part| literal(names, part, deep)).collect())
        }
        Form::Unary if kind(node) == "reference_expression" => {
            field(node, &["value"]).map_or(Value::Unknown, |inner| literal(names, inner, deep))
        }
        _ => Value::Unknown,
    }
}
