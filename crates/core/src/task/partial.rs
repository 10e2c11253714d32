//! Partial output: text that an attempt shows while it is at work.
//!
//! Each piece names the bytes before it, so that a piece that is sent again adds
//! nothing and one that was lost is missed.

use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// A piece of an attempt's partial output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Bytes before it.
    pub offset: u64,
    pub text: String,
}

impl Partial {
    /// Bytes of one recorded piece, at most; the contract's limit of one message.
    pub const PIECE_MAX: usize = 4_096;
    /// Bytes of one attempt, at most.
    pub const ATTEMPT_MAX: u64 = 1 << 20;

    fn end(&self) -> u64 {
        self.offset.saturating_add(self.text.len() as u64)
    }

    /// Takes the next piece in, if it follows this one and both are short enough.
    pub fn join(&mut self, next: &Self) -> bool {
        let joins = self.end() == next.offset && self.text.len() + next.text.len() <= Self::PIECE_MAX;
        if joins {
            self.text.push_str(&next.text);
        }
        joins
    }

    /// What of it is new after `known` bytes.
    pub fn after(self, known: u64) -> Result<Option<Self>, Refusal> {
        if self.offset > known {
            return Err(Refusal::PartialOutputGap { offset: self.offset, known });
        }
        if self.end() > Self::ATTEMPT_MAX {
            return Err(Refusal::PartialOutputTooLong);
        }
        if self.end() <= known {
            return Ok(None);
        }
        match self.text.get((known - self.offset) as usize..) {
            Some(rest) => Ok(Some(Self { offset: known, text: rest.to_owned() })),
            // Whoever says the same again breaks no character in two.
            None => Err(Refusal::PartialOutputGap { offset: self.offset, known }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, text: &str) -> Partial {
        Partial { offset, text: text.to_owned() }
    }

    #[test]
    fn only_what_is_new_is_taken() {
        assert_eq!(piece(0, "abc").after(0), Ok(Some(piece(0, "abc"))));
        assert_eq!(piece(0, "abc").after(2), Ok(Some(piece(2, "c"))));
        assert_eq!(piece(0, "abc").after(3), Ok(None));
        assert_eq!(piece(1, "abc").after(9), Ok(None));
        let gap = Refusal::PartialOutputGap { offset: 4, known: 3 };
        assert_eq!(piece(4, "e").after(3), Err(gap));
        let within = Refusal::PartialOutputGap { offset: 0, known: 1 };
        assert_eq!(piece(0, "é!").after(1), Err(within));
    }

    #[test]
    fn an_attempt_shows_so_much_and_no_more() {
        let last = Partial::ATTEMPT_MAX - 1;
        assert!(piece(last, "a").after(last).is_ok());
        assert_eq!(piece(last, "ab").after(last), Err(Refusal::PartialOutputTooLong));
        assert!(piece(u64::MAX, "ab").after(u64::MAX).is_err());
    }

    #[test]
    fn pieces_join_where_one_follows_the_other_and_fit() {
        let mut first = piece(2, "ab");
        assert!(!first.join(&piece(3, "c")) && !first.join(&piece(5, "c")));
        assert!(first.join(&piece(4, "cd")));
        assert_eq!(first, piece(2, "abcd"));
        assert!(!first.join(&piece(6, &"x".repeat(Partial::PIECE_MAX - 3))));
        assert!(first.join(&piece(6, &"x".repeat(Partial::PIECE_MAX - 4))));
    }
}
