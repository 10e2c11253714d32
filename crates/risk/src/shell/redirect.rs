//! Redirections: which files are written, and what a command reads.

use std::ops::Range;

use tree_sitter::Node;

use super::eval::{Run, children, named};
use super::stream::{Origin, Stream, UNKNOWN};
use crate::model::{EffectKind, Scope, Undo};
use crate::path::Operation;

#[derive(Default)]
pub struct Redirects<'t> {
    pub stdin: Option<Stream>,
    /// Where standard output goes, and whether it is added.
    outputs: Vec<(String, bool)>,
    /// Commands that the grammar puts within a here-document's mark.
    piped: Vec<Node<'t>>,
    after: Vec<Node<'t>>,
}

impl<'t> Run<'_, 't> {
    pub fn redirected(&mut self, node: Node<'t>, stdin: &Stream) -> Stream {
        let mut redirects = Redirects::default();
        let mut body = node.child_by_field_name("body");
        // A redirection behind a list is its last command's, and opened after the others.
        let mut before = Stream::none();
        while let Some(list) = body.filter(|body| body.kind() == "list") {
            let parts = named(list);
            let Some((last, first)) = parts.split_last() else { break };
            for part in first {
                let more = self.statement(*part, stdin);
                before = before.then(&more);
            }
            body = Some(*last);
        }
        for child in named(node) {
            if child.kind().ends_with("_redirect") {
                self.redirect(child, &mut redirects);
            }
        }
        let given = redirects.stdin.take();
        let out = match (body, given) {
            (None, _) => Stream::none(),
            (Some(body), None) => self.statement(body, stdin),
            (Some(body), Some(given)) => self.fed(body, stdin, &given),
        };
        let out = self.finish_redirects(redirects, out);
        before.then(&out)
    }

    /// A redirection behind a pipeline is its last command's.
    fn fed(&mut self, body: Node<'t>, stdin: &Stream, given: &Stream) -> Stream {
        let parts = named(body);
        match (body.kind(), parts.split_last()) {
            ("pipeline", Some((last, first))) => {
                let mut out = stdin.clone();
                for part in first {
                    out = self.statement(*part, &out);
                }
                self.statement(*last, given)
            }
            _ => self.statement(body, given),
        }
    }

    pub fn redirect(&mut self, node: Node<'t>, redirects: &mut Redirects<'t>) {
        if !self.state.step(&self.place(node.byte_range())) {
            return;
        }
        match node.kind() {
            "file_redirect" => self.file_redirect(node, redirects),
            "herestring_redirect" => {
                let word = named(node).into_iter().rfind(|child| child.kind() != "file_descriptor");
                let text = word.map(|word| self.single(word.byte_range())).unwrap_or_default();
                redirects.stdin = Some(Stream::text(text + "\n"));
            }
            "heredoc_redirect" => self.heredoc(node, redirects),
            _ => {}
        }
    }

    fn heredoc(&mut self, node: Node<'t>, redirects: &mut Redirects<'t>) {
        let mut quoted = false;
        let mut text = String::new();
        for child in children(node) {
            match child.kind() {
                "heredoc_start" => {
                    quoted = self.source(child.byte_range()).contains(['\'', '"', '\\']);
                }
                "heredoc_body" if quoted => text = self.source(child.byte_range()).to_owned(),
                "heredoc_body" => text = self.heredoc_text(child.byte_range()),
                "pipeline" => redirects.piped.extend(named(child)),
                "file_redirect" | "herestring_redirect" => self.redirect(child, redirects),
                "heredoc_end" | "file_descriptor" | "<<" | "<<-" | "&&" | "||" => {}
                _ if child.is_named() && is_literal(child.kind()) => self.late.push(child.byte_range()),
                _ if child.is_named() => redirects.after.push(child),
                _ => {}
            }
        }
        if children(node).iter().any(|child| child.kind() == "<<-") {
            text = text.lines().map(|line| line.trim_start_matches('\t')).collect::<Vec<_>>().join("\n");
        }
        redirects.stdin = Some(Stream::text(text));
    }

    fn file_redirect(&mut self, node: Node<'t>, redirects: &mut Redirects<'t>) {
        let span = self.place(node.byte_range());
        let descriptor = node.child_by_field_name("descriptor").map(|child| self.source(child.byte_range()));
        let operator =
            children(node).into_iter().find(|child| !child.is_named()).map_or("", |child| child.kind());
        let Some(target) = node.child_by_field_name("destination") else { return };
        let path = self.single(target.byte_range());
        let copies =
            path == "-" || (!path.is_empty() && path.chars().all(|c| c.is_ascii_digit() || c == '-'));
        if operator.ends_with('&') && copies {
            return;
        }
        if path.starts_with("/dev/tcp/") || path.starts_with("/dev/udp/") {
            self.socket(&path, span);
            redirects.stdin = Some(Stream::unknown(Origin::Remote));
            return;
        }
        match operator {
            "<" | "<&" => redirects.stdin = Some(self.state.read_file(&path, &span)),
            _ => {
                let append = operator.ends_with(">>");
                let operation = if append { Operation::Append } else { Operation::Write };
                self.state.path_effect(operation, &path, "shell.redirect", &span);
                if matches!(descriptor, None | Some("1")) {
                    redirects.outputs.push((path, append));
                }
            }
        }
    }

    fn socket(&mut self, path: &str, span: Range<usize>) {
        let why = "Opens a connection through the shell itself, as reverse shells do.";
        self.state.effect(
            EffectKind::Network,
            path.trim_start_matches("/dev/"),
            Scope::Remote,
            Undo::Never,
            "shell.socket",
            why,
            span,
        );
    }

    /// Gives the output to where it goes, and walks what stands behind here-documents.
    pub fn finish_redirects(&mut self, redirects: Redirects<'t>, out: Stream) -> Stream {
        let mut out = out;
        if !redirects.outputs.is_empty() {
            let whole = self.place(self.root.byte_range());
            for (path, append) in redirects.outputs {
                if path != "/dev/null" {
                    self.state.told(&out, whole.clone());
                }
                self.state.wrote(&path, &out, append);
            }
            out = Stream::none();
        }
        for node in redirects.piped {
            out.absent = false;
            out = self.statement(node, &out);
        }
        for node in redirects.after {
            let more = self.statement(node, &Stream::none());
            out = out.then(&more);
        }
        out
    }
}

fn is_literal(kind: &str) -> bool {
    matches!(
        kind,
        "word"
            | "string"
            | "raw_string"
            | "ansi_c_string"
            | "concatenation"
            | "number"
            | "simple_expansion"
            | "expansion"
            | "command_substitution"
    )
}

impl super::state::State {
    /// What a file holds: what this script wrote, or something unknown.
    pub fn read_file(&mut self, path: &str, span: &Range<usize>) -> Stream {
        self.path_effect(Operation::Read, path, "shell.read", span);
        let place = self.canonical(path);
        match self.files.get(&place) {
            Some(stream) => stream.clone(),
            None if matches!(path, "/dev/null") => Stream::text(""),
            None => Stream::unknown(Origin::Local),
        }
    }

    /// Remembers what was written where.
    pub fn wrote(&mut self, path: &str, stream: &Stream, append: bool) {
        if path.contains(UNKNOWN) || path.starts_with("/dev/") {
            return;
        }
        let place = self.canonical(path);
        let mut stream = stream.clone();
        stream.absent = false;
        if append {
            let before = self.files.get(&place).cloned().unwrap_or_else(|| Stream::unknown(Origin::Local));
            stream = before.then(&stream);
        }
        self.keep_file(place, stream);
    }
}
