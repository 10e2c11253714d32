//! How much is looked at before an action counts as uninspectable.
//!
//! Analysers call each other (a shell's inline code, a program's shell), so one meter runs
//! through all of them: it begins with the outermost analyser of this thread and ends with
//! it. It counts units of work, not time, so that the same text always gets the same answer.
//!
//! Invariant: whoever stops early because the meter is empty leaves the gap of [`close`].

use std::cell::Cell;

use crate::model::{Found, Unresolved};

/// Units for one action, about a nanosecond each on the machines of 2026.
const WORK_MAX: u64 = 14_000_000;

/// Units of a statement, call or command that is looked at, beside what it does.
pub const STEP: usize = 5_000;

#[derive(Clone, Copy)]
struct Meter {
    /// Analysers that run within each other.
    inside: u32,
    left: u64,
}

thread_local! {
    static METER: Cell<Meter> = const { Cell::new(Meter { inside: 0, left: 0 }) };
}

/// Held while an analyser runs.
pub struct Watch(());

impl Drop for Watch {
    fn drop(&mut self) {
        METER.with(|meter| {
            let now = meter.get();
            meter.set(Meter { inside: now.inside.saturating_sub(1), ..now });
        });
    }
}

/// Begins an action, or goes on with the one that it lies in.
pub fn watch() -> Watch {
    METER.with(|meter| {
        let now = meter.get();
        let left = if now.inside == 0 { WORK_MAX } else { now.left };
        meter.set(Meter { inside: now.inside.saturating_add(1), left });
    });
    Watch(())
}

/// Counts work; `false` when nothing more should be done.
pub fn spend(units: usize) -> bool {
    METER.with(|meter| {
        let now = meter.get();
        let left = now.left.saturating_sub(u64::try_from(units).unwrap_or(u64::MAX));
        meter.set(Meter { left, ..now });
        left > 0 || now.inside == 0
    })
}

/// Whether nothing more should be done.
pub fn spent() -> bool {
    !spend(0)
}

/// Says so where an analyser stopped early.
pub fn close(mut found: Found) -> Found {
    if spent() {
        found.gap(Unresolved::new("limit.work", "it takes more looking at than is done"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_meter_runs_through_analysers_within_each_other() {
        let outer = watch();
        assert!(spend(1));
        {
            let _inner = watch();
            assert!(!spend(usize::MAX));
        }
        assert!(spent());
        assert_eq!(close(Found::default()).unresolved.len(), 1);
        drop(outer);
        let _next = watch();
        assert!(!spent());
    }
}
