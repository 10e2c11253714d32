//! Approvals as listed, gates, and what the sweeper looks for among them.

use quarterdeck_core::approval::{Level, Phase};
use quarterdeck_core::stream::Kind;
use quarterdeck_core::{ApprovalId, ProjectId, TaskId, Timestamp};

use super::fixture::Fixture;
use super::given::*;
use crate::port::{Followed, Store};
use crate::rows::{ApprovalFilter, ApprovalNow, ApprovalOpened, RowChange, StepRef};

fn approval_id() -> ApprovalId {
    ApprovalId::from_uuid(stream_id().as_uuid())
}

fn asked(approval: ApprovalId, task: TaskId, level: Level, agent: &str) -> RowChange {
    let (project, agent) = (project(), agent.to_owned());
    RowChange::ApprovalOpened(ApprovalOpened { approval, project, task, agent, level })
}

/// Pending at the first gate of `step`, for ever.
fn now(approval: ApprovalId, level: Level, step: StepRef) -> ApprovalNow {
    let (project, phase) = (project(), Phase::Pending);
    ApprovalNow { approval, project, level, phase, step, gate: 1, token: 0, due: None }
}

async fn change(store: &dyn Store, rows: impl IntoIterator<Item = RowChange>) {
    done(store, &[one(stream_id(), 0).with_rows(rows)]).await;
}

/// An approval that is listed.
async fn open(store: &dyn Store, now: &ApprovalNow, agent: &str) {
    let asked = asked(now.approval, now.step.task, now.level, agent);
    change(store, [asked, RowChange::ApprovalPut(now.clone())]).await;
}

pub async fn approvals_are_listed_newest_first_by_what_they_are(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [first, second] = [task_id(), task_id()];
    let low = now(approval_id(), Level::Low, step(first, 0));
    let high = now(approval_id(), Level::High, step(first, 1));
    let denied = ApprovalNow { phase: Phase::Denied, ..now(approval_id(), Level::High, step(second, 0)) };
    for (now, agent) in [(&low, "ann"), (&high, "bob"), (&denied, "bob")] {
        open(store, now, agent).await;
    }
    let all = [denied.approval, high.approval, low.approval];
    for (filter, expected) in [
        (ApprovalFilter::default(), &all[..]),
        (ApprovalFilter { phases: vec![Phase::Pending], ..Default::default() }, &all[1..]),
        (ApprovalFilter { phases: vec![Phase::Denied, Phase::Pending], ..Default::default() }, &all[..]),
        (ApprovalFilter { min_level: Some(Level::Medium), ..Default::default() }, &all[..2]),
        (ApprovalFilter { task: Some(second), ..Default::default() }, &all[..1]),
        (ApprovalFilter { agent: Some("ann".into()), ..Default::default() }, &all[2..]),
    ] {
        let (found, next) = store.list_approvals(project(), &filter, None, 9).await.unwrap();
        assert_eq!((found.as_slice(), next), (expected, None), "{filter:?}");
    }
    let (page, next) = store.list_approvals(project(), &ApprovalFilter::default(), None, 2).await.unwrap();
    assert_eq!((page.as_slice(), next), (&all[..2], Some(high.approval)));
    let (rest, next) = store.list_approvals(project(), &ApprovalFilter::default(), next, 2).await.unwrap();
    assert_eq!((rest.as_slice(), next), (&all[2..], None));
    let other = ProjectId::of("other");
    assert_eq!(
        store.list_approvals(other, &ApprovalFilter::default(), None, 9).await.unwrap(),
        (vec![], None)
    );
}

pub async fn pending_approvals_are_counted_by_level_and_told_oldest_first(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let task = task_id();
    assert_eq!(store.count_pending(project()).await.unwrap(), [0, 0, 0]);
    let medium = now(approval_id(), Level::Medium, step(task, 0));
    let high = now(approval_id(), Level::High, step(task, 1));
    let later = now(approval_id(), Level::High, step(task, 2));
    for now in [&medium, &high, &later] {
        open(store, now, "").await;
    }
    assert_eq!(store.count_pending(project()).await.unwrap(), [0, 1, 2]);
    let pending = store.pending_approvals(project(), 2).await.unwrap();
    assert_eq!(pending, [medium.approval, high.approval]);
    let granted = ApprovalNow { phase: Phase::Granted, ..medium };
    change(store, [RowChange::ApprovalPut(granted)]).await;
    assert_eq!(store.count_pending(project()).await.unwrap(), [0, 0, 2]);
    assert_eq!(store.pending_approvals(project(), 9).await.unwrap(), [high.approval, later.approval]);
}

pub async fn approvals_are_due_in_order_until_they_end(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let at = Timestamp::from_micros;
    let due =
        |micros| ApprovalNow { due: Some(at(micros)), ..now(approval_id(), Level::Low, step(task_id(), 0)) };
    let [late, early] = [due(200), due(100)];
    for now in [&late, &early] {
        open(store, now, "").await;
    }
    assert_eq!(store.due_approvals(at(99), 9).await.unwrap(), []);
    let both = [(early.approval, at(100)), (late.approval, at(200))];
    assert_eq!(store.due_approvals(at(200), 9).await.unwrap(), both);
    assert_eq!(store.due_approvals(at(200), 1).await.unwrap(), both[..1]);
    let over = ApprovalNow { phase: Phase::Expired, due: None, ..early };
    change(store, [RowChange::ApprovalPut(over)]).await;
    assert_eq!(store.due_approvals(at(200), 9).await.unwrap(), both[1..]);
}

pub async fn a_gate_is_unsettled_until_its_approval_is_where_it_waits(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let at = step(task_id(), 3);
    let gate = |gate, granted| RowChange::GatePut { step: at, gate, granted };
    let unsettled = || async { store.unsettled_gates(None, 9).await.unwrap() };
    let put = |phase, gate| {
        RowChange::ApprovalPut(ApprovalNow { phase, gate, ..now(approval_id(), Level::Low, at) })
    };
    change(store, [gate(1, false)]).await;
    assert_eq!(unsettled().await, [at], "nobody was asked");
    let first = now(approval_id(), Level::Low, at);
    open(store, &first, "").await;
    assert_eq!(unsettled().await, [], "it waits for people");
    change(store, [RowChange::ApprovalPut(ApprovalNow { phase: Phase::Granted, ..first.clone() })]).await;
    assert_eq!(unsettled().await, [at], "its task does not know of the yes");
    change(store, [gate(1, true)]).await;
    assert_eq!(unsettled().await, [], "it waits for an agent");
    change(store, [RowChange::ApprovalPut(ApprovalNow { phase: Phase::Expired, ..first })]).await;
    assert_eq!(unsettled().await, [at], "the yes is over");
    change(store, [gate(2, false), put(Phase::Superseded, 2)]).await;
    assert_eq!(unsettled().await, [at], "an approval that was edited is none");
    change(store, [put(Phase::Pending, 2)]).await;
    assert_eq!(unsettled().await, [], "its successor waits");
    assert_eq!(store.unsettled_gates(Some(at), 9).await.unwrap(), []);
    change(store, [RowChange::GateRemoved(at)]).await;
    assert_eq!(unsettled().await, []);
}

pub async fn an_approval_is_orphaned_when_its_gate_or_lease_is_over(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [gated, leased] = [step(task_id(), 0), step(task_id(), 1)];
    let at_gate = now(approval_id(), Level::Low, gated);
    let under_lease = ApprovalNow { gate: 0, token: 7, ..now(approval_id(), Level::Low, leased) };
    change(
        store,
        [
            RowChange::GatePut { step: gated, gate: 1, granted: false },
            RowChange::LeaseAdded(lease(leased, session_id(), 7)),
        ],
    )
    .await;
    for now in [&at_gate, &under_lease] {
        open(store, now, "").await;
    }
    let orphaned = || async { store.orphaned_approvals(None, 9).await.unwrap() };
    assert_eq!(orphaned().await, []);
    change(store, [RowChange::GatePut { step: gated, gate: 2, granted: false }]).await;
    assert_eq!(orphaned().await, [at_gate.approval], "the step is at its next gate");
    change(store, [RowChange::LeaseAdded(lease(leased, session_id(), 9))]).await;
    assert_eq!(orphaned().await, [at_gate.approval, under_lease.approval], "another has the lease");
    let after = store.orphaned_approvals(Some(at_gate.approval), 9).await.unwrap();
    assert_eq!(after, [under_lease.approval]);
    let over = [at_gate, under_lease].map(|now| ApprovalNow { phase: Phase::Canceled, ..now });
    change(store, over.map(RowChange::ApprovalPut)).await;
    assert_eq!(orphaned().await, []);
}

pub async fn approvals_are_followed_apart_from_tasks_and_read_in_one_go(fixture: &dyn Fixture) {
    let store = &*fixture.store();
    let [approval, task] = [stream_id(), stream_id()];
    let mut both = commit(vec![append(approval, 0, 2), append(task, 0, 1)]);
    both.appends[0].kind = Kind::Approval;
    let (_, position) = done(store, &[both]).await[0];
    let audited = RowChange::Audited { project: project(), body: "{}".to_owned() };
    let mut more = one(approval, 2).with_rows([audited.clone(), audited]);
    more.appends[0].kind = Kind::Approval;
    done(store, &[more]).await;
    let lasts = |rows: Vec<crate::rows::EventRow>| -> Vec<_> {
        rows.into_iter().map(|row| (row.stream, row.last)).collect()
    };
    let followed = store.follow(project(), Followed::Approvals, position - 1, 9).await.unwrap();
    assert_eq!(lasts(followed), [(approval, 2), (approval, 3)]);
    let followed = store.follow(project(), Followed::Tasks, position - 1, 9).await.unwrap();
    assert_eq!(lasts(followed), [(task, 1)]);
    let read = store.load_short(&[task, approval, stream_id()]).await.unwrap();
    assert_eq!(lasts(read), [(approval, 2), (approval, 3), (task, 1)]);
}
