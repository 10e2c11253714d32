//! Trees, and how each language writes what the analyser looks for.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU16;

use rustc_hash::FxHashMap;
use tree_sitter::{Node, Tree};

use super::Language;
use crate::tree::{self, Grammar};

/// The grammar of a language, if there is one.
pub fn of(language: Language) -> Option<Grammar> {
    Some(match language {
        Language::Python => Grammar::Python,
        Language::JavaScript => Grammar::JavaScript,
        Language::TypeScript => Grammar::TypeScript,
        Language::Ruby => Grammar::Ruby,
        Language::Go => Grammar::Go,
        Language::Rust => Grammar::Rust,
        Language::Perl | Language::Php | Language::Lua => return None,
    })
}

/// The tree of a text, and the grammar that it is of; `None` where it takes too much work.
pub fn parsed(language: Language, grammar: Grammar, text: &str) -> Option<(Tree, Grammar)> {
    // Go ends a statement with its line.
    // A tagged template's types are no part of what that grammar knows.
    let tagged = (grammar == Grammar::TypeScript && text.contains(">`")).then(|| untyped(text));
    let text = tagged.as_deref().unwrap_or(text);
    let tree = match language == Language::Go && !text.ends_with('\n') {
        true => tree::parse(grammar, &format!("{text}\n")),
        false => tree::parse(grammar, text),
    };
    // Pages are written in a dialect of their own, and nothing says so.
    let tree = tree?;
    let page = grammar == Grammar::TypeScript && tree.root_node().has_error();
    let page = if page { tree::parse(Grammar::Tsx, text) } else { None };
    match page.filter(|page| !page.root_node().has_error()) {
        Some(page) => Some((page, Grammar::Tsx)),
        None => Some((tree, grammar)),
    }
}

/// The text with blanks in place of types before a template: places stay where they are.
fn untyped(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (end, _) in text.match_indices(">`") {
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_[]{}<>,|.;: ".contains(byte);
        let mut depth = 0_usize;
        for at in (0..=end).rev() {
            match text.as_bytes()[at] {
                b'>' => depth += 1,
                b'<' => depth -= 1,
                byte if !word(&byte) => break,
                _ => {}
            }
            if depth == 0 {
                bytes[at..=end].fill(b' ');
                break;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// What a node is to the analyser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Name,
    Member,
    Index,
    Call,
    Command,
    Binary,
    Unary,
    List,
    Map,
    Choice,
    Last,
    Function,
    Constant,
    Other,
}

/// What is asked of a grammar again and again, as the parser's own answers are searches.
struct Sheet {
    grammar: Grammar,
    /// Names and forms of kinds, by their numbers.
    kinds: Vec<(&'static str, Form)>,
    /// Numbers of fields, by where their names lie in this program.
    fields: FxHashMap<usize, Option<NonZeroU16>>,
}

thread_local! {
    static SHEETS: RefCell<Vec<Sheet>> = const { RefCell::new(Vec::new()) };
    /// The sheet of the tree that is looked at.
    static OPEN: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Held while a tree is looked at: another may lie within what it says.
pub struct Reading(Option<usize>);

impl Drop for Reading {
    fn drop(&mut self) {
        OPEN.set(self.0);
    }
}

/// Begins to look at a tree.
pub fn reading(grammar: Grammar, tree: &Tree) -> Reading {
    let at = SHEETS.with_borrow_mut(|sheets| {
        sheets.iter().position(|sheet| sheet.grammar == grammar).unwrap_or_else(|| {
            let language = tree.language();
            let count = u16::try_from(language.node_kind_count()).unwrap_or(u16::MAX);
            let kinds = (0..count).map(|id| language.node_kind_for_id(id).unwrap_or_default());
            let kinds = kinds.map(|name| (name, named(name))).collect();
            sheets.push(Sheet { grammar, kinds, fields: FxHashMap::default() });
            sheets.len() - 1
        })
    });
    Reading(OPEN.replace(Some(at)))
}

/// The kind and the form of a node.
pub fn known(node: Node<'_>) -> (&'static str, Form) {
    let sheet = OPEN.get();
    let found =
        SHEETS.with_borrow(|sheets| sheets.get(sheet?)?.kinds.get(usize::from(node.kind_id())).copied());
    found.unwrap_or_else(|| (node.kind(), named(node.kind())))
}

/// The kind of a node, by its grammar's name.
pub fn kind(node: Node<'_>) -> &'static str {
    known(node).0
}

/// What a node is, in any of the languages.
pub fn form(node: Node<'_>) -> Form {
    known(node).1
}

fn named(kind: &str) -> Form {
    match kind {
        "string"
        | "template_string"
        | "string_literal"
        | "raw_string_literal"
        | "interpreted_string_literal"
        | "concatenated_string"
        | "chained_string"
        | "simple_symbol"
        | "char_literal"
        | "character"
        | "heredoc_body"
        | "integer"
        | "rune_literal"
        | "bare_string"
        | "number" => Form::Text,
        "identifier"
        | "constant"
        | "property_identifier"
        | "type_identifier"
        | "field_identifier"
        | "package_identifier"
        | "shorthand_property_identifier"
        | "this"
        | "self"
        | "import"
        | "dotted_name"
        | "global_variable"
        | "instance_variable" => Form::Name,
        "attribute"
        | "member_expression"
        | "selector_expression"
        | "field_expression"
        | "scoped_identifier"
        | "scope_resolution"
        | "scoped_type_identifier"
        | "meta_property" => Form::Member,
        "subscript" | "subscript_expression" | "index_expression" | "element_reference" => Form::Index,
        "call" | "call_expression" | "new_expression" | "super_call" => Form::Call,
        "subshell" => Form::Command,
        "binary_operator" | "binary_expression" | "binary" => Form::Binary,
        "parenthesized_expression"
        | "await_expression"
        | "await"
        | "try_expression"
        | "reference_expression"
        | "unary_expression"
        | "non_null_expression"
        | "as_expression"
        | "satisfies_expression"
        | "expression_statement"
        | "parenthesized_statements"
        | "type_conversion_expression"
        | "generic_function"
        | "spread_element"
        | "unsafe_block"
        | "instantiation_expression"
        | "block_argument" => Form::Unary,
        "list" | "array" | "tuple" | "array_expression" | "composite_literal" | "expression_list" | "set"
        | "string_array" | "literal_value" | "tuple_expression" => Form::List,
        "dictionary" | "object" | "hash" => Form::Map,
        "conditional_expression" | "ternary_expression" | "conditional" => Form::Choice,
        "sequence_expression" => Form::Last,
        "true" | "false" | "none" | "null" | "nil" | "undefined" | "boolean_literal" => Form::Constant,
        "function_definition"
        | "function_declaration"
        | "function_expression"
        | "arrow_function"
        | "function_item"
        | "lambda"
        | "method"
        | "do_block"
        | "block"
        | "func_literal"
        | "closure_expression"
        | "method_definition"
        | "function" => Form::Function,
        _ => Form::Other,
    }
}

/// Children that are asked for one by one, as making a cursor costs more.
const FEW: usize = 3;

/// The children with a name, in order.
pub fn children<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let count = node.named_child_count();
    if count <= FEW {
        let each = (0..count).filter_map(|at| node.named_child(u32::try_from(at).ok()?));
        return each.filter(|child| !child.is_extra()).collect();
    }
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|child| !child.is_extra()).collect()
}

/// The first of these fields that the node has.
pub fn field<'t>(node: Node<'t>, names: &[&'static str]) -> Option<Node<'t>> {
    names.iter().find_map(|name| node.child_by_field_id(number(node, name)?.get()))
}

fn number(node: Node<'_>, name: &'static str) -> Option<NonZeroU16> {
    let ask = || node.language().field_id_for_name(name);
    SHEETS.with_borrow_mut(|sheets| match OPEN.get().and_then(|at| sheets.get_mut(at)) {
        Some(sheet) => *sheet.fields.entry(name.as_ptr() as usize).or_insert_with(ask),
        None => ask(),
    })
}

/// The object and the name of a member.
pub fn member<'t>(node: Node<'t>) -> Option<(Option<Node<'t>>, Node<'t>)> {
    let object = field(node, &["object", "operand", "value", "path", "scope"]);
    let name = field(node, &["attribute", "property", "field", "name"])?;
    Some((object, name))
}

/// Whether a node is run only sometimes, or several times.
pub fn branches(kind: &str) -> bool {
    kind.starts_with("if")
        || kind.starts_with("for")
        || kind.starts_with("while")
        || kind.starts_with("match")
        || kind.starts_with("switch")
        || kind.starts_with("case")
        || kind.starts_with("else")
        || kind.starts_with("elif")
        || kind.starts_with("try")
        || kind.starts_with("except")
        || kind.starts_with("catch")
        || kind.starts_with("unless")
}
