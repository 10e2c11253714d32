//! Agents: they finish, fail, refuse and report, fall silent, vanish, come back
//! to another replica, and say what no longer counts.
//!
//! Every word carries its token and number in its content, so the log itself
//! tells which word it took.

mod asks;
pub mod hands;
mod words;

use quarterdeck_engine::Error;
use quarterdeck_engine::session::{Assignment, Down, GoAwayCause, Hello, RejectReason, Up};

use self::asks::Desk;
use self::hands::Hands;
use self::words::shown;
use crate::dice::Dice;
use crate::history::Fact;
use crate::workload::CAPABILITIES;
use crate::world::{self, Connection, World};

pub use self::words::{mark, piece, read_mark, shown_by};

/// Without a message for this long, in microseconds, an agent tries another replica.
const SILENCE: i64 = 2_500_000;
const PING: i64 = 400_000;
/// An agent that is to finish does not wait for its work longer than this.
const FINISHING: i64 = 3_000_000;

/// Why a connection is over.
enum Over {
    /// The session goes on elsewhere.
    Moved,
    /// The session is over, or the agent has forgotten it.
    Forgotten,
}

/// How an agent ends a connection by itself.
#[derive(Clone, Copy)]
enum Leave {
    Reconnect,
    Vanish,
    /// Stays connected and says nothing.
    Mute,
    Bye,
}

pub struct Agent {
    world: World,
    index: usize,
    dice: Dice,
    capabilities: Vec<String>,
    slots: u32,
    session: String,
    resume_token: String,
    hands: Hands,
    desk: Desk,
    /// The lease before the newest.
    token_before: String,
    mute: bool,
    /// The welcome says which session this is: nothing is said before.
    welcome: bool,
    /// When an agent that was asked to finish says goodbye at the latest.
    finish_by: Option<i64>,
}

impl Agent {
    pub fn new(world: World, index: usize, dice: Dice) -> Self {
        // The first agents can do everything, so that nothing waits for ever.
        let able = |place: &usize| index < 2 || place % CAPABILITIES.len() == index % CAPABILITIES.len();
        let capabilities = (0..CAPABILITIES.len()).filter(able).map(|place| CAPABILITIES[place].to_owned());
        Self {
            capabilities: capabilities.collect(),
            slots: dice.between(1, 6) as u32,
            world,
            index,
            hands: Hands::new(dice.clone()),
            desk: Desk::default(),
            token_before: String::new(),
            dice,
            session: String::new(),
            resume_token: String::new(),
            mute: false,
            welcome: false,
            finish_by: None,
        }
    }

    pub fn send_off(self) {
        let (executor, group) = (self.world.executor.clone(), self.world.people);
        executor.spawn(group, Box::pin(self.live()));
    }

    async fn live(mut self) {
        loop {
            let replica = self.dice.below(self.world.replicas());
            let session = (!self.resume_token.is_empty()).then(|| self.session.clone());
            self.world.history.record(Fact::Connecting { agent: self.index, replica, session });
            let hello = Hello {
                agent: world::agent_name(self.index),
                capabilities: self.capabilities.clone(),
                slots: self.slots,
                resume_token: self.resume_token.clone(),
                held: self.hands.held(),
                ..Hello::default()
            };
            let over = match self.world.connect(replica, &self.dice, hello).await {
                Some(Ok(connection)) => {
                    let over = self.serve(replica, connection).await;
                    self.desk.leave();
                    over
                }
                Some(Err(Error::SessionExpired)) => {
                    self.left("its session has expired");
                    Over::Forgotten
                }
                Some(Err(error)) if !crate::client::transient(&error) => {
                    self.left(&format!("defect: {error:?}"));
                    Over::Moved
                }
                _ => Over::Moved,
            };
            let longest = if self.world.healed() { 300 } else { 2_000 };
            let pause = match over {
                Over::Moved if !self.world.healed() && self.dice.chance(0.1) => 5_000,
                Over::Moved => self.dice.between(0, 300),
                Over::Forgotten => {
                    self.forget();
                    self.dice.between(0, longest)
                }
            };
            self.world.executor.sleep(self.dice.millis(pause, pause)).await;
        }
    }

    fn left(&self, why: &str) {
        self.world.history.record(Fact::Left { agent: self.index, why: why.to_owned() });
    }

    /// The session is over; some of its words may still be said.
    fn forget(&mut self) {
        self.resume_token.clear();
        self.session.clear();
        self.hands.forget(self.world.executor.now(), self.world.healed());
    }

    async fn serve(&mut self, replica: usize, mut connection: Connection) -> Over {
        let mut heard = self.world.executor.now();
        let mut ping_at = heard;
        let mut leave_at = heard + self.dice.between(300_000, 9_000_000);
        (self.mute, self.finish_by, self.welcome) = (false, None, false);
        loop {
            let silence = if self.mute { i64::MAX } else { heard + SILENCE };
            let next = self.next_due().min(silence).min(ping_at).min(leave_at);
            let message = tokio::select! {
                biased;
                message = connection.down.recv() => Some(message),
                () = self.world.executor.sleep_until(next) => None,
            };
            let now = self.world.executor.now();
            if let Some(message) = message {
                heard = now;
                let Some(message) = message else {
                    return Over::Moved;
                };
                if let Some(over) = self.take(replica, message, &connection) {
                    return over;
                }
                continue;
            }
            if now >= silence {
                self.left("heard nothing");
                return Over::Moved;
            }
            if now >= leave_at {
                leave_at = now + 9_000_000;
                if let Some(over) = self.leave(&connection) {
                    return over;
                }
            }
            if now >= ping_at {
                ping_at = now + PING;
                if !self.mute && connection.up.try_send(Up::Ping).is_err() {
                    return Over::Moved;
                }
                heard = if self.mute { now } else { heard };
            }
            if !self.mute && self.welcome && !self.work(now, &connection) {
                return Over::Moved;
            }
            self.finish(now, &connection);
        }
    }

    fn next_due(&self) -> i64 {
        let next = self.hands.next_at().filter(|_| !self.mute && self.welcome).unwrap_or(i64::MAX);
        // Healed, agents look at their silent work too.
        next.min(self.world.executor.now() + 500_000)
    }

    /// Says goodbye, once it was asked to finish and has.
    fn finish(&mut self, now: i64, connection: &Connection) {
        if self.finish_by.is_some_and(|by| self.hands.is_empty() || by <= now) {
            self.finish_by = None;
            self.left("has finished");
            let _ = connection.up.try_send(Up::Bye);
        }
    }

    fn leave(&mut self, connection: &Connection) -> Option<Over> {
        if self.world.healed() {
            return None;
        }
        let how = [
            Leave::Reconnect,
            Leave::Reconnect,
            Leave::Reconnect,
            Leave::Vanish,
            Leave::Vanish,
            Leave::Mute,
            Leave::Bye,
        ][self.dice.below(7)];
        match how {
            Leave::Reconnect => {
                self.left("moves");
                Some(Over::Moved)
            }
            Leave::Vanish => {
                self.left("vanishes");
                Some(Over::Forgotten)
            }
            Leave::Mute => {
                self.left("falls silent");
                self.mute = true;
                None
            }
            Leave::Bye => {
                self.left("says goodbye");
                let _ = connection.up.try_send(Up::Bye);
                None
            }
        }
    }

    /// Takes a message; says whether the connection is over.
    fn take(&mut self, replica: usize, message: Down, connection: &Connection) -> Option<Over> {
        let agent = self.index;
        match message {
            Down::Welcome { session, resume_token, resumed, .. } => {
                self.session = session.to_string();
                self.resume_token = resume_token;
                self.welcome = true;
                let (session, slots) = (self.session.clone(), self.slots);
                self.world.history.record(Fact::Welcomed { agent, replica, session, resumed, slots });
                return (!self.say_again(connection)).then_some(Over::Moved);
            }
            Down::Assign(assignment) => return self.assigned(&assignment, connection),
            Down::Ack { token, up_to } => {
                self.world.history.record(Fact::Acked { agent, token: token.clone(), up_to });
                self.hands.acked(&token, up_to, self.world.executor.now(), self.world.healed());
            }
            Down::Reject { token, number, reason, message } => {
                let stale = reason == RejectReason::LeaseStale;
                let why = format!("{reason:?}: {message}");
                self.world.history.record(Fact::Rejected { agent, token: token.clone(), number, stale, why });
                self.hands.rejected(&token);
            }
            Down::Revoke { token, cause } => {
                let why = format!("{cause:?}");
                self.world.history.record(Fact::Revoked { agent, token: token.clone(), why });
                self.hands.revoked(&token, self.world.executor.now(), self.world.healed());
            }
            Down::ApprovalDecided { id, approval } => self.told(id, approval),
            Down::Pong => {}
            Down::GoAway { cause, .. } => {
                self.world.history.record(Fact::Away { agent, cause: format!("{cause:?}") });
                match cause {
                    GoAwayCause::Drain => self.finish_by = Some(self.world.executor.now() + FINISHING),
                    // Some finish first what they hold, or until they are cut off.
                    GoAwayCause::Rotate if self.dice.chance(0.5) => {}
                    GoAwayCause::Rotate | GoAwayCause::Replaced => return Some(Over::Moved),
                }
            }
            Down::Over(error) => {
                self.left(&format!("over: {error}"));
                return Some(Over::Forgotten);
            }
        }
        None
    }

    fn assigned(&mut self, assignment: &Assignment, connection: &Connection) -> Option<Over> {
        let token = assignment.token.clone();
        let outputs = assignment.dependencies.iter().map(|(step, output)| (step.clone(), shown(output)));
        self.world.history.record(Fact::Assigned {
            agent: self.index,
            session: self.session.clone(),
            token: token.clone(),
            task: assignment.task.to_string(),
            step: assignment.step_key.clone(),
            attempt: assignment.attempt,
            outputs: Some(outputs.collect()),
        });
        self.look(assignment);
        self.ask(assignment);
        let taken = self.hands.take(&token, self.world.executor.now(), self.world.healed());
        (!taken && !self.say_again(connection)).then_some(Over::Moved)
    }
}
