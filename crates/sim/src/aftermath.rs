//! What the store has in the end: what is not finished, and every task's log.
//!
//! It is read through the store's port, not through the engine.

use std::collections::BTreeMap;

use bytes::Bytes;
use quarterdeck_core::payload::Body;
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{Event, State};
use quarterdeck_core::{ApprovalId, Digest, ProjectId, TaskId, Timestamp, policy, project};
use quarterdeck_store::rows::{AuditPlace, EventRow, QueueKey, TaskFilter};
use quarterdeck_store::{Followed, Store, StoreError};

use crate::checks::approvals::ApprovalLog;
use crate::checks::audit::Audit;
use crate::checks::{Placed, TaskLog};
use crate::workload::CAPABILITIES;

const PAGE: u32 = 1_000;

/// What has not come to its end, one line each.
pub async fn unfinished(store: &impl Store) -> Result<Vec<String>, StoreError> {
    let project = ProjectId::of(project::DEFAULT);
    let running = TaskFilter { states: vec![State::Running], ..TaskFilter::default() };
    let (tasks, more) = store.list_tasks(project, &running, None, PAGE).await?;
    let mut left: Vec<String> = tasks.iter().map(|task| format!("{} is running", task.task)).collect();
    if left.is_empty() && more.is_some() {
        left.push("there may be more tasks".to_owned());
    }
    for capability in CAPABILITIES {
        let queue = QueueKey { project, capability: capability.to_owned() };
        let ready = store.peek_ready(&queue, None, PAGE).await?;
        left.extend(ready.iter().map(|key| format!("ready: {:?}", key.step)));
    }
    let sessions = store.list_sessions(project, None, None, PAGE).await?;
    let held = sessions.iter().filter(|(_, held)| *held > 0);
    left.extend(held.map(|(row, held)| format!("{} holds {held} steps ({:?})", row.session, row.state)));
    left.extend(store.orphaned_leases(PAGE).await?.iter().map(|lease| format!("orphaned: {lease:?}")));
    let (gates, live) =
        (store.unsettled_gates(None, PAGE).await?, store.orphaned_approvals(None, PAGE).await?);
    left.extend(gates.iter().map(|gate| format!("unsettled: {gate:?}")));
    left.extend(live.iter().map(|approval| format!("orphaned: {approval}")));
    let sealed =
        store.audit_seal(project, i64::MAX as u64).await?.map_or(AuditPlace::default(), |seal| seal.last);
    let unsealed = store.count_audited(project, sealed, PAGE).await?;
    left.extend((unsealed > 0).then(|| format!("{unsealed} entries of the audit are not sealed")));
    let timers = store.due_timers(Timestamp::MAX, PAGE).await?;
    left.extend(timers.iter().map(|(task, due)| format!("{task} has a timer at {due:?}")));
    Ok(left)
}

/// Every entry of the audit and every seal.
pub async fn audit(store: &impl Store) -> Result<Audit, StoreError> {
    let project = ProjectId::of(project::DEFAULT);
    let (mut entries, mut after) = (Vec::new(), AuditPlace::default());
    loop {
        let page = store.audit_entries(project, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.place;
        entries.extend(page);
    }
    let (mut seals, mut at_most) = (Vec::new(), i64::MAX as u64);
    while let Some(seal) = store.audit_seal(project, at_most).await? {
        at_most = seal.size - 1;
        seals.push(seal);
    }
    seals.reverse();
    Ok(Audit { entries, seals })
}

/// Every approval and the policy, as the store has them.
#[allow(clippy::type_complexity)]
pub async fn approvals(
    store: &impl Store,
    violations: &mut Vec<String>,
) -> Result<(BTreeMap<String, ApprovalLog>, Vec<(i64, Recorded<policy::Event>)>), StoreError> {
    let project = ProjectId::of(project::DEFAULT);
    let (mut logs, mut position): (BTreeMap<String, ApprovalLog>, _) = (BTreeMap::new(), 0);
    loop {
        let rows = store.follow(project, Followed::Approvals, position, PAGE).await?;
        let Some(last) = rows.last() else { break };
        position = last.position;
        for row in rows {
            let log = logs.entry(ApprovalId::from_uuid(row.stream.as_uuid()).to_string()).or_default();
            match decode(&row) {
                Ok(events) => log.events.extend(events.into_iter().map(|event| (row.position, event))),
                Err(error) => violations.push(format!("unreadable: {:?}: {error}", row.stream)),
            }
        }
    }
    let mut held = Vec::new();
    for row in store.load(project.policy_stream(), 0, u32::MAX).await? {
        match decode(&row) {
            Ok(events) => held.extend(events.into_iter().map(|event| (row.position, event))),
            Err(error) => violations.push(format!("unreadable: the policy: {error}")),
        }
    }
    Ok((logs, held))
}

/// All tasks as the store has them, by the text of their id; what cannot be read
/// is told in `violations`.
pub async fn tasks(
    store: &impl Store,
    violations: &mut Vec<String>,
) -> Result<BTreeMap<String, TaskLog>, StoreError> {
    let (project, filter) = (ProjectId::of(project::DEFAULT), TaskFilter::default());
    let (mut tasks, mut before) = (BTreeMap::new(), None);
    loop {
        let (rows, last) = store.list_tasks(project, &filter, before, PAGE).await?;
        for row in rows {
            let mut events = Vec::new();
            for stored in store.load(row.task.stream(), 0, u32::MAX).await? {
                match decode(&stored) {
                    Ok(decoded) => events.extend(decoded),
                    Err(error) => violations.push(format!("unreadable: {}: {error}", row.task)),
                }
            }
            let log = TaskLog { state: row.state, head: row.revision, events };
            tasks.insert(row.task.to_string(), log);
        }
        match last {
            Some(last) => before = Some(last),
            None => return Ok(tasks),
        }
    }
}

/// All events of tasks in the order of their commits.
pub async fn order(store: &impl Store) -> Result<Vec<Placed>, StoreError> {
    let (project, mut order, mut position) = (ProjectId::of(project::DEFAULT), Vec::new(), 0);
    loop {
        let rows = store.follow(project, Followed::Tasks, position, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(order) };
        position = last.position;
        for row in rows {
            let task = TaskId::from_uuid(row.stream.as_uuid()).to_string();
            let sequences = row.last + 1 - u64::from(row.count)..=row.last;
            order.extend(sequences.map(|sequence| Placed { task: task.clone(), sequence }));
        }
    }
}

/// Outputs that are stored apart from the events of these tasks.
pub async fn contents(
    store: &impl Store,
    tasks: &BTreeMap<String, TaskLog>,
) -> Result<BTreeMap<Digest, Bytes>, StoreError> {
    let mut contents = BTreeMap::new();
    for event in tasks.values().flat_map(|log| &log.events) {
        if let Event::Succeeded { output: Some(output), .. } = &event.event
            && let Body::Stored { digest, .. } = output.body
            && let Some(bytes) = store.payload(digest).await?
        {
            contents.insert(digest, bytes);
        }
    }
    Ok(contents)
}

/// How many tasks there are.
pub async fn count(store: &impl Store) -> Result<usize, StoreError> {
    let (project, filter) = (ProjectId::of(project::DEFAULT), TaskFilter::default());
    let (mut count, mut before) = (0, None);
    loop {
        let (rows, last) = store.list_tasks(project, &filter, before, PAGE).await?;
        count += rows.len();
        match last {
            Some(last) => before = Some(last),
            None => return Ok(count),
        }
    }
}

fn decode<E: serde::de::DeserializeOwned>(row: &EventRow) -> Result<Vec<Recorded<E>>, StoreError> {
    let events: Vec<E> = serde_json::from_str(&row.body).map_err(|error| StoreError::Corrupt {
        table: "event",
        column: "body",
        id: format!("{:?}", row.stream),
        why: error.to_string(),
    })?;
    let first = row.last + 1 - u64::from(row.count);
    Ok((first..).zip(events).map(|(sequence, event)| Recorded { sequence, at: row.at, event }).collect())
}
