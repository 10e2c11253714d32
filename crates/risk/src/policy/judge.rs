//! What a policy says of an action.
//!
//! Invariants: a forbid beats every permit, and every grant; an error while a policy is
//! evaluated is never a yes; what was not wholly understood is automatic only where a
//! policy says `@incomplete("auto")`.

use cedar_policy::{Authorizer, EntityUid, Request};
use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::step::Step;
use super::terms::{Obligations, Terms};
use super::vocabulary::{Sight, Vocabulary};
use super::{Policy, Statement};
use crate::model::{Level, Verdict};

/// Whether a policy lets something happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Permit,
    Forbid,
}

/// A policy that decided, and why it says so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// The policy's id; empty where no policy says anything.
    pub policy: String,
    pub text: String,
    pub effect: Effect,
}

/// What a policy says of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    pub verdict: Verdict,
    /// As weighed, or as policies raised it.
    pub level: Level,
    /// What is asked of people, if they are asked.
    pub terms: Terms,
    /// The policies that decided, sorted.
    pub reasons: Vec<Reason>,
    /// Policies that could not be evaluated.
    pub errors: Vec<String>,
    /// Whether an earlier yes to such actions may count; see [`Judgement::with_grant`].
    pub grantable: bool,
}

/// What the policies of one step say.
#[derive(Debug, Default)]
pub(super) struct Said<'p> {
    pub permits: Vec<&'p Statement>,
    pub forbids: Vec<&'p Statement>,
    pub failed: Vec<&'p Statement>,
    /// Nothing could be asked at all.
    pub mute: bool,
}

impl Said<'_> {
    /// Permitted, not forbidden, and without a doubt.
    pub fn yes(&self) -> bool {
        !self.permits.is_empty() && self.forbids.is_empty() && self.sound()
    }

    pub fn sound(&self) -> bool {
        self.failed.is_empty() && !self.mute
    }

    fn mute() -> Self {
        Self { mute: true, ..Self::default() }
    }
}

impl Judgement {
    /// The verdict where a remembered grant covers the action. A grant stands for the
    /// people who are asked, so it turns asking into a yes and nothing else: a forbid of
    /// `request` or `auto_approve`, a gap and an error remain what they are.
    pub fn with_grant(&self, covered: bool) -> Verdict {
        match self.verdict {
            Verdict::Ask if covered && self.grantable => Verdict::Auto,
            verdict => verdict,
        }
    }
}

impl Policy {
    /// What the policy says of these facts.
    ///
    /// `request` forbidden, or permitted by nothing, is a denial. Otherwise
    /// `auto_approve` makes it automatic, and what remains is asked.
    pub fn judge(&self, facts: &Facts) -> Judgement {
        let vocabulary = Vocabulary::get();
        let mut sight = vocabulary.and_then(|vocabulary| vocabulary.sight(facts));
        let raise = self.raised(sight.as_ref());
        // One that failed might have raised.
        let raised = raise.permits.iter().chain(&raise.failed);
        let level = raised.filter_map(|one| one.annotations.level).fold(facts.level, Level::max);
        let lifted;
        let facts = match level == facts.level {
            true => facts,
            false => {
                lifted = facts.clone().raised_to(level);
                sight = vocabulary.and_then(|vocabulary| vocabulary.sight(&lifted));
                &lifted
            }
        };
        let request = self.said(Step::Request, sight.as_ref());
        let auto = self.said(Step::AutoApprove, sight.as_ref());
        weighed(facts, &raise, &request, &auto)
    }

    /// What `raise` says; a file without it is asked nothing.
    fn raised(&self, sight: Option<&Sight>) -> Said<'_> {
        match self.sets.get(&Step::Raise).is_none_or(cedar_policy::PolicySet::is_empty) {
            true => Said::default(),
            false => self.said(Step::Raise, sight),
        }
    }

    pub(super) fn said(&self, step: Step, sight: Option<&Sight>) -> Said<'_> {
        let action = Vocabulary::get().and_then(|vocabulary| vocabulary.step(step));
        match (sight, action) {
            (Some(sight), Some(action)) => self.asked(step, action, sight),
            _ => Said::mute(),
        }
    }

    fn asked(&self, step: Step, action: EntityUid, sight: &Sight) -> Said<'_> {
        let Some(set) = self.sets.get(&step) else { return Said::mute() };
        let (principal, resource) = (sight.principal.clone(), sight.resource.clone());
        let Ok(request) = Request::new(principal, action, resource, sight.context.clone(), None) else {
            return Said::mute();
        };
        let response = Authorizer::new().is_authorized(&request, set, &sight.entities);
        let mut said = Said::default();
        for statement in response.diagnostics().reason().filter_map(|id| self.statement(id)) {
            match statement.permits {
                true => said.permits.push(statement),
                false => said.forbids.push(statement),
            }
        }
        for error in response.diagnostics().errors() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            match self.statement(error.policy_id()) {
                Some(statement) => said.failed.push(statement),
                None => said.mute = true,
            }
        }
        said
    }
}

fn weighed(facts: &Facts, raise: &Said<'_>, request: &Said<'_>, auto: &Said<'_>) -> Judgement {
    let steps = [raise, request, auto];
    let sound = steps.iter().all(|said| said.sound());
    let whole = facts.complete || auto.permits.iter().any(|permit| permit.annotations.incomplete);
    // A forbid that failed might have held.
    let forbidden = !request.forbids.is_empty() || request.failed.iter().any(|one| !one.permits);
    // A permit that failed lets ask, as nothing can happen by asking; it is no yes.
    let askable = !request.permits.is_empty() || request.failed.iter().any(|one| one.permits);
    let verdict = match () {
        () if forbidden || !askable || request.mute => Verdict::Deny,
        () if auto.yes() && sound && whole => Verdict::Auto,
        () => Verdict::Ask,
    };
    // A permit that failed might have asked for more: its obligations count.
    let asking = [raise, request].into_iter().flat_map(|said| said.permits.iter().chain(&said.failed));
    let asked = asking.filter(|one| one.permits).map(|one| &one.annotations.obligations);
    let mut errors: Vec<String> =
        steps.iter().flat_map(|said| &said.failed).map(|one| one.id.clone()).collect();
    errors.sort();
    errors.dedup();
    Judgement {
        verdict,
        level: facts.level,
        terms: asked.fold(Obligations::default(), |all, one| all.and(one)).terms(facts.level),
        reasons: decided(verdict, raise, request, auto),
        errors,
        grantable: facts.complete && auto.forbids.is_empty() && sound,
    }
}

fn decided(verdict: Verdict, raise: &Said<'_>, request: &Said<'_>, auto: &Said<'_>) -> Vec<Reason> {
    match verdict {
        Verdict::Auto => reasons(&auto.permits, Effect::Permit),
        Verdict::Ask => {
            let mut all = reasons(&request.permits, Effect::Permit);
            all.extend(reasons(&raise.permits, Effect::Permit));
            all.extend(reasons(&auto.forbids, Effect::Forbid));
            all.sort();
            all
        }
        Verdict::Deny if request.forbids.is_empty() => vec![Reason {
            policy: String::new(),
            text: "no policy permits to ask for this".to_owned(),
            effect: Effect::Forbid,
        }],
        Verdict::Deny => reasons(&request.forbids, Effect::Forbid),
    }
}

pub(super) fn reasons(statements: &[&Statement], effect: Effect) -> Vec<Reason> {
    let mut all: Vec<Reason> = statements.iter().map(|statement| statement.says(effect)).collect();
    all.sort();
    all
}
