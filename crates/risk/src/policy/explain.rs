//! Why a policy says what it says: every statement, whether it matched, whether it decided.

use cedar_policy::PolicySet;
use serde::Serialize;

use super::facts::Facts;
use super::judge::{Effect, Judgement};
use super::names::Named as _;
use super::step::Step;
use super::terms::Obligations;
use super::vocabulary::{Sight, Vocabulary};
use super::{Policy, Statement};

/// Steps that are taken for an action, in order.
const STEPS: [Step; 3] = [Step::Raise, Step::Request, Step::AutoApprove];

/// All that there is to say of a judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub judgement: Judgement,
    /// What the policies looked at, as raised.
    pub facts: Facts,
    /// In the order of the file, for each step that they are asked in.
    pub policies: Vec<Said>,
}

/// What one policy had to say in one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    pub policy: String,
    pub line: usize,
    pub step: Step,
    pub effect: Effect,
    pub part: Part,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Obligations::is_empty")]
    pub obligations: Obligations,
}

/// What part a policy had in a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// It matched, and decided or added obligations.
    Determining,
    /// It matched, and something else decided.
    Matched,
    Not,
    /// It could not be evaluated.
    Failed,
}

impl Policy {
    /// Why the policy says what it says of these facts.
    pub fn explain(&self, facts: &Facts) -> Explanation {
        let judgement = self.judge(facts);
        let raised = facts.clone().raised_to(judgement.level);
        let vocabulary = Vocabulary::get();
        let before = vocabulary.and_then(|vocabulary| vocabulary.sight(facts));
        let after = vocabulary.and_then(|vocabulary| vocabulary.sight(&raised));
        let mut policies = Vec::new();
        for statement in &self.statements {
            for step in STEPS.iter().filter(|step| statement.steps.contains(step)) {
                let sight = if *step == Step::Raise { &before } else { &after };
                policies.push(self.part(statement, *step, sight.as_ref(), &judgement));
            }
        }
        Explanation { judgement, facts: raised, policies }
    }

    fn part(&self, statement: &Statement, step: Step, sight: Option<&Sight>, judged: &Judgement) -> Said {
        let effect = if statement.permits { Effect::Permit } else { Effect::Forbid };
        let decided = step == Step::Raise
            || judged.reasons.iter().any(|reason| reason.policy == statement.id && reason.effect == effect)
                && self.deciding(step, judged);
        let part = match self.alone(statement).said(step, sight) {
            said if !said.sound() => Part::Failed,
            said if said.permits.is_empty() && said.forbids.is_empty() => Part::Not,
            _ if decided => Part::Determining,
            _ => Part::Matched,
        };
        Said {
            policy: statement.id.clone(),
            line: statement.line,
            step,
            effect,
            part,
            reason: statement.annotations.reason.clone(),
            obligations: statement.annotations.obligations.clone(),
        }
    }

    /// Whether the verdict came of this step.
    fn deciding(&self, step: Step, judged: &Judgement) -> bool {
        use crate::model::Verdict;
        match judged.verdict {
            Verdict::Auto => step == Step::AutoApprove,
            Verdict::Deny => step == Step::Request,
            Verdict::Ask => true,
        }
    }

    /// The same policy with one statement: what that one says, whatever others say.
    fn alone(&self, statement: &Statement) -> Self {
        let mut alone = Self::closed(self.digest);
        for step in Step::ALL.iter().filter(|step| statement.steps.contains(step)) {
            if let Ok(set) = PolicySet::from_policies([statement.policy.clone()]) {
                alone.sets.insert(*step, set);
            }
        }
        alone.index.insert(statement.policy.id().clone(), 0);
        alone.statements.push(statement.clone());
        alone
    }
}
