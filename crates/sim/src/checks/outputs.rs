//! Outputs: a step is told of the steps before it what those said, with the
//! assignment and whenever it asks while it holds its lease.

use quarterdeck_core::task::Event;

use super::{Evidence, TaskLog};
use crate::history::{Fact, Output, Told};

pub fn check(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    for entry in &evidence.entries {
        match &entry.fact {
            Fact::Assigned { token, task, step, outputs: Some(outputs), .. } => {
                if let Some(log) = evidence.tasks.get(task) {
                    found.extend(given(log, step, outputs).map(|what| format!("{token} of {task}: {what}")));
                }
            }
            Fact::Looked { token, task, step, asked, told, .. } => {
                if let Some(log) = evidence.tasks.get(task) {
                    let wrong = looked(log, token, step, *asked, entry.at, told);
                    found.extend(wrong.map(|what| format!("{token} of {task}: {what}")));
                }
            }
            _ => {}
        }
    }
    found
}

/// What the log has as the output of a step.
fn truth(log: &TaskLog, key: &str) -> Option<Output> {
    let created = log.created()?;
    let index = created.plan.index_of(key)?;
    let reused = created.reused.get(&index);
    let said = || {
        log.events.iter().find_map(|event| match &event.event {
            Event::Succeeded { step, output, .. } if *step == index => Some(output),
            _ => None,
        })
    };
    Some(match reused.or_else(said)? {
        Some(output) => Output::Content(output.digest().to_string()),
        None => Output::Nothing,
    })
}

/// An assignment brings the outputs of exactly the steps before it.
fn given(log: &TaskLog, key: &str, outputs: &[(String, Output)]) -> Option<String> {
    let plan = &log.created()?.plan;
    let index = plan.index_of(key)?;
    let names: Vec<&str> = plan
        .dependencies(index)
        .iter()
        .filter_map(|&other| plan.step(other))
        .map(|step| step.key.as_str())
        .collect();
    if !outputs.iter().map(|(name, _)| name.as_str()).eq(names.iter().copied()) {
        return Some(format!("it comes after {names:?} and was given {outputs:?}"));
    }
    outputs.iter().find_map(|(name, output)| differs(log, name, output))
}

fn differs(log: &TaskLog, key: &str, output: &Output) -> Option<String> {
    let truth = truth(log, key);
    (truth.as_ref() != Some(output)).then(|| format!("{key} was told as {output:?}, the log has {truth:?}"))
}

fn looked(log: &TaskLog, token: &str, key: &str, asked: i64, answered: i64, told: &Told) -> Option<String> {
    let over = log.lease_ended(token);
    match told {
        Told::Output(_) if over.is_some_and(|over| over < asked) => {
            Some(format!("it was shown {key} at {asked}, though its lease ended at {over:?}"))
        }
        Told::Output(output) => differs(log, key, output),
        Told::Stale if over.is_none_or(|over| over > answered) && !log.lease_was_lost(token) => {
            Some(format!("it was called stale at {answered}, its lease ended at {over:?}"))
        }
        Told::Defect(why) => Some(format!("it asked for {key} and was answered with a defect: {why}")),
        Told::Stale | Told::Failed(_) => None,
    }
}
