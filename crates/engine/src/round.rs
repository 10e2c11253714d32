//! One round of a task's mailbox: everything queued is decided in order on
//! provisional state and becomes one commit, with the rows that follow.
//!
//! No I/O in here. Invariant: the rows of a commit are a function of where steps
//! were before and after it, so projections cannot drift from the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use quarterdeck_core::approval::{self, Redeemer};
use quarterdeck_core::plan::StepIndex;
use quarterdeck_core::policy::Standing;
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{self, Command, Event, Move, Phase, Place, State, StepGrant, Task};
use quarterdeck_core::{Ctx, ProjectId, Refusal, SessionId, TaskId, Timestamp};
use quarterdeck_store::rows::{ApprovalNow, LeaseRow, QueueKey, ReadyKey, RowChange, StepRef, TaskOpened};

use crate::approvals::redeemable;
use crate::audit;

/// What is known of a task's timer row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Not known, after a load.
    Unknown,
    None,
    Due(Timestamp),
}

/// A step that was given away in this round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub step: StepIndex,
    pub session: SessionId,
    /// True where this round took the slot itself and has to give it back on failure.
    pub reserved_here: bool,
}

/// A grant that is used up in this round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    pub step: StepIndex,
    pub grant: StepGrant,
    pub gate: u32,
    pub by: Redeemer,
}

/// A round being decided.
pub struct Round {
    base: Option<Arc<Task>>,
    /// The state after all events so far; `None` before the creation.
    next: Option<Task>,
    ctx: Ctx,
    pub events: Vec<Event>,
    moves: BTreeMap<StepIndex, (Place, Place)>,
    pub given: Vec<Given>,
    pub redeemed: Vec<Redemption>,
    /// What grants are compared with; without it no step is given out under one.
    standing: Option<Arc<Standing>>,
    /// Steps whose grant seems to hold no more.
    pub doubtful: Vec<StepIndex>,
    ticked: bool,
}

impl Round {
    pub fn new(base: Option<Arc<Task>>, ctx: Ctx, standing: Option<Arc<Standing>>) -> Self {
        Self {
            next: base.as_deref().cloned(),
            base,
            ctx,
            events: Vec::new(),
            moves: BTreeMap::new(),
            given: Vec::new(),
            redeemed: Vec::new(),
            standing,
            doubtful: Vec::new(),
            ticked: false,
        }
    }

    /// Sequence that the stream must have for this round to apply.
    pub fn expected(&self) -> u64 {
        self.base.as_ref().map_or(0, |task| task.revision)
    }

    pub fn task(&self) -> Option<&Task> {
        self.next.as_ref()
    }

    /// Opens the task.
    pub fn create(&mut self, created: Event) {
        let first = Recorded { sequence: 1, at: self.ctx.now, event: created };
        if let Some((task, moves)) = task::opened(&first) {
            self.next = Some(task);
            self.moved(moves);
            self.events.push(first.event);
        }
    }

    /// Decides one command. `index` tells apart the draws of several commands.
    pub fn command(&mut self, command: Command, index: u64) -> Result<(), Refusal> {
        if self.next.is_none() {
            return Err(Refusal::TaskEnded);
        }
        self.ticked |= command == Command::Tick;
        let assigned = match &command {
            // The rows of one commit must not both end and begin a lease of a step.
            Command::Assign { step, .. } if self.ends_lease_of(*step) => return Err(Refusal::StepNotReady),
            Command::Assign { step, .. } if !self.may_start(*step) => return Err(Refusal::StepNotReady),
            Command::Assign { step, session, .. } => Some((*step, *session)),
            _ => None,
        };
        let Some(task) = self.next.as_ref() else {
            return Err(Refusal::TaskEnded);
        };
        let ctx = Ctx::new(self.ctx.now, self.ctx.draw("command", index));
        let events = task::decide(task, command, &ctx)?;
        if let Some((step, session)) = assigned {
            self.given.push(Given { step, session, reserved_here: false });
        }
        for event in events {
            self.apply(event);
        }
        Ok(())
    }

    fn ends_lease_of(&self, step: StepIndex) -> bool {
        self.moves.get(&step).is_some_and(|(from, _)| matches!(from, Place::Leased { .. }))
    }

    /// Gives ready steps away where `reserve` has a slot. Steps that an agent
    /// held a moment ago go through the queue.
    pub fn assign_ready(
        &mut self,
        mut reserve: impl FnMut(&QueueKey, &[SessionId], Option<SessionId>) -> Option<(SessionId, String)>,
    ) {
        let Some(task) = self.next.as_ref() else { return };
        let freeing: Vec<SessionId> = self
            .moves
            .values()
            .filter_map(|(from, to)| match (from, to) {
                (Place::Leased { session, .. }, Place::Nowhere) => Some(*session),
                _ => None,
            })
            .collect();
        let fresh: Vec<(StepIndex, QueueKey)> = self
            .moves
            .iter()
            .filter(|(_, (from, to))| !matches!(from, Place::Leased { .. }) && waits(*to))
            .filter_map(|(&step, _)| Some((step, queue_of(task, step)?)))
            .collect();
        for (step, queue) in fresh {
            if !self.may_start(step) {
                continue;
            }
            let Some(state) = self.next.as_ref().and_then(|task| task.step(step)) else { continue };
            let attempt = state.attempt + 1;
            let Some((session, agent)) = reserve(&queue, &freeing, state.refused_by) else { continue };
            self.given.push(Given { step, session, reserved_here: true });
            self.apply(Event::Assigned { step, attempt, session, agent });
        }
    }

    /// Whether a step that is granted may be given out, as far as is known here.
    fn may_start(&mut self, step: StepIndex) -> bool {
        let Some(state) = self.next.as_ref().and_then(|task| task.step(step)) else { return false };
        let Some(grant) = state.grant.as_ref().filter(|_| state.phase == Phase::Ready) else {
            return true; // no grant is wanted, or it is not ready
        };
        match &self.standing {
            Some(standing) if redeemable(grant, standing, self.ctx.now) => true,
            Some(_) => {
                self.doubtful.push(step);
                false
            }
            None => false,
        }
    }

    /// Notes the grant that an assignment uses up.
    fn redeem(&mut self, event: &Event) {
        let (Event::Assigned { step, session, agent, .. }, Some(task)) = (event, self.next.as_ref()) else {
            return;
        };
        let Some(state) = task.step(*step) else { return };
        if let Some(grant) = &state.grant {
            let (session, token, agent) = (*session, task.revision + 1, agent.clone());
            let by = Redeemer { task: task.id, step: *step, session, token, agent };
            let (grant, gate) = (grant.clone(), state.gates);
            self.redeemed.push(Redemption { step: *step, grant, gate, by });
        }
    }

    fn apply(&mut self, event: Event) {
        self.redeem(&event);
        let Some(task) = self.next.as_mut() else { return };
        let recorded = Recorded { sequence: task.revision + 1, at: self.ctx.now, event };
        let moves = task::apply(task, &recorded);
        self.moved(moves);
        self.events.push(recorded.event);
    }

    fn moved(&mut self, moves: Vec<Move>) {
        for Move { step, from, to } in moves {
            let entry = self.moves.entry(step).or_insert((from, to));
            entry.1 = to;
        }
        self.moves.retain(|_, (from, to)| from != to);
    }

    /// Queues that got new steps that nobody took.
    pub fn queued(&self) -> Vec<QueueKey> {
        let Some(task) = self.next.as_ref() else {
            return Vec::new();
        };
        let ready = self.moves.iter().filter(|(_, (_, to))| waits(*to));
        let mut queues: Vec<QueueKey> = ready.filter_map(|(&step, _)| queue_of(task, step)).collect();
        queues.sort();
        queues.dedup();
        queues
    }

    /// Leases that this round ended.
    pub fn ended_leases(&self) -> Vec<(StepIndex, SessionId, u64)> {
        let ended = self.moves.iter().filter_map(|(&step, (from, _))| match from {
            Place::Leased { session, token } => Some((step, *session, *token)),
            _ => None,
        });
        ended.collect()
    }

    /// Steps that came to a gate in this round.
    pub fn gated(&self) -> Vec<StepIndex> {
        let gated = self.moves.iter().filter(|(_, (_, to))| matches!(to, Place::Gated { .. }));
        gated.map(|(&step, _)| step).collect()
    }

    /// The rows that follow, and what the timer row will be.
    pub fn rows(&self, timer: Timer) -> (Vec<RowChange>, Timer) {
        let Some(task) = self.next.as_ref() else {
            return (Vec::new(), timer);
        };
        let mut rows = Vec::new();
        if self.base.is_none() {
            rows.push(RowChange::TaskOpened(opened_row(task)));
        }
        for (&step, (from, to)) in &self.moves {
            let at = StepRef { task: task.id, step };
            if waits(*from) {
                rows.extend(ready_key(task, step).map(RowChange::ReadyRemoved));
            }
            match from {
                Place::Gated { .. } | Place::Granted { .. } => rows.push(RowChange::GateRemoved(at)),
                Place::Leased { .. } => rows.push(RowChange::LeaseRemoved(at)),
                Place::Nowhere | Place::Ready => {}
            }
            if waits(*to) {
                rows.extend(ready_key(task, step).map(RowChange::ReadyAdded));
            }
            match to {
                Place::Gated { gate } => {
                    rows.push(RowChange::GatePut { step: at, gate: *gate, granted: false })
                }
                Place::Granted { gate } => {
                    rows.push(RowChange::GatePut { step: at, gate: *gate, granted: true })
                }
                Place::Leased { session, token } => {
                    rows.push(RowChange::LeaseAdded(LeaseRow { step: at, session: *session, token: *token }));
                }
                Place::Nowhere | Place::Ready => {}
            }
        }
        rows.extend(self.redeemed.iter().flat_map(|redeemed| redemption_rows(task, redeemed)));
        let was_running = self.base.as_ref().is_none_or(|task| !task.ended());
        if task.ended() && was_running {
            let stop_code = task.stop.as_ref().map(|stop| stop_code(stop.code)).unwrap_or_default();
            rows.push(RowChange::TaskEnded {
                task: task.id,
                state: task.state,
                stop_code: stop_code.to_owned(),
            });
        }
        let timer = self.timer(task, timer, &mut rows);
        (rows, timer)
    }

    /// The timer row is corrected lazily: it may be early, never late. What is known
    /// of the row may be out of date in one way: whoever found nothing due moved it
    /// to the next deadline of the very same state, without an event.
    fn timer(&self, task: &Task, timer: Timer, rows: &mut Vec<RowChange>) -> Timer {
        let moved_to = self.base.as_deref().and_then(task::next_deadline);
        match (task::next_deadline(task), timer) {
            (None, Timer::None) => Timer::None,
            (None, _) => {
                rows.push(RowChange::TimerCleared { task: task.id });
                Timer::None
            }
            (Some(due), Timer::Due(stored)) if !(self.ticked && stored < due) => {
                let latest = moved_to.map_or(stored, |moved_to| stored.max(moved_to));
                if latest <= due {
                    return Timer::Due(latest);
                }
                rows.push(RowChange::TimerSet { task: task.id, due });
                Timer::Due(due)
            }
            (Some(due), _) => {
                rows.push(RowChange::TimerSet { task: task.id, due });
                Timer::Due(due)
            }
        }
    }

    /// True where there is nothing to append but the timer row has to move.
    pub fn corrects_timer(&self, timer: Timer) -> bool {
        self.events.is_empty() && self.ticked && !self.rows(timer).0.is_empty()
    }

    /// The state after the commit, by the database's clock.
    pub fn settle(self, at: Timestamp) -> Option<(Task, Vec<Recorded<Event>>)> {
        let expected = self.expected();
        let recorded: Vec<Recorded<Event>> = (expected + 1..)
            .zip(self.events)
            .map(|(sequence, event)| Recorded { sequence, at, event })
            .collect();
        let (mut task, rest) = match self.base {
            Some(base) => (Arc::unwrap_or_clone(base), &recorded[..]),
            None => (task::opened(recorded.first()?)?.0, &recorded[1..]),
        };
        for event in rest {
            task::apply(&mut task, event);
        }
        Some((task, recorded))
    }
}

/// Whether a step in this place waits for an agent.
fn waits(place: Place) -> bool {
    matches!(place, Place::Ready | Place::Granted { .. })
}

/// Rows of the approval whose grant is used up.
fn redemption_rows(task: &Task, redeemed: &Redemption) -> [RowChange; 2] {
    let grant = &redeemed.grant;
    let now = ApprovalNow {
        approval: grant.approval,
        project: ProjectId::of(&task.project),
        level: grant.level,
        phase: approval::Phase::Redeemed,
        step: StepRef { task: task.id, step: redeemed.step },
        gate: redeemed.gate,
        token: 0,
        due: None,
    };
    let step_key = task.spec(redeemed.step).map(|spec| spec.key.as_str()).unwrap_or_default();
    [RowChange::ApprovalPut(now), audit::of_redemption(task, step_key, redeemed)]
}

fn opened_row(task: &Task) -> TaskOpened {
    TaskOpened {
        task: task.id,
        project: ProjectId::of(&task.project),
        display_name: task.display_name.clone(),
        labels: task.labels.clone(),
        created_by: task.created_by.clone(),
        retry_of: task.retry_of,
        step_count: task.steps.len() as u32,
        deadline: task.deadline,
    }
}

/// Queue that a step waits in.
pub fn queue_of(task: &Task, step: StepIndex) -> Option<QueueKey> {
    let capability = task.spec(step)?.capability.clone();
    Some(QueueKey { project: ProjectId::of(&task.project), capability })
}

fn ready_key(task: &Task, step: StepIndex) -> Option<ReadyKey> {
    let spec = task.spec(step)?;
    let queue = queue_of(task, step)?;
    Some(ReadyKey { queue, priority: spec.priority, step: StepRef { task: task.id, step } })
}

/// Stored word of a stop code; the same as in the log.
pub fn stop_code(code: task::StopCode) -> &'static str {
    use task::StopCode as Code;
    match code {
        Code::Completed => "completed",
        Code::AttemptsExhausted => "attempts_exhausted",
        Code::NotRetryable => "not_retryable",
        Code::NoAgent => "no_agent",
        Code::AgentLost => "agent_lost",
        Code::Timeout => "timeout",
        Code::Canceled => "canceled",
        Code::ApprovalDenied => "approval_denied",
        Code::ApprovalTimeout => "approval_timeout",
        Code::ApprovalWithdrawn => "approval_withdrawn",
    }
}

/// Stored word of a state, for metrics.
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Succeeded => "succeeded",
        State::Failed => "failed",
        State::Canceled => "canceled",
    }
}

/// Rebuilds a task from its recorded events.
pub fn replay(events: impl IntoIterator<Item = Recorded<Event>>) -> Option<Task> {
    let mut events = events.into_iter();
    let (mut task, _) = task::opened(&events.next()?)?;
    for event in events {
        task::apply(&mut task, &event);
    }
    Some(task)
}

/// Task whose stream this is.
pub fn task_of(stream: quarterdeck_core::StreamId) -> TaskId {
    TaskId::from_uuid(stream.as_uuid())
}

#[cfg(test)]
mod tests;
