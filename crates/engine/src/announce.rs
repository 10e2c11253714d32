//! What follows a commit to a task: agents, watchers and other replicas are told.
//!
//! Nothing here is promised: whoever misses it finds it in the tables.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use quarterdeck_core::plan::StepIndex;
use quarterdeck_core::task::command::LeaseRef;
use quarterdeck_core::task::{Command, Event, FailureCode, LeaseToken, State, Task};
use quarterdeck_core::{ProjectId, SessionId, Span, Timestamp};
use quarterdeck_store::rows::StepRef;

use crate::aggregate::Op;
use crate::bus::{Hint, Letter};
use crate::dispatcher::Held;
use crate::engine::Shared;
use crate::error::Result;
use crate::metrics;
use crate::round::{Round, state_name};
use crate::session::{Assignment, Down, GrantedAction, RevokeCause};

/// Contents that an assignment carries at most, in bytes; the rest is fetched.
const ASSIGNMENT_MAX: usize = 3 * 1024 * 1024;
/// What is recorded of a step that is refused for an agent that is going.
const GIVEN_BACK: &str = "the agent was asked to finish before it was told of this step";

impl Shared {
    /// Tells of a round that was committed at `at`; the task after it.
    pub fn announce(self: &Arc<Self>, round: Round, at: Timestamp) -> Option<Arc<Task>> {
        let (queued, ended, given) = (round.queued(), round.ended_leases(), round.given.clone());
        let (gated, redeemed) = (round.gated(), round.redeemed.clone());
        let (task, events) = round.settle(at)?;
        let task = Arc::new(task);
        let project = ProjectId::of(&task.project);
        let mut hints = vec![Hint::advanced(task.id.stream(), project, task.revision)];
        self.count(events.iter().map(|event| &event.event));

        let causes = causes(events.iter().map(|event| &event.event));
        for (step, session, token) in ended {
            let at = StepRef { task: task.id, step };
            let Some(cause) = causes.of(step) else {
                self.dispatcher.release(session, at, token);
                continue;
            };
            let word = Down::Revoke { token: self.token(at, token).to_string(), cause };
            if !self.dispatcher.take_away(session, at, token, word) {
                hints.push(Hint::revoked(session, at, token));
            }
        }
        for step in gated {
            self.settle_later(StepRef { task: task.id, step });
        }
        for redeemed in redeemed {
            let id = redeemed.grant.approval;
            self.approval_moved(id, project);
            hints.push(Hint::approval(id, project));
            metrics::approval("redeemed");
        }
        for given in given {
            self.hand_over(&task, given.step, given.session);
        }
        hints.extend(queued.iter().map(Hint::ready));
        if !queued.is_empty() {
            self.dispatcher.queued(queued);
        }
        if let Some(due) = quarterdeck_core::task::next_deadline(&task) {
            self.next_due(due);
        }
        self.hub.publish(&task, &events);
        self.tell(hints);
        Some(task)
    }

    /// Sends hints to the other replicas.
    pub fn tell(&self, hints: Vec<Hint>) {
        let letters = hints.into_iter().map(|hint| Letter { from: self.replica, hint }).collect();
        self.bus.publish(letters);
    }

    pub fn token(&self, at: StepRef, sequence: u64) -> LeaseToken {
        LeaseToken { task: at.task, step: at.step, epoch: self.store.epoch(), sequence }
    }

    /// Gives a committed assignment to its session, if that is here.
    fn hand_over(self: &Arc<Self>, task: &Arc<Task>, step: StepIndex, session: SessionId) {
        let lease = task.step(step).and_then(|step| step.lease()).filter(|lease| lease.session == session);
        let Some(lease) = lease else {
            // Given and taken back in one round.
            self.dispatcher.unreserve(session);
            return;
        };
        let at = StepRef { task: task.id, step };
        let Some(before) = self.dispatcher.hold(session, at, lease.token) else {
            return;
        };
        self.forget_earlier(session, at, before);
        // One that shall only go elsewhere comes back at once and is told then; were
        // the step refused for it, the only agent would never get it again. A lease that
        // is held already was told of when its session came back, before this answer.
        match before != Held::Same && self.dispatcher.is_leaving(session) {
            true => self.give_back_untold(at, session, lease.token),
            false => self.deliver(task, step, session, lease.token),
        }
    }

    /// Tells an agent that the lease which it had of a step before is over.
    pub fn forget_earlier(&self, session: SessionId, at: StepRef, before: Held) {
        if let Held::Earlier(earlier) = before {
            let token = self.token(at, earlier).to_string();
            self.dispatcher.send(session, Down::Revoke { token, cause: RevokeCause::Lost });
        }
    }

    /// Refuses a step for an agent that was told to finish before it could be told of
    /// the step: another gets it.
    fn give_back_untold(self: &Arc<Self>, at: StepRef, session: SessionId, token: u64) {
        let lease = LeaseRef { step: at.step, session, token, number: None };
        let command = Command::Refuse { lease, message: GIVEN_BACK.to_owned() };
        if let Err(error) = self.ask_later(at.task, Op::Do(command), Vec::new(), None) {
            tracing::debug!(task = %at.task, %error, "a step is given back once its agent has gone");
        }
    }

    /// Sends the assignment of a step that `session` holds. Contents that are
    /// stored apart are loaded first, off the path of commits.
    pub fn deliver(self: &Arc<Self>, task: &Arc<Task>, step: StepIndex, session: SessionId, token: u64) {
        let Some(assignment) = self.assignment(task, step, token) else {
            return;
        };
        let at = StepRef { task: task.id, step };
        if !assignment.needs_contents() {
            self.dispatcher.give(session, at, token, Down::Assign(Box::new(assignment)));
            return;
        }
        let shared = Arc::clone(self);
        self.time.spawn(async move {
            let filled = shared.while_held(session, at, token, || shared.fill(assignment.clone())).await;
            if let Some(assignment) = filled {
                shared.dispatcher.give(session, at, token, Down::Assign(Box::new(assignment)));
            }
        });
    }

    /// Reads what an assignment needs, again and again while the store cannot be
    /// reached and the step is held here. It is not forgotten meanwhile: that would
    /// give its slot away.
    pub(crate) async fn while_held<T, F: Future<Output = Result<T>>>(
        &self,
        session: SessionId,
        at: StepRef,
        token: u64,
        read: impl Fn() -> F,
    ) -> Option<T> {
        let mut pause = Span::from_millis(20);
        loop {
            let result = read().await;
            if !self.dispatcher.holds(session, at, token) {
                return None;
            }
            match result {
                Ok(value) => return Some(value),
                Err(error) if error.is_transient() => {
                    tracing::debug!(task = %at.task, step = at.step, %error, "an assignment cannot be sent yet");
                }
                Err(error) => {
                    tracing::error!(task = %at.task, step = at.step, %error, "an assignment cannot be sent");
                    return None;
                }
            }
            self.time.sleep(self.time.jitter(pause)).await;
            pause = Span::from_micros((pause.as_micros() * 2).min(1_000_000));
        }
    }

    /// The assignment of a lease, with its contents, if it is still held.
    pub(crate) async fn assignment_again(
        self: &Arc<Self>,
        at: StepRef,
        token: u64,
    ) -> Result<Option<Assignment>> {
        let task = self.current(at.task).await?;
        match self.assignment(&task, at.step, token) {
            Some(assignment) => self.fill(assignment).await.map(Some),
            None => Ok(None),
        }
    }

    fn assignment(&self, task: &Task, index: StepIndex, token: u64) -> Option<Assignment> {
        let (spec, step) = (task.spec(index)?, task.step(index)?);
        let lease = step.lease().filter(|lease| lease.token == token)?;
        let dependencies = task.plan.dependencies(index).iter().filter_map(|&other| {
            let key = task.spec(other)?.key.clone();
            Some((key, task.step(other)?.output.clone()))
        });
        let own = spec.timeouts.attempt.map(|limit| lease.started_at.plus(limit));
        Some(Assignment {
            token: self.token(StepRef { task: task.id, step: index }, token).to_string(),
            project: task.project.clone(),
            task: task.id,
            step_key: spec.key.clone(),
            capability: spec.capability.clone(),
            attempt: step.attempt,
            input: spec.input.clone(),
            dependencies: dependencies.collect(),
            checkpoint: step.checkpoint.clone(),
            deadline: Some(own.map_or(task.deadline, |end| end.min(task.deadline))),
            progress_timeout: spec.timeouts.progress,
            idempotency_key: format!("{}/{}", task.id, spec.key),
            granted: step.grant.as_ref().map(|grant| GrantedAction {
                approval: grant.approval,
                digest: grant.digest,
                content: grant.content,
                action: None,
            }),
        })
    }

    /// Loads what is stored apart: input and checkpoint always, outputs of
    /// dependencies while they fit.
    async fn fill(&self, mut assignment: Assignment) -> Result<Assignment> {
        let mut left = ASSIGNMENT_MAX;
        for payload in [&mut assignment.input, &mut assignment.checkpoint].into_iter().flatten() {
            left = left.saturating_sub(payload.size());
            *payload = self.content(payload).await?;
        }
        if let Some(granted) = &mut assignment.granted {
            let action = self.stored_action(granted.content, granted.digest).await?;
            left = left.saturating_sub(action.size());
            granted.action = Some(action);
        }
        for payload in assignment.dependencies.iter_mut().filter_map(|(_, payload)| payload.as_mut()) {
            if payload.size() <= left {
                left -= payload.size();
                *payload = self.content(payload).await?;
            }
        }
        Ok(assignment)
    }

    fn count<'a>(&self, events: impl Iterator<Item = &'a Event>) {
        for event in events {
            match event {
                Event::Created(_) => metrics::task_created(),
                Event::Assigned { .. } => metrics::assigned(),
                Event::Succeeded { .. } => metrics::finished("succeeded"),
                Event::Refused { .. } => metrics::finished("refused"),
                Event::Failed { failure, .. } => metrics::finished(match failure.code {
                    FailureCode::Reported => "failed",
                    FailureCode::AttemptTimeout => "attempt_timeout",
                    FailureCode::ProgressTimeout => "progress_timeout",
                    FailureCode::AgentLost => "agent_lost",
                    FailureCode::ApprovalDenied => "approval_denied",
                    FailureCode::ApprovalTimeout => "approval_timeout",
                    FailureCode::ApprovalWithdrawn => "approval_withdrawn",
                }),
                Event::Ended { state, .. } => metrics::task_ended(state_name(*state)),
                Event::Progressed { .. }
                | Event::Readied { .. }
                | Event::Gated { .. }
                | Event::Approved { .. } => {}
            }
        }
    }
}

/// Why leases ended that their agents did not end themselves.
struct Causes {
    own_word: Vec<StepIndex>,
    by_step: BTreeMap<StepIndex, RevokeCause>,
    by_end: Option<RevokeCause>,
}

impl Causes {
    fn of(&self, step: StepIndex) -> Option<RevokeCause> {
        if self.own_word.contains(&step) {
            return None;
        }
        self.by_step.get(&step).copied().or(self.by_end)
    }
}

fn causes<'a>(events: impl Iterator<Item = &'a Event>) -> Causes {
    let mut causes = Causes { own_word: Vec::new(), by_step: BTreeMap::new(), by_end: None };
    for event in events {
        match event {
            Event::Succeeded { step, .. } | Event::Refused { step, .. } => causes.own_word.push(*step),
            Event::Failed { step, number, .. } if *number > 0 => causes.own_word.push(*step),
            Event::Failed { step, failure, .. } => {
                let cause = match failure.code {
                    FailureCode::AgentLost => RevokeCause::Lost,
                    _ => RevokeCause::Timeout,
                };
                causes.by_step.insert(*step, cause);
            }
            Event::Ended { state: State::Canceled, .. } => causes.by_end = Some(RevokeCause::TaskCanceled),
            Event::Ended { .. } => causes.by_end = Some(RevokeCause::TaskEnded),
            _ => {}
        }
    }
    causes
}

impl Assignment {
    fn needs_contents(&self) -> bool {
        use quarterdeck_core::payload::Body;
        let stored = |payload: &quarterdeck_core::Payload| matches!(payload.body, Body::Stored { .. });
        let outputs = self.dependencies.iter().filter_map(|(_, payload)| payload.as_ref());
        self.granted.is_some() || self.input.iter().chain(&self.checkpoint).chain(outputs).any(stored)
    }
}
