//! Tasks in memory, and their mailboxes.
//!
//! Everything asked of one task queues up in its slot; whoever finds the slot
//! idle starts a driver that takes what is there, decides it as one [`Round`] and
//! commits it, until nothing is left. A lost race drops the cached state, loads
//! and decides again.
//!
//! Invariants: one driver a slot; the cached state is always some prefix of the
//! stream, and a commit on a stale prefix conflicts; answers follow the commit.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use quarterdeck_core::approval;
use quarterdeck_core::canary::{Mistake, planted};
use quarterdeck_core::policy::Standing;
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{Command, Event, Phase, Step, Task};
use quarterdeck_core::{CommitId, Digest, ProjectId, Refusal, Span, StreamId, TaskId};
use quarterdeck_store::{Append, Commit, Guard, Outcome, RequestRecord};
use tokio::sync::oneshot;

use quarterdeck_store::rows::StepRef;

use crate::approvals::guard;
use crate::engine::Shared;
use crate::error::{Error, Noun, Result};
use crate::events::decode_row;
use crate::metrics;
use crate::round::{Redemption, Round, Timer, replay};

/// Rounds that are decided again after a conflict before giving up.
const TRIES: u32 = 5;
/// Asks in one round.
const ROUND_MAX: usize = 64;

/// What is asked of a task.
#[derive(Clone, Debug)]
pub enum Op {
    Create(Event),
    Do(Command),
}

/// What became of it.
#[derive(Clone, Debug)]
pub enum Said {
    /// Done, or nothing to do; the task after it.
    Task(Arc<Task>),
    /// The request was granted before.
    Duplicate,
}

struct Ask {
    op: Op,
    payloads: Vec<(Digest, Bytes)>,
    request: Option<RequestRecord>,
    answer: oneshot::Sender<Result<Said>>,
}

#[derive(Clone)]
struct Loaded {
    task: Arc<Task>,
    timer: Timer,
}

#[derive(Default)]
struct SlotState {
    queue: VecDeque<Ask>,
    driven: bool,
    loaded: Option<Loaded>,
}

struct Slot {
    id: TaskId,
    state: Mutex<SlotState>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The slots, least recently used out first.
pub struct Slots(Mutex<LruCache<TaskId, Arc<Slot>>>);

impl Slots {
    pub fn new(most: usize) -> Self {
        Self(Mutex::new(LruCache::new(NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN))))
    }

    /// The slot of a task. A slot pushed out while in use lives on with its users;
    /// a second one for the same task only costs conflicts.
    fn slot(&self, id: TaskId) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Slot { id, state: Mutex::default() });
        Arc::clone(slots.get_or_insert(id, new))
    }

    fn cached(&self, id: TaskId) -> Option<Arc<Task>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(&id)?;
        let state = slot.lock();
        state.loaded.as_ref().map(|loaded| Arc::clone(&loaded.task))
    }
}

impl Shared {
    /// Asks something of a task and waits for the answer.
    pub async fn ask(
        self: &Arc<Self>,
        task: TaskId,
        op: Op,
        payloads: Vec<(Digest, Bytes)>,
        request: Option<RequestRecord>,
    ) -> Result<Said> {
        self.ask_later(task, op, payloads, request)?.await.map_err(|_| Error::Draining)?
    }

    /// Queues something for a task, in order of calling. The answer comes later.
    pub fn ask_later(
        self: &Arc<Self>,
        task: TaskId,
        op: Op,
        payloads: Vec<(Digest, Bytes)>,
        request: Option<RequestRecord>,
    ) -> Result<oneshot::Receiver<Result<Said>>> {
        let slot = self.slots.slot(task);
        let (answer, receiver) = oneshot::channel();
        let mut state = slot.lock();
        if state.queue.len() >= self.options.mailbox_max {
            return Err(Error::Overloaded { retry_after: Span::from_millis(250) });
        }
        state.queue.push_back(Ask { op, payloads, request, answer });
        if !std::mem::replace(&mut state.driven, true) {
            let (shared, slot) = (Arc::clone(self), Arc::clone(&slot));
            self.time.spawn(async move { shared.drive(&slot).await });
        }
        Ok(receiver)
    }

    /// The task as the database has it now.
    pub async fn current(self: &Arc<Self>, id: TaskId) -> Result<Arc<Task>> {
        if let Some(task) = self.slots.cached(id)
            && self.is_current(id, task.revision).await?
        {
            return Ok(task);
        }
        let loaded = self.load(id).await?.ok_or(Error::NotFound(Noun::Task))?;
        let slot = self.slots.slot(id);
        let mut state = slot.lock();
        // A driver at work puts its own, newer state there.
        if !state.driven {
            state.loaded = Some(loaded.clone());
        }
        Ok(loaded.task)
    }

    /// A task as it was at some time: enough for what never changes, such as its
    /// plan, labels and project.
    pub async fn some_version(self: &Arc<Self>, id: TaskId) -> Result<Arc<Task>> {
        match self.slots.cached(id) {
            Some(task) => Ok(task),
            None => self.current(id).await,
        }
    }

    async fn load(&self, id: TaskId) -> Result<Option<Loaded>> {
        let events = self.load_events(id.stream(), 0, u32::MAX).await?;
        Ok(replay(events).map(|task| Loaded { task: Arc::new(task), timer: Timer::Unknown }))
    }

    /// Events of a task after a sequence, at most about `most`, oldest first.
    pub async fn load_events(&self, stream: StreamId, after: u64, most: u32) -> Result<Vec<Recorded<Event>>> {
        const PAGE: u32 = 500;
        let (mut events, mut after) = (Vec::new(), after);
        loop {
            let rows = self.store.load(stream, after, PAGE.min(most)).await?;
            for row in &rows {
                let from = if planted(Mistake::CursorIncluded) { after } else { after + 1 };
                events.extend(decode_row::<Event>(row)?.into_iter().filter(|event| event.sequence >= from));
                after = after.max(row.last);
            }
            if rows.len() < PAGE as usize || events.len() >= most as usize {
                return Ok(events);
            }
        }
    }

    async fn drive(self: &Arc<Self>, slot: &Arc<Slot>) {
        loop {
            let (asks, loaded) = {
                let mut state = slot.lock();
                let asks = take_round(&mut state.queue);
                if asks.is_empty() {
                    state.driven = false;
                    return;
                }
                (asks, state.loaded.take())
            };
            let loaded = self.turn(slot.id, asks, loaded).await;
            slot.lock().loaded = loaded;
        }
    }

    /// Decides and commits one round; answers it; returns the state to keep.
    async fn turn(
        self: &Arc<Self>,
        id: TaskId,
        mut asks: Vec<Ask>,
        mut loaded: Option<Loaded>,
    ) -> Option<Loaded> {
        let mut redeem = true;
        for attempt in 0..TRIES {
            if loaded.is_none() && !matches!(asks.first().map(|ask| &ask.op), Some(Op::Create(_))) {
                loaded = match self.load(id).await {
                    Ok(Some(loaded)) => Some(loaded),
                    Ok(None) => return answer_all(asks, &Error::NotFound(Noun::Task)),
                    Err(error) => return answer_all(asks, &error),
                };
            }
            let timer = loaded.as_ref().map_or(Timer::None, |loaded| loaded.timer);
            let task = loaded.as_ref().map(|loaded| Arc::clone(&loaded.task));
            let standing = match self.standing_for(task.as_deref(), &asks, redeem).await {
                Ok(standing) => standing,
                Err(error) => return answer_all(asks, &error),
            };
            let (round, verdicts) = self.decide(task.clone(), &asks, standing.clone());
            self.settle_doubtful(id, &round);
            if round.events.is_empty() {
                // Nothing to commit means that no commit tells whether the state is current.
                match self.is_current(id, round.expected()).await {
                    Ok(true) => {}
                    Ok(false) => {
                        loaded = None;
                        continue;
                    }
                    Err(error) => return answer_all(asks, &error),
                }
                if round.corrects_timer(timer) {
                    loaded = self.correct_timer(id, &round, timer, loaded).await;
                }
                answer(asks, verdicts, task.as_ref());
                return loaded;
            }
            let (commit, timer) = match self.commit_of(id, &round, &asks, &verdicts, timer, standing) {
                Ok(commit) => commit,
                Err(error) => {
                    self.give_back(&round);
                    return answer_all(asks, &error);
                }
            };
            match self.committer.commit(commit).await {
                Ok(Outcome::Done { at, .. }) => {
                    drop((loaded, task)); // the other holders, so that settling need not copy
                    let task = self.announce(round, at);
                    answer(asks, verdicts, task.as_ref());
                    return task.map(|task| Loaded { task, timer });
                }
                Ok(Outcome::Duplicate) => {
                    self.give_back(&round);
                    if let Some(place) = asks.iter().position(|ask| ask.request.is_some()) {
                        let _ = asks.remove(place).answer.send(Ok(Said::Duplicate));
                    }
                    if asks.is_empty() {
                        return loaded;
                    }
                }
                // A grant is over, or something moved: perhaps an approval, or the policy. Who
                // moved it is looked at beside; this round goes on without starting anything.
                Ok(Outcome::Conflict | Outcome::Stale) => {
                    metrics::conflict();
                    self.give_back(&round);
                    if let Some(task) = task.as_ref().filter(|_| !round.redeemed.is_empty()) {
                        redeem = false;
                        self.standings.forget(ProjectId::of(&task.project));
                        for redeemed in &round.redeemed {
                            self.settle_later(StepRef { task: id, step: redeemed.step });
                        }
                    }
                    loaded = None;
                    self.time.sleep(self.time.jitter(Span::from_millis(2 << attempt))).await;
                }
                Ok(Outcome::Failed(error)) => {
                    self.give_back(&round);
                    return answer_all(asks, &Error::Store(error));
                }
                Err(error) => {
                    self.give_back(&round);
                    return answer_all(asks, &error);
                }
            }
        }
        answer_all(asks, &Error::Contention)
    }

    /// What holds in the task's project, where the round may give a step out under a
    /// grant.
    async fn standing_for(
        self: &Arc<Self>,
        task: Option<&Task>,
        asks: &[Ask],
        redeem: bool,
    ) -> Result<Option<Arc<Standing>>> {
        let opens = |ask: &Ask| matches!(ask.op, Op::Do(Command::OpenGate { .. }));
        let granted = |task: &&Task| {
            let waits = |step: &Step| step.grant.is_some() && step.phase == Phase::Ready;
            asks.iter().any(opens) || task.steps.iter().any(waits)
        };
        match task.filter(granted).filter(|_| redeem) {
            Some(task) => self.standing(&task.project).await.map(Some),
            None => Ok(None),
        }
    }

    /// Looks at grants that seem to hold no more.
    fn settle_doubtful(self: &Arc<Self>, task: TaskId, round: &Round) {
        for &step in &round.doubtful {
            self.settle_later(StepRef { task, step });
        }
    }

    fn decide(
        &self,
        base: Option<Arc<Task>>,
        asks: &[Ask],
        standing: Option<Arc<Standing>>,
    ) -> (Round, Vec<std::result::Result<(), Refusal>>) {
        let mut round = Round::new(base, self.time.ctx(), standing);
        let mut verdicts = Vec::with_capacity(asks.len());
        for (index, ask) in (0..).zip(asks) {
            verdicts.push(match &ask.op {
                Op::Create(event) => {
                    round.create(event.clone());
                    Ok(())
                }
                Op::Do(command) => round.command(command.clone(), index),
            });
        }
        let now = self.time.now();
        round.assign_ready(|queue, freeing, not| self.dispatcher.reserve(queue, freeing, not, now));
        (round, verdicts)
    }

    fn commit_of(
        &self,
        id: TaskId,
        round: &Round,
        asks: &[Ask],
        verdicts: &[std::result::Result<(), Refusal>],
        timer: Timer,
        standing: Option<Arc<Standing>>,
    ) -> Result<(Commit, Timer)> {
        let task = round.task().ok_or_else(|| Error::Internal("a round without a task".to_owned()))?;
        let project = ProjectId::of(&task.project);
        let append = Append::new(id.stream(), project, round.expected(), &round.events)
            .map_err(|error| Error::Internal(format!("events of {id} cannot be written: {error}")))?;
        let (rows, timer) = round.rows(timer);
        let granted = || asks.iter().zip(verdicts).filter(|(_, verdict)| verdict.is_ok()).map(|(ask, _)| ask);
        let mut payloads: Vec<(Digest, Bytes)> = granted().flat_map(|ask| ask.payloads.clone()).collect();
        payloads.sort_by_key(|(digest, _)| *digest);
        payloads.dedup_by_key(|(digest, _)| *digest);
        let mut appends = vec![append];
        for redeemed in &round.redeemed {
            appends.push(redemption(project, redeemed)?);
        }
        let relies = standing.filter(|_| !round.redeemed.is_empty());
        let commit = Commit {
            id: CommitId::new(&self.time.ctx(), 0),
            appends,
            unchanged: relies.iter().map(|standing| guard(project, standing)).collect(),
            valid_until: round.redeemed.iter().map(|redeemed| redeemed.grant.until).min(),
            request: granted().find_map(|ask| ask.request.clone()),
            payloads,
            rows,
        };
        Ok((commit, timer))
    }

    /// Moves the timer row of a task for which nothing was due after all.
    async fn correct_timer(
        &self,
        id: TaskId,
        round: &Round,
        timer: Timer,
        loaded: Option<Loaded>,
    ) -> Option<Loaded> {
        let (rows, timer) = round.rows(timer);
        let commit = Commit {
            id: CommitId::new(&self.time.ctx(), 0),
            appends: Vec::new(),
            unchanged: vec![Guard { stream: id.stream(), head: round.expected() }],
            valid_until: None,
            request: None,
            payloads: Vec::new(),
            rows,
        };
        match self.committer.commit(commit).await {
            Ok(Outcome::Done { .. }) => loaded.map(|loaded| Loaded { timer, ..loaded }),
            // The sweeper will be back.
            _ => None,
        }
    }

    async fn is_current(&self, id: TaskId, revision: u64) -> Result<bool> {
        let heads = self.store.heads(&[id.stream()]).await?;
        Ok(heads.first().is_some_and(|&(_, head)| head == revision))
    }

    fn give_back(&self, round: &Round) {
        for given in round.given.iter().filter(|given| given.reserved_here) {
            self.dispatcher.unreserve(given.session);
        }
    }
}

/// The end of a grant that a step is given out under: it stands where it was given.
fn redemption(project: ProjectId, redeemed: &Redemption) -> Result<Append> {
    let (grant, by) = (&redeemed.grant, redeemed.by.clone());
    let event = approval::Event::Redeemed {
        session: by.session,
        token: by.token,
        agent: by.agent,
        digest: grant.digest,
    };
    Append::new(grant.approval.stream(), project, grant.head, &[event])
        .map_err(|error| Error::Internal(format!("a redemption cannot be written: {error}")))
}

/// Takes the asks of one round: a commit remembers at most one request.
fn take_round(queue: &mut VecDeque<Ask>) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    while let Some(ask) = queue.front() {
        let second = ask.request.is_some() && asks.iter().any(|other| other.request.is_some());
        if second || asks.len() == ROUND_MAX {
            break;
        }
        asks.extend(queue.pop_front());
    }
    asks
}

fn answer(asks: Vec<Ask>, verdicts: Vec<std::result::Result<(), Refusal>>, task: Option<&Arc<Task>>) {
    for (ask, verdict) in asks.into_iter().zip(verdicts) {
        let said = match (verdict, task) {
            (Ok(()), Some(task)) => Ok(Said::Task(Arc::clone(task))),
            (Ok(()), None) => Err(Error::Internal("a committed task has no state".to_owned())),
            (Err(refusal), _) => Err(Error::Refused(refusal)),
        };
        let _ = ask.answer.send(said);
    }
}

fn answer_all(asks: Vec<Ask>, error: &Error) -> Option<Loaded> {
    for ask in asks {
        let _ = ask.answer.send(Err(error.clone()));
    }
    None
}
