//! What agents say of their work, and what they ask about it.

use futures::future::BoxFuture;
use quarterdeck_core::payload::Body;
use quarterdeck_core::task::{Partial, Report};
use quarterdeck_core::{Payload, Refusal};
use quarterdeck_engine::session::{Assignment, Up};
use quarterdeck_engine::{Engine, Error};

use super::Agent;
use crate::history::{Fact, Output, Told, Word};
use crate::workload::LARGE;
use crate::world::{self, Connection};

impl Agent {
    /// Asks for an output that the assignment brought, perhaps a little later.
    pub(super) fn look(&self, assignment: &Assignment) {
        let Some((step, _)) = assignment.dependencies.get(self.dice.below(assignment.dependencies.len()))
        else {
            return;
        };
        if !self.dice.chance(0.3) {
            return;
        }
        let (world, dice, agent) = (self.world.clone(), self.dice.fork(), self.index);
        let (token, task, step) = (assignment.token.clone(), assignment.task.to_string(), step.clone());
        let asking = async move {
            world.executor.sleep(dice.millis(0, 500)).await;
            let (asked, replica) = (world.executor.now(), dice.below(world.replicas()));
            let (lease, key) = (token.clone(), step.clone());
            let ask = move |engine: Engine, _| -> BoxFuture<'static, _> {
                Box::pin(async move { engine.dependency_output(&world::agent(), &lease, &key).await })
            };
            let told = match world.call(replica, &dice, ask).await {
                Some(Ok(output)) => Told::Output(shown(&output)),
                Some(Err(Error::Refused(Refusal::LeaseStale))) => Told::Stale,
                Some(Err(error)) if !crate::client::transient(&error) => Told::Defect(format!("{error:?}")),
                Some(Err(error)) => Told::Failed(error.to_string()),
                None => Told::Failed("silence".to_owned()),
            };
            world.history.record(Fact::Looked { agent, token, task, step, asked, told });
        };
        self.world.executor.spawn(self.world.people, Box::pin(asking));
    }

    /// Says what is due. False when the connection is.
    pub(super) fn work(&mut self, now: i64, connection: &Connection) -> bool {
        let words = self.hands.due(now, self.world.healed());
        let said = words.into_iter().all(|(token, number, word)| self.say(&token, number, word, connection));
        let mut wishes = self.desk.take(now).into_iter();
        said && wishes.all(|id| connection.up.try_send(Up::AwaitApproval(id)).is_ok())
    }

    /// Says again whatever was not acknowledged.
    pub(super) fn say_again(&self, connection: &Connection) -> bool {
        let words = self.hands.unacked();
        words.into_iter().all(|(token, number, word)| self.say(&token, number, word, connection))
    }

    fn say(&self, token: &str, number: i64, word: Word, connection: &Connection) -> bool {
        let (agent, session) = (self.index, self.session.clone());
        self.world.history.record(Fact::Said { agent, session, token: token.to_owned(), number, word });
        connection.up.try_send(self.up(token.to_owned(), number, word)).is_ok()
    }

    fn up(&self, token: String, number: i64, word: Word) -> Up {
        let mark = mark(&token, number);
        match word {
            Word::Progress => {
                let checkpoint = self.dice.chance(0.3).then(|| {
                    let size = if self.dice.chance(0.2) { 5_000 } else { 10 };
                    Payload::new("text/plain", "c".repeat(size).into())
                });
                let partial = Some(piece(number));
                Up::Progress {
                    token,
                    number,
                    report: Report { fraction: 0.5, message: mark, checkpoint, partial },
                }
            }
            Word::Complete => {
                // Some are too large for an event; the same word is always the same.
                let large = mark.bytes().map(usize::from).sum::<usize>().is_multiple_of(8);
                let more = if large { " ".repeat(LARGE) } else { String::new() };
                let output = Some(Payload::new("text/plain", (mark + &more).into()));
                Up::Complete { token, number, output }
            }
            Word::Fail => Up::Fail {
                token,
                number,
                reason: "flaky".to_owned(),
                message: mark,
                not_retryable: self.dice.chance(0.1),
                retry_after: self.dice.chance(0.2).then(|| self.dice.millis(10, 800)),
            },
            Word::Refuse => Up::Refuse { token, number, message: mark },
        }
    }
}

/// What an attempt has shown after so many words: each adds its number.
pub fn shown_by(number: i64) -> String {
    (1..=number).map(|number| format!("{number};")).collect()
}

/// What this word adds to it.
pub fn piece(number: i64) -> Partial {
    Partial { offset: shown_by(number - 1).len() as u64, text: format!("{number};") }
}

/// What a word's content says of it.
pub fn mark(token: &str, number: i64) -> String {
    format!("{token}#{number}")
}

/// The token and the number in a word's content.
pub fn read_mark(text: &str) -> Option<(&str, i64)> {
    let (token, number) = text.trim_end().split_once('#')?;
    Some((token, number.parse().ok()?))
}

/// What an agent sees of an output.
pub(super) fn shown(output: &Option<Payload>) -> Output {
    match output.as_ref().map(|payload| (&payload.body, payload.digest())) {
        None => Output::Nothing,
        Some((Body::Stored { .. }, _)) => Output::Elsewhere,
        Some((_, digest)) => Output::Content(digest.to_string()),
    }
}
