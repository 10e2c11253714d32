//! Plans: directed acyclic graphs of steps, valid by construction.
//!
//! A [`Plan`] exists only if its keys are distinct, its dependencies exist and
//! there is no cycle; [`Plan::new`] is the one way in, from the edge as from the
//! log. Field sizes are checked at the edge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::payload::Payload;
use crate::time::Span;

/// Most steps in a plan.
pub const STEPS_MAX: usize = 1_000;
/// Timeout of a task that states none.
pub const DEFAULT_TIMEOUT: Span = Span::from_secs(24 * 60 * 60);

/// Place of a step in its plan.
pub type StepIndex = u16;

/// A validated plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawPlan", into = "RawPlan")]
pub struct Plan {
    steps: Vec<StepSpec>,
    timeout: Span,
    dependencies: Vec<Vec<StepIndex>>,
    dependents: Vec<Vec<StepIndex>>,
}

/// One step as the caller described it, defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepSpec {
    pub key: String,
    pub capability: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Payload>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    pub retry: RetryPolicy,
    #[serde(default)]
    pub timeouts: Timeouts,
    /// 0 to 9, higher first.
    #[serde(default)]
    pub priority: u8,
    /// What needs a yes before the step is given to an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<StepAction>,
}

/// An action that a step declares. The action itself is kept apart: it may hold
/// secrets, and histories are for many eyes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepAction {
    pub digest: Digest,
    /// Where the action is kept, as JSON.
    pub content: Digest,
    /// Word for its kind.
    pub kind: String,
}

/// How often and when a failed step is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, at least 1.
    pub max_attempts: u32,
    pub initial_backoff: Span,
    /// At least 1.
    pub multiplier: f64,
    pub max_backoff: Span,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub non_retryable: Vec<String>,
}

/// Limits of a step; `None` leaves only the task's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeouts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Span>,
}

/// Why steps do not form a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("a plan has 1 to {STEPS_MAX} steps, this one has {0}")]
    Size(usize),
    #[error("two steps have the key `{key}`; keys must differ within a plan")]
    DuplicateKey { key: String, index: usize },
    #[error("step `{key}` comes after `{missing}`, which is no step of this plan")]
    MissingDependency { key: String, missing: String, index: usize },
    #[error("the steps {} wait for each other in a circle; remove one of these dependencies", .keys.join(" -> "))]
    Cycle { keys: Vec<String>, index: usize },
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial_backoff: Span::from_secs(1),
            multiplier: 2.0,
            max_backoff: Span::from_secs(60),
            non_retryable: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// Wait after the `failures`-th failure, with equal jitter: half of the
    /// exponential backoff is fixed, half drawn by `fraction` in [0, 1).
    /// Source: M. Brooker, "Exponential Backoff And Jitter" (2015).
    pub fn backoff(&self, failures: u32, fraction: f64) -> Span {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let factor = self.multiplier.max(1.0).powi(exponent);
        let full = self.initial_backoff.as_micros() as f64 * factor;
        let capped = full.min(self.max_backoff.as_micros() as f64);
        // The cap keeps this far below what an i64 holds.
        Span::from_micros((capped / 2.0 + capped / 2.0 * fraction.clamp(0.0, 1.0)) as i64)
    }
}

impl Plan {
    /// Checks the graph. The error names the step at fault by its index.
    pub fn new(steps: Vec<StepSpec>, timeout: Option<Span>) -> Result<Self, PlanError> {
        if steps.is_empty() || steps.len() > STEPS_MAX {
            return Err(PlanError::Size(steps.len()));
        }
        let mut by_key = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            if by_key.insert(step.key.as_str(), index).is_some() {
                return Err(PlanError::DuplicateKey { key: step.key.clone(), index });
            }
        }
        let mut dependencies = vec![Vec::new(); steps.len()];
        let mut dependents = vec![Vec::new(); steps.len()];
        for (index, step) in steps.iter().enumerate() {
            for name in &step.after {
                let Some(&other) = by_key.get(name.as_str()) else {
                    let (key, missing) = (step.key.clone(), name.clone());
                    return Err(PlanError::MissingDependency { key, missing, index });
                };
                if !dependencies[index].contains(&(other as StepIndex)) {
                    dependencies[index].push(other as StepIndex);
                    dependents[other].push(index as StepIndex);
                }
            }
            dependencies[index].sort_unstable();
        }
        let plan = Self { steps, timeout: timeout.unwrap_or(DEFAULT_TIMEOUT), dependencies, dependents };
        match plan.find_cycle() {
            None => Ok(plan),
            Some(cycle) => Err(PlanError::Cycle {
                index: cycle[0],
                keys: cycle.iter().chain(&cycle[..1]).map(|&step| plan.steps[step].key.clone()).collect(),
            }),
        }
    }

    pub fn steps(&self) -> &[StepSpec] {
        &self.steps
    }

    pub fn step(&self, index: StepIndex) -> Option<&StepSpec> {
        self.steps.get(usize::from(index))
    }

    pub fn index_of(&self, key: &str) -> Option<StepIndex> {
        self.steps.iter().position(|step| step.key == key).map(|index| index as StepIndex)
    }

    /// Steps that must succeed before `index`, in the plan's order.
    pub fn dependencies(&self, index: StepIndex) -> &[StepIndex] {
        &self.dependencies[usize::from(index)]
    }

    /// Steps that wait for `index`.
    pub fn dependents(&self, index: StepIndex) -> &[StepIndex] {
        &self.dependents[usize::from(index)]
    }

    pub fn timeout(&self) -> Span {
        self.timeout
    }

    /// The same plan with every payload passed through `change`.
    pub fn map_inputs(mut self, mut change: impl FnMut(Payload) -> Payload) -> Self {
        for step in &mut self.steps {
            step.input = step.input.take().map(&mut change);
        }
        self
    }

    /// Kahn's algorithm; what is left over is walked back to name one circle.
    fn find_cycle(&self) -> Option<Vec<usize>> {
        let mut left: Vec<usize> = self.dependencies.iter().map(Vec::len).collect();
        let mut free: Vec<usize> = (0..left.len()).filter(|&step| left[step] == 0).collect();
        let mut done = 0;
        while let Some(step) = free.pop() {
            done += 1;
            for &next in &self.dependents[step] {
                left[usize::from(next)] -= 1;
                if left[usize::from(next)] == 0 {
                    free.push(usize::from(next));
                }
            }
        }
        if done == left.len() {
            return None;
        }
        // Every step left over has a dependency left over: going back repeats one.
        let mut trail = vec![left.iter().position(|&count| count > 0)?];
        loop {
            let here = *trail.last()?;
            let back =
                self.dependencies[here].iter().map(|&step| usize::from(step)).find(|&step| left[step] > 0)?;
            if let Some(start) = trail.iter().position(|&seen| seen == back) {
                let mut cycle = trail.split_off(start);
                cycle.reverse();
                return Some(cycle);
            }
            trail.push(back);
        }
    }
}

#[derive(Serialize, Deserialize)]
struct RawPlan {
    steps: Vec<StepSpec>,
    timeout: Span,
}

impl TryFrom<RawPlan> for Plan {
    type Error = PlanError;

    fn try_from(raw: RawPlan) -> Result<Self, PlanError> {
        Self::new(raw.steps, Some(raw.timeout))
    }
}

impl From<Plan> for RawPlan {
    fn from(plan: Plan) -> Self {
        Self { steps: plan.steps, timeout: plan.timeout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(steps: &[(&str, &[&str])]) -> Result<Plan, PlanError> {
        let spec = |(key, after): &(&str, &[&str])| StepSpec {
            key: (*key).to_owned(),
            capability: "work".to_owned(),
            input: None,
            after: after.iter().map(|name| (*name).to_owned()).collect(),
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
            priority: 0,
            action: None,
        };
        Plan::new(steps.iter().map(spec).collect(), None)
    }

    #[test]
    fn a_graph_that_is_no_dag_is_named_and_refused() {
        assert_eq!(plan(&[]), Err(PlanError::Size(0)));
        let twice = plan(&[("a", &[]), ("a", &[])]);
        assert_eq!(twice, Err(PlanError::DuplicateKey { key: "a".into(), index: 1 }));
        let missing = plan(&[("a", &["b"])]);
        assert_eq!(
            missing,
            Err(PlanError::MissingDependency { key: "a".into(), missing: "b".into(), index: 0 })
        );
        let own = plan(&[("a", &["a"])]);
        assert_eq!(own, Err(PlanError::Cycle { keys: vec!["a".into(), "a".into()], index: 0 }));
        let circle = plan(&[("x", &[]), ("a", &["x", "c"]), ("b", &["a"]), ("c", &["b"]), ("d", &["c"])]);
        let Err(PlanError::Cycle { keys, .. }) = circle else { panic!("{circle:?}") };
        assert_eq!(keys.len(), 4);
        assert!(keys.iter().all(|key| ["a", "b", "c"].contains(&key.as_str())), "{keys:?}");
    }

    #[test]
    fn a_plan_from_the_log_is_checked_like_one_from_the_edge() {
        let good = plan(&[("a", &[]), ("b", &["a"])]).unwrap();
        let json = serde_json::to_string(&good).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), good);
        assert!(serde_json::from_str::<Plan>(&json.replace("[\"a\"]", "[\"z\"]")).is_err());
    }

    #[test]
    fn backoff_grows_to_its_cap_and_keeps_half_fixed() {
        let policy = RetryPolicy { max_backoff: Span::from_secs(5), ..RetryPolicy::default() };
        for (failures, fraction, expected_ms) in [
            (1, 0.0, 500),
            (1, 1.0, 1_000),
            (2, 1.0, 2_000),
            (3, 1.0, 4_000),
            (4, 1.0, 5_000),
            (4_000_000, 0.0, 2_500),
        ] {
            assert_eq!(
                policy.backoff(failures, fraction),
                Span::from_millis(expected_ms),
                "{failures} {fraction}"
            );
        }
    }
}
