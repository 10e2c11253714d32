//! Plan files: `quarterdeck.orchestration.v1.Plan` as ProtoJSON, written as JSON or YAML.
//!
//! Invariant: what is refused is refused with the file's name and, as far as it can be
//! known, the line. Whether the plan makes sense is the server's word.

use std::io::Read as _;
use std::path::Path;

use quarterdeck_client::api::orchestration::v1::Plan;
use quarterdeck_client::from_json;
use serde_json::Value;

use crate::connect::unreadable;
use crate::failure::Failure;

/// A plan has at most 1,000 steps of 256 KiB, but one message takes 4 MiB. YAML is roomier.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Reads a plan; `-` is standard input.
///
/// # Errors
/// The file cannot be read, is no YAML or JSON, or is no plan.
pub fn read(path: &Path) -> Result<Plan, Failure> {
    let mut text = String::new();
    let (name, read) = if path == Path::new("-") {
        ("standard input".to_owned(), std::io::stdin().take(LARGEST).read_to_string(&mut text))
    } else {
        let file = std::fs::File::open(path);
        (path.display().to_string(), file.and_then(|file| file.take(LARGEST).read_to_string(&mut text)))
    };
    read.map_err(|error| unreadable(path, "PLANFILE", &error))?;
    parse(&text, &name)
}

/// Parses a plan.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, name: &str) -> Result<Plan, Failure> {
    plan(value(text, name)?, text, name)
}

/// The file as JSON, not yet a plan. JSON is YAML.
///
/// # Errors
/// The text is no YAML.
pub fn value(text: &str, name: &str) -> Result<Value, Failure> {
    let value: Value = serde_norway::from_str(text).map_err(|error| {
        let place =
            error.location().map_or(name.to_owned(), |at| format!("{name}:{}:{}", at.line(), at.column()));
        Failure::usage(format!("the plan file is no YAML: {error}")).at(place)
    })?;
    if !value.is_object() {
        return Err(Failure::usage("the plan file holds no plan")
            .at(name)
            .fix("begin with `steps:`; examples/fan-out.plan.yaml shows the form"));
    }
    Ok(value)
}

/// The plan in a JSON value that was read from `text`.
///
/// # Errors
/// A key or a value does not belong into a plan.
pub fn plan(value: Value, text: &str, name: &str) -> Result<Plan, Failure> {
    from_json::<Plan>(value).map_err(|error| {
        let line = line_of(&error.message, text);
        let place = line.map_or(name.to_owned(), |line| format!("{name}:{line}"));
        let mut failure = Failure::usage(error.message).at(place);
        if let Some(line) = line {
            let words = text.lines().nth(line - 1).unwrap_or_default().trim_end();
            failure = failure.detail(format!("{line} | {words}"));
        }
        failure.fix("proto/quarterdeck/orchestration/v1/plan.proto names every key of a plan")
    })
}

/// The line that holds the word a complaint quotes, if only one line does.
fn line_of(message: &str, text: &str) -> Option<usize> {
    let quoted = message.split(['\'', '`', '"']).skip(1).step_by(2);
    for word in quoted.filter(|word| !word.is_empty()) {
        let holds = |line: &&str| {
            line.split(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).any(|w| w == word)
        };
        let mut lines = text.lines().zip(1..).filter(|(line, _)| holds(line));
        if let (Some((_, line)), None) = (lines.next(), lines.next()) {
            return Some(line);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_a_plan() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let mut seen = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let plan = read(&path).unwrap_or_else(|failure| panic!("{}", failure.render(false)));
                assert!(plan.steps.len() > 2, "{}", path.display());
                for step in &plan.steps {
                    for after in &step.after {
                        assert!(plan.steps.iter().any(|other| other.key == *after), "{after}");
                    }
                }
                seen += 1;
            }
        }
        assert!(seen >= 2);
    }

    #[test]
    fn a_plan_reads_the_same_as_yaml_and_as_json() {
        let yaml = "steps:\n  - key: a\n    capability: echo\n    timeouts: {attempt: 30s}\n";
        let json = r#"{"steps": [{"key": "a", "capability": "echo", "timeouts": {"attempt": "30s"}}]}"#;
        assert_eq!(parse(yaml, "a.yaml").unwrap(), parse(json, "a.json").unwrap());
    }

    #[test]
    fn a_wrong_key_is_named_with_its_line() {
        let failure = parse("steps:\n  - key: a\n    capabilty: echo\n", "my.plan.yaml").unwrap_err();
        let text = failure.render(false);
        assert!(text.contains("capabilty") && text.contains("my.plan.yaml:3"), "{text}");
    }

    #[test]
    fn broken_yaml_is_named_with_its_line() {
        let failure = parse("steps:\n  - key: [a\n", "my.plan.yaml").unwrap_err();
        assert!(failure.place.unwrap().starts_with("my.plan.yaml:"));
        for empty in ["", "just words", "[]"] {
            assert!(parse(empty, "x").is_err(), "{empty}");
        }
    }
}
