//! The agents connected to this replica: what they can do, and their free slots.
//!
//! Invariants: a slot is reserved before a step is committed to a session, so an
//! agent is never given more than it asked for; what a session holds here is a
//! copy of lease rows and is corrected from them (see the sweeper); this module
//! neither waits nor touches the store.
//!
//! A session of an agent that calls (see [`crate::acquire`]) is here only while
//! such a call waits, and until what was reserved for it is settled: between its
//! calls it is given nothing, and any replica may serve the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quarterdeck_core::{SessionId, Span, Timestamp};
use quarterdeck_store::rows::{QueueKey, StepRef};
use tokio::sync::{Notify, mpsc};

use crate::session::{Down, GoAwayCause};

/// A session as dispatch sees it.
struct Member {
    agent: String,
    queues: Vec<QueueKey>,
    /// How many steps it may hold. While an agent's call waits, what it holds and
    /// what it asks for: then a step that ends takes its slot along.
    slots: u32,
    reserved: u32,
    held: BTreeMap<StepRef, u64>,
    /// Leases in the table that another replica wrote meanwhile, and for which the
    /// agent has no slot yet: the next one that is free is theirs.
    owed: BTreeSet<(StepRef, u64)>,
    draining: bool,
    /// It was told to go, on this connection: it is told of no assignment any more.
    away: Option<GoAwayCause>,
    /// Here for the length of a call.
    calls: bool,
    lease: Span,
    /// The session is open for so long, by the database's clock.
    good_until: Timestamp,
    /// `None` while the agent is not connected but may come back.
    outbound: Option<mpsc::Sender<Down>>,
    heard_at: Timestamp,
    /// Its number, so that an old connection cannot detach a new one.
    connection: u64,
}

impl Member {
    fn free(&self, freeing: u32) -> bool {
        let freeing = if self.calls { 0 } else { freeing };
        let used = (self.used() + self.owed.len() as u32).saturating_sub(freeing);
        self.outbound.is_some() && !self.draining && used < self.slots
    }

    /// The same for a session that has not expired by `now`: another would only lose
    /// what it is given.
    fn ready(&self, freeing: u32, now: Timestamp) -> bool {
        now < self.good_until && self.free(freeing)
    }

    fn used(&self) -> u32 {
        self.held.len() as u32 + self.reserved
    }
}

/// What is known of a queue that some session here serves.
#[derive(Default)]
struct Queue {
    members: Vec<SessionId>,
    /// Where the last reservation ended, for turns.
    turn: usize,
    /// Steps may be waiting in the table.
    backlog: bool,
    /// Counts reasons to look, so that one that comes during a look is not lost.
    wakes: u64,
}

#[derive(Default)]
struct Inner {
    members: BTreeMap<SessionId, Member>,
    queues: BTreeMap<QueueKey, Queue>,
    /// Queues that a pump should look at.
    due: BTreeSet<QueueKey>,
    /// Connections so far.
    connections: u64,
}

#[derive(Default)]
pub struct Dispatcher {
    inner: Mutex<Inner>,
    work: Notify,
}

/// A session that joins, or comes back.
pub struct Joining {
    pub session: SessionId,
    pub agent: String,
    pub queues: Vec<QueueKey>,
    pub slots: u32,
    pub held: BTreeMap<StepRef, u64>,
    pub draining: bool,
    /// True for the length of a call, whose caller looks at the queues itself.
    pub calls: bool,
    pub lease: Span,
    /// By the database's clock.
    pub good_until: Timestamp,
    pub outbound: mpsc::Sender<Down>,
    pub now: Timestamp,
}

/// What a session held of a step that it is given now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Nothing,
    /// This very lease.
    Same,
    /// An earlier lease, by its token. It is over, and nobody has told the agent:
    /// the replica that took it back was another.
    Earlier(u64),
}

impl Held {
    fn of(before: Option<u64>, token: u64) -> Self {
        match before {
            None => Self::Nothing,
            Some(before) if before == token => Self::Same,
            Some(before) => Self::Earlier(before),
        }
    }
}

impl Dispatcher {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two consistent states.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session, or gives it a new connection; the old one is answered.
    pub fn join(&self, joining: Joining) -> (u64, Option<mpsc::Sender<Down>>) {
        let mut inner = self.lock();
        let session = joining.session;
        let previous = Self::remove(&mut inner, session);
        inner.connections += 1;
        let connection = inner.connections;
        for queue in &joining.queues {
            let entry = inner.queues.entry(queue.clone()).or_default();
            // Nobody here has looked at a queue before its first session came.
            entry.backlog |= entry.members.is_empty();
            entry.members.push(session);
            if !joining.calls {
                entry.wakes += 1;
                inner.due.insert(queue.clone());
            }
        }
        let member = Member {
            agent: joining.agent,
            queues: joining.queues,
            slots: joining.slots,
            reserved: previous.as_ref().map_or(0, |member| member.reserved),
            held: joining.held,
            owed: BTreeSet::new(),
            draining: joining.draining,
            away: None,
            calls: joining.calls,
            lease: joining.lease,
            good_until: joining.good_until,
            outbound: Some(joining.outbound),
            heard_at: joining.now,
            connection,
        };
        inner.members.insert(session, member);
        crate::metrics::sessions(inner.members.len());
        self.work.notify_one();
        (connection, previous.and_then(|member| member.outbound))
    }

    fn remove(inner: &mut Inner, session: SessionId) -> Option<Member> {
        let member = inner.members.remove(&session)?;
        for queue in &member.queues {
            if let Some(entry) = inner.queues.get_mut(queue) {
                entry.members.retain(|&other| other != session);
                if entry.members.is_empty() {
                    inner.queues.remove(queue);
                    inner.due.remove(queue);
                }
            }
        }
        Some(member)
    }

    /// The connection is gone; the agent may come back within its lease.
    pub fn detach(&self, session: SessionId, connection: u64) {
        let mut inner = self.lock();
        if let Some(member) = inner.members.get_mut(&session).filter(|member| member.connection == connection)
        {
            member.outbound = None;
        }
    }

    /// Lets a call be given steps: up to `slots`, what the table has of the session
    /// counted in. What was handed over since it joined stays.
    pub fn admit(
        &self,
        session: SessionId,
        connection: u64,
        held: impl IntoIterator<Item = (StepRef, u64)>,
        slots: u32,
    ) {
        let mut inner = self.lock();
        if let Some(member) = inner.members.get_mut(&session).filter(|member| member.connection == connection)
        {
            member.held.extend(held);
            member.slots = slots;
        }
        self.wake_member(&mut inner, session);
    }

    /// A call takes no more: it is about to be answered.
    pub fn close(&self, session: SessionId, connection: u64) {
        let mut inner = self.lock();
        if let Some(member) = inner.members.get_mut(&session).filter(|member| member.connection == connection)
        {
            member.slots = 0;
        }
    }

    /// Slots that are reserved, and what is held; `None` once the connection is
    /// not the session's own any more.
    pub fn pending(&self, session: SessionId, connection: u64) -> Option<(u32, Vec<(StepRef, u64)>)> {
        let inner = self.lock();
        let member = inner.members.get(&session).filter(|member| member.connection == connection)?;
        Some((member.reserved, member.held.iter().map(|(&step, &token)| (step, token)).collect()))
    }

    /// A call is over. What is still reserved is remembered until it is settled,
    /// so that the next call here counts it in.
    pub fn retire(&self, session: SessionId, connection: u64) {
        self.detach(session, connection);
        self.settle(&mut self.lock(), session);
    }

    /// Forgets a session whose call is over and for which nothing is reserved.
    fn settle(&self, inner: &mut Inner, session: SessionId) {
        let over = |member: &Member| member.calls && member.outbound.is_none() && member.reserved == 0;
        if inner.members.get(&session).is_some_and(over) {
            Self::remove(inner, session);
            crate::metrics::sessions(inner.members.len());
        }
    }

    /// Forgets a session; what it held is for others to deal with.
    pub fn leave(&self, session: SessionId) -> Option<(Option<mpsc::Sender<Down>>, Vec<StepRef>)> {
        let mut inner = self.lock();
        let member = Self::remove(&mut inner, session)?;
        crate::metrics::sessions(inner.members.len());
        Some((member.outbound, member.held.into_keys().collect()))
    }

    pub fn len(&self) -> usize {
        self.lock().members.len()
    }

    /// Takes a slot of a session that serves the queue, in turn. `None` where none
    /// is free, or where steps that were there first are known to wait. Sessions
    /// in `freeing` finish a step in the very commit that this slot is for; `not`
    /// is passed over, and so is who may have expired by `now`.
    pub fn reserve(
        &self,
        queue: &QueueKey,
        freeing: &[SessionId],
        not: Option<SessionId>,
        now: Timestamp,
    ) -> Option<(SessionId, String)> {
        let mut inner = self.lock();
        if inner.queues.get(queue)?.backlog {
            return None;
        }
        Self::take(&mut inner, queue, freeing, not, now)
    }

    /// As [`Self::reserve`], for steps that come from the queue itself.
    pub fn reserve_for_backlog(
        &self,
        queue: &QueueKey,
        not: Option<SessionId>,
        now: Timestamp,
    ) -> Option<(SessionId, String)> {
        Self::take(&mut self.lock(), queue, &[], not, now)
    }

    fn take(
        inner: &mut Inner,
        queue: &QueueKey,
        freeing: &[SessionId],
        not: Option<SessionId>,
        now: Timestamp,
    ) -> Option<(SessionId, String)> {
        let entry = inner.queues.get_mut(queue)?;
        let count = entry.members.len();
        for offset in 0..count {
            let place = (entry.turn + offset) % count;
            let session = entry.members[place];
            let Some(member) = inner.members.get_mut(&session) else { continue };
            let freed = freeing.iter().filter(|&&other| other == session).count() as u32;
            if not != Some(session) && member.ready(freed, now) {
                member.reserved += 1;
                entry.turn = (place + 1) % count;
                return Some((session, member.agent.clone()));
            }
        }
        None
    }

    /// Free slots for a queue, for how far to look ahead.
    pub fn free_slots(&self, queue: &QueueKey, now: Timestamp) -> u32 {
        let inner = self.lock();
        let Some(entry) = inner.queues.get(queue) else {
            return 0;
        };
        let members = entry.members.iter().filter_map(|session| inner.members.get(session));
        let free = members.filter(|member| member.ready(0, now));
        free.map(|member| member.slots.saturating_sub(member.used())).sum()
    }

    /// Gives back a slot that came to nothing.
    pub fn unreserve(&self, session: SessionId) {
        let mut inner = self.lock();
        if let Some(member) = inner.members.get_mut(&session) {
            member.reserved = member.reserved.saturating_sub(1);
        }
        self.wake_member(&mut inner, session);
        self.settle(&mut inner, session);
    }

    /// Turns a reserved slot into a held step. `None` if the session is not here.
    pub fn hold(&self, session: SessionId, step: StepRef, token: u64) -> Option<Held> {
        let mut inner = self.lock();
        let member = inner.members.get_mut(&session)?;
        member.reserved = member.reserved.saturating_sub(1);
        let before = member.held.insert(step, token);
        self.settle(&mut inner, session);
        Some(Held::of(before, token))
    }

    /// Ends a held step. True if it was held here under this token.
    pub fn release(&self, session: SessionId, step: StepRef, token: u64) -> bool {
        self.end(session, step, token, None)
    }

    /// Ends a held step that the agent does not know to be over: it is told before
    /// the slot is free, for what is put into it must not come first.
    pub fn take_away(&self, session: SessionId, step: StepRef, token: u64, word: Down) -> bool {
        self.end(session, step, token, Some(word))
    }

    fn end(&self, session: SessionId, step: StepRef, token: u64, word: Option<Down>) -> bool {
        let mut inner = self.lock();
        let Some(member) = inner.members.get_mut(&session) else {
            return false;
        };
        let held = member.held.get(&step) == Some(&token);
        if held {
            if let Some(word) = word {
                Self::put(member, word);
            }
            member.held.remove(&step);
            if member.calls {
                member.slots = member.slots.saturating_sub(1);
            }
            self.wake_member(&mut inner, session);
        }
        held
    }

    /// True if this step is held here under this token.
    pub fn holds(&self, session: SessionId, step: StepRef, token: u64) -> bool {
        let inner = self.lock();
        inner.members.get(&session).is_some_and(|member| member.held.get(&step) == Some(&token))
    }

    /// Sends an assignment, if its lease was not taken away meanwhile: what was taken
    /// away must not come after that was told.
    pub fn give(&self, session: SessionId, step: StepRef, token: u64, assignment: Down) -> bool {
        let mut inner = self.lock();
        let held = inner.members.get_mut(&session).filter(|member| member.held.get(&step) == Some(&token));
        held.is_some_and(|member| Self::put(member, assignment))
    }

    /// The session's lease was renewed until then, by the database's clock.
    pub fn renewed(&self, session: SessionId, until: Timestamp) {
        let mut inner = self.lock();
        if let Some(member) = inner.members.get_mut(&session) {
            member.good_until = member.good_until.max(until);
        }
        self.wake_member(&mut inner, session);
    }

    /// A slot of this session became free: look at the queues it serves.
    fn wake_member(&self, inner: &mut Inner, session: SessionId) {
        let Inner { members, queues, due, .. } = inner;
        let Some(member) = members.get(&session).filter(|member| member.free(0)) else {
            return;
        };
        let mut woke = false;
        for queue in &member.queues {
            if queues.get(queue).is_some_and(|entry| entry.backlog) {
                woke |= due.insert(queue.clone());
            }
        }
        if woke {
            self.work.notify_one();
        }
    }

    /// Steps were put into these queues because no slot was free: they go first.
    pub fn queued(&self, queues: impl IntoIterator<Item = QueueKey>) {
        self.wake_all(queues, true);
    }

    /// Steps may wait in these queues.
    pub fn wake(&self, queues: impl IntoIterator<Item = QueueKey>) {
        self.wake_all(queues, false);
    }

    fn wake_all(&self, queues: impl IntoIterator<Item = QueueKey>, backlog: bool) {
        let mut inner = self.lock();
        for queue in queues {
            if let Some(entry) = inner.queues.get_mut(&queue) {
                entry.backlog |= backlog;
                entry.wakes += 1;
                inner.due.insert(queue);
            }
        }
        self.work.notify_one();
    }

    /// Every queue that is served here and has a free slot.
    pub fn idle_queues(&self) -> Vec<QueueKey> {
        let inner = self.lock();
        let served = |entry: &Queue| {
            entry
                .members
                .iter()
                .any(|session| inner.members.get(session).is_some_and(|member| member.free(0)))
        };
        inner.queues.iter().filter(|(_, entry)| served(entry)).map(|(queue, _)| queue.clone()).collect()
    }

    /// Waits for queues to look at, and takes them.
    pub async fn due(&self) -> Vec<QueueKey> {
        loop {
            let due = std::mem::take(&mut self.lock().due);
            if !due.is_empty() {
                return due.into_iter().collect();
            }
            self.work.notified().await;
        }
    }

    /// Reasons to look at the queue so far; see [`Self::looked`].
    pub fn wakes(&self, queue: &QueueKey) -> u64 {
        self.lock().queues.get(queue).map_or(0, |entry| entry.wakes)
    }

    /// The table had nothing more after `wakes` was read: new steps may be given
    /// away directly again. A reason to look that came in between is looked into.
    pub fn looked(&self, queue: &QueueKey, wakes: u64) {
        let mut inner = self.lock();
        let Some(entry) = inner.queues.get_mut(queue) else { return };
        entry.backlog = false;
        if entry.wakes != wakes {
            inner.due.insert(queue.clone());
            self.work.notify_one();
        }
    }

    /// Sends to the session's agent if it is connected here. A connection that
    /// does not keep up is cut; its agent resumes and is told again. No assignment
    /// follows a farewell.
    pub fn send(&self, session: SessionId, message: Down) -> bool {
        self.lock().members.get_mut(&session).is_some_and(|member| Self::put(member, message))
    }

    fn put(member: &mut Member, message: Down) -> bool {
        let untold = message.assigns() && member.away.is_some();
        let Some(outbound) = member.outbound.as_ref().filter(|_| !untold) else {
            return false;
        };
        match message {
            // A call that ends because its replica stops takes along what is on its way.
            Down::GoAway { cause: GoAwayCause::Rotate, .. } if member.calls => {}
            Down::GoAway { cause, .. } => member.away = Some(cause),
            _ => {}
        }
        let sent = outbound.try_send(message).is_ok();
        if !sent {
            member.outbound = None;
        }
        sent
    }

    /// Whether the session was told to finish, on the connection that it has here. Where it
    /// has none it may be back elsewhere, and have been told of what it holds.
    pub fn is_leaving(&self, session: SessionId) -> bool {
        let told = |member: &Member| member.away == Some(GoAwayCause::Drain) && member.outbound.is_some();
        self.lock().members.get(&session).is_some_and(told)
    }

    pub fn is_here(&self, session: SessionId) -> bool {
        self.lock().members.contains_key(&session)
    }

    /// The agent was heard.
    pub fn heard(&self, session: SessionId, now: Timestamp) {
        if let Some(member) = self.lock().members.get_mut(&session) {
            member.heard_at = now;
        }
    }

    pub fn set_slots(&self, session: SessionId, slots: u32) {
        let mut inner = self.lock();
        if let Some(member) = inner.members.get_mut(&session) {
            member.slots = slots;
        }
        self.wake_member(&mut inner, session);
    }

    /// No more steps for this session. True if that is news.
    pub fn set_draining(&self, session: SessionId) -> bool {
        let mut inner = self.lock();
        inner.members.get_mut(&session).is_some_and(|member| !std::mem::replace(&mut member.draining, true))
    }

    /// Connected sessions whose agent was heard since `since`, by the length of
    /// their lease. An agent is heard as long as its call stands.
    pub fn lively(&self, since: Timestamp) -> BTreeMap<Span, Vec<SessionId>> {
        let inner = self.lock();
        let alive = |member: &Member| member.outbound.is_some() && (member.calls || member.heard_at >= since);
        let mut lively: BTreeMap<Span, Vec<SessionId>> = BTreeMap::new();
        for (&session, member) in inner.members.iter().filter(|(_, member)| alive(member)) {
            lively.entry(member.lease).or_default().push(session);
        }
        lively
    }

    /// Sessions whose agent was not heard for longer than their lease and `more`,
    /// connected or not.
    pub fn silent(&self, now: Timestamp, more: Span) -> Vec<SessionId> {
        let inner = self.lock();
        let silent = |member: &Member| member.heard_at.plus(member.lease).plus(more) < now;
        inner.members.iter().filter(|(_, member)| silent(member)).map(|(&session, _)| session).collect()
    }

    /// All sessions here with what they hold.
    pub fn held(&self) -> BTreeMap<SessionId, BTreeMap<StepRef, u64>> {
        let inner = self.lock();
        inner.members.iter().map(|(&session, member)| (session, member.held.clone())).collect()
    }

    /// Leases that the table has and this replica does not know of; none of others.
    pub fn owe(&self, leases: impl IntoIterator<Item = (SessionId, StepRef, u64)>) {
        let mut inner = self.lock();
        for member in inner.members.values_mut() {
            member.owed.clear();
        }
        for (session, step, token) in leases {
            if let Some(member) = inner.members.get_mut(&session) {
                member.owed.insert((step, token));
            }
        }
    }

    /// Adds a lease that the table has and this replica did not know of. `None` if
    /// the session is not here, or has no slot for it yet.
    pub fn adopt(&self, session: SessionId, step: StepRef, token: u64) -> Option<Held> {
        let mut inner = self.lock();
        let member = inner.members.get_mut(&session)?;
        if !member.held.contains_key(&step) && member.used() >= member.slots {
            return None;
        }
        member.owed.remove(&(step, token));
        Some(Held::of(member.held.insert(step, token), token))
    }
}

#[cfg(test)]
mod tests;
