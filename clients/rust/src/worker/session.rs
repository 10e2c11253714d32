//! The session: one loop that owns the book, the link and the handlers.
//!
//! Invariants: the handlers' words are taken at all times, connected or not; what was
//! taken is in the book before it is sent; a session is resumed with its token as long
//! as the server knows it, and everything held is given up when it does not.

use std::time::{Duration, SystemTime};

use quarterdeck_api::errors::v1::Reason;
use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::session_request::Message as Up;
use quarterdeck_api::orchestration::v1::session_response::Message as Down;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::authorize::Waits;
use super::builder::Settings;
use super::context::StepContext;
use super::lease::Book;
use super::link::Link;
use super::outcome::StepError;
use super::running::{Event, Running, Word};
use crate::ambient;
use crate::client::Client;
use crate::error::{Error, Origin};
use crate::retry::Backoff;

/// Failures in a row after which the connection itself is replaced.
const FAILURES_UNTIL_FRESH: u32 = 3;
/// A link that lived this long ends the row of failures.
const PROVEN: Duration = Duration::from_secs(5);
/// Most leases that Hello lists.
const MAX_HELD: usize = 1_000;

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its caller wanted it to.
    Shutdown,
    /// An operator drained it.
    Drained,
}

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkerState {
    /// Has no session stream now.
    #[default]
    Connecting,
    /// Has one.
    Connected,
    /// Finishes what it holds.
    Draining,
    /// Is over.
    Ended,
}

/// Where a worker stands, in figures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerStatus {
    /// Connected or not.
    pub state: WorkerState,
    /// Session that it has or last had.
    pub session_id: String,
    /// Steps whose handlers are at work.
    pub held: usize,
    /// How often it came back with a session it had before.
    pub reconnects: u64,
}

pub(super) struct Session {
    client: Client,
    settings: Settings,
    book: Book,
    running: Running,
    waits: Waits,
    /// Of the session to resume.
    resume_token: String,
    phase: Phase,
    failures: u32,
    backoff: Option<Backoff>,
    status: watch::Sender<WorkerStatus>,
}

#[derive(Clone, Copy)]
enum Phase {
    Serving,
    /// Finishes what it holds.
    Draining(Ended),
    /// Out of time: waits for cancelled handlers alone.
    Closing(Ended),
    /// Waits for nothing any more.
    Over(Ended),
}

/// Why a link was left.
enum Leave {
    Finished(Ended),
    Rotate,
    Broken(Error),
}

impl Session {
    pub(super) fn new(
        client: Client,
        settings: Settings,
        shutdown: CancellationToken,
        status: watch::Sender<WorkerStatus>,
    ) -> Self {
        Self {
            client,
            running: Running::new(shutdown, settings.abort_grace),
            settings,
            waits: Waits::default(),
            book: Book::default(),
            resume_token: String::new(),
            phase: Phase::Serving,
            failures: 0,
            backoff: None,
            status,
        }
    }

    pub(super) async fn run(mut self) -> Result<Ended, Error> {
        let result = self.live().await;
        // Nothing is left to be told, so the handlers stop, too.
        self.book.drop_all();
        self.running.wind_down().await;
        self.status.send_modify(|status| {
            status.state = WorkerState::Ended;
            status.held = 0;
        });
        result
    }

    async fn live(&mut self) -> Result<Ended, Error> {
        loop {
            let Some(mut link) = self.connect().await? else {
                return Ok(self.phase.ended());
            };
            let (generation, _) = self.client.connection.current();
            let since = ambient::now();
            let leave = self.serve(&mut link).await?;
            if since.elapsed() >= PROVEN {
                self.failures = 0;
                self.backoff = None;
            } else {
                // A server that welcomes and breaks must not be met in a tight loop.
                self.failures += 1;
            }
            match leave {
                Leave::Finished(ended) => {
                    link.bye().await;
                    return Ok(ended);
                }
                Leave::Rotate => {
                    // The old connection leads to the replica that wants to be left.
                    self.client.connection.renew(generation);
                }
                Leave::Broken(error) => {
                    self.judge(&error)?;
                    tracing::info!(agent = %self.settings.agent, %error, "session interrupted, resuming");
                    // Pings without an answer: the connection itself is dead.
                    if error.code == Code::DeadlineExceeded {
                        self.client.connection.renew(generation);
                    }
                }
            }
            self.show(WorkerState::Connecting);
        }
    }

    /// Opens a link, however long it takes; `None` where there is nothing left to do with one.
    async fn connect(&mut self) -> Result<Option<Link>, Error> {
        let mut tries = 0;
        loop {
            if self.failures > 0 || tries > 0 {
                self.pause(None).await;
            }
            tries += 1;
            if let Phase::Over(_) | Phase::Closing(_) = self.phase {
                // Only Bye would be left to say, and the lease's end says it, too.
                return Ok(None);
            }
            if self.is_finished() {
                return Ok(None);
            }
            let (generation, _) = self.client.connection.current();
            match self.open().await {
                Some(Ok((link, welcome))) => return Ok(Some(self.welcomed(link, welcome))),
                Some(Err(error)) => {
                    self.failures += 1;
                    if error.is(Reason::SessionExpired) || error.is(Reason::SessionNotFound) {
                        tracing::warn!(agent = %self.settings.agent, "the session has expired, giving up its steps");
                        self.forget();
                        continue;
                    }
                    self.judge(&error)?;
                    tracing::debug!(agent = %self.settings.agent, %error, "no session yet");
                    if self.failures.is_multiple_of(FAILURES_UNTIL_FRESH) {
                        self.client.connection.renew(generation);
                    }
                    if let Some(asked) = error.retry_after {
                        self.pause(Some(asked)).await;
                    }
                }
                None => return Ok(None),
            }
        }
    }

    /// Opens a link while taking what happens here; `None` where the worker ended meanwhile.
    async fn open(&mut self) -> Option<Result<(Link, pb::Welcome), Error>> {
        let opening = Link::open(self.client.clone(), self.hello());
        let mut opening = std::pin::pin!(opening);
        loop {
            tokio::select! {
                biased;
                result = &mut opening => return Some(result),
                event = self.running.next() => {
                    // What is to be sent is in the book and goes out after Welcome.
                    self.on_event(event);
                    if self.is_finished() {
                        return None;
                    }
                }
            }
        }
    }

    fn hello(&self) -> pb::Hello {
        let resuming = !self.resume_token.is_empty();
        pb::Hello {
            agent: self.settings.agent.clone(),
            build: self.settings.version.clone(),
            capabilities: self.settings.capabilities.clone(),
            slots: self.slots(),
            project: self.settings.project.clone(),
            resume_token: self.resume_token.clone(),
            held_leases: if resuming { self.book.held(MAX_HELD) } else { Vec::new() },
        }
    }

    fn slots(&self) -> i32 {
        match self.phase {
            Phase::Serving => i32::try_from(self.settings.slots).unwrap_or(i32::MAX),
            _ => 0,
        }
    }

    fn welcomed(&mut self, mut link: Link, welcome: pb::Welcome) -> Link {
        let resumed = welcome.resumed;
        if !resumed {
            self.forget();
        }
        self.resume_token = welcome.resume_token;
        link.send(self.book.unacknowledged());
        link.send(self.waits.all());
        // A shutdown between Hello and Welcome.
        if !matches!(self.phase, Phase::Serving) {
            link.send([Up::Credit(pb::Credit { slots: 0 })]);
        }
        self.status.send_modify(|status| {
            status.session_id = welcome.session_id;
            status.reconnects += u64::from(resumed);
        });
        self.show(WorkerState::Connected);
        link
    }

    /// Gives up all that is held: the server has given it to others.
    fn forget(&mut self) {
        self.resume_token.clear();
        self.book.drop_all();
    }

    /// Waits before the next try, taking what happens here. Ends early with the worker.
    async fn pause(&mut self, asked: Option<Duration>) {
        let backoff = self
            .backoff
            .get_or_insert_with(|| Backoff::new(Duration::from_millis(50), Duration::from_secs(2)));
        let wait = asked.unwrap_or_else(|| backoff.next(None));
        let mut waited = std::pin::pin!(sleep(wait));
        while !self.is_finished() {
            tokio::select! {
                biased;
                () = &mut waited => return,
                event = self.running.next() => {
                    self.on_event(event);
                }
            }
        }
    }

    async fn serve(&mut self, link: &mut Link) -> Result<Leave, Error> {
        loop {
            if self.is_finished() {
                return Ok(Leave::Finished(self.phase.ended()));
            }
            tokio::select! {
                biased;
                _ = link.ping.tick() => if !link.ping() {
                    return Ok(Leave::Broken(Error::transport(Code::DeadlineExceeded, "two pings without an answer")));
                },
                permit = link.outgoing.clone().reserve_owned(), if link.has_waiting() => {
                    if let (Ok(permit), Some(message)) = (permit, link.take_waiting()) {
                        permit.send(message);
                    }
                }
                message = link.incoming.message() => match message {
                    Ok(Some(response)) => if let Some(leave) = self.on_message(response, link)? {
                        return Ok(leave);
                    },
                    Ok(None) => return Ok(Leave::Broken(Error::transport(Code::Unavailable, "the server ended the stream"))),
                    Err(status) => return Ok(Leave::Broken(status.into())),
                },
                event = self.running.next() => {
                    let messages = self.on_event(event);
                    link.send(messages);
                }
            }
        }
    }

    fn on_message(&mut self, response: pb::SessionResponse, link: &mut Link) -> Result<Option<Leave>, Error> {
        let messages = match response.message {
            Some(Down::Assign(assign)) => self.on_assign(assign),
            Some(Down::Ack(ack)) => self.book.acknowledged(&ack.lease_token, ack.up_to),
            Some(Down::Reject(reject)) => {
                tracing::warn!(reason = %reject.reason, message = %reject.message, "the server rejected a message");
                self.book.rejected(&reject)
            }
            Some(Down::Revoke(revoke)) => {
                tracing::info!(cause = revoke.cause().as_str_name(), "the server took a step away");
                self.book.drop_lease(&revoke.lease_token);
                Vec::new()
            }
            Some(Down::ApprovalDecided(word)) => {
                self.waits.decided(&word);
                Vec::new()
            }
            Some(Down::Pong(_)) => {
                link.pong();
                Vec::new()
            }
            Some(Down::GoAway(go_away)) => return self.on_go_away(&go_away),
            // A second Welcome, or a message of a newer contract.
            Some(Down::Welcome(_)) | None => Vec::new(),
        };
        link.send(messages);
        self.show_held();
        Ok(None)
    }

    fn on_assign(&mut self, assign: pb::Assign) -> Vec<Up> {
        let token = assign.lease_token.clone();
        if self.book.contains(&token) {
            return Vec::new();
        }
        let full = self.book.unfinished() >= self.settings.slots as usize;
        let cancel = CancellationToken::new();
        self.book.enter(&token, cancel.clone());
        let refusal = match (self.phase, self.settings.handler(&assign.capability)) {
            (Phase::Serving, Some(handler)) if !full => {
                let step = StepContext::new(assign, cancel, self.running.words(), self.client.clone());
                self.running.start(handler, step);
                return Vec::new();
            }
            (Phase::Serving, Some(_)) => "all slots are taken",
            (Phase::Serving, None) => "the agent has no handler for this capability",
            _ => "the agent is stopping",
        };
        self.book.finish(&token, StepError::refuse(refusal).0)
    }

    fn on_go_away(&mut self, go_away: &pb::GoAway) -> Result<Option<Leave>, Error> {
        match go_away.cause() {
            pb::GoAwayCause::Rotate | pb::GoAwayCause::Unspecified => Ok(Some(Leave::Rotate)),
            pb::GoAwayCause::Drain => {
                let deadline = go_away.deadline.and_then(|time| SystemTime::try_from(time).ok());
                self.drain(Ended::Drained, deadline.map(ambient::until));
                Ok(None)
            }
            pb::GoAwayCause::Replaced => {
                Err(Error::client(Code::Aborted, "another connection resumed this session"))
            }
        }
    }

    /// Takes what happened here; answers what is to be sent.
    fn on_event(&mut self, event: Event) -> Vec<Up> {
        let messages = match event {
            Event::Said(Word::Progress { lease_token, draft }) => self.book.progress(&lease_token, draft),
            Event::Said(Word::Await { approval_id, answer }) => vec![self.waits.enter(approval_id, answer)],
            Event::Finished(token, Some(outcome)) => self.book.finish(&token, outcome),
            Event::Finished(_, None) => Vec::new(),
            Event::ShutdownAsked => {
                self.drain(Ended::Shutdown, Some(self.settings.grace));
                vec![Up::Credit(pb::Credit { slots: 0 })]
            }
            Event::TimeUp => {
                self.time_up();
                Vec::new()
            }
        };
        self.show_held();
        messages
    }

    fn drain(&mut self, ended: Ended, within: Option<Duration>) {
        if let Phase::Serving | Phase::Draining(_) = self.phase {
            self.phase = Phase::Draining(ended);
            let alarm = within.map(|within| ambient::now() + within);
            self.running.alarm = match (self.running.alarm, alarm) {
                (Some(before), Some(now)) => Some(before.min(now)),
                (before, now) => before.or(now),
            };
            self.status.send_modify(|status| status.state = WorkerState::Draining);
        }
    }

    fn time_up(&mut self) {
        match self.phase {
            Phase::Draining(ended) => {
                tracing::warn!(steps = self.book.unfinished(), "out of time, giving steps back");
                self.book.drop_all();
                self.phase = Phase::Closing(ended);
                let alarm: Instant = ambient::now() + self.settings.abort_grace + Duration::from_secs(1);
                self.running.alarm = Some(alarm);
            }
            Phase::Closing(ended) => self.phase = Phase::Over(ended),
            Phase::Serving | Phase::Over(_) => {}
        }
    }

    fn is_finished(&self) -> bool {
        match self.phase {
            Phase::Serving => false,
            Phase::Draining(_) | Phase::Closing(_) => self.book.is_empty() && self.running.is_empty(),
            Phase::Over(_) => true,
        }
    }

    /// Lets errors pass that trying again may mend.
    fn judge(&self, error: &Error) -> Result<(), Error> {
        let lasting = matches!(
            error.code,
            Code::Unauthenticated
                | Code::PermissionDenied
                | Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::DataLoss
        );
        let expired = error.is(Reason::SessionExpired);
        if error.origin != Origin::Transport && lasting && !expired {
            return Err(error.clone());
        }
        Ok(())
    }

    fn show(&self, state: WorkerState) {
        self.status.send_modify(|status| {
            status.state = match (state, self.phase) {
                (WorkerState::Connected, Phase::Serving) => WorkerState::Connected,
                (WorkerState::Connected, _) => WorkerState::Draining,
                (state, _) => state,
            };
        });
    }

    fn show_held(&self) {
        let held = self.book.unfinished();
        self.status.send_if_modified(|status| {
            let changed = status.held != held;
            status.held = held;
            changed
        });
    }
}

impl Phase {
    fn ended(self) -> Ended {
        match self {
            Self::Draining(ended) | Self::Closing(ended) | Self::Over(ended) => ended,
            Self::Serving => Ended::Shutdown,
        }
    }
}
