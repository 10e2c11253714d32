//! What a failed statement means: certain or not, worth trying again or not.

use crate::error::StoreError;

/// A failed statement, classified by its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Certainly not done: never sent, or refused as a whole.
    NotDone(String),
    /// Certainly not done, and likely to be done if tried again at once.
    Again(String),
    /// The answer was lost, or cannot be trusted.
    Unknown(String),
    /// Certainly not done: the database refuses the content. `raced`: a unique
    /// key was taken, perhaps by somebody whom the next try will see.
    Poison { why: String, raced: bool },
    /// Certainly not done: tables or columns are missing.
    Schema(String),
}

impl Failure {
    /// The same where it is not known whether it was done all the same.
    pub fn in_doubt(self) -> Self {
        match self {
            Self::NotDone(why) | Self::Again(why) | Self::Unknown(why) | Self::Schema(why) => {
                Self::Unknown(why)
            }
            Self::Poison { why, .. } => Self::Unknown(why),
        }
    }

    /// As an error of an operation that changes something.
    pub fn of_write(self) -> StoreError {
        match self {
            Self::NotDone(why) | Self::Again(why) => StoreError::Unavailable(why),
            Self::Unknown(why) => StoreError::Unknown(why),
            Self::Poison { why, .. } => StoreError::Poison(why),
            Self::Schema(why) => StoreError::Schema(unmigrated(&why)),
        }
    }

    /// As an error of an operation that only reads: it cannot have happened.
    pub fn of_read(self) -> StoreError {
        match self {
            Self::Unknown(why) => StoreError::Unavailable(why),
            other => other.of_write(),
        }
    }
}

fn unmigrated(why: &str) -> String {
    format!("the database's schema is not the one this version needs ({why}); run `quarterdeck migrate up`")
}
