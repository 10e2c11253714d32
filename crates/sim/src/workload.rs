//! What is asked for: plans, each from one number.

use std::collections::BTreeMap;

use bytes::Bytes;
use quarterdeck_core::plan::{Plan, PlanError, RetryPolicy, StepAction, StepSpec, Timeouts};
use quarterdeck_core::{Action, Digest, Payload, Span};
use quarterdeck_engine::tasks::TaskRequest;

use crate::dice::Dice;

pub const CAPABILITIES: [&str; 2] = ["alpha", "beta"];
/// Label by which watches of the project select, and its values: 0 up to this.
pub const HUE: &str = "hue";
pub const HUES: usize = 3;

/// Content that is too large for an event.
pub const LARGE: usize = 5_000;

/// The request that `body` stands for, named after its request id.
pub fn request(name: &str, body: u64) -> Result<TaskRequest, PlanError> {
    let dice = Dice::new(body);
    let count = [1, 1, 1, 2, 3, 4][dice.below(6)];
    let shape = dice.below(3);
    let mut actions = Vec::new();
    let steps =
        (0..count).map(|index| step(&dice, index, after(shape, index, count), &mut actions)).collect();
    let timeout = if dice.chance(0.05) { dice.millis(2_000, 10_000) } else { Span::from_secs(24 * 60 * 60) };
    let hue = dice.below(HUES).to_string();
    Ok(TaskRequest {
        display_name: name.to_owned(),
        labels: BTreeMap::from([("body".to_owned(), body.to_string()), (HUE.to_owned(), hue)]),
        plan: Plan::new(steps, Some(timeout))?,
        actions,
    })
}

/// A chain, a fan that is joined, or steps beside each other.
fn after(shape: usize, index: usize, count: usize) -> Vec<String> {
    match shape {
        0 if index > 0 => vec![name(index - 1)],
        1 if index > 0 && index + 1 == count => (0..index).map(name).collect(),
        _ => Vec::new(),
    }
}

fn name(index: usize) -> String {
    format!("s{index}")
}

/// An action that policy lets through, or one that it asks about.
pub fn action(harmless: bool, seed: u64) -> Action {
    let script = match harmless {
        true => format!("echo {seed}"),
        false => format!("rm -rf /srv/data-{seed}"),
    };
    let (argv, environment) = (Vec::new(), Vec::new());
    Action::Command { argv, script, cwd: String::new(), environment }
}

fn declared(dice: &Dice, actions: &mut Vec<(Digest, Bytes)>) -> Option<StepAction> {
    let action = action(dice.chance(0.4), dice.seed());
    let written = Bytes::from(serde_json::to_vec(&action).ok()?);
    let content = Digest::of_content(&written);
    actions.push((content, written));
    Some(StepAction { digest: action.digest(), content, kind: action.kind().to_owned() })
}

fn step(dice: &Dice, index: usize, after: Vec<String>, actions: &mut Vec<(Digest, Bytes)>) -> StepSpec {
    let rare = |odds: f64, low, high| dice.chance(odds).then(|| dice.millis(low, high));
    let size = if dice.chance(0.05) { LARGE } else { 8 };
    StepSpec {
        key: name(index),
        capability: CAPABILITIES[dice.below(CAPABILITIES.len())].to_owned(),
        input: dice.chance(0.7).then(|| Payload::new("text/plain", "x".repeat(size).into())),
        after,
        retry: RetryPolicy {
            max_attempts: dice.between(1, 4) as u32,
            initial_backoff: dice.millis(50, 500),
            max_backoff: Span::from_secs(2),
            ..RetryPolicy::default()
        },
        timeouts: Timeouts {
            waiting: rare(0.05, 3_000, 15_000),
            attempt: rare(0.3, 1_000, 6_000),
            progress: rare(0.15, 700, 2_500),
        },
        priority: dice.below(10) as u8,
        action: if dice.chance(0.25) { declared(dice, actions) } else { None },
    }
}
