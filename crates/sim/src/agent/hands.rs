//! What an agent has in its hands, and which words it says of it next. Agents here and
//! those of the chaos tests have the same; how words travel is their own.

use std::collections::BTreeMap;

use crate::dice::Dice;
use crate::history::Word;

/// A word to be said: token, number, kind.
pub type Saying = (String, i64, Word);

/// A step in the agent's hands.
struct Work {
    /// Of the last word.
    number: i64,
    next_at: i64,
    /// Words on progress before the last word.
    progress: u32,
    /// `None` for work that never ends by itself.
    ending: Option<Word>,
    unacked: Vec<(i64, Word)>,
    finished: bool,
}

/// A word to be said though it should not count, or counts already.
struct Echo {
    at: i64,
    token: String,
    number: i64,
}

/// Steps by their tokens. Times are in microseconds; `healed` agents say nothing
/// that should not count, and end all that they have.
pub struct Hands {
    dice: Dice,
    works: BTreeMap<String, Work>,
    echoes: Vec<Echo>,
}

impl Hands {
    pub fn new(dice: Dice) -> Self {
        Self { dice, works: BTreeMap::new(), echoes: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.works.is_empty()
    }

    /// Tokens of what it is still at work on.
    pub fn held(&self) -> Vec<String> {
        self.works.iter().filter(|(_, work)| !work.finished).map(|(token, _)| token.clone()).collect()
    }

    /// Takes a step; false where it has it already.
    pub fn take(&mut self, token: &str, now: i64, healed: bool) -> bool {
        if self.works.contains_key(token) {
            return false;
        }
        let ending = match self.dice.below(100) {
            _ if healed => Some(Word::Complete),
            0..72 => Some(Word::Complete),
            72..84 => Some(Word::Fail),
            84..92 => Some(Word::Refuse),
            _ => None,
        };
        let work = Work {
            number: 0,
            next_at: now + self.dice.between(0, 400_000),
            progress: if self.dice.chance(0.3) { self.dice.between(1, 4) as u32 } else { 0 },
            ending,
            unacked: Vec::new(),
            finished: false,
        };
        self.works.insert(token.to_owned(), work);
        true
    }

    /// When something is to be said next.
    pub fn next_at(&self) -> Option<i64> {
        let works = self.works.values().filter(|work| !work.finished).map(|work| work.next_at);
        works.chain(self.echoes.iter().map(|echo| echo.at)).min()
    }

    /// Says what is due; some of it twice.
    pub fn due(&mut self, now: i64, healed: bool) -> Vec<Saying> {
        let mut words = Vec::new();
        for (token, work) in self.works.iter_mut().filter(|(_, work)| !work.finished) {
            if healed && work.ending.is_none() {
                (work.ending, work.next_at) = (Some(Word::Complete), now);
            }
            if work.next_at > now {
                continue;
            }
            let word = match (work.progress, work.ending) {
                (0, None) => {
                    work.next_at = i64::MAX;
                    continue;
                }
                (0, Some(ending)) => ending,
                _ => Word::Progress,
            };
            work.progress = work.progress.saturating_sub(1);
            work.next_at = now + self.dice.between(10_000, 600_000);
            work.number += 1;
            work.finished = word != Word::Progress;
            work.unacked.push((work.number, word));
            words.push((token.clone(), work.number, word));
        }
        let echoes = self.echoes.extract_if(.., |echo| echo.at <= now);
        words.extend(echoes.map(|echo| (echo.token, echo.number, Word::Complete)));
        let twice = |word: Saying| if self.dice.chance(0.03) { vec![word.clone(), word] } else { vec![word] };
        words.into_iter().flat_map(twice).collect()
    }

    /// What was said and not acknowledged, in its order.
    pub fn unacked(&self) -> Vec<Saying> {
        let words = |(token, work): (&String, &Work)| -> Vec<Saying> {
            work.unacked.iter().map(|&(number, word)| (token.clone(), number, word)).collect()
        };
        self.works.iter().flat_map(words).collect()
    }

    /// Everything of a step up to this number is recorded.
    pub fn acked(&mut self, token: &str, up_to: i64, now: i64, healed: bool) {
        let Some(work) = self.works.get_mut(token) else { return };
        work.unacked.retain(|(number, _)| *number > up_to);
        let number = work.number;
        if work.finished && work.unacked.is_empty() {
            self.works.remove(token);
            self.echo(token, number, 0.05, now, healed);
            self.echo(token, number + 1, 0.05, now, healed);
        }
    }

    /// A word of the step was refused.
    pub fn rejected(&mut self, token: &str) {
        self.works.remove(token);
    }

    /// The step was taken away.
    pub fn revoked(&mut self, token: &str, now: i64, healed: bool) {
        if let Some(work) = self.works.remove(token) {
            self.echo(token, work.number + 1, 0.4, now, healed);
        }
    }

    /// The session is over; some of its words may still be said.
    pub fn forget(&mut self, now: i64, healed: bool) {
        for (token, work) in std::mem::take(&mut self.works) {
            self.echo(&token, work.number + 1, 0.3, now, healed);
        }
    }

    /// Says a completion a little later, perhaps, though it should not count.
    fn echo(&mut self, token: &str, number: i64, odds: f64, now: i64, healed: bool) {
        if self.dice.chance(odds) && !healed {
            let at = now + self.dice.between(0, 1_500_000);
            self.echoes.push(Echo { at, token: token.to_owned(), number });
        }
    }
}
