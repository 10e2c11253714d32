//! Approvals as listed, gates of steps, and entries of the audit.

use async_trait::async_trait;
use quarterdeck_core::approval::Phase;
use quarterdeck_core::{ApprovalId, ProjectId, TaskId, Timestamp};
use uuid::Uuid;

use super::changes::{Changes, Net};
use super::db::Row;
use super::stmt::{Fragment, Part, Stmt};
use super::store::SqlStore;
use super::template::Type::{Bytes, Int, Text, Uuid as Id};
use super::value::{Arg, Cell, Reader};
use crate::port::{Approvals, Result};
use crate::rows::{ApprovalFilter, StepRef};

pub(crate) static OPENED: Fragment = Fragment::new(
    Part::ApprovalsOpened,
    &[("id", Id), ("project", Id), ("task", Id), ("agent", Text), ("level", Int)],
    "INSERT INTO approval (id, project, task, agent, level, created_at)
     SELECT r.id, r.project, r.task, r.agent, r.level, {at} FROM {rows} {live}",
);

pub(crate) static PUT: Fragment = Fragment::new(
    Part::ApprovalsPut,
    &[
        ("id", Id),
        ("project", Id),
        ("level", Int),
        ("phase", Int),
        ("step", Bytes),
        ("gate", Int),
        ("token", Int),
        ("due", Int),
    ],
    "INSERT INTO approval_now (id, project, level, phase, item, gate, token, due)
     SELECT r.id, r.project, r.level, r.phase, r.step, r.gate, r.token, r.due FROM {rows} {live}
     ON CONFLICT (id) DO UPDATE SET phase = excluded.phase, due = excluded.due",
);

pub(crate) static GATES_REMOVED: Fragment = Fragment::new(
    Part::GatesRemoved,
    &[("step", Bytes)],
    "DELETE FROM gate WHERE item {any}SELECT r.step FROM {rows} {live}{end}",
);

pub(crate) static GATES_PUT: Fragment = Fragment::new(
    Part::GatesPut,
    &[("step", Bytes), ("gate", Int), ("granted", Int)],
    "INSERT INTO gate (item, gate, granted)
     SELECT r.step, r.gate, r.granted FROM {rows} {live}
     ON CONFLICT (item) DO UPDATE SET gate = excluded.gate, granted = excluded.granted",
);

pub(crate) static AUDIT: Fragment = Fragment::new(
    Part::Audit,
    &[("project", Id), ("n", Int), ("body", Text)],
    "INSERT INTO audit (project, position, n, at, body)
     SELECT r.project, {position}, r.n, {at}, r.body FROM {rows} {live}",
);

/// Most rows that one call looks at.
const LOOKED_AT: u32 = 10_000;

/// Where looking ends: the last of so many rows.
static FLOOR: Stmt = Stmt::new(
    "approvals.floor",
    "SELECT id FROM approval WHERE project = $1 AND id < $2 ORDER BY id DESC LIMIT 1 OFFSET $3",
);

static LIST: Stmt = Stmt::new(
    "approvals.list",
    "SELECT a.id FROM approval a
     WHERE a.project = $1 AND a.id < $2 AND a.id >= $3 AND a.level >= $4
         AND ({?$5::uuid~$5} IS NULL OR a.task = $5)
         AND ({?$6::text~$6} IS NULL OR a.agent = $6)
         AND ({?$7::bigint~$7} IS NULL
             OR (SELECT n.phase FROM approval_now n WHERE n.id = a.id) {in $8 int})
     ORDER BY a.id DESC LIMIT $9",
);

static COUNT: Stmt = Stmt::new(
    "approvals.count",
    "SELECT level, count(*) AS pending FROM approval_now WHERE project = $1 AND phase = 1 GROUP BY level",
);

/// Oldest first.
static PENDING: Stmt = Stmt::new(
    "approvals.pending",
    "SELECT id FROM approval_now WHERE phase = 1 AND project = $1 ORDER BY id LIMIT $2",
);

static DUE: Stmt =
    Stmt::new("approvals.due", "SELECT id, due FROM approval_now WHERE due <= $1 ORDER BY due LIMIT $2");

/// Gates at which nobody is asked, or of which it is not known here what came of it.
static UNSETTLED: Stmt = Stmt::new(
    "approvals.unsettled_gates",
    "SELECT g.item FROM gate g
     WHERE g.item > $1 AND NOT EXISTS (
         SELECT 1 FROM approval_now a WHERE a.item = g.item AND a.gate = g.gate AND a.phase = g.granted + 1)
     ORDER BY g.item LIMIT $2",
);

/// Live approvals of which the gate, or the lease, is over.
static ORPHANED: Stmt = Stmt::new(
    "approvals.orphaned",
    "SELECT a.id FROM approval_now a
     WHERE a.phase < 3 AND a.id > $1
         AND NOT EXISTS (SELECT 1 FROM gate g WHERE g.item = a.item AND g.gate = a.gate)
         AND NOT EXISTS (SELECT 1 FROM lease l WHERE a.gate = 0 AND l.item = a.item AND l.token = a.token)
     ORDER BY a.id LIMIT $2",
);

pub(crate) static ALL: &[&Stmt] = &[&FLOOR, &LIST, &COUNT, &PENDING, &DUE, &UNSETTLED, &ORPHANED];

pub(crate) fn add<'a>(changes: &mut Changes<'a>, item: i64, net: &Net<'a>) {
    for opened in net.approvals_opened.values() {
        let cells = [
            Cell::Uuid(opened.approval.as_uuid()),
            Cell::Uuid(opened.project.as_uuid()),
            Cell::Uuid(opened.task.as_uuid()),
            Cell::text(&opened.agent),
            Cell::Int(level_code(opened.level)),
        ];
        changes.push(Part::ApprovalsOpened, item, cells);
    }
    for now in net.approvals.values() {
        let cells = [
            Cell::Uuid(now.approval.as_uuid()),
            Cell::Uuid(now.project.as_uuid()),
            Cell::Int(level_code(now.level)),
            Cell::Int(now.phase.code().into()),
            Cell::Bytes(now.step.to_bytes().to_vec().into()),
            Cell::Int(now.gate.into()),
            Cell::int(now.token),
            now.due.map_or(Cell::Null, |due| Cell::Int(due.as_micros())),
        ];
        changes.push(Part::ApprovalsPut, item, cells);
    }
    for (step, gate) in &net.gates {
        let step = Cell::Bytes(step.to_vec().into());
        match gate {
            Some((gate, granted)) => {
                let cells = [step, Cell::Int(i64::from(*gate)), Cell::Int(i64::from(*granted))];
                changes.push(Part::GatesPut, item, cells);
            }
            None => changes.push(Part::GatesRemoved, item, [step]),
        }
    }
    for (n, (project, body)) in (0..).zip(&net.audit) {
        changes.push(Part::Audit, item, [Cell::Uuid(project.as_uuid()), Cell::Int(n), Cell::text(body)]);
    }
}

/// The number under which a level is stored. Never reused.
const fn level_code(level: quarterdeck_core::approval::Level) -> i64 {
    use quarterdeck_core::approval::Level;
    match level {
        Level::Low => 1,
        Level::Medium => 2,
        Level::High => 3,
    }
}

fn id(row: &Row) -> Result<ApprovalId> {
    Reader::new(row, "approval").uuid("id").map(ApprovalId::from_uuid)
}

fn ids(rows: &[Row]) -> Result<Vec<ApprovalId>> {
    rows.iter().map(id).collect()
}

#[async_trait]
impl Approvals for SqlStore {
    async fn list_approvals(
        &self,
        project: ProjectId,
        filter: &ApprovalFilter,
        before: Option<ApprovalId>,
        limit: u32,
    ) -> Result<(Vec<ApprovalId>, Option<ApprovalId>)> {
        let before = before.map_or(Uuid::max(), ApprovalId::as_uuid);
        let floor = if *filter == ApprovalFilter::default() {
            None
        } else {
            let offset = Arg::Int(i64::from(LOOKED_AT) - 1);
            let args = vec![Arg::Uuid(project.as_uuid()), Arg::Uuid(before), offset];
            self.db().read(&FLOOR, args).await?.first().map(id).transpose()?
        };
        let args = vec![
            Arg::Uuid(project.as_uuid()),
            Arg::Uuid(before),
            Arg::Uuid(floor.map_or(Uuid::nil(), ApprovalId::as_uuid)),
            Arg::Int(filter.min_level.map_or(0, level_code)),
            Arg::OptUuid(filter.task.map(TaskId::as_uuid)),
            Arg::OptText(filter.agent.clone()),
            Arg::OptInt((!filter.phases.is_empty()).then_some(1)),
            Arg::Ints(filter.phases.iter().map(|phase| phase.code().into()).collect()),
            // One more than wanted tells whether there is more.
            Arg::Int(i64::from(limit) + 1),
        ];
        let mut found = ids(&self.db().read(&LIST, args).await?)?;
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        if found.len() <= wanted {
            return Ok((found, floor));
        }
        found.truncate(wanted);
        let next = found.last().copied();
        Ok((found, next))
    }

    async fn count_pending(&self, project: ProjectId) -> Result<[u64; 3]> {
        let mut counts = [0; 3];
        for row in &self.db().read(&COUNT, vec![Arg::Uuid(project.as_uuid())]).await? {
            let mut row = Reader::new(row, "approval_now");
            let (level, pending) = (row.int("level")?, row.count("pending")?);
            if let Some(count) = usize::try_from(level - 1).ok().and_then(|place| counts.get_mut(place)) {
                *count = pending;
            }
        }
        Ok(counts)
    }

    async fn pending_approvals(&self, project: ProjectId, limit: u32) -> Result<Vec<ApprovalId>> {
        debug_assert_eq!(Phase::Pending.code(), 1, "the statements say 1");
        let args = vec![Arg::Uuid(project.as_uuid()), Arg::Int(limit.into())];
        ids(&self.db().read(&PENDING, args).await?)
    }

    async fn due_approvals(&self, now: Timestamp, limit: u32) -> Result<Vec<(ApprovalId, Timestamp)>> {
        let args = vec![Arg::Int(now.as_micros()), Arg::Int(limit.into())];
        let rows = self.db().read(&DUE, args).await?;
        rows.iter()
            .map(|row| {
                let mut row = Reader::new(row, "approval_now");
                Ok((ApprovalId::from_uuid(row.uuid("id")?), Timestamp::from_micros(row.int("due")?)))
            })
            .collect()
    }

    async fn unsettled_gates(&self, after: Option<StepRef>, limit: u32) -> Result<Vec<StepRef>> {
        let after = after.map_or(Vec::new(), |step| step.to_bytes().to_vec());
        let rows = self.db().read(&UNSETTLED, vec![Arg::Bytes(after), Arg::Int(limit.into())]).await?;
        rows.iter()
            .map(|row| {
                let mut row = Reader::new(row, "gate");
                let item = row.bytes("item")?;
                StepRef::from_bytes(&item).ok_or_else(|| row.corrupt("item", "not a task and a step"))
            })
            .collect()
    }

    async fn orphaned_approvals(&self, after: Option<ApprovalId>, limit: u32) -> Result<Vec<ApprovalId>> {
        let after = after.map_or(Uuid::nil(), ApprovalId::as_uuid);
        ids(&self.db().read(&ORPHANED, vec![Arg::Uuid(after), Arg::Int(limit.into())]).await?)
    }
}
