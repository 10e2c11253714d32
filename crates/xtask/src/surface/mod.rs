//! `proto/surface.txt`: the whole API as sorted text, one item a line, so that a
//! change of the contract is seen in review as what it is.

mod options;
mod text;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

const FILE: &str = "proto/surface.txt";

/// Writes the file.
pub fn write(root: &Path) -> Result<()> {
    fs::write(root.join(FILE), generate()).with_context(|| format!("cannot write {FILE}"))
}

/// Compares the file with the contract.
pub fn check(root: &Path) -> Result<()> {
    let stored = fs::read_to_string(root.join(FILE)).unwrap_or_default();
    let differences = differences(&stored, &generate());
    if differences.is_empty() {
        return Ok(());
    }
    bail!(
        "{FILE} is not the text of proto/ (- the file, + the contract):\n{}\nIf the change is meant, run `cargo xtask surface`.",
        differences.join("\n")
    )
}

fn generate() -> String {
    text::surface(&quarterdeck_api::descriptor_pool())
}

/// Up to 20 lines that differ, with the heading under which they stand.
fn differences(stored: &str, generated: &str) -> Vec<String> {
    const SHOWN: usize = 20;
    let (old, new) = (with_headings(stored), with_headings(generated));
    let missing = old.iter().filter(|line| !new.contains(*line)).map(|line| format!("  - {line}"));
    let added = new.iter().filter(|line| !old.contains(*line)).map(|line| format!("  + {line}"));
    let mut all: Vec<String> = missing.chain(added).collect();
    if all.is_empty() && stored != generated {
        all.push("  only the order or white space differs".to_owned());
    }
    if all.len() > SHOWN {
        let more = all.len() - SHOWN;
        all.truncate(SHOWN);
        all.push(format!("  ... and {more} more"));
    }
    all
}

fn with_headings(text: &str) -> Vec<String> {
    let mut heading = "";
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            if line.starts_with(' ') {
                format!("{heading} /{line}")
            } else {
                heading = line;
                line.to_owned()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_kind_of_item() {
        let text = generate();
        for line in [
            "package quarterdeck.orchestration.v1",
            "service quarterdeck.orchestration.v1.TaskService",
            "  rpc Session(stream .SessionRequest) returns (stream .SessionResponse) roles=ADMIN,AGENT cost=10",
            "  1 name: string {string: {max_len: 40, min_len: 2, pattern: \"^[a-z][a-z0-9-]*[a-z0-9]$\"}}",
            "  3 update_mask: google.protobuf.FieldMask {field_mask: {in: [\"display_name\", \"state\"]}, required: true}",
            "  4 if_revision_match: optional int64 {int64: {gte: 1}}",
            "  4 labels: map<string, string>",
            "  oneof message {required: true}",
            "  1 hello: .Hello |message",
            "  REASON_TASK_NOT_FOUND = 21",
            "extension quarterdeck.options.v1.access = 50100 of google.protobuf.MethodOptions: .Access",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
        assert!(!text.contains("buf.validate"), "vendored types are not ours to promise");
    }

    #[test]
    fn a_difference_is_named_with_its_place() {
        let old = "# x\nmessage .A\n  1 a: string\nmessage .B\n  1 a: string\n";
        let new = "# x\nmessage .A\n  1 a: string\nmessage .B\n  1 a: bytes\n";
        assert_eq!(differences(old, new), ["  - message .B /  1 a: string", "  + message .B /  1 a: bytes"]);
        assert!(differences(old, old).is_empty());
        let swapped = "# x\nmessage .B\n  1 a: string\nmessage .A\n  1 a: string\n";
        assert_eq!(differences(old, swapped).len(), 1);
    }
}
