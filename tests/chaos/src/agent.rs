//! Agents that speak the session protocol by hand: they finish, fail, refuse and
//! report, fall silent, vanish, come back to another replica, and say what no
//! longer counts.
//!
//! Every word carries its token and number in its content, so the log itself
//! tells which word it took.

use quarterdeck_client::Payload;
use quarterdeck_client::api::orchestration::v1::session_request::Message as Up;
use quarterdeck_client::api::orchestration::v1::session_response::Message as Down;
use quarterdeck_client::api::orchestration::v1::{
    Assign, Bye, Complete, Fail, GoAwayCause, Hello, Ping, Progress, Refuse, Reject,
};
use quarterdeck_sim::agent::hands::Hands;
use quarterdeck_sim::agent::{mark, piece};
use quarterdeck_sim::dice::Dice;
use quarterdeck_sim::history::{Fact, Word};
use quarterdeck_sim::workload::CAPABILITIES;
use tokio::time::{sleep, sleep_until};

use crate::line::{Broken, Line};
use crate::wire::duration;
use crate::world::World;

/// Without a message for this long, in microseconds, an agent tries another
/// replica: early enough to find its session alive.
const SILENCE: i64 = 1_100_000;
const PING: i64 = 300_000;

/// Why a connection is over.
enum Over {
    /// The session goes on elsewhere.
    Moved,
    /// The session is over, or the agent has forgotten it.
    Forgotten,
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
    mute: bool,
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
            dice,
            session: String::new(),
            resume_token: String::new(),
            mute: false,
        }
    }

    /// Works for ever.
    pub async fn live(mut self) {
        loop {
            let replica = self.dice.below(self.world.replicas());
            let over = match Line::open(&self.world, replica, self.hello()).await {
                Ok(line) => self.serve(replica, line).await,
                Err(broken) => self.broken(broken),
            };
            let longest = if self.world.healed() { 200 } else { 1_000 };
            let pause = match over {
                Over::Moved if !self.world.healed() && self.dice.chance(0.1) => 3_000,
                Over::Moved => self.dice.between(0, 100),
                Over::Forgotten => {
                    self.forget();
                    self.dice.between(0, longest)
                }
            };
            sleep(self.dice.millis(pause, pause).as_std()).await;
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            agent: format!("agent-{}", self.index),
            capabilities: self.capabilities.clone(),
            slots: i32::try_from(self.slots).unwrap_or_default(),
            resume_token: self.resume_token.clone(),
            held_leases: self.hands.held(),
            ..Hello::default()
        }
    }

    fn left(&self, why: &str) {
        self.world.record.add(Fact::Left { agent: self.index, why: why.to_owned() });
    }

    fn broken(&self, broken: Broken) -> Over {
        match broken {
            Broken::Expired => {
                self.left("its session has expired");
                Over::Forgotten
            }
            Broken::Gone(why) => {
                self.left(&why);
                Over::Moved
            }
            Broken::Defect(why) => {
                self.left(&format!("defect: {why}"));
                Over::Moved
            }
        }
    }

    /// The session is over; some of its words may still be said.
    fn forget(&mut self) {
        self.resume_token.clear();
        self.hands.forget(self.world.record.now(), self.world.healed());
    }

    async fn serve(&mut self, replica: usize, mut line: Line) -> Over {
        let mut heard = self.world.record.now();
        let mut ping_at = heard;
        let mut leave_at = heard + self.dice.between(300_000, 12_000_000);
        self.mute = false;
        // Which session this is, the welcome says: nothing is said before.
        self.session.clear();
        loop {
            let silence = if self.mute { i64::MAX } else { heard + SILENCE };
            let next = self.next_due().min(silence).min(ping_at).min(leave_at);
            let message = tokio::select! {
                biased;
                message = line.hear() => Some(message),
                () = sleep_until(self.world.record.moment(next)) => None,
            };
            let now = self.world.record.now();
            match message {
                Some(Ok(message)) => {
                    heard = now;
                    if let Some(over) = self.take(replica, message, &line) {
                        return over;
                    }
                }
                Some(Err(broken)) => return self.broken(broken),
                None => {}
            }
            if !self.mute && now >= heard + SILENCE {
                self.left("heard nothing");
                return Over::Moved;
            }
            if now >= leave_at {
                leave_at = now + 12_000_000;
                if let Some(over) = self.leave(&line) {
                    return over;
                }
            }
            if now >= ping_at {
                ping_at = now + PING;
                if !self.mute && !line.say(Up::Ping(Ping {})) {
                    return Over::Moved;
                }
                heard = if self.mute { now } else { heard };
            }
            if !self.mute && !self.session.is_empty() && !self.work(now, &line) {
                return Over::Moved;
            }
        }
    }

    fn next_due(&self) -> i64 {
        let can_speak = !self.mute && !self.session.is_empty();
        let next = self.hands.next_at().filter(|_| can_speak).unwrap_or(i64::MAX);
        // Healed, agents look at their silent work too.
        next.min(self.world.record.now() + 500_000)
    }

    /// Ends the connection by itself, in one way or another.
    fn leave(&mut self, line: &Line) -> Option<Over> {
        if self.world.healed() {
            return None;
        }
        match self.dice.below(8) {
            0..4 => {
                self.left("moves");
                Some(Over::Moved)
            }
            4..6 => {
                self.left("vanishes");
                Some(Over::Forgotten)
            }
            6 => {
                self.left("falls silent");
                self.mute = true;
                None
            }
            _ => {
                self.left("says goodbye");
                line.say(Up::Bye(Bye {}));
                Some(Over::Forgotten)
            }
        }
    }

    /// Takes a message; says whether the connection is over.
    fn take(&mut self, replica: usize, message: Down, line: &Line) -> Option<Over> {
        let agent = self.index;
        match message {
            Down::Welcome(welcome) => {
                self.session = welcome.session_id.clone();
                self.resume_token = welcome.resume_token;
                let (session, resumed, slots) = (welcome.session_id, welcome.resumed, self.slots);
                self.world.record.add(Fact::Welcomed { agent, replica, session, resumed, slots });
                return (!self.say_again(line)).then_some(Over::Moved);
            }
            Down::Assign(assign) => return self.assigned(assign, line),
            Down::Ack(ack) => {
                let (token, up_to) = (ack.lease_token, ack.up_to);
                self.world.record.add(Fact::Acked { agent, token: token.clone(), up_to });
                self.hands.acked(&token, up_to, self.world.record.now(), self.world.healed());
            }
            Down::Reject(Reject { lease_token: token, number, reason, message }) => {
                let stale = reason == "LEASE_STALE";
                let why = format!("{reason}: {message}");
                self.world.record.add(Fact::Rejected { agent, token: token.clone(), number, stale, why });
                self.hands.rejected(&token);
            }
            Down::Revoke(revoke) => {
                let why = revoke.cause().as_str_name().to_owned();
                let token = revoke.lease_token;
                self.world.record.add(Fact::Revoked { agent, token: token.clone(), why });
                self.hands.revoked(&token, self.world.record.now(), self.world.healed());
            }
            // It asks for nothing in mid-step.
            Down::Pong(_) | Down::ApprovalDecided(_) => {}
            Down::GoAway(away) if away.cause() == GoAwayCause::Drain => {}
            Down::GoAway(_) => return Some(Over::Moved),
        }
        None
    }

    fn assigned(&mut self, assign: Assign, line: &Line) -> Option<Over> {
        let token = assign.lease_token;
        self.world.record.add(Fact::Assigned {
            agent: self.index,
            session: self.session.clone(),
            token: token.clone(),
            task: assign.task_id,
            step: assign.step_key,
            attempt: u32::try_from(assign.attempt).unwrap_or_default(),
            outputs: None,
        });
        let taken = self.hands.take(&token, self.world.record.now(), self.world.healed());
        (!taken && !self.say_again(line)).then_some(Over::Moved)
    }

    /// Says what is due. False when the connection is.
    fn work(&mut self, now: i64, line: &Line) -> bool {
        let words = self.hands.due(now, self.world.healed());
        words.into_iter().all(|(token, number, word)| self.say(&token, number, word, line))
    }

    /// Says again whatever was not acknowledged.
    fn say_again(&self, line: &Line) -> bool {
        let words = self.hands.unacked();
        words.into_iter().all(|(token, number, word)| self.say(&token, number, word, line))
    }

    fn say(&self, token: &str, number: i64, word: Word, line: &Line) -> bool {
        let (agent, session) = (self.index, self.session.clone());
        self.world.record.add(Fact::Said { agent, session, token: token.to_owned(), number, word });
        line.say(self.up(token, number, word))
    }

    fn up(&self, token: &str, number: i64, word: Word) -> Up {
        let (lease_token, mark) = (token.to_owned(), mark(token, number));
        match word {
            Word::Progress => {
                let checkpoint = self.dice.chance(0.3).then(|| {
                    let size = if self.dice.chance(0.2) { 5_000 } else { 10 };
                    Payload::text("c".repeat(size)).into_proto()
                });
                let shown = piece(number);
                Up::Progress(Progress {
                    lease_token,
                    number,
                    fraction: 0.5,
                    message: mark,
                    checkpoint,
                    partial_output: shown.text,
                    partial_offset: shown.offset.try_into().unwrap_or(i64::MAX),
                })
            }
            Word::Complete => {
                let output = Some(Payload::bytes("text/plain", mark).into_proto());
                Up::Complete(Complete { lease_token, number, output })
            }
            Word::Fail => Up::Fail(Fail {
                lease_token,
                number,
                reason: "FLAKY".to_owned(),
                message: mark,
                not_retryable: self.dice.chance(0.1),
                retry_after: self.dice.chance(0.2).then(|| duration(self.dice.millis(10, 800))),
            }),
            Word::Refuse => Up::Refuse(Refuse { lease_token, number, message: mark }),
        }
    }
}
