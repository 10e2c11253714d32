//! Every statement and fragment there is, so that tests can prepare and explain
//! them all, and the commit can go through its parts.

use super::stmt::{Fragment, Stmt};
use super::{approvals, audit, catalog, dispatch, log, requests, schema, sessions, tasks, webhooks};

/// In the order of [`super::stmt::Part`].
pub(crate) static FRAGMENTS: [&Fragment; 22] = [
    &log::OPENED,
    &log::ADVANCED,
    &log::EVENTS,
    &log::PAYLOADS,
    &requests::REQUESTS,
    &tasks::OPENED,
    &tasks::ENDED,
    &dispatch::READY_REMOVED,
    &dispatch::READY_ADDED,
    &dispatch::LEASES_REMOVED,
    &dispatch::LEASES_PUT,
    &dispatch::TIMERS_CLEARED,
    &dispatch::TIMERS_SET,
    &catalog::PROJECTS,
    &catalog::KEYS,
    &approvals::OPENED,
    &approvals::PUT,
    &approvals::GATES_REMOVED,
    &approvals::GATES_PUT,
    &approvals::AUDIT,
    &webhooks::REMOVED,
    &webhooks::ADDED,
];

/// All statements outside the commit.
pub(crate) fn statements() -> impl Iterator<Item = &'static Stmt> {
    let areas = [
        log::ALL,
        requests::ALL,
        tasks::ALL,
        dispatch::ALL,
        sessions::ALL,
        catalog::ALL,
        approvals::ALL,
        audit::ALL,
        webhooks::ALL,
        schema::ALL,
    ];
    areas.into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn fragments_stand_at_the_place_of_their_part() {
        for (place, fragment) in FRAGMENTS.iter().enumerate() {
            assert_eq!(fragment.part as usize, place, "{:?}", fragment.part);
        }
    }

    #[test]
    fn no_two_statements_share_a_name() {
        let mut seen = BTreeSet::new();
        assert!(statements().all(|stmt| seen.insert(stmt.name)));
    }
}
