//! A batch of commits as rows for statements, area by area.
//!
//! Within a commit the last change of a row wins, because a statement sees no
//! change of its own: what remains is put if it is there in the end, and deleted
//! if it is not.

use std::borrow::Cow;
use std::collections::BTreeMap;

use quarterdeck_core::task::State;
use quarterdeck_core::{ApprovalId, ProjectId, StreamId, TaskId, Timestamp, WebhookId};

use super::registry::FRAGMENTS;
use super::stmt::Part;
use super::template::Type;
use super::value::{Cell, Rows};
use super::{approvals, catalog, dispatch, log, requests, tasks, webhooks};
use crate::commit::Commit;
use crate::rows::{ApprovalNow, ApprovalOpened, KeyRow, LeaseRow, ProjectRow, RowChange, TaskOpened};

/// Heads that have to hold still for an item to apply.
pub(crate) const APPENDS: &[(&str, Type)] = &[("stream", Type::Uuid), ("expected", Type::Int)];
pub(crate) const GUARDS: &[(&str, Type)] = &[("stream", Type::Uuid), ("head", Type::Int)];

/// A batch, ready for either driver. Items are numbered from 1.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    pub valid_until: Vec<Option<i64>>,
    pub appends: Rows<'a>,
    pub guards: Rows<'a>,
    /// One entry a [`Part`], in order, most of them empty.
    pub parts: Vec<Rows<'a>>,
}

impl<'a> Changes<'a> {
    pub fn of(batch: &'a [Commit]) -> Self {
        let mut changes = Self {
            valid_until: batch.iter().map(|commit| commit.valid_until.map(Timestamp::as_micros)).collect(),
            appends: Rows::new(APPENDS),
            guards: Rows::new(GUARDS),
            parts: FRAGMENTS.iter().map(|fragment| Rows::new(fragment.columns)).collect(),
        };
        for (item, commit) in (1..).zip(batch) {
            changes.add(item, commit);
        }
        changes
    }

    /// One row of nothing in every part, for looking at statements.
    pub fn of_every_part() -> Self {
        let mut changes = Self::of(&[]);
        changes.valid_until.push(None);
        let rows = [&mut changes.appends, &mut changes.guards].into_iter().chain(&mut changes.parts);
        for rows in rows {
            rows.items.push(1);
            rows.cells.extend(rows.columns.iter().map(|_| Cell::Null));
        }
        changes
    }

    pub fn part(&self, part: Part) -> &Rows<'a> {
        &self.parts[part as usize]
    }

    pub fn push<const N: usize>(&mut self, part: Part, item: i64, cells: [Cell<'a>; N]) {
        self.parts[part as usize].push(item, cells);
    }

    /// The appends, which a statement has even where there are none, and all that
    /// has rows, in the order of the composed statement's parameters.
    pub fn present(&self) -> impl Iterator<Item = &Rows<'a>> {
        let rest = std::iter::once(&self.guards).chain(&self.parts).filter(|rows| !rows.is_empty());
        std::iter::once(&self.appends).chain(rest)
    }

    fn add(&mut self, item: i64, commit: &'a Commit) {
        for append in &commit.appends {
            let stream = Cell::Uuid(append.stream.as_uuid());
            self.appends.push(item, [stream, Cell::int(append.expected)]);
            log::add_append(self, item, commit.id, append);
        }
        for guard in &commit.unchanged {
            self.guards.push(item, [Cell::Uuid(guard.stream.as_uuid()), Cell::int(guard.head)]);
        }
        for (digest, bytes) in &commit.payloads {
            let cells = [Cell::bytes(digest.as_bytes()), Cell::Bytes(Cow::Borrowed(bytes))];
            self.push(Part::Payloads, item, cells);
        }
        if let Some(request) = &commit.request {
            requests::add(self, item, commit.id, request);
        }
        let net = Net::of(&commit.rows);
        tasks::add(self, item, &net);
        dispatch::add(self, item, &net);
        catalog::add(self, item, &net);
        approvals::add(self, item, &net);
        webhooks::add(self, item, &net);
    }
}

/// How a task's row changes: opened, ended, or both at once.
#[derive(Debug, Default)]
pub(crate) struct TaskChange<'a> {
    pub opened: Option<&'a TaskOpened>,
    pub ended: Option<(State, &'a str)>,
}

/// What the row changes of one commit come to. `None` is a row that is gone.
#[derive(Debug, Default)]
pub(crate) struct Net<'a> {
    pub tasks: BTreeMap<TaskId, TaskChange<'a>>,
    pub ready: BTreeMap<Vec<u8>, Option<()>>,
    pub leases: BTreeMap<[u8; 18], Option<&'a LeaseRow>>,
    pub timers: BTreeMap<TaskId, Option<Timestamp>>,
    pub projects: BTreeMap<ProjectId, &'a ProjectRow>,
    pub keys: BTreeMap<StreamId, &'a KeyRow>,
    pub approvals_opened: BTreeMap<ApprovalId, &'a ApprovalOpened>,
    pub approvals: BTreeMap<ApprovalId, &'a ApprovalNow>,
    /// Number of the gate, and whether the step has its yes.
    pub gates: BTreeMap<[u8; 18], Option<(u32, bool)>>,
    /// In order.
    pub audit: Vec<(ProjectId, &'a str)>,
    pub webhooks: BTreeMap<WebhookId, Option<ProjectId>>,
}

impl<'a> Net<'a> {
    fn of(rows: &'a [RowChange]) -> Self {
        let mut net = Self::default();
        for row in rows {
            net.apply(row);
        }
        net
    }

    fn apply(&mut self, row: &'a RowChange) {
        match row {
            RowChange::TaskOpened(task) => {
                self.tasks.entry(task.task).or_default().opened = Some(task);
            }
            RowChange::TaskEnded { task, state, stop_code } => {
                self.tasks.entry(*task).or_default().ended = Some((*state, stop_code));
            }
            RowChange::ReadyAdded(key) => {
                self.ready.insert(key.encode(), Some(()));
            }
            RowChange::ReadyRemoved(key) => {
                self.ready.insert(key.encode(), None);
            }
            RowChange::LeaseAdded(lease) => {
                self.leases.insert(lease.step.to_bytes(), Some(lease));
            }
            RowChange::LeaseRemoved(step) => {
                self.leases.insert(step.to_bytes(), None);
            }
            RowChange::TimerSet { task, due } => {
                self.timers.insert(*task, Some(*due));
            }
            RowChange::TimerCleared { task } => {
                self.timers.insert(*task, None);
            }
            RowChange::ProjectPut(project) => {
                self.projects.insert(project.id, project);
            }
            RowChange::KeyPut(key) => {
                self.keys.insert(key.key, key);
            }
            RowChange::ApprovalOpened(opened) => {
                self.approvals_opened.insert(opened.approval, opened);
            }
            RowChange::ApprovalPut(now) => {
                self.approvals.insert(now.approval, now);
            }
            RowChange::GatePut { step, gate, granted } => {
                self.gates.insert(step.to_bytes(), Some((*gate, *granted)));
            }
            RowChange::GateRemoved(step) => {
                self.gates.insert(step.to_bytes(), None);
            }
            RowChange::Audited { project, body } => self.audit.push((*project, body)),
            RowChange::WebhookAdded { webhook, project } => {
                self.webhooks.insert(*webhook, Some(*project));
            }
            RowChange::WebhookRemoved(webhook) => {
                self.webhooks.insert(*webhook, None);
            }
        }
    }
}
