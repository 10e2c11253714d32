//! Plan files: `quarterdeck.orchestration.v1.Plan` as ProtoJSON, written as JSON or YAML.
//!
//! Invariant: what is refused is refused with the file's name and, as far as it can be
//! known, the line. Whether the plan makes sense is the server's word.

use std::io::Read as _;
use std::path::Path;

use quarterdeck_client::api::orchestration::v1::{Plan, PlanStep};
use quarterdeck_client::from_json;
use serde_json::{Value, json};

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
    from_json::<Plan>(value.clone()).map_err(|error| {
        let culprit = culprit(&value).unwrap_or(Culprit { path: Vec::new(), step: None, why: error.message });
        let line = culprit.line(text);
        let place = line.map_or(name.to_owned(), |line| format!("{name}:{line}"));
        let mut failure = Failure::usage(culprit.words()).at(place);
        if let Some(line) = line {
            let words = text.lines().nth(line - 1).unwrap_or_default().trim_end();
            failure = failure.detail(format!("{line} | {words}"));
        }
        failure
            .fix("proto/quarterdeck/orchestration/v1/plan.proto names every key of a plan and what it takes")
    })
}

/// The part of a plan that does not fit.
#[derive(Debug)]
struct Culprit {
    /// Keys that lead to it, below its step if it is in one.
    path: Vec<String>,
    /// Number of its step, and the step's name.
    step: Option<(usize, String)>,
    why: String,
}

/// Finds the smallest part that is refused on its own, for the refusal itself does not say where.
fn culprit(plan: &Value) -> Option<Culprit> {
    let top = plan.as_object()?;
    for (key, value) in top.iter().filter(|(key, _)| *key != "steps") {
        if let Err(error) = from_json::<Plan>(json!({ key: value })) {
            return Some(Culprit { path: vec![key.clone()], step: None, why: error.message });
        }
    }
    for (index, step) in top.get("steps")?.as_array()?.iter().enumerate() {
        let Err(error) = from_json::<PlanStep>(step.clone()) else { continue };
        let (path, why) = dig(step, &[]).unwrap_or((Vec::new(), error.message));
        let name = step["key"].as_str().unwrap_or_default().to_owned();
        return Some(Culprit { path, step: Some((index, name)), why });
    }
    None
}

/// The deepest key below a step whose value is refused, and the refusal.
fn dig(value: &Value, path: &[String]) -> Option<(Vec<String>, String)> {
    for (key, inner) in value.as_object()? {
        let mut path = path.to_vec();
        path.push(key.clone());
        let alone = path.iter().rev().fold(inner.clone(), |inner, key| json!({ key: inner }));
        if let Err(error) = from_json::<PlanStep>(alone) {
            return dig(inner, &path).or(Some((path, error.message)));
        }
    }
    None
}

impl Culprit {
    fn words(&self) -> String {
        let why = self.why.split_once(": ").map_or(self.why.as_str(), |(_, why)| why);
        let at = self.path.join(".");
        match &self.step {
            None if self.path.is_empty() => self.why.clone(),
            None => format!("`{at}` does not fit: {why}"),
            Some((index, name)) if self.path.is_empty() => format!("step {} (`{name}`): {why}", index + 1),
            Some((index, name)) => format!("`{at}` of step {} (`{name}`) does not fit: {why}", index + 1),
        }
    }

    /// The line of the last key, looked for from the line that names its step.
    fn line(&self, text: &str) -> Option<usize> {
        let key = self.path.last()?;
        let holds = |line: &str, word: &str| {
            let mut words = line.split(|c: char| !(c.is_alphanumeric() || "_-.".contains(c)));
            words.any(|found| found == word)
        };
        let names_step = |line: &str, name: &str| holds(line, "key") && holds(line, name);
        let from = match &self.step {
            Some((_, name)) => text.lines().position(|line| names_step(line, name))?,
            None => 0,
        };
        text.lines().zip(1..).skip(from).find(|(line, _)| holds(line, key)).map(|(_, line)| line)
    }
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
    fn what_does_not_fit_is_named_with_its_line() {
        let step = |more: &str| format!("steps:\n  - key: a\n    capability: x\n  - key: b\n{more}");
        for (text, words, place) in [
            (step("    capabilty: echo\n"), "`capabilty` of step 2 (`b`)", "p.yaml:5"),
            (step("    capability: x\n    priority: high\n"), "`priority` of step 2 (`b`)", "p.yaml:6"),
            (step("    timeouts: {attempt: 5}\n"), "`timeouts.attempt` of step 2 (`b`)", "p.yaml:5"),
            (step("    retry:\n      maxAttempts: many\n"), "`retry.maxAttempts` of step 2", "p.yaml:6"),
            (step("    after: a\n"), "`after` of step 2", "p.yaml:5"),
            ("timeout: soon\nsteps: []\n".to_owned(), "`timeout` does not fit", "p.yaml:1"),
            ("step: []\n".to_owned(), "`step` does not fit", "p.yaml:1"),
        ] {
            let failure = parse(&text, "p.yaml").unwrap_err();
            assert!(failure.what.contains(words), "{}", failure.render(false));
            assert_eq!(failure.place.as_deref(), Some(place), "{}", failure.render(false));
        }
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
