//! What every history must be, whatever happened.
//!
//! Dense from 1; created first, ended last; each step goes only where the contract
//! lets it go, is assigned only after the steps it comes after, and succeeds once;
//! attempts rise by one, except after a refusal, which costs none.

use std::collections::BTreeMap;

use quarterdeck_client::api::orchestration::v1::task_event::Kind;
use quarterdeck_client::api::orchestration::v1::{
    FailureCode, StepAssigned, StepFailed, StepFailure, StepSucceeded, StopCode, TaskCreated, TaskEnded,
    TaskEvent, TaskState,
};

/// What a legal history tells.
#[derive(Debug, Default)]
pub struct History {
    /// What happened to each step, by key.
    pub steps: BTreeMap<String, Story>,
    /// The last event, if the task has ended.
    pub ended: Option<TaskEnded>,
}

/// What happened to one step.
#[derive(Debug, Default)]
pub struct Story {
    after: Vec<String>,
    place: Place,
    attempt: i32,
    /// Every assignment, in order.
    pub assigned: Vec<StepAssigned>,
    /// Every failure, in order.
    pub failed: Vec<StepFailed>,
    /// Who refused it.
    pub refused_by: Vec<String>,
    /// Its success; there is never a second.
    pub succeeded: Option<StepSucceeded>,
    /// Words of progress recorded.
    pub progressed: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Blocked or ready; which of them follows from the other steps.
    #[default]
    Waiting,
    Backoff,
    Running,
    Succeeded,
    Failed,
}

/// Checks a history from its start and tells it.
#[track_caller]
pub fn check(events: &[TaskEvent]) -> History {
    match judged(events) {
        Ok(history) => history,
        Err(why) => panic!("this history is not legal: {why}\n{}", told(events)),
    }
}

/// Checks that what was seen is what is stored, once and in order.
#[track_caller]
pub fn same<'a>(what: &str, seen: impl IntoIterator<Item = &'a TaskEvent>, stored: &[TaskEvent]) {
    let seen: Vec<&TaskEvent> = seen.into_iter().collect();
    let numbers = |events: &[&TaskEvent]| events.iter().map(|event| event.sequence).collect::<Vec<_>>();
    let expected: Vec<&TaskEvent> = stored.iter().collect();
    assert_eq!(numbers(&seen), numbers(&expected), "{what}");
    for (seen, stored) in seen.iter().zip(&expected) {
        assert_eq!(seen, stored, "{what}: the same place, but not the same event");
    }
}

/// A history for people.
pub fn told(events: &[TaskEvent]) -> String {
    let line = |event: &TaskEvent| format!("  {} {} {:?}\n", event.task_id, event.sequence, event.kind);
    events.iter().map(line).collect()
}

fn judged(events: &[TaskEvent]) -> Result<History, String> {
    let mut history = History::default();
    for (event, expected) in events.iter().zip(1..) {
        if event.sequence != expected || event.task_id != events[0].task_id {
            return Err(format!("{} {} stands where {expected} should", event.task_id, event.sequence));
        }
        let kind = event.kind.as_ref().ok_or(format!("event {expected} has no kind"))?;
        if event.time.is_none() {
            return Err(format!("event {expected} has no time"));
        }
        if (expected == 1) != matches!(kind, Kind::TaskCreated(_)) {
            return Err(format!("event {expected} is {kind:?}; the first and only it creates the task"));
        }
        if history.ended.is_some() {
            return Err(format!("event {expected} comes after the end"));
        }
        history.tell(kind).map_err(|why| format!("event {expected}: {why}"))?;
    }
    history.judge_end()?;
    Ok(history)
}

impl History {
    fn tell(&mut self, kind: &Kind) -> Result<(), String> {
        match kind {
            Kind::TaskCreated(created) => self.create(created),
            Kind::StepAssigned(assigned) => self.assign(assigned),
            Kind::StepProgressed(word) => {
                self.at(&word.step_key, Place::Running).map(|step| step.progressed += 1)
            }
            Kind::StepRefused(refused) => {
                let step = self.at(&refused.step_key, Place::Running)?;
                step.refused_by.push(refused.agent.clone());
                step.attempt -= 1;
                // It may pause before it is offered again; a readied event tells.
                step.place = Place::Waiting;
                Ok(())
            }
            Kind::StepSucceeded(succeeded) => {
                let step = self.at(&succeeded.step_key, Place::Running)?;
                if succeeded.attempt != step.attempt {
                    return Err(format!("{succeeded:?} in attempt {}", step.attempt));
                }
                step.place = Place::Succeeded;
                step.succeeded = Some(succeeded.clone());
                Ok(())
            }
            Kind::StepFailed(failed) => self.fail(failed),
            Kind::StepReadied(readied) => {
                let step = self.steps.get_mut(&readied.step_key).ok_or("unknown step")?;
                let paused = step.place == Place::Waiting && !step.refused_by.is_empty();
                if step.place != Place::Backoff && !paused {
                    return Err(format!("{} is readied and was {:?}", readied.step_key, step.place));
                }
                step.place = Place::Waiting;
                Ok(())
            }
            Kind::StepGated(gated) => self.at(&gated.step_key, Place::Waiting).map(|_| ()),
            Kind::StepApproved(approved) => self.at(&approved.step_key, Place::Waiting).map(|_| ()),
            Kind::TaskEnded(ended) => {
                self.ended = Some(ended.clone());
                Ok(())
            }
        }
    }

    fn create(&mut self, created: &TaskCreated) -> Result<(), String> {
        let plan = created.plan.as_ref().ok_or("no plan")?;
        for step in &plan.steps {
            let reused = created.reused_steps.contains(&step.key);
            let story = Story {
                after: step.after.clone(),
                place: if reused { Place::Succeeded } else { Place::Waiting },
                ..Story::default()
            };
            self.steps.insert(step.key.clone(), story);
        }
        Ok(())
    }

    fn assign(&mut self, assigned: &StepAssigned) -> Result<(), String> {
        let key = &assigned.step_key;
        let step = self.steps.get(key).ok_or("unknown step")?;
        let early = step.after.iter().find(|&before| self.steps[before].place != Place::Succeeded);
        if let Some(before) = early {
            return Err(format!("{key} is assigned before {before} has succeeded"));
        }
        let step = self.at(key, Place::Waiting)?;
        if assigned.attempt != step.attempt + 1 {
            return Err(format!("{assigned:?} follows attempt {}", step.attempt));
        }
        if assigned.agent.is_empty() || assigned.session_id.is_empty() {
            return Err(format!("{assigned:?} is to nobody"));
        }
        step.place = Place::Running;
        step.attempt = assigned.attempt;
        step.assigned.push(assigned.clone());
        Ok(())
    }

    fn fail(&mut self, failed: &StepFailed) -> Result<(), String> {
        let step = self.at(&failed.step_key, Place::Running)?;
        let failure = failed.failure.as_ref().ok_or("a failure without words")?;
        if failure.attempt != step.attempt {
            return Err(format!("{failed:?} in attempt {}", step.attempt));
        }
        step.place = match (failed.r#final, &failed.retry_after) {
            (true, None) => Place::Failed,
            // A step whose agent is lost is ready again at once.
            (false, _) if failure.code() == FailureCode::AgentLost => Place::Waiting,
            (false, Some(_)) => Place::Backoff,
            _ => return Err(format!("{failed:?} leads nowhere")),
        };
        step.failed.push(failed.clone());
        Ok(())
    }

    fn at(&mut self, key: &str, place: Place) -> Result<&mut Story, String> {
        let step = self.steps.get_mut(key).ok_or_else(|| format!("unknown step {key}"))?;
        if step.place == place { Ok(step) } else { Err(format!("{key} is {:?}, not {place:?}", step.place)) }
    }

    fn judge_end(&self) -> Result<(), String> {
        let unfinished = self.steps.values().filter(|step| step.place != Place::Succeeded).count();
        let failed = self.steps.values().any(|step| step.place == Place::Failed);
        let Some(ended) = &self.ended else {
            let over = failed || (unfinished == 0 && !self.steps.is_empty());
            return if over { Err("the task should have ended".to_owned()) } else { Ok(()) };
        };
        let code = ended.stop_reason.as_ref().ok_or("an end without a reason")?.code();
        let fits = match ended.state() {
            TaskState::Succeeded => unfinished == 0 && code == StopCode::Completed,
            TaskState::Canceled => unfinished > 0 && code == StopCode::Canceled,
            TaskState::Failed => match code {
                StopCode::AttemptsExhausted | StopCode::NotRetryable | StopCode::AgentLost => failed,
                StopCode::NoAgent | StopCode::Timeout => unfinished > 0,
                _ => false,
            },
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("the end {ended:?} does not fit")) }
    }
}

impl Story {
    /// The last failure.
    #[track_caller]
    pub fn last_failure(&self) -> &StepFailure {
        self.failed.last().and_then(|failed| failed.failure.as_ref()).expect("a failure")
    }

    /// Who had it, in order.
    pub fn agents(&self) -> Vec<&str> {
        self.assigned.iter().map(|assigned| assigned.agent.as_str()).collect()
    }
}

#[test]
fn a_checker_of_histories_sees_what_is_wrong() {
    use quarterdeck_client::api::orchestration::v1::{Plan, PlanStep};
    let number = |kinds: Vec<Kind>| -> Vec<TaskEvent> {
        let time = Some(prost_types::Timestamp::default());
        let event = |(kind, sequence)| TaskEvent { task_id: "t".into(), sequence, time, kind: Some(kind) };
        kinds.into_iter().zip(1..).map(event).collect()
    };
    let steps = ["a", "b"].map(|key| PlanStep { key: key.into(), ..PlanStep::default() });
    let mut plan = Plan { steps: steps.into(), timeout: None };
    plan.steps[1].after.push("a".into());
    let created = || Kind::TaskCreated(TaskCreated { plan: Some(plan.clone()), ..TaskCreated::default() });
    let assigned = |key: &str, attempt| {
        let (agent, session_id) = ("x".into(), "s".into());
        Kind::StepAssigned(StepAssigned { step_key: key.into(), attempt, agent, session_id })
    };
    let done = |key: &str, attempt| {
        Kind::StepSucceeded(StepSucceeded { step_key: key.into(), attempt, output: None })
    };
    let fine = number(vec![created(), assigned("a", 1), done("a", 1), assigned("b", 1)]);
    assert_eq!(check(&fine).steps["a"].agents(), ["x"]);
    assert!(judged(&fine[1..]).is_err(), "does not start with 1");
    assert!(judged(&[&fine[..2], &fine[3..]].concat()).is_err(), "has a hole");
    for (what, wrong) in [
        ("too early", vec![created(), assigned("b", 1)]),
        ("twice at a time", vec![created(), assigned("a", 1), assigned("a", 2)]),
        ("twice done", vec![created(), assigned("a", 1), done("a", 1), done("a", 1)]),
        ("attempt skipped", vec![created(), assigned("a", 2)]),
        ("done by nobody", vec![created(), done("a", 1)]),
        ("created twice", vec![created(), created()]),
        ("not ended", vec![created(), assigned("a", 1), done("a", 1), assigned("b", 1), done("b", 1)]),
        ("after the end", vec![created(), Kind::TaskEnded(TaskEnded::default()), assigned("a", 1)]),
        ("an end for nothing", vec![created(), Kind::TaskEnded(TaskEnded::default())]),
    ] {
        assert!(judged(&number(wrong)).is_err(), "{what}");
    }
}
