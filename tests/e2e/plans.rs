//! Short words for plans.

use quarterdeck_client::Payload;
use quarterdeck_client::api::orchestration::v1::{Plan, PlanStep, RetryPolicy, StepTimeouts};

/// A span on the wire.
pub fn millis(count: u32) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::from(count / 1_000), nanos: (count % 1_000) as i32 * 1_000_000 }
}

/// A plan of these steps.
pub fn plan(steps: impl IntoIterator<Item = PlanStep>) -> Plan {
    Plan { steps: steps.into_iter().collect(), timeout: None }
}

/// A step without anything special.
pub fn step(key: &str, capability: &str) -> PlanStep {
    PlanStep { key: key.to_owned(), capability: capability.to_owned(), ..PlanStep::default() }
}

/// What else a step may have.
pub trait StepWords: Sized {
    fn retry_mut(&mut self) -> &mut RetryPolicy;
    fn timeouts_mut(&mut self) -> &mut StepTimeouts;

    /// Attempts in all.
    fn attempts(mut self, count: i32) -> Self {
        self.retry_mut().max_attempts = count;
        self
    }
    /// Every wait between attempts, before the jitter.
    fn backoff(mut self, milliseconds: u32) -> Self {
        let retry = self.retry_mut();
        retry.initial_backoff = Some(millis(milliseconds));
        retry.backoff_multiplier = 1.0;
        self
    }
    fn final_reason(mut self, reason: &str) -> Self {
        self.retry_mut().non_retryable_reasons.push(reason.to_owned());
        self
    }
    fn waiting(mut self, milliseconds: u32) -> Self {
        self.timeouts_mut().waiting = Some(millis(milliseconds));
        self
    }
    fn attempt_within(mut self, milliseconds: u32) -> Self {
        self.timeouts_mut().attempt = Some(millis(milliseconds));
        self
    }
    fn progress_within(mut self, milliseconds: u32) -> Self {
        self.timeouts_mut().progress = Some(millis(milliseconds));
        self
    }
    fn after(self, keys: &[&str]) -> Self;
    fn input(self, payload: Payload) -> Self;
    fn priority(self, priority: i32) -> Self;
}

impl StepWords for PlanStep {
    fn retry_mut(&mut self) -> &mut RetryPolicy {
        self.retry.get_or_insert_default()
    }

    fn timeouts_mut(&mut self) -> &mut StepTimeouts {
        self.timeouts.get_or_insert_default()
    }

    fn after(mut self, keys: &[&str]) -> Self {
        self.after = keys.iter().map(|&key| key.to_owned()).collect();
        self
    }

    fn input(mut self, payload: Payload) -> Self {
        self.input = Some(payload.into_proto());
        self
    }

    fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }
}
