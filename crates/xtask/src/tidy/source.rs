//! Rules about the text of Rust files. They look at lines, not at syntax trees:
//! good enough to catch a slip, and anyone can read why.

use super::files::SourceFile;

/// Macros that mark unfinished work. Without their `!`, or this file would break its own rule.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// The files that may make a `tonic::Status`: one mapping for errors, and the
/// codec below it, which refuses what is not a message.
const STATUS_FILES: [&str; 2] = ["crates/server/src/status.rs", "proto/codec.rs"];

/// Code whose iteration order must be the same for the same seed.
const ORDERED: [&str; 2] = ["crates/core/src/", "crates/engine/src/"];

/// Code in which the choice among ready branches must be ours.
const BIASED: [&str; 2] = ["crates/engine/src/", "crates/store/src/"];

pub fn check(files: &[SourceFile]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        findings.extend(unfinished(file));
        if within(file, &["crates/server/", "proto/"]) && !STATUS_FILES.contains(&file.path.as_str()) {
            findings.extend(statuses(file));
        }
        if within(file, &ORDERED) {
            findings.extend(unordered(file));
        }
        if within(file, &BIASED) {
            findings.extend(unbiased(file));
        }
    }
    findings
}

fn within(file: &SourceFile, places: &[&str]) -> bool {
    places.iter().any(|place| file.path.starts_with(place))
}

fn at(file: &SourceFile, line: usize, problem: &str) -> String {
    format!("{}:{line}: {problem}", file.path)
}

fn unfinished(file: &SourceFile) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for name in UNFINISHED {
            if words(code).any(|(word, rest)| word == name && rest.starts_with("!(")) {
                findings.push(at(file, number + 1, &format!("`{name}!` is unfinished work")));
            }
        }
    }
    findings
}

fn statuses(file: &SourceFile) -> Vec<String> {
    let makes = |code: &str| {
        words(code).any(|(word, rest)| {
            let made = rest.strip_prefix("::").and_then(|rest| rest.split_once('('));
            word == "Status" && made.is_some_and(|(name, _)| is_constructor(name))
        })
    };
    file.code()
        .filter(|(_, code)| makes(code))
        .map(|(number, _)| at(file, number, "only crates/server/src/status.rs makes a `Status`"))
        .collect()
}

fn is_constructor(name: &str) -> bool {
    const CODES: [&str; 17] = [
        "ok",
        "cancelled",
        "unknown",
        "invalid_argument",
        "deadline_exceeded",
        "not_found",
        "already_exists",
        "permission_denied",
        "resource_exhausted",
        "failed_precondition",
        "aborted",
        "out_of_range",
        "unimplemented",
        "internal",
        "unavailable",
        "data_loss",
        "unauthenticated",
    ];
    name == "new" || name.starts_with("with_") || name.starts_with("from_") || CODES.contains(&name)
}

fn unordered(file: &SourceFile) -> Vec<String> {
    file.code()
        .filter(|(_, code)| words(code).any(|(word, _)| matches!(word, "HashMap" | "HashSet")))
        .map(|(number, _)| {
            at(file, number, "no std hash tables here: their order is random; use BTreeMap or IndexMap")
        })
        .collect()
}

fn unbiased(file: &SourceFile) -> Vec<String> {
    let code: Vec<(usize, &str)> = file.code().collect();
    let mut findings = Vec::new();
    for (index, (number, line)) in code.iter().enumerate() {
        let Some((_, after)) = line.split_once("select! {") else {
            continue;
        };
        let next = std::iter::once(after)
            .chain(code[index + 1..].iter().map(|(_, line)| *line))
            .map(str::trim)
            .find(|text| !text.is_empty());
        if !next.is_some_and(|text| text.starts_with("biased;")) {
            findings.push(at(file, *number, "`select!` picks at random; begin it with `biased;`"));
        }
    }
    findings
}

/// The identifiers of a line, each with what follows it.
fn words(code: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = code;
    std::iter::from_fn(move || {
        let start = rest.find(is_word)?;
        let text = &rest[start..];
        let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
        rest = &text[end..];
        Some((&text[..end], rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many findings `text` has as the content of `path`.
    fn findings(path: &str, text: &str) -> usize {
        check(&[SourceFile { path: path.to_owned(), text: text.to_owned() }]).len()
    }

    #[test]
    fn each_rule_finds_its_slip_and_nothing_else() {
        let (server, engine) = ("crates/server/src/services/tasks.rs", "crates/engine/src/tasks.rs");
        let unfinished = format!("fn f() {{ {}!() }}", UNFINISHED[0]);
        let cases = [
            (server, unfinished.as_str(), 1),
            (server, "fn f() { my_todo!() } // nothing", 0),
            (server, "return Err(Status::not_found(\"x\"));", 1),
            (server, "return Err(tonic::Status::with_details(code, text, bytes));", 1),
            (server, "return Err(TaskStatus::new());", 0),
            (server, "fn f() -> Result<(), Status> { g().map_err(Status::from) }", 0),
            (server, "fn f() {}\n#[cfg(test)]\nmod tests { Status::internal(\"x\"); }", 0),
            ("crates/server/src/status.rs", "Status::internal(\"x\")", 0),
            ("clients/rust/src/error.rs", "Status::internal(\"x\")", 0),
            (engine, "use std::collections::HashMap;", 1),
            (engine, "// no HashMap\nuse indexmap::IndexMap;", 0),
            (server, "use std::collections::HashMap;", 0),
            (engine, "tokio::select! {\n    a = b => {}\n}", 1),
            (engine, "tokio::select! {\n    // first\n    biased;\n    a = b => {}\n}", 0),
            (engine, "tokio::select! { biased; a = b => {} }", 0),
        ];
        for (path, text, expected) in cases {
            assert_eq!(findings(path, text), expected, "{path}: {text}");
        }
    }
}
