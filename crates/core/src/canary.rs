//! Mistakes planted on purpose, to see that the simulator finds them.
//!
//! Invariants: without the cargo feature `canary`, which only the simulator asks
//! for, [`planted`] is `false` at compile time and nothing is left of it; the
//! product's binary does not compile with the feature. With it a mistake is
//! planted in one thread at a time, and in none until [`plant`] is called.

/// Whether mistakes can be planted at all.
pub const POSSIBLE: bool = cfg!(feature = "canary");

/// A mistake that belongs into the rules or the engine itself. Those that can be
/// made beneath, in what the engine asks of its store, are the simulator's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A word counts for whatever lease its session holds on the step.
    TokenNotCompared,
    /// A word counts as often as it is said.
    NumberNotCompared,
    /// Events from a cursor on, instead of after it.
    CursorIncluded,
    /// A commit whose outcome is unknown is reported as not done.
    UnknownIsFailure,
    /// What an agent says after partial output may be recorded before it.
    PartialOvertaken,
    /// A yes counts for other bytes than those that were shown.
    DigestNotCompared,
    /// A grant can be redeemed after its time.
    GrantOutlivesItsTime,
    /// Who has a part in a request can decide on it.
    OwnVoteCounts,
    /// A grant can be redeemed under any lease.
    AnyLeaseStarts,
    /// Who waits for an approval hears of it by hints alone.
    DecisionUntold,
}

/// Whether the mistake is planted in this thread.
#[cfg(not(feature = "canary"))]
pub const fn planted(_: Mistake) -> bool {
    false
}

#[cfg(feature = "canary")]
pub use thread::{plant, planted};

#[cfg(feature = "canary")]
mod thread {
    use std::cell::Cell;

    use super::Mistake;

    thread_local! {
        static PLANTED: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    pub fn planted(mistake: Mistake) -> bool {
        PLANTED.get() == Some(mistake)
    }

    /// Plants a mistake in this thread, or none.
    pub fn plant(mistake: Option<Mistake>) {
        PLANTED.set(mistake);
    }
}
