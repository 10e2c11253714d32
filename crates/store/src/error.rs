//! What can go wrong below the engine, and whether it may have happened.

/// An error of the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Certainly not done: refused, or never sent.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// May have been done: the answer was lost. Submit the same commit again.
    #[error("the database's answer was lost: {0}")]
    Unknown(String),
    /// Stored data that this version cannot read.
    #[error("{table}.{column} of {id} cannot be read: {why}")]
    Corrupt { table: &'static str, column: &'static str, id: String, why: String },
    /// The schema was written by a newer version, or has yet to be migrated.
    #[error("{0}")]
    Schema(String),
    /// Certainly not done, and never will be: the database refuses this content.
    #[error("the database refuses the content: {0}")]
    Poison(String),
}

impl StoreError {
    /// True where the operation may have taken effect.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}
