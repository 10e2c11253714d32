//! One call of a volley: its kind and its messages, drawn from the seed, the path
//! and its number.

use bytes::Bytes;

use crate::contract::Method;
use crate::damage::damaged;
use crate::dice::Dice;
use crate::make::{Maker, Mood};
use crate::raw::framed;
use crate::scene::Scene;
use crate::wire::{Field, encode};
use crate::words::Words;

/// Most bytes of large values in a message, usually and now and then.
const ROOM: usize = 200_000;
const LARGE_ROOM: usize = 4_300_000;
/// Most messages of the client in one call.
const MANY: usize = 6;

/// What is wrong with the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// One field is hostile, the others are right.
    Near,
    /// Every third field is.
    Hostile,
    /// It is written in another way than messages are.
    Damaged,
    /// Bytes.
    Noise,
    /// All names are those of another project.
    Foreign,
    /// Nothing, as far as the rules can tell.
    Right,
}

/// In this order they are fired: what is refused comes first, on things that no
/// right call has changed yet.
pub const SORTS: [Sort; 6] =
    [Sort::Near, Sort::Hostile, Sort::Damaged, Sort::Noise, Sort::Foreign, Sort::Right];

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Shot {
    pub index: usize,
    pub sort: Sort,
    /// Messages, without their prefixes.
    pub messages: Vec<Vec<u8>>,
    /// Messages before and after them that make a stream of them.
    frame: (Option<Vec<u8>>, Option<Vec<u8>>),
}

impl Shot {
    /// What the call of this number is.
    pub fn sort_of(seed: u64, path: &str, index: usize) -> Sort {
        match Dice::of(seed, path, index).below(100) {
            0..26 => Sort::Near,
            26..46 => Sort::Hostile,
            46..66 => Sort::Damaged,
            66..68 => Sort::Noise,
            68..78 => Sort::Foreign,
            _ => Sort::Right,
        }
    }

    /// The call of this number.
    pub fn new(seed: u64, method: &Method, index: usize, scene: &Scene) -> Self {
        let mut dice = Dice::of(seed, &method.path, index);
        let sort = Self::sort_of(seed, &method.path, index);
        // The draw that decided the sort.
        dice.below(100);
        Self::of_sort(sort, method, index, scene, &mut dice)
    }

    /// A call of this sort.
    pub fn of_sort(sort: Sort, method: &Method, index: usize, scene: &Scene, dice: &mut Dice) -> Self {
        let alone = !method.hears_many || dice.percent(40);
        let count = if alone { 1 } else { 1 + dice.below(MANY) };
        // Only one of several is as it says, so that it finds the others at work.
        let bad = dice.below(count);
        let messages = (0..count)
            .map(|at| one(if at == bad { sort } else { Sort::Right }, method, &scene.words, dice))
            .collect();
        let frame = match scene.frame(method) {
            Some((opening, closing)) => (dice.percent(60).then_some(opening), Some(closing)),
            None => (None, None),
        };
        Self { index, sort, messages, frame }
    }

    /// Whether it is refused only if all of it is: messages before the one that is
    /// refused may well have been taken.
    pub fn is_whole(&self) -> bool {
        self.messages.len() == 1 && self.frame.0.is_none()
    }

    /// The pieces of the request's body.
    pub fn body(&self) -> Vec<Bytes> {
        let (opening, closing) = &self.frame;
        opening.iter().chain(&self.messages).chain(closing).map(|message| framed(message)).collect()
    }

    /// For people: the messages as JSON where they can be read, else their bytes.
    pub fn told(&self, method: &Method) -> String {
        let tell = |message: &Vec<u8>| {
            let read = prost_reflect::DynamicMessage::decode(method.input.clone(), message.as_slice());
            let json = read.ok().and_then(|message| serde_json::to_string(&message).ok());
            let json = json.unwrap_or_else(|| "not readable".to_owned());
            let (hex, json): (String, String) = (hex(message), json.chars().take(1_500).collect());
            format!("  {} bytes {hex}\n    {json}", message.len())
        };
        let opened = if self.frame.0.is_some() { "after an opening that is right\n" } else { "" };
        let messages: Vec<String> = self.messages.iter().map(tell).collect();
        format!("{:?} message {opened}{}", self.sort, messages.join("\n"))
    }
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(600).map(|byte| format!("{byte:02x}"));
    let more = if bytes.len() > 600 { "..." } else { "" };
    shown.collect::<String>() + more
}

fn one(sort: Sort, method: &Method, words: &Words, dice: &mut Dice) -> Vec<u8> {
    match sort {
        Sort::Right => encode(&fields(method, words, Mood::Right, None, dice).0),
        Sort::Foreign => encode(&fields(method, words, Mood::Foreign, None, dice).0),
        Sort::Hostile => encode(&fields(method, words, Mood::Hostile, None, dice).0),
        Sort::Near => {
            // Once to count the fields, and once more with one of them spoilt.
            let (_, made) = fields(method, words, Mood::Right, None, &mut dice.clone());
            let spoil = 1 + dice.clone().below(made);
            encode(&fields(method, words, Mood::Right, Some(spoil), dice).0)
        }
        Sort::Damaged => {
            let mood = if dice.percent(70) { Mood::Right } else { Mood::Hostile };
            let (fields, _) = fields(method, words, mood, None, dice);
            damaged(fields, dice)
        }
        Sort::Noise => {
            let length = *dice.pick(&[0, 1, 2, 10, 100, 3_000]);
            dice.bytes(length)
        }
    }
}

fn fields(
    method: &Method,
    words: &Words,
    mood: Mood,
    spoil: Option<usize>,
    dice: &mut Dice,
) -> (Vec<Field>, usize) {
    let room = if dice.below(400) == 0 { LARGE_ROOM } else { ROOM };
    let mut maker = Maker { dice, words, mood, spoil, made: 0, room, only: None };
    let fields = maker.message(&method.input, 0);
    (fields, maker.made)
}
