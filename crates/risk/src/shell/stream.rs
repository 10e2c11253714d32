//! Text that flows between commands, as far as it is known.

use crate::work;

/// Stands for a part of a text that is not known. A private-use character, so that words
/// stay plain strings; a text that brings its own is no better known than one of ours.
pub const UNKNOWN: char = '\u{F8FF}';

/// Stands behind [`UNKNOWN`] where what is not known is a secret of the environment.
pub const SECRET: char = '\u{F8FE}';

/// Longest text that is carried along; a longer one is not known.
pub const CARRY_MAX: usize = 64 * 1024;

/// Whether every part of the text is known.
pub fn known(text: &str) -> bool {
    !text.contains(UNKNOWN)
}

/// The value of a variable that holds a secret.
pub fn secret() -> String {
    [UNKNOWN, SECRET].iter().collect()
}

/// The text with a letter for each part that is not known.
pub fn guessed(text: &str) -> String {
    text.replace(UNKNOWN, "x").replace(SECRET, "")
}

/// Whether nothing at all is known of the text.
pub fn blank(text: &str) -> bool {
    text.chars().all(|c| c == UNKNOWN || c == SECRET)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Local,
    /// Came over the network: nobody reviewed it.
    Remote,
}

/// What a command writes, or reads.
#[derive(Debug, PartialEq, Eq)]
pub struct Stream {
    pub text: String,
    pub origin: Origin,
    /// The very bytes; otherwise names and patterns that stand for more of their kind.
    pub exact: bool,
    /// Nobody attached anything.
    pub absent: bool,
}

impl Clone for Stream {
    /// Long texts that are copied again and again are work as well.
    fn clone(&self) -> Self {
        work::spend(self.text.len());
        Self { text: self.text.clone(), ..*self }
    }
}

impl Stream {
    pub fn none() -> Self {
        Self { text: String::new(), origin: Origin::Local, exact: true, absent: true }
    }

    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        if !work::spend(text.len()) || text.len() > CARRY_MAX {
            return Self::unknown(Origin::Local);
        }
        Self { text, origin: Origin::Local, exact: true, absent: false }
    }

    pub fn unknown(origin: Origin) -> Self {
        Self { text: UNKNOWN.to_string(), origin, exact: false, absent: false }
    }

    /// All variables with their values.
    pub fn secrets() -> Self {
        Self { text: secret(), ..Self::unknown(Origin::Local) }
    }

    pub fn tells(&self) -> bool {
        self.text.contains(SECRET)
    }

    /// The same text, or not: which of it is printed is not known.
    pub fn vague(&self) -> Self {
        if self.tells() { Self { origin: self.origin, ..Self::secrets() } } else { self.blurred() }
    }

    /// Names of files, as patterns, a line each.
    pub fn names(names: &[String]) -> Self {
        Self { exact: false, ..Self::text(names.join("\n")) }
    }

    pub fn is_known(&self) -> bool {
        self.exact && known(&self.text)
    }

    /// The same text after something unknown was done to it.
    pub fn blurred(&self) -> Self {
        Self::unknown(self.origin)
    }

    /// What two commands write, one after the other.
    pub fn then(mut self, other: &Self) -> Self {
        if other.absent || self.text.len() + other.text.len() > CARRY_MAX {
            let tells = !other.absent && (self.tells() || other.tells());
            let origin = self.origin.max(other.origin);
            return match (other.absent, tells) {
                (true, _) => self,
                (_, true) => Self { origin, ..Self::secrets() },
                _ => Self::unknown(origin),
            };
        }
        work::spend(other.text.len());
        self.text.push_str(&other.text);
        self.origin = self.origin.max(other.origin);
        self.exact &= other.exact;
        self.absent = false;
        self
    }
}
