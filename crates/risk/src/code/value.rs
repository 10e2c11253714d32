//! What is known of an expression without running it.

use crate::work;

/// Begins the name of what a file of the project's own holds.
pub const OWN_FILE: &str = "file:";
/// Stands for an unknown part within a text.
pub const HOLE: char = '\u{1a}';
/// Follows a [`HOLE`] that whoever asks fills.
pub const MARK: char = '\u{1c}';
/// What an unknown word of a command line becomes: what it is to the shell's analyser.
pub const UNKNOWN_WORD: &str = "\u{F8FF}";
/// Largest and deepest value that a name keeps.
const SIZE_MAX: usize = 16 * 1024;
pub const SIZE_DEEP: u8 = 24;
/// Most ways that an expression may come out.
const EITHER_MAX: usize = 8;
/// Units of work of joining two values, or of one element.
const JOIN: usize = 100;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text, with [`HOLE`]s where it is unknown.
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
    /// A module, a function, a member of one: its full name with dots.
    Name(String),
    /// A program and its arguments, not started yet.
    Process(Vec<Value>),
    /// A fresh temporary file or directory.
    Temp,
    /// Out of the environment, where it may be secret.
    Secret,
    /// Whatever whoever asks sends.
    Foreign,
    /// A function that is written here, or a method of something plain.
    Function,
    /// Many of a kind, of which one at a time is looked at.
    Each(Box<Value>),
    Either(Vec<Value>),
    Unknown,
}

impl Value {
    /// A text that is wholly known.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.contains(HOLE) => Some(text),
            _ => None,
        }
    }

    /// The text with holes; unknown values are one hole.
    pub fn partial(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Temp => "/tmp/fresh".to_owned(),
            Self::Foreign => format!("{HOLE}{MARK}"),
            _ => HOLE.to_string(),
        }
    }

    /// Whether whoever asks decides on it, or on a part of it.
    pub fn foreign(&self) -> bool {
        match self {
            Self::Foreign => true,
            Self::Text(text) | Self::Name(text) => text.contains(MARK),
            Self::List(values) | Self::Either(values) => values.iter().any(Self::foreign),
            Self::Each(one) => one.foreign(),
            _ => false,
        }
    }

    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }

    /// The value, or nothing known where it has grown too large or too deep to be kept.
    #[must_use]
    pub fn bounded(self) -> Self {
        match self.size(SIZE_DEEP) {
            Some(size) if size <= SIZE_MAX => self,
            _ => Self::Unknown,
        }
    }

    /// Bytes of texts and count of values; `None` where it lies too deep.
    pub fn size(&self, deep: u8) -> Option<usize> {
        let deep = deep.checked_sub(1)?;
        match self {
            Self::Text(text) | Self::Name(text) => Some(text.len()),
            Self::List(values) | Self::Either(values) | Self::Process(values) => {
                values.iter().try_fold(1, |sum, value| Some(sum + value.size(deep)? + 1))
            }
            Self::Map(members) => {
                members.iter().try_fold(1, |sum, (key, value)| Some(sum + key.len() + value.size(deep)?))
            }
            Self::Each(one) => one.size(deep),
            Self::Temp | Self::Secret | Self::Function | Self::Foreign | Self::Unknown => Some(1),
        }
    }

    /// Every way it may come out.
    pub fn ways(&self) -> Vec<&Self> {
        match self {
            Self::Either(ways) => ways.iter().collect(),
            other => vec![other],
        }
    }

    /// One of two values.
    pub fn or(self, other: Self) -> Self {
        if self == other {
            return self;
        }
        let mut ways = match self {
            Self::Either(ways) => ways,
            one => vec![one],
        };
        match other {
            Self::Either(others) => ways.extend(others),
            one => ways.push(one),
        }
        // A way that is left out might be the one that does harm.
        if ways.len() > EITHER_MAX { Self::Unknown } else { Self::Either(ways) }
    }

    /// Two texts in a row, or two lists.
    pub fn joined(&self, other: &Self) -> Self {
        if !work::spend(JOIN) {
            return Self::Unknown;
        }
        match (self, other) {
            (Self::List(first), Self::List(second)) => {
                work::spend(first.len().saturating_add(second.len()) * JOIN);
                Self::List(first.iter().chain(second).cloned().collect())
            }
            (Self::Either(ways), other) => Self::each(ways, |way| way.joined(other)),
            (first, Self::Either(ways)) => Self::each(ways, |way| first.joined(way)),
            (Self::Secret, _) | (_, Self::Secret) => Self::Secret,
            (Self::Text(_) | Self::Temp, _) | (_, Self::Text(_) | Self::Temp) => {
                let text = format!("{}{}", self.partial(), other.partial());
                work::spend(text.len());
                if text.len() > SIZE_MAX { Self::Unknown } else { Self::Text(text) }
            }
            (Self::Foreign, _) | (_, Self::Foreign) => Self::Foreign,
            _ => Self::Unknown,
        }
    }

    fn each(ways: &[Self], one: impl Fn(&Self) -> Self) -> Self {
        let mut all = ways.iter().map(one);
        let first = all.next().unwrap_or(Self::Unknown);
        all.fold(first, Self::or)
    }

    /// Whether anything of the environment is in it.
    pub fn secret(&self) -> bool {
        match self {
            Self::Secret => true,
            Self::List(values) | Self::Either(values) | Self::Process(values) => {
                values.iter().any(Self::secret)
            }
            Self::Map(members) => members.iter().any(|(_, value)| value.secret()),
            _ => false,
        }
    }
}

/// A text with something in place of what is not known.
pub fn filled(text: &str, with: &str) -> String {
    text.replace(MARK, "").replace(HOLE, with)
}
