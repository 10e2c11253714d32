//! Cuts a policy file into policies and examples, before the parser sees any of it.
//!
//! Invariant: what is handed on is small and shallow. The parser of the language works
//! on the stack, and a file of brackets must not end the process.

use std::ops::Range;

use super::fault::{
    EXAMPLES_MAX, FILE_MAX, Fault, NESTED_MAX, POLICIES_MAX, POLICY_MAX, Problem, TOKENS_MAX,
};

/// The parts of a file.
#[derive(Debug, Default)]
pub struct Parts {
    pub policies: Vec<Part>,
    pub examples: Vec<Part>,
    pub problems: Vec<Problem>,
}

/// A part of a file and where it begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub line: usize,
    pub text: String,
}

/// Comments that begin so are examples.
const EXAMPLE: &str = "//!";

/// Cuts the file into its parts.
pub fn scan(text: &str) -> Parts {
    if text.len() > FILE_MAX {
        let fault = Fault::FileTooLong { bytes: text.len() };
        return Parts { problems: vec![Problem { line: 0, fault }], ..Parts::default() };
    }
    let mut scan = Scan { text, parts: Parts::default(), at: 0, line: 1, open: None };
    scan.run();
    let mut parts = scan.parts;
    let (policies, examples) = (parts.policies.len(), parts.examples.len());
    if policies > POLICIES_MAX {
        let fault = Fault::TooManyPolicies { count: policies };
        parts.problems.push(Problem { line: 0, fault });
    }
    if examples > EXAMPLES_MAX {
        let fault = Fault::TooManyExamples { count: examples };
        parts.problems.push(Problem { line: 0, fault });
    }
    parts
}

struct Scan<'a> {
    text: &'a str,
    parts: Parts,
    at: usize,
    line: usize,
    open: Option<Open>,
}

/// A policy whose end was not seen yet.
struct Open {
    start: usize,
    line: usize,
    tokens: usize,
    depth: usize,
    /// Deepest so far.
    nested: usize,
}

impl Scan<'_> {
    fn run(&mut self) {
        while let Some(letter) = self.rest().chars().next() {
            match letter {
                '/' if self.rest().starts_with("//") => self.comment(),
                '"' => self.string(),
                ';' => self.end(),
                letter if letter.is_whitespace() => self.pass(letter.len_utf8()),
                letter if letter.is_alphanumeric() || letter == '_' => self.word(),
                letter => self.sign(letter),
            }
        }
        if let Some(open) = self.open.take() {
            self.parts.problems.push(Problem { line: open.line, fault: Fault::Unfinished });
        }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Goes on by so many bytes and counts lines.
    fn pass(&mut self, bytes: usize) {
        let passed = self.rest().get(..bytes).unwrap_or_default();
        self.line += passed.bytes().filter(|byte| *byte == b'\n').count();
        self.at += bytes.max(1);
    }

    /// Counts a word or sign, which begins a policy unless one is open.
    fn token(&mut self) -> &mut Open {
        let (start, line) = (self.at, self.line);
        let open = self.open.get_or_insert(Open { start, line, tokens: 0, depth: 0, nested: 0 });
        open.tokens += 1;
        open
    }

    fn comment(&mut self) {
        let end = self.rest().find('\n').unwrap_or(self.rest().len());
        let comment = self.rest().get(..end).unwrap_or_default();
        let before = self.text.get(..self.at).unwrap_or_default();
        let alone = before.rsplit('\n').next().is_none_or(|line| line.trim().is_empty());
        if let Some(text) = comment.strip_prefix(EXAMPLE).filter(|_| alone) {
            let (line, text) = (self.line, text.trim().to_owned());
            self.example(line, text);
        }
        self.pass(end);
    }

    /// A line that begins with `|` goes on with the text of the example above it.
    fn example(&mut self, line: usize, text: String) {
        match (text.strip_prefix('|'), self.parts.examples.last_mut()) {
            (Some(more), Some(last)) => {
                last.text.push('\n');
                last.text.push_str(more.strip_prefix(' ').unwrap_or(more));
            }
            _ => self.parts.examples.push(Part { line, text }),
        }
    }

    fn string(&mut self) {
        self.token();
        let mut escaped = false;
        let end = self.rest().char_indices().skip(1).find(|(_, letter)| {
            let ends = *letter == '"' && !escaped;
            escaped = *letter == '\\' && !escaped;
            ends
        });
        let bytes = end.map_or(self.rest().len(), |(at, _)| at + 1);
        self.pass(bytes);
    }

    fn word(&mut self) {
        self.token();
        let part = |letter: char| letter.is_alphanumeric() || letter == '_';
        let bytes = self.rest().find(|letter| !part(letter)).unwrap_or(self.rest().len());
        self.pass(bytes);
    }

    fn sign(&mut self, letter: char) {
        let open = self.token();
        match letter {
            '(' | '[' | '{' => open.depth += 1,
            ')' | ']' | '}' => open.depth = open.depth.saturating_sub(1),
            _ => {}
        }
        open.nested = open.nested.max(open.depth);
        self.pass(letter.len_utf8());
    }

    fn end(&mut self) {
        self.token();
        self.pass(1);
        let Some(open) = self.open.take() else { return };
        let range: Range<usize> = open.start..self.at;
        let text = self.text.get(range).unwrap_or_default();
        let fault = match (text.len() > POLICY_MAX || open.tokens > TOKENS_MAX, open.nested > NESTED_MAX) {
            (true, _) => Some(Fault::PolicyTooLong),
            (_, true) => Some(Fault::Nested),
            _ => None,
        };
        match fault {
            Some(fault) => self.parts.problems.push(Problem { line: open.line, fault }),
            None => self.parts.policies.push(Part { line: open.line, text: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<Fault> {
        scan(text).problems.into_iter().map(|problem| problem.fault).collect()
    }

    #[test]
    fn policies_and_examples_know_their_lines() {
        let text = "// a; comment\n@id(\"a;\\\"//! x\")\npermit(\n  // ; inner\n  principal);\n\n  //! auto: command: ls\n//! ask: http: POST https://x.test\n//! | A: b\nforbid();";
        let parts = scan(text);
        let lines: Vec<usize> = parts.policies.iter().map(|part| part.line).collect();
        assert_eq!(lines, [2, 10]);
        assert!(parts.policies[0].text.ends_with("principal);"));
        let examples = [
            Part { line: 7, text: "auto: command: ls".to_owned() },
            Part { line: 8, text: "ask: http: POST https://x.test\nA: b".to_owned() },
        ];
        assert_eq!(parts.examples, examples);
        assert_eq!(parts.problems, []);
    }

    #[test]
    fn an_example_behind_code_or_in_a_string_is_none() {
        assert_eq!(scan("permit(); //! auto: command: ls").examples, []);
        assert_eq!(scan("permit(\"\n//! auto: command: ls\n\");").examples, []);
    }

    #[test]
    fn what_is_long_or_deep_is_refused_before_it_is_parsed() {
        assert_eq!(faults(&" ".repeat(FILE_MAX + 1)), [Fault::FileTooLong { bytes: FILE_MAX + 1 }]);
        assert_eq!(faults(&format!("permit{};", "(".repeat(40))), [Fault::Nested]);
        assert_eq!(faults(&format!("permit{};", ".a".repeat(1000))), [Fault::PolicyTooLong]);
        assert_eq!(faults(&format!("@id(\"{}\") permit();", "x".repeat(POLICY_MAX))), [Fault::PolicyTooLong]);
        assert_eq!(faults("permit()"), [Fault::Unfinished]);
        assert_eq!(faults("permit(\"not closed;"), [Fault::Unfinished]);
        assert_eq!(faults(&"permit();".repeat(201)), [Fault::TooManyPolicies { count: 201 }]);
        let many = "//! auto: command: ls\n".repeat(501);
        assert_eq!(faults(&many), [Fault::TooManyExamples { count: 501 }]);
    }
}
