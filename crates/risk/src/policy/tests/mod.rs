//! What policies promise.

mod deciding;
mod facts;
mod judging;
mod laws;
mod loading;

use super::fault::Fault;
use super::*;
use crate::assess::{Case, found};
use crate::model::{Context, Environment, Found, Level};

const ASKER: Asker<'_> = Asker { agent: "reader", agent_type: "coder", project: "acme", kind: "command" };

fn context(environment: Option<Environment>) -> Context {
    Context { environment, ..Context::default() }
}

fn run(command: &str, environment: Option<Environment>) -> Facts {
    let case = Case { id: String::new(), kind: "command".to_owned(), text: command.to_owned(), lang: None };
    Facts::of(&found(&case, &context(environment)), &context(environment), &ASKER)
}

/// Facts of nothing, as a base for others.
fn nothing() -> Facts {
    Facts::of(&Found::default(), &context(None), &ASKER)
}

fn policy(text: &str) -> Policy {
    Policy::compile(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Automatic when low, asked otherwise; with more policies.
fn with(more: &str) -> Policy {
    policy(&format!(
        "@id(\"auto\") permit(principal, action == Action::\"auto_approve\", resource) \
         when {{ context.level == Level::\"low\" }};\n\
         @id(\"ask\") permit(principal, action == Action::\"request\", resource);\n{more}"
    ))
}

fn faults(text: &str) -> Vec<(usize, Fault)> {
    let error = Policy::compile(text).expect_err("a fault");
    error.problems.into_iter().map(|problem| (problem.line, problem.fault)).collect()
}

fn ids(reasons: &[Reason]) -> Vec<&str> {
    reasons.iter().map(|reason| reason.policy.as_str()).collect()
}
