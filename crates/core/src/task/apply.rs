//! What an event does to a task.
//!
//! `apply` never fails and never decides. It reports which steps moved between
//! the places that others follow: the ready queue and the leases.

use std::sync::Arc;

use crate::id::SessionId;
use crate::plan::{StepIndex, StepSpec};
use crate::stream::Recorded;
use crate::time::Timestamp;

use super::REFUSAL_PAUSE;
use super::event::{Created, Event, FailureCode, Next};
use super::state::{Closed, LastWord, Lease, Phase, Progress, State, Step, Task};

/// Where dispatch sees a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Neither waiting for an agent nor held by one.
    Nowhere,
    /// Waiting for a yes, for the how-many-th time.
    Gated { gate: u32 },
    /// Waiting for an agent.
    Ready,
    /// Waiting for an agent, with a yes.
    Granted { gate: u32 },
    /// Held by a session, under the token.
    Leased { session: SessionId, token: u64 },
}

/// A step that changed its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub step: StepIndex,
    pub from: Place,
    pub to: Place,
}

/// The task after its first event, if that is a creation.
pub fn opened(first: &Recorded<Event>) -> Option<(Task, Vec<Move>)> {
    match &first.event {
        Event::Created(created) => Some(open(created, first.sequence, first.at)),
        _ => None,
    }
}

fn open(created: &Created, sequence: u64, at: Timestamp) -> (Task, Vec<Move>) {
    let plan = Arc::new(created.plan.clone());
    let is_reused = |index: &StepIndex| created.reused.contains_key(index);
    let mut steps = Vec::with_capacity(plan.steps().len());
    let mut moves = Vec::new();
    for index in 0..plan.steps().len() as StepIndex {
        let waiting_for = plan.dependencies(index).iter().filter(|step| !is_reused(step)).count() as u16;
        let phase = match (is_reused(&index), waiting_for) {
            (true, _) => Phase::Succeeded,
            (false, 0) => Phase::Ready,
            (false, _) => Phase::Blocked,
        };
        let mut step = Step {
            phase: Phase::Blocked,
            since: at,
            attempt: 0,
            failures: 0,
            losses: 0,
            waiting_for,
            agent: None,
            output: created.reused.get(&index).cloned().flatten(),
            checkpoint: None,
            last_failure: None,
            refused_by: None,
            closed: None,
            reused: is_reused(&index),
            gates: 0,
            grant: None,
        };
        enter(&mut step, phase, at, plan.step(index));
        match place(&step) {
            Place::Nowhere => {}
            to => moves.push(Move { step: index, from: Place::Nowhere, to }),
        }
        steps.push(step);
    }
    let task = Task {
        id: created.id,
        project: created.project.clone(),
        display_name: created.display_name.clone(),
        labels: created.labels.clone(),
        created_by: created.created_by.clone(),
        owner: match created.owner.as_str() {
            "" => created.created_by.clone(),
            owner => owner.to_owned(),
        },
        retry_of: created.retry_of,
        created_at: at,
        deadline: created.deadline,
        ended_at: None,
        state: State::Running,
        stop: None,
        unfinished: steps.len() - created.reused.len(),
        steps,
        plan,
        revision: sequence,
    };
    (task, moves)
}

/// Applies one more event and says which steps moved.
pub fn apply(task: &mut Task, recorded: &Recorded<Event>) -> Vec<Move> {
    let at = recorded.at;
    task.revision = recorded.sequence;
    let mut moves = Vec::new();
    match &recorded.event {
        // A task is opened once; `opened` has dealt with it.
        Event::Created(_) => {}
        Event::Assigned { step, attempt, session, agent } => {
            let token = recorded.sequence;
            let lease = Lease {
                token,
                session: *session,
                started_at: at,
                heard_at: at,
                number: 0,
                progress: None,
                partial: 0,
            };
            if let Some(state) = task.steps.get_mut(usize::from(*step)) {
                state.attempt = *attempt;
                state.refused_by = None;
                state.agent = Some(agent.clone());
            }
            shift(task, *step, Phase::Running(lease), at, &mut moves);
        }
        Event::Progressed { step, number, fraction, message, checkpoint, partial } => {
            let Some(state) = task.steps.get_mut(usize::from(*step)) else {
                return moves;
            };
            if checkpoint.is_some() {
                state.checkpoint.clone_from(checkpoint);
            }
            if let Phase::Running(lease) = &mut state.phase {
                lease.number = *number;
                lease.heard_at = at;
                lease.partial += partial.as_ref().map_or(0, |piece| piece.text.len() as u64);
                lease.progress = Some(Progress { fraction: *fraction, message: message.clone(), at });
            }
        }
        Event::Refused { step, number, .. } => {
            close(task, *step, *number, LastWord::Refuse);
            if let Some(state) = task.steps.get_mut(usize::from(*step)) {
                state.refused_by = state.lease().map(|lease| lease.session);
                // An untouched attempt is none.
                state.attempt = state.attempt.saturating_sub(1);
            }
            // A pause, or an agent that refuses everything would be asked for ever.
            shift(task, *step, Phase::Backoff { until: at.plus(REFUSAL_PAUSE) }, at, &mut moves);
        }
        Event::Succeeded { step, number, output, .. } => {
            close(task, *step, *number, LastWord::Complete);
            if let Some(state) = task.steps.get_mut(usize::from(*step)) {
                state.output.clone_from(output);
                state.checkpoint = None;
            }
            shift(task, *step, Phase::Succeeded, at, &mut moves);
            task.unfinished = task.unfinished.saturating_sub(1);
            unblock(task, *step, at, &mut moves);
        }
        Event::Failed { step, number, failure, next } => {
            if *number > 0 {
                close(task, *step, *number, LastWord::Fail);
            }
            if let Some(state) = task.steps.get_mut(usize::from(*step)) {
                match failure.code {
                    FailureCode::AgentLost => state.losses += 1,
                    _ => state.failures += 1,
                }
                state.last_failure = Some(failure.clone());
            }
            let phase = match next {
                Next::Ready => Phase::Ready,
                Next::Backoff { until } => Phase::Backoff { until: *until },
                Next::Final => Phase::Failed,
            };
            shift(task, *step, phase, at, &mut moves);
        }
        Event::Readied { step } => shift(task, *step, Phase::Ready, at, &mut moves),
        Event::Gated { step, .. } => shift(task, *step, Phase::Gated, at, &mut moves),
        Event::Approved { step, grant } => {
            if let Some(state) = task.steps.get_mut(usize::from(*step)) {
                let from = place(state);
                state.grant = Some((**grant).clone());
                state.phase = Phase::Ready;
                state.since = at;
                let to = place(state);
                moves.push(Move { step: *step, from, to });
            }
        }
        Event::Ended { state, stop } => {
            task.state = *state;
            task.stop = Some(stop.clone());
            task.ended_at = Some(at);
            for index in 0..task.steps.len() as StepIndex {
                let open = !matches!(task.steps[usize::from(index)].phase, Phase::Succeeded | Phase::Failed);
                if open {
                    shift(task, index, Phase::Canceled, at, &mut moves);
                }
            }
        }
    }
    moves
}

/// Remembers which lease the agent's own word ended.
fn close(task: &mut Task, index: StepIndex, number: i64, word: LastWord) {
    if let Some(step) = task.steps.get_mut(usize::from(index)) {
        let close = |lease: &Lease| Closed { token: lease.token, session: lease.session, number, word };
        step.closed = step.lease().map(close).or(step.closed);
    }
}

fn unblock(task: &mut Task, index: StepIndex, at: Timestamp, moves: &mut Vec<Move>) {
    let plan = Arc::clone(&task.plan);
    for &dependent in plan.dependents(index) {
        let Some(step) = task.steps.get_mut(usize::from(dependent)) else {
            continue;
        };
        step.waiting_for = step.waiting_for.saturating_sub(1);
        if step.waiting_for == 0 && step.phase == Phase::Blocked {
            shift(task, dependent, Phase::Ready, at, moves);
        }
    }
}

fn shift(task: &mut Task, index: StepIndex, phase: Phase, at: Timestamp, moves: &mut Vec<Move>) {
    let plan = Arc::clone(&task.plan);
    if let Some(step) = task.steps.get_mut(usize::from(index)) {
        let from = place(step);
        enter(step, phase, at, plan.step(index));
        let to = place(step);
        if from != to {
            moves.push(Move { step: index, from, to });
        }
    }
}

/// Puts a step into a phase. A step that declares an action does not become ready: it
/// comes to its next gate, and what it was granted before is over.
fn enter(step: &mut Step, phase: Phase, at: Timestamp, spec: Option<&StepSpec>) {
    let gated = spec.is_some_and(|spec| spec.action.is_some());
    step.phase = match phase {
        Phase::Ready | Phase::Gated if gated => {
            step.gates += 1;
            step.grant = None;
            Phase::Gated
        }
        phase => phase,
    };
    step.since = at;
}

fn place(step: &Step) -> Place {
    match &step.phase {
        Phase::Gated => Place::Gated { gate: step.gates },
        Phase::Ready if step.grant.is_some() => Place::Granted { gate: step.gates },
        Phase::Ready => Place::Ready,
        Phase::Running(lease) => Place::Leased { session: lease.session, token: lease.token },
        _ => Place::Nowhere,
    }
}
