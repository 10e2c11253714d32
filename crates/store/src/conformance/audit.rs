//! The audit: entries in commit order, and the heads that seal them.

use quarterdeck_core::merkle::leaf;
use quarterdeck_core::{ProjectId, Timestamp};

use super::fixture::Fixture;
use super::given::*;
use crate::rows::{AuditPlace, AuditSeal, Audited, RowChange};

fn audited(project: ProjectId, body: &str) -> RowChange {
    RowChange::Audited { project, body: body.to_owned() }
}

pub async fn entries_come_in_commit_order_and_go_on_from_any_place(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let (here, other) = (project(), ProjectId::of("other"));
    let rows = [audited(here, "1"), audited(other, "x"), audited(here, "2")];
    let (_, first) = done(store, &[one(stream_id(), 0).with_rows(rows)]).await[0];
    // Nothing but an entry: a refusal changes no stream.
    let (_, second) = done(store, &[commit(Vec::new()).with_rows([audited(here, "3")])]).await[0];
    let start = AuditPlace { position: first - 1, n: i64::MAX };
    let all = store.audit_entries(here, start, 9).await.unwrap();
    let bodies: Vec<&str> = all.iter().map(|entry| entry.body.as_str()).collect();
    assert_eq!(bodies, ["1", "2", "3"]);
    assert!(all.windows(2).all(|pair| pair[0].place < pair[1].place && pair[0].at <= pair[1].at));
    assert_eq!(store.audit_entries(here, all[0].place, 1).await.unwrap(), all[1..2]);
    assert_eq!(store.count_audited(here, start, 9).await.unwrap(), 3);
    assert_eq!(store.count_audited(here, start, 2).await.unwrap(), 2);
    assert_eq!(store.count_audited(here, all[2].place, 9).await.unwrap(), 0);
    let after = store.audited_after(first - 1, 9).await.unwrap();
    let of = |project: ProjectId| after.iter().find(|found| found.project == project).copied();
    assert_eq!(of(here), Some(Audited { project: here, newest: second, entries: 3 }));
    assert_eq!(of(other), Some(Audited { project: other, newest: first, entries: 1 }));
    let few = store.audited_after(first - 1, 2).await.unwrap();
    assert!(few.iter().all(|found| found.newest == first), "{few:?}");
    assert_eq!(few.iter().map(|found| found.entries).sum::<u64>(), 2);
    assert_eq!(store.audited_after(second, 9).await.unwrap(), []);
}

pub async fn a_head_is_stored_once_and_found_by_size(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let seal = |size: u64, signature: u8| AuditSeal {
        size,
        root: leaf(&[signature]),
        at: Timestamp::from_micros(7),
        signature: vec![signature; 64],
        last: AuditPlace { position: 9, n: 1 },
        frontier: vec![leaf(b"a"), leaf(b"b")],
    };
    assert_eq!(store.audit_seal(project(), u64::MAX >> 1).await.unwrap(), None);
    for stored in [seal(3, 1), seal(3, 2), seal(5, 3)] {
        store.seal_audit(project(), &stored).await.unwrap();
    }
    for (at_most, expected) in
        [(2, None), (3, Some(seal(3, 1))), (4, Some(seal(3, 1))), (1_000, Some(seal(5, 3)))]
    {
        assert_eq!(store.audit_seal(project(), at_most).await.unwrap(), expected, "{at_most}");
    }
    assert_eq!(store.audit_seal(ProjectId::of("other"), 1_000).await.unwrap(), None);
}
