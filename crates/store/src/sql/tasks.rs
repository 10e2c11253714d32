//! The list of tasks: a row when one opens, another when it ends, no updates.

use std::collections::BTreeMap;

use quarterdeck_core::task::State;
use quarterdeck_core::{ProjectId, TaskId, Timestamp};
use uuid::Uuid;

use super::changes::{Changes, Net};
use super::db::{Db, Row};
use super::stmt::{Fragment, Part, Stmt};
use super::template::Type::{Int, Text, Uuid as Id};
use super::value::{Arg, Cell, Reader};
use crate::port::Result;
use crate::rows::{TaskFilter, TaskRow};

pub(crate) static OPENED: Fragment = Fragment::new(
    Part::TasksOpened,
    &[
        ("id", Id),
        ("project", Id),
        ("display_name", Text),
        ("labels", Text),
        ("created_by", Text),
        ("retry_of", Id),
        ("step_count", Int),
        ("deadline", Int),
    ],
    "INSERT INTO task (id, project, display_name, labels, created_by, retry_of, step_count, created_at, deadline)
     SELECT r.id, r.project, r.display_name, r.labels, r.created_by, r.retry_of, r.step_count, {at}, r.deadline
     FROM {rows} {live}",
);

pub(crate) static ENDED: Fragment = Fragment::new(
    Part::TasksEnded,
    &[("task", Id), ("state", Int), ("stop_code", Text)],
    "INSERT INTO task_end (task, state, stop_code, ended_at)
     SELECT r.task, r.state, r.stop_code, {at} FROM {rows} {live}",
);

/// Most rows that one call looks at.
const LOOKED_AT: u32 = 10_000;

/// Where looking ends: the last of so many rows.
static FLOOR: Stmt = Stmt::new(
    "tasks.floor",
    "SELECT id FROM task WHERE project = $1 AND id < $2 ORDER BY id DESC LIMIT 1 OFFSET $3",
);

/// By scalar subqueries, not joins: each row of a page is a look-up or two, and no
/// table is read as a whole, however little the planner knows. Labels of the
/// filter are a JSON object.
static LIST: Stmt = Stmt::new(
    "tasks.list",
    "SELECT t.id, t.project, t.display_name, t.labels, t.created_by, t.retry_of, t.step_count,
         t.created_at, t.deadline,
         (SELECT e.state FROM task_end e WHERE e.task = t.id) AS state,
         (SELECT e.stop_code FROM task_end e WHERE e.task = t.id) AS stop_code,
         (SELECT e.ended_at FROM task_end e WHERE e.task = t.id) AS ended_at,
         (SELECT s.head FROM stream s WHERE s.id = t.id) AS revision
     FROM task t
     WHERE t.project = $1 AND t.id < $2 AND t.id >= $3
         AND t.created_at >= $4 AND t.created_at < $5
         AND ({?$6::uuid~$6} IS NULL OR t.retry_of = $6)
         AND ({?$7::bigint~$7} IS NULL OR coalesce((SELECT e.state FROM task_end e WHERE e.task = t.id), 1) {in $8 int})
         AND ({?$9::text~$9} IS NULL OR {?t.labels::jsonb @> $9::jsonb~NOT EXISTS (
             SELECT 1 FROM json_each($9) w WHERE NOT EXISTS (
                 SELECT 1 FROM json_each(t.labels) l WHERE l.key = w.key AND l.value = w.value))})
     ORDER BY t.id DESC LIMIT $10",
);

pub(crate) static ALL: &[&Stmt] = &[&FLOOR, &LIST];

pub(crate) fn add<'a>(changes: &mut Changes<'a>, item: i64, net: &Net<'a>) {
    for (task, change) in &net.tasks {
        let id = task.as_uuid();
        if let Some(opened) = change.opened {
            changes.push(
                Part::TasksOpened,
                item,
                [
                    Cell::Uuid(id),
                    Cell::Uuid(opened.project.as_uuid()),
                    Cell::text(&opened.display_name),
                    Cell::Text(labels_to_json(&opened.labels).into()),
                    Cell::text(&opened.created_by),
                    opened.retry_of.map_or(Cell::Null, |task| Cell::Uuid(task.as_uuid())),
                    Cell::Int(i64::from(opened.step_count)),
                    Cell::Int(opened.deadline.as_micros()),
                ],
            );
        }
        if let Some((state, stop_code)) = change.ended {
            let state = Cell::Int(i64::from(state.code()));
            changes.push(Part::TasksEnded, item, [Cell::Uuid(id), state, Cell::text(stop_code)]);
        }
    }
}

pub(crate) async fn list(
    db: &Db,
    project: ProjectId,
    filter: &TaskFilter,
    before: Option<TaskId>,
    limit: u32,
) -> Result<(Vec<TaskRow>, Option<TaskId>)> {
    let before = before.map_or(Uuid::max(), TaskId::as_uuid);
    // Found first, so that tasks created meanwhile cannot push it upwards.
    let floor = if *filter == TaskFilter::default() { None } else { floor(db, project, before).await? };
    let args = vec![
        Arg::Uuid(project.as_uuid()),
        Arg::Uuid(before),
        Arg::Uuid(floor.unwrap_or(Uuid::nil())),
        Arg::Int(filter.created_after.map_or(i64::MIN, Timestamp::as_micros)),
        Arg::Int(filter.created_before.map_or(i64::MAX, Timestamp::as_micros)),
        Arg::OptUuid(filter.retry_of.map(TaskId::as_uuid)),
        Arg::OptInt((!filter.states.is_empty()).then_some(1)),
        Arg::Ints(filter.states.iter().map(|state| i64::from(state.code())).collect()),
        Arg::OptText((!filter.labels.is_empty()).then(|| labels_to_json(&filter.labels))),
        // One more than wanted tells whether there is more.
        Arg::Int(i64::from(limit) + 1),
    ];
    let rows = db.read(&LIST, args).await?;
    let mut tasks = rows.iter().map(task_row).collect::<Result<Vec<_>>>()?;
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    if tasks.len() <= wanted {
        return Ok((tasks, floor.map(TaskId::from_uuid)));
    }
    tasks.truncate(wanted);
    let next = tasks.last().map(|task| task.task);
    Ok((tasks, next))
}

async fn floor(db: &Db, project: ProjectId, before: Uuid) -> Result<Option<Uuid>> {
    let args = vec![Arg::Uuid(project.as_uuid()), Arg::Uuid(before), Arg::Int(i64::from(LOOKED_AT) - 1)];
    let rows = db.read(&FLOOR, args).await?;
    rows.first().map(|row| Reader::new(row, "task").uuid("id")).transpose()
}

fn task_row(row: &Row) -> Result<TaskRow> {
    let mut row = Reader::new(row, "task");
    let task = TaskId::from_uuid(row.uuid("id")?);
    let project = ProjectId::from_uuid(row.uuid("project")?);
    let display_name = row.text("display_name")?;
    let labels = row.json("labels")?;
    let created_by = row.text("created_by")?;
    let retry_of = row.opt_uuid("retry_of")?.map(TaskId::from_uuid);
    let step_count = row.count("step_count")?;
    let created_at = Timestamp::from_micros(row.int("created_at")?);
    let deadline = Timestamp::from_micros(row.int("deadline")?);
    let state = match row.opt_int("state")? {
        None => State::Running,
        Some(code) => i16::try_from(code)
            .ok()
            .and_then(State::from_code)
            .ok_or_else(|| row.corrupt("state", format!("{code} is no state")))?,
    };
    let stop_code = row.opt_text("stop_code")?;
    let ended_at = row.opt_int("ended_at")?.map(Timestamp::from_micros);
    // A task is listed by the commit that opens its stream.
    let revision = row.count("revision")?;
    Ok(TaskRow {
        task,
        project,
        display_name,
        labels,
        state,
        stop_code,
        created_by,
        retry_of,
        step_count,
        created_at,
        deadline,
        ended_at,
        revision,
    })
}

fn labels_to_json(labels: &BTreeMap<String, String>) -> String {
    // A map of texts can always be written.
    serde_json::to_string(labels).unwrap_or_default()
}
