//! Statements of a parsed script, walked one after the other.
//!
//! Every branch is walked, whatever its condition; what a branch changed is unknown after it.

use std::ops::Range;

use tree_sitter::Node;

use super::redirect::Redirects;
use super::state::State;
use super::stream::{Stream, UNKNOWN};

/// Statements within statements.
const LEVEL_MAX: usize = 120;
/// Values of a `for` loop that are walked one by one.
const ROUNDS_MAX: usize = 24;

/// One parsed text being walked.
pub struct Run<'s, 't> {
    pub state: &'s mut State,
    pub text: &'t str,
    pub root: Node<'t>,
    fixed: Option<Range<usize>>,
    level: usize,
    /// Words that the grammar puts behind a here-document's mark: they belong to the command.
    pub late: Vec<Range<usize>>,
}

pub fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.children(&mut cursor).collect()
}

pub fn named(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

impl<'s, 't> Run<'s, 't> {
    pub fn new(state: &'s mut State, text: &'t str, root: Node<'t>, fixed: Option<Range<usize>>) -> Self {
        Self { state, text, root, fixed, level: 0, late: Vec::new() }
    }

    pub fn program(&mut self, stdin: &Stream) -> Stream {
        if self.root.has_error() {
            let span = self.first_error(self.root).unwrap_or(self.root.byte_range());
            let span = self.place(span);
            self.state.gap("shell.syntax", "Part of the script cannot be parsed.", span);
        }
        self.statements(self.root, stdin)
    }

    fn first_error(&self, root: Node<'t>) -> Option<Range<usize>> {
        let mut node = root;
        for _ in 0..LEVEL_MAX {
            if node.is_error() || node.is_missing() {
                return Some(node.byte_range());
            }
            node = children(node).into_iter().find(|child| child.has_error() || child.is_missing())?;
        }
        None
    }

    /// Where in the given text something lies.
    pub fn place(&self, range: Range<usize>) -> Range<usize> {
        self.fixed.clone().unwrap_or(range)
    }

    pub fn source(&self, range: Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or("")
    }

    pub fn statements(&mut self, node: Node<'t>, stdin: &Stream) -> Stream {
        self.each(&named(node), stdin)
    }

    fn each(&mut self, nodes: &[Node<'t>], stdin: &Stream) -> Stream {
        let mut out = Stream::none();
        for node in nodes {
            if self.state.spent() {
                break;
            }
            let before = self.state.context.cwd.clone();
            let more = self.statement(*node, stdin);
            out = out.then(&more);
            // What follows a lone `cd` is run where it failed as well.
            if node.kind() == "command" && before != self.state.context.cwd && !self.state.strict {
                self.state.before_cd.get_or_insert(before);
            }
        }
        out
    }

    pub fn statement(&mut self, node: Node<'t>, stdin: &Stream) -> Stream {
        if self.level > LEVEL_MAX {
            let span = self.place(node.byte_range());
            self.state.gap("shell.too_deep", "Statements lie too deep within statements.", span);
            return Stream::none();
        }
        let span = self.place(node.byte_range());
        if !self.state.step(&span) {
            return Stream::none();
        }
        self.level += 1;
        let out = self.dispatch(node, stdin);
        self.level -= 1;
        out
    }

    fn dispatch(&mut self, node: Node<'t>, stdin: &Stream) -> Stream {
        match node.kind() {
            "comment" | "heredoc_start" | "heredoc_end" | "variable_name" => Stream::none(),
            "command" => self.command(node, stdin),
            "pipeline" => self.pipeline(&named(node), stdin.clone()),
            "list" => self.list(node, stdin),
            "redirected_statement" => self.redirected(node, stdin),
            "variable_assignment" => self.assign_node(node),
            "variable_assignments" => self.statements(node, stdin),
            "declaration_command" => self.declaration(node),
            "unset_command" => self.unset(node),
            "for_statement" => self.for_loop(node, stdin),
            "while_statement" | "c_style_for_statement" => self.loop_twice(node, stdin),
            "if_statement" | "case_statement" => self.branches(node, stdin),
            "function_definition" => self.define(node),
            "subshell" => self.subshell(node, stdin),
            "program" | "compound_statement" | "do_group" | "else_clause" | "elif_clause"
            | "negated_command" | "ERROR" => self.statements(node, stdin),
            "case_item" => self.case_item(node, stdin),
            "test_command" => self.test(node),
            _ => {
                self.embedded(node);
                Stream::none()
            }
        }
    }

    /// `[[ ... ]]`, which also works out indices that are still quoted.
    fn test(&mut self, node: Node<'t>) -> Stream {
        if super::builtin::runs_in_index(self.source(node.byte_range())) {
            let span = self.place(node.byte_range());
            let why = "A substitution within an index is run where it is worked out.";
            self.state.gap("shell.index", why, span);
        }
        self.embedded(node);
        Stream::none()
    }

    /// Substitutions within an expression: they run, whatever becomes of their text.
    fn embedded(&mut self, node: Node<'t>) {
        if self.level > LEVEL_MAX {
            return;
        }
        match node.kind() {
            "command_substitution" | "process_substitution" => {
                self.statements(node, &Stream::none());
            }
            _ => {
                self.level += 1;
                for child in named(node) {
                    self.embedded(child);
                }
                self.level -= 1;
            }
        }
    }

    fn pipeline(&mut self, nodes: &[Node<'t>], stdin: Stream) -> Stream {
        let mut stream = stdin;
        for node in nodes.iter().filter(|node| node.kind() != "comment") {
            stream = self.statement(*node, &stream);
            stream.absent = false;
        }
        stream
    }

    fn list(&mut self, node: Node<'t>, stdin: &Stream) -> Stream {
        let parts = named(node);
        let mut out = Stream::none();
        let mut before = None;
        let or = children(node).iter().any(|child| child.kind() == "||");
        for part in parts {
            out = out.then(&self.statement(part, stdin));
            if let Some(before) = before.take() {
                self.state.vars.join(&before);
            }
            // What follows an assignment and `&&` is run for certain; what follows a test is not.
            if or
                || !matches!(
                    part.kind(),
                    "variable_assignment" | "variable_assignments" | "declaration_command"
                )
            {
                before = Some(self.state.vars.clone());
            }
        }
        out
    }

    fn subshell(&mut self, node: Node<'t>, stdin: &Stream) -> Stream {
        let vars = self.state.vars.clone();
        let cwd = self.state.context.cwd.clone();
        let lost = self.state.lost;
        let out = self.statements(node, stdin);
        self.state.vars = vars;
        self.state.context.cwd = cwd;
        self.state.lost = lost;
        out
    }

    fn branches(&mut self, node: Node<'t>, stdin: &Stream) -> Stream {
        let mut out = Stream::none();
        for part in named(node) {
            let before = self.state.vars.clone();
            let more = self.statement(part, stdin);
            self.state.vars.join(&before);
            out = out.then(&more);
        }
        out.blurred_unless_absent()
    }

    fn case_item(&mut self, node: Node<'t>, stdin: &Stream) -> Stream {
        let values: Vec<usize> = {
            let mut cursor = node.walk();
            node.children_by_field_name("value", &mut cursor).map(|child| child.id()).collect()
        };
        let body: Vec<Node<'t>> =
            named(node).into_iter().filter(|child| !values.contains(&child.id())).collect();
        self.each(&body, stdin)
    }

    fn loop_twice(&mut self, node: Node<'t>, stdin: &Stream) -> Stream {
        let before = self.state.vars.clone();
        let mut out = Stream::none();
        // Twice: what a round changes, the next one sees.
        for _ in 0..2 {
            out = self.statements(node, stdin);
            self.state.vars.join(&before);
        }
        out.blurred_unless_absent()
    }

    fn for_loop(&mut self, node: Node<'t>, stdin: &Stream) -> Stream {
        let name = node.child_by_field_name("variable").map_or("", |name| self.source(name.byte_range()));
        let mut values = Vec::new();
        let mut cursor = node.walk();
        for value in node.children_by_field_name("value", &mut cursor) {
            values.extend(self.fields(value.byte_range()));
        }
        if values.is_empty() {
            values = self.state.values("@");
        }
        if values.len() > ROUNDS_MAX {
            values.truncate(ROUNDS_MAX);
            values.push(UNKNOWN.to_string());
        }
        let Some(body) = node.child_by_field_name("body") else { return Stream::none() };
        let before = self.state.vars.clone();
        let mut out = Stream::none();
        for value in values {
            if self.state.spent() {
                break;
            }
            self.state.vars.one(name, value);
            out = out.then(&self.statement(body, stdin));
        }
        self.state.vars.join(&before);
        out
    }

    fn define(&mut self, node: Node<'t>) -> Stream {
        let (Some(name), Some(body)) = (node.child_by_field_name("name"), node.child_by_field_name("body"))
        else {
            return Stream::none();
        };
        let name = self.single(name.byte_range());
        let body = self.source(body.byte_range().start..node.end_byte());
        let span = self.place(node.byte_range());
        self.state.keep_function(name, body, &span);
        Stream::none()
    }

    fn command(&mut self, node: Node<'t>, stdin: &Stream) -> Stream {
        let span = self.place(node.byte_range());
        let late = std::mem::take(&mut self.late);
        let mut argv = Vec::new();
        let mut set = Vec::new();
        let mut redirects = Redirects::default();
        let mut end = node.start_byte();
        for child in children(node) {
            // The grammar takes a line that begins with a backslash for more words of this one.
            if self.broken(end, child) {
                let first = std::mem::take(&mut argv);
                self.state.invoke(first, stdin, span.clone());
            }
            end = child.end_byte();
            match child.kind() {
                "variable_assignment" => set.extend(self.assignment(child)),
                "file_redirect" | "herestring_redirect" | "heredoc_redirect" => {
                    self.redirect(child, &mut redirects);
                }
                "comment" => {}
                _ if self.descriptor(child) => {}
                _ => argv.extend(self.fields(self.trimmed(child))),
            }
        }
        for range in late {
            argv.extend(self.fields(range));
        }
        let before = self.state.vars.clone();
        for (name, values) in set {
            self.state.environment(&name, &values, &span);
            self.state.vars.insert(&name, values);
        }
        let given = redirects.stdin.take();
        let assigned = self.state.vars.clone();
        let out = self.state.invoke(argv, given.as_ref().unwrap_or(stdin), span);
        // What stood before the command holds for it alone; what it set itself stays.
        if assigned.same(&self.state.vars) {
            self.state.vars = before;
        }
        self.finish_redirects(redirects, out)
    }

    /// `0<&1`: the number is the redirection's, whatever the grammar says.
    fn descriptor(&self, child: Node<'t>) -> bool {
        let digits = self.source(child.byte_range()).bytes().all(|byte| byte.is_ascii_digit());
        digits && matches!(self.source(child.end_byte()..child.end_byte() + 1), "<" | ">")
    }

    /// Where a word lies without blanks and ends of lines before it.
    fn trimmed(&self, child: Node<'t>) -> Range<usize> {
        let text = self.source(child.byte_range());
        let blanks = text.len() - text.trim_start_matches([' ', '\t', '\n', '\r']).len();
        child.start_byte() + blanks..child.end_byte()
    }

    /// What a declaration swallowed that stands on a line of its own.
    fn swallowed(&mut self, end: usize, child: Node<'t>, node: Node<'t>) -> bool {
        let broken = self.broken(end, child);
        if broken {
            let range = self.trimmed(child).start..node.end_byte();
            let (text, span) = (self.source(range.clone()), self.place(range));
            self.state.run_text(text, Some(span), &Stream::none());
        }
        broken
    }

    /// Whether a line ends before a word of a command, and the command with it.
    fn broken(&self, end: usize, child: Node<'t>) -> bool {
        let gap = self.source(end..self.trimmed(child).start);
        let mut before = ' ';
        gap.chars().any(|c| {
            let ends = c == '\n' && before != '\\';
            before = if c == '\r' { before } else { c };
            ends
        })
    }

    fn declaration(&mut self, node: Node<'t>) -> Stream {
        let mut end = node.start_byte();
        let flags = |child: &Node<'t>| self.source(child.byte_range()).starts_with('-');
        if named(node).iter().all(flags) {
            // All that is set is printed.
            return Stream::secrets();
        }
        for child in named(node) {
            if self.swallowed(end, child, node) {
                break;
            }
            end = child.end_byte();
            match child.kind() {
                "variable_assignment" => {
                    self.assign_node(child);
                }
                _ => {
                    // `export "X=rm"` assigns as well.
                    let word = self.single(child.byte_range());
                    if let Some((name, value)) = word.split_once('=') {
                        let span = self.place(child.byte_range());
                        let values = vec![value.to_owned()];
                        self.state.environment(name, &values, &span);
                        self.state.vars.insert(name, values);
                    }
                }
            }
        }
        Stream::none()
    }

    fn unset(&mut self, node: Node<'t>) -> Stream {
        let span = self.place(node.byte_range());
        let mut end = node.start_byte();
        for child in named(node) {
            if self.swallowed(end, child, node) {
                break;
            }
            end = child.end_byte();
            let name = self.single(child.byte_range());
            if name.starts_with('-') {
                continue;
            }
            self.state.environment(&name, &[], &span);
            self.state.vars.one(&name, String::new());
        }
        Stream::none()
    }

    fn assign_node(&mut self, node: Node<'t>) -> Stream {
        let span = self.place(node.byte_range());
        if let Some((name, values)) = self.assignment(node) {
            self.state.environment(&name, &values, &span);
            self.state.vars.insert(&name, values);
        }
        Stream::none()
    }

    /// Name and values that an assignment gives.
    fn assignment(&mut self, node: Node<'t>) -> Option<(String, Vec<String>)> {
        let target = node.child_by_field_name("name")?;
        self.embedded(target);
        let (name, element) = match target.kind() {
            "subscript" => (target.child_by_field_name("name")?, true),
            _ => (target, false),
        };
        let name = self.source(name.byte_range()).to_owned();
        let add = children(node).iter().any(|child| child.kind() == "+=");
        let mut values = match node.child_by_field_name("value") {
            None => vec![String::new()],
            Some(value) if value.kind() == "array" => {
                named(value).into_iter().flat_map(|item| self.fields(item.byte_range())).collect()
            }
            Some(value) => vec![self.single(value.byte_range())],
        };
        let array = node.child_by_field_name("value").is_some_and(|value| value.kind() == "array");
        let before = self.state.vars.get(&name).map(<[String]>::to_vec);
        if element || (add && array) {
            let mut all = before.unwrap_or_default();
            all.append(&mut values);
            return Some((name, all));
        }
        if add {
            let start = before.and_then(|all| all.into_iter().next());
            let start = start.unwrap_or_else(|| UNKNOWN.to_string());
            values = vec![start + values.first().map_or("", String::as_str)];
        }
        Some((name, values))
    }
}

impl Stream {
    /// A branch's text may be there or not.
    fn blurred_unless_absent(self) -> Self {
        if self.absent { self } else { self.vague() }
    }
}
