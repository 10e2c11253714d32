//! Names and lengths of files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Longest source file, and longest file of tests, in lines.
const LINES: usize = 600;
const TEST_LINES: usize = 1000;

/// Names that say nothing about what is inside.
const EMPTY_WORDS: [&str; 9] =
    ["util", "utils", "common", "manager", "helper", "helpers", "misc", "stuff", "shared"];

/// Directories that are not ours or not source.
const SKIPPED: [&str; 6] = ["target", "node_modules", "vendor", "secrets", "__pycache__", "dist"];

/// One source file.
pub struct SourceFile {
    /// Path from the root, with forward slashes.
    pub path: String,
    pub text: String,
}

impl SourceFile {
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.split('/').any(|part| part == "tests") || name == "tests.rs" || name.ends_with("_tests.rs")
    }

    /// Line numbers (from 1) and lines without comments, up to the test module.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let before_tests = self.text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        let code = if self.is_test() { None } else { Some(before_tests) };
        code.into_iter()
            .flatten()
            .enumerate()
            .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }
}

/// Every source file below `root`, sorted by path.
pub fn all(root: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    walk(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(directory: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                walk(&entry.path(), &format!("{path}/"), files)?;
            }
        } else if is_source(&name, prefix) {
            let text = fs::read_to_string(entry.path()).with_context(|| format!("cannot read {path}"))?;
            files.push(SourceFile { path, text });
        }
    }
    Ok(())
}

fn is_source(name: &str, prefix: &str) -> bool {
    // Scripts have no ending.
    let script = prefix == "scripts/" && !name.contains('.');
    script || [".rs", ".proto", ".py", ".sh", ".sql"].iter().any(|ending| name.ends_with(ending))
}

pub fn check(files: &[SourceFile]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        let limit = if file.is_test() { TEST_LINES } else { LINES };
        let lines = file.text.lines().count();
        if lines > limit {
            findings.push(format!("{}: {lines} lines; at most {limit}", file.path));
        }
        let words = file.path.split(|c: char| !c.is_ascii_alphanumeric());
        for word in words.filter(|word| EMPTY_WORDS.contains(word)) {
            findings.push(format!("{}: `{word}` says nothing about what is inside", file.path));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, lines: usize) -> SourceFile {
        SourceFile { path: path.to_owned(), text: "x\n".repeat(lines) }
    }

    #[test]
    fn long_files_and_empty_names_are_found() {
        let cases = [
            (file("crates/core/src/task/decide.rs", 600), 0),
            (file("crates/core/src/task/decide.rs", 601), 1),
            (file("crates/core/src/task/tests.rs", 1000), 0),
            (file("crates/server/src/status_tests.rs", 601), 0),
            (file("tests/tests/cancel.rs", 1001), 1),
            (file("crates/core/src/utils.rs", 1), 1),
            (file("crates/core/src/task_manager.rs", 1), 1),
            (file("crates/core/src/commons.rs", 1), 0),
        ];
        for (file, expected) in cases {
            let found = check(std::slice::from_ref(&file));
            assert_eq!(found.len(), expected, "{} {found:?}", file.path);
        }
    }
}
