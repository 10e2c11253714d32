//! The demo's plan: the file in `examples/`, with the directory put in.

use std::path::Path;

use quarterdeck_client::api::orchestration::v1::Plan;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::plan_file;

/// The plan as everybody else uses it.
const TEXT: &str = include_str!("../../../../examples/digest.plan.yaml");
const NAME: &str = "examples/digest.plan.yaml";

/// The plan for a directory; `include` narrows it to paths below it, if any.
///
/// # Errors
/// The file in `examples/` is no plan of this form (a defect that a test finds).
pub fn digest(directory: &Path, include: &[&str]) -> Result<Plan, Failure> {
    let mut value = plan_file::value(TEXT, NAME)?;
    let steps = value.get_mut("steps").and_then(Value::as_array_mut);
    let read = steps.and_then(|steps| steps.iter_mut().find(|step| step["key"] == "read"));
    let input = read.and_then(|step| step.pointer_mut("/input/json"));
    let input =
        input.ok_or_else(|| Failure::usage("the demo's plan has no step `read` with input").at(NAME))?;
    input["directory"] = json!(directory.to_string_lossy());
    input["include"] = json!(include);
    plan_file::plan(value, TEXT, NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_client::Payload;

    #[test]
    fn the_demo_runs_the_example_plan_with_its_directory() {
        let plan = digest(Path::new("/some/where"), &["docs"]).unwrap();
        let read = plan.steps.iter().find(|step| step.key == "read").unwrap();
        let input = Payload::from(read.input.clone()).to_json().unwrap();
        assert_eq!(input, json!({"directory": "/some/where", "include": ["docs"], "shards": 4}));
        let analysts = plan.steps.iter().filter(|step| step.capability == "analyse").count();
        assert_eq!(analysts, 4);
        assert_eq!(plan.steps.last().unwrap().capability, "verify");
    }
}
