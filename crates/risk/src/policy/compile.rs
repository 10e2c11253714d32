//! From a file's text to a policy that can be asked.
//!
//! Invariant: a policy exists only if every part of its file was understood, fits the
//! schema, and every example in it holds.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    ActionConstraint, Effect as Verb, PolicyId, PolicySet, Template, ValidationMode, Validator,
};
use miette::Diagnostic;
use sha2::{Digest as _, Sha256};

use super::annotation::{ANNOTATIONS, Annotations, Place};
use super::example;
use super::fault::{Fault, PolicyError, Problem, shown};
use super::names::Named as _;
use super::scan::{Part, scan};
use super::step::Step;
use super::vocabulary::Vocabulary;
use super::{Policy, Statement};

/// What the digest of a policy file begins with, so that it is never one of other data.
const DOMAIN: &[u8] = b"quarterdeck.policy.v1\0";
/// What may only raise a risk: an agent's word, and the form in which it acts.
const RAISING: [&str; 2] = ["agent_type", "kind"];

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line and a fix.
    pub fn compile(text: &str) -> Result<Self, PolicyError> {
        let mut parts = scan(text);
        let mut problems = std::mem::take(&mut parts.problems);
        let mut policy = Self::closed(digest(text));
        if problems.is_empty() {
            for part in &parts.policies {
                match statement(part) {
                    Ok(statement) => policy.add(statement, &mut problems),
                    Err(faults) => problems.extend(faults),
                }
            }
            problems.extend(policy.misfits(&parts.policies));
        }
        if problems.is_empty() {
            policy.sort();
            for part in &parts.examples {
                match example::Example::parse(part) {
                    Ok(example) => {
                        problems
                            .extend(example.fault(&policy).map(|fault| Problem { line: part.line, fault }));
                        policy.examples.push(example);
                    }
                    Err(why) => {
                        problems.push(Problem { line: part.line, fault: Fault::ExampleForm { why } });
                    }
                }
            }
        }
        if problems.is_empty() { Ok(policy) } else { Err(PolicyError::of(problems)) }
    }

    fn add(&mut self, statement: Statement, problems: &mut Vec<Problem>) {
        let line = statement.line;
        if let Some(first) = self.statements.iter().find(|other| other.id == statement.id) {
            let fault = Fault::SameId { id: statement.id, first: first.line };
            problems.push(Problem { line, fault });
            return;
        }
        self.statements.push(statement);
    }

    /// What does not fit the schema. Warnings count: a policy that can never apply, or
    /// whose letters look like others, is not what its author means.
    fn misfits(&self, parts: &[Part]) -> Vec<Problem> {
        let Some(vocabulary) = Vocabulary::get() else {
            let fault = Fault::Schema("the schema itself cannot be read".to_owned());
            return vec![Problem { line: 0, fault }];
        };
        let all = PolicySet::from_policies(self.statements.iter().map(|one| one.policy.clone()));
        let Ok(all) = all else { return Vec::new() };
        let result = Validator::new(vocabulary.schema.clone()).validate(&all, ValidationMode::Strict);
        let errors = result.validation_errors().map(|error| self.misfit(error.policy_id(), error, parts));
        let warnings =
            result.validation_warnings().map(|warning| self.misfit(warning.policy_id(), warning, parts));
        errors.chain(warnings).collect()
    }

    fn misfit(&self, id: &PolicyId, said: &dyn Diagnostic, parts: &[Part]) -> Problem {
        let statement = self.statements.iter().find(|statement| statement.policy.id() == id);
        let begin = statement.map_or(0, |statement| statement.line);
        let line = match parts.iter().find(|part| part.line == begin) {
            Some(part) => line_of(part, said),
            None => begin,
        };
        Problem { line, fault: Fault::Schema(words(said)) }
    }

    /// Sorts statements by what they are asked: a judgement looks at few of them.
    fn sort(&mut self) {
        for step in Step::ALL {
            let of_step: Vec<_> = self
                .statements
                .iter()
                .filter(|statement| statement.steps.contains(step))
                .map(|statement| statement.policy.clone())
                .collect();
            if let Ok(set) = PolicySet::from_policies(of_step) {
                self.sets.insert(*step, set);
            }
        }
        self.index = self
            .statements
            .iter()
            .enumerate()
            .map(|(at, statement)| (statement.policy.id().clone(), at))
            .collect::<BTreeMap<_, _>>();
    }
}

/// SHA-256 of a policy file.
pub fn digest(text: &str) -> [u8; 32] {
    Sha256::new().chain_update(DOMAIN).chain_update(text.as_bytes()).finalize().into()
}

fn statement(part: &Part) -> Result<Statement, Vec<Problem>> {
    let here = |fault| Problem { line: part.line, fault };
    let policy = match cedar_policy::Policy::parse(None, &part.text) {
        Ok(policy) => policy,
        Err(_) if Template::parse(None, &part.text).is_ok() => return Err(vec![here(Fault::Template)]),
        Err(errors) => {
            let problem = |error: &dyn Diagnostic| Problem {
                line: line_of(part, error),
                fault: Fault::Syntax(words(error)),
            };
            return Err(errors.iter().map(|error| problem(error)).collect());
        }
    };
    let (annotations, mut faults) = Annotations::read(policy.annotations());
    let permits = policy.effect() == Verb::Permit;
    let named = steps(&policy.action_constraint());
    faults.extend(misplaced(&policy, permits, named.as_ref()));
    faults.extend(shape(&policy, permits, named.as_ref(), &annotations));
    let id = annotations.id.clone().unwrap_or_default();
    let unnamed = id.is_empty() && !faults.iter().any(|fault| matches!(fault, Fault::BadId { .. }));
    faults.extend(unnamed.then_some(Fault::NoId));
    if !faults.is_empty() {
        return Err(faults.into_iter().map(here).collect());
    }
    // A forbid for everything forbids no raise: that would let risks through.
    let every = || Step::ALL.iter().copied().filter(|step| *step != Step::Raise).collect();
    let policy = policy.new_id(PolicyId::new(&id));
    let steps = named.unwrap_or_else(every);
    Ok(Statement { id, line: part.line, permits, steps, annotations, policy })
}

/// The steps that a policy names; `None` where it is for all of them.
fn steps(constraint: &ActionConstraint) -> Option<BTreeSet<Step>> {
    let step = |uid: &cedar_policy::EntityUid| Step::named(uid.id().unescaped());
    match constraint {
        ActionConstraint::Any => None,
        ActionConstraint::In(all) => Some(all.iter().filter_map(step).collect()),
        ActionConstraint::Eq(one) => Some(step(one).into_iter().collect()),
    }
}

fn misplaced(policy: &cedar_policy::Policy, permits: bool, named: Option<&BTreeSet<Step>>) -> Vec<Fault> {
    let on =
        |steps: &[Step]| permits && named.is_some_and(|named| steps.iter().any(|step| named.contains(step)));
    let fits = |place: Place| match place {
        Place::Any => true,
        Place::Asked => on(&[Step::Request, Step::Raise]),
        Place::Raise => on(&[Step::Raise]),
        Place::Auto => on(&[Step::AutoApprove]),
    };
    let known = policy.annotations().filter_map(|(name, _)| ANNOTATIONS.iter().find(|one| one.name == name));
    known.filter(|known| !fits(known.place)).map(|known| Fault::Misplaced { name: known.name }).collect()
}

/// What would let more through than its author may think.
fn shape(
    policy: &cedar_policy::Policy,
    permits: bool,
    named: Option<&BTreeSet<Step>>,
    annotations: &Annotations,
) -> Vec<Fault> {
    let raises = named.is_some_and(|named| named.contains(&Step::Raise));
    let mut faults = Vec::new();
    match (permits, named) {
        (true, None) => faults.push(Fault::EveryAction),
        (false, Some(_)) if raises => faults.push(Fault::NeverRaise),
        (true, Some(_)) if raises && annotations.level.is_none() && annotations.obligations.is_empty() => {
            faults.push(Fault::EmptyRaise);
        }
        _ => {}
    }
    let lets =
        named.is_some_and(|named| named.contains(&Step::AutoApprove) || named.contains(&Step::Request));
    if permits && lets {
        match policy.to_json() {
            Ok(json) => faults.extend(lowering(&json).map(|what| Fault::Lowers { what })),
            Err(error) => faults.push(Fault::Syntax(shown(&error.to_string()))),
        }
    }
    faults
}

/// The first look of a condition at what may only raise a risk. The whole context holds
/// it too, so that it may be looked at by its parts only.
fn lowering(json: &serde_json::Value) -> Option<String> {
    match json {
        serde_json::Value::Object(fields) => fields.iter().find_map(|(name, inner)| {
            let attribute = inner.get("attr").and_then(|attribute| attribute.as_str());
            match (name.as_str(), attribute) {
                ("." | "has", Some(attribute)) if RAISING.contains(&attribute) => {
                    Some(format!("context.{attribute}"))
                }
                ("." | "has", Some(_)) => {
                    inner.get("left").filter(|left| !is_context(left)).and_then(lowering)
                }
                _ if is_context(json) => Some("context".to_owned()),
                _ => lowering(inner),
            }
        }),
        serde_json::Value::Array(items) => items.iter().find_map(lowering),
        _ => None,
    }
}

fn is_context(json: &serde_json::Value) -> bool {
    json.get("Var").and_then(|name| name.as_str()) == Some("context")
}

/// The line of a part that is meant.
fn line_of(part: &Part, said: &dyn Diagnostic) -> usize {
    let offset = said.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
    let before = part.text.get(..offset).unwrap_or_default();
    part.line + before.bytes().filter(|byte| *byte == b'\n').count()
}

/// A message with its hint, on one line.
fn words(said: &dyn Diagnostic) -> String {
    let text = match said.help() {
        Some(help) => format!("{said} ({help})"),
        None => said.to_string(),
    };
    shown(&text)
}
