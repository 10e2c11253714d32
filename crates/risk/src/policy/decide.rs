//! Who may decide on a request, override a policy, and administer.
//!
//! Invariants: the schema lets nobody but a person approve or override, so that no
//! policy can say otherwise; what cannot be evaluated is refused. That a requester
//! decides nothing is also a rule of the request's life, wherever that is kept; here it
//! is a forbid of the shipped policy.

use std::collections::HashSet;

use cedar_policy::{Authorizer, Context, Decision, Entities, Request, RestrictedExpression as Value};

use super::judge::{Effect, Reason};
use super::step::Step;
use super::vocabulary::{Vocabulary, entity, strings, type_name, uid};
use super::{Policy, judge};
use crate::model::Level;

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeciderKind {
    Human,
    Service,
    Agent,
}

/// Who wants to decide, as authenticated.
#[derive(Clone, Debug)]
pub struct Decider {
    pub kind: DeciderKind,
    pub subject: String,
    /// Who vouches for the subject.
    pub issuer: String,
    pub roles: Vec<String>,
}

/// What is decided on. People are compared by subject alone: a name that two issuers
/// know counts as one person, which errs on the side of asking somebody else.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    pub project: String,
    pub requester: String,
    /// Whose agent the requester is.
    pub owner: Option<String>,
    /// Who wrote or edited the action.
    pub author: Option<String>,
    pub level: Level,
    /// One of them is needed, as in [`super::Terms::roles`].
    pub roles: Vec<String>,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecideAct {
    Approve,
    Deny,
    /// Let happen what a policy denies.
    Override,
    /// Change policies, revoke grants.
    Administer,
}

impl From<DecideAct> for Step {
    fn from(act: DecideAct) -> Self {
        match act {
            DecideAct::Approve => Self::Approve,
            DecideAct::Deny => Self::Deny,
            DecideAct::Override => Self::Override,
            DecideAct::Administer => Self::Administer,
        }
    }
}

impl Policy {
    /// Whether somebody may decide.
    ///
    /// # Errors
    /// Why not: the policies that forbid it, or that none permits it.
    pub fn may_decide(
        &self,
        decider: &Decider,
        request: &RequestFacts,
        act: DecideAct,
    ) -> Result<(), Vec<Reason>> {
        let step = Step::from(act);
        let asked = Vocabulary::get().and_then(|vocabulary| question(vocabulary, decider, request, step));
        let (Some((question, entities)), Some(set)) = (asked, self.sets.get(&step)) else {
            return Err(vec![unsaid("nobody of this kind may do this")]);
        };
        let response = Authorizer::new().is_authorized(&question, set, &entities);
        let failed = response.diagnostics().errors().next().is_some();
        if response.decision() == Decision::Allow && !failed {
            return Ok(());
        }
        let said = response.diagnostics().reason().filter_map(|id| self.statement(id));
        let forbids: Vec<_> = said.filter(|statement| !statement.permits).collect();
        let mut reasons = judge::reasons(&forbids, Effect::Forbid);
        if failed {
            reasons.push(unsaid("a policy could not be evaluated"));
        }
        if reasons.is_empty() {
            reasons.push(unsaid("no policy permits it"));
        }
        Err(reasons)
    }
}

fn unsaid(text: &str) -> Reason {
    Reason { policy: String::new(), text: text.to_owned(), effect: Effect::Forbid }
}

/// `None` where the schema has no such question: an agent that approves, for one.
fn question(
    vocabulary: &Vocabulary,
    decider: &Decider,
    request: &RequestFacts,
    step: Step,
) -> Option<(Request, Entities)> {
    let kind = match decider.kind {
        DeciderKind::Human => "Human",
        DeciderKind::Service => "Service",
        DeciderKind::Agent => "Agent",
    };
    let principal = uid(&type_name(kind)?, &decider.subject);
    let project = vocabulary.project(&request.project);
    let (resource, entities) = match step {
        Step::Administer => (project, Vec::new()),
        _ => {
            let asked = uid(&type_name("Request")?, "this");
            (asked.clone(), vec![entity(asked, of_request(vocabulary, request)?, HashSet::from([project]))?])
        }
    };
    let who = match decider.kind {
        DeciderKind::Agent => Vec::new(),
        DeciderKind::Human | DeciderKind::Service => vec![
            ("subject", Value::new_string(decider.subject.clone())),
            ("issuer", Value::new_string(decider.issuer.clone())),
            ("roles", strings(&decider.roles)),
        ],
    };
    let who = entity(principal.clone(), who, HashSet::new())?;
    let entities = entities.into_iter().chain([who]);
    let entities = Entities::from_entities(entities, Some(&vocabulary.schema)).ok()?;
    let action = vocabulary.step(step)?;
    let schema = Some(&vocabulary.schema);
    let question = Request::new(principal, action, resource, Context::empty(), schema).ok()?;
    Some((question, entities))
}

fn of_request(vocabulary: &Vocabulary, request: &RequestFacts) -> Option<Vec<(&'static str, Value)>> {
    let mut all = vec![
        ("requester", Value::new_string(request.requester.clone())),
        ("level", vocabulary.level(request.level)?),
        ("roles", strings(&request.roles)),
    ];
    let owner = request.owner.iter().map(|owner| ("owner", Value::new_string(owner.clone())));
    let author = request.author.iter().map(|author| ("author", Value::new_string(author.clone())));
    all.extend(owner.chain(author));
    Some(all)
}
