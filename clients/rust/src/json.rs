//! Messages of the contract as ProtoJSON and back, by their descriptors.

use prost_reflect::{DeserializeOptions, DynamicMessage, ReflectMessage, SerializeOptions};
use tonic::Code;

use crate::error::Error;

/// A message as ProtoJSON: camelCase names, enums by name, 64-bit integers as
/// strings, fields at their default left out.
///
/// # Errors
/// A value that ProtoJSON cannot express, such as a timestamp beyond year 9999.
pub fn to_json<M: ReflectMessage>(message: &M) -> Result<serde_json::Value, Error> {
    message
        .transcode_to_dynamic()
        .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
        .map_err(|error| Error::client(Code::Internal, format!("the message does not become JSON: {error}")))
}

/// A message from ProtoJSON. Both spellings of names are taken (`maxAttempts`,
/// `max_attempts`); a key that the message does not have is refused by its name.
///
/// # Errors
/// The JSON does not fit the message; the words say where.
pub fn from_json<M: ReflectMessage + Default>(value: serde_json::Value) -> Result<M, Error> {
    let descriptor = M::default().descriptor();
    let refuse = |error: &dyn std::fmt::Display| {
        Error::client(Code::InvalidArgument, format!("this is no {}: {error}", descriptor.name()))
    };
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(descriptor.clone(), value, &options)
        .map_err(|error| refuse(&error))?
        .transcode_to()
        .map_err(|error| refuse(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;
    use quarterdeck_api::orchestration::v1::{Plan, PlanStep, Task, TaskState};
    use serde_json::json;

    #[test]
    fn a_plan_is_read_in_both_spellings_and_written_in_one() {
        let text = json!({
            "steps": [
                {"key": "a", "capability": "echo", "input": {"json": {"n": 1}},
                 "retry": {"max_attempts": 2, "initialBackoff": "0.250s"}},
                {"key": "b", "capability": "echo", "after": ["a"], "timeouts": {"attempt": "30s"}},
            ],
            "timeout": "60s",
        });
        let plan: Plan = from_json(text).unwrap();
        assert_eq!(plan.steps[0].retry.as_ref().unwrap().max_attempts, 2);
        assert_eq!(plan.steps[0].retry.as_ref().unwrap().initial_backoff.unwrap().nanos, 250_000_000);
        let input = Payload::from(plan.steps[0].input.clone());
        assert_eq!(input.to_json().unwrap(), json!({"n": 1}));
        let back = to_json(&plan).unwrap();
        assert_eq!(back["steps"][0]["retry"]["maxAttempts"], json!(2));
        assert_eq!(from_json::<Plan>(back).unwrap(), plan);
    }

    #[test]
    fn an_unknown_key_is_refused_by_its_name() {
        let step = json!({"steps": [{"key": "a", "capabilty": "echo"}]});
        let error = from_json::<Plan>(step).unwrap_err();
        assert!(error.to_string().contains("capabilty"), "{error}");
        let error = from_json::<PlanStep>(json!({"key": 7})).unwrap_err();
        assert!(error.to_string().contains("PlanStep"), "{error}");
    }

    #[test]
    fn enums_are_written_by_name_and_long_integers_as_strings() {
        let task =
            Task { id: "tsk_1".to_owned(), state: TaskState::Running.into(), revision: 3, ..Task::default() };
        assert_eq!(
            to_json(&task).unwrap(),
            json!({"id": "tsk_1", "state": "TASK_STATE_RUNNING", "revision": "3"})
        );
    }
}
