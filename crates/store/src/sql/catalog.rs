//! Projects and API keys, as listed; and the lists themselves.

use async_trait::async_trait;
use quarterdeck_core::{ProjectId, StreamId, TaskId};
use uuid::Uuid;

use super::changes::{Changes, Net};
use super::stmt::{Fragment, Part, Stmt};
use super::store::SqlStore;
use super::tasks;
use super::template::Type::{Int, Text, Uuid as Id};
use super::value::{Arg, Cell, Reader};
use crate::port::{Catalog, Result};
use crate::rows::{ProjectRow, TaskFilter, TaskRow};

pub(crate) static PROJECTS: Fragment = Fragment::new(
    Part::Projects,
    &[("id", Id), ("name", Text), ("revision", Int)],
    "INSERT INTO project (id, name, revision)
     SELECT r.id, r.name, r.revision FROM {rows} {live}
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, revision = excluded.revision",
);

pub(crate) static KEYS: Fragment = Fragment::new(
    Part::Keys,
    &[("id", Id), ("projects", Text), ("revision", Int)],
    "INSERT INTO api_key (id, projects, revision)
     SELECT r.id, r.projects, r.revision FROM {rows} {live}
     ON CONFLICT (id) DO UPDATE SET projects = excluded.projects, revision = excluded.revision",
);

static LIST_PROJECTS: Stmt = Stmt::new(
    "catalog.list_projects",
    "SELECT id, name, revision FROM project WHERE name > $1 ORDER BY name LIMIT $2",
);

static LIST_KEYS: Stmt =
    Stmt::new("catalog.list_keys", "SELECT id FROM api_key WHERE id < $1 ORDER BY id DESC LIMIT $2");

/// Keys that cover nothing but the given projects.
static LIST_KEYS_WITHIN: Stmt = Stmt::new(
    "catalog.list_keys_within",
    "SELECT k.id FROM api_key k WHERE k.id < $1 AND k.projects IS NOT NULL AND NOT EXISTS (
         SELECT 1 FROM {?json_array_elements_text(k.projects::json) AS p(value)~json_each(k.projects) AS p}
         WHERE NOT (p.value {in $3 text}))
     ORDER BY k.id DESC LIMIT $2",
);

pub(crate) static ALL: &[&Stmt] = &[&LIST_PROJECTS, &LIST_KEYS, &LIST_KEYS_WITHIN];

pub(crate) fn add<'a>(changes: &mut Changes<'a>, item: i64, net: &Net<'a>) {
    for (id, project) in &net.projects {
        let cells = [Cell::Uuid(id.as_uuid()), Cell::text(&project.name), Cell::int(project.revision)];
        changes.push(Part::Projects, item, cells);
    }
    for (id, key) in &net.keys {
        let projects = match &key.projects {
            // A list of texts can always be written.
            Some(names) => Cell::Text(serde_json::to_string(names).unwrap_or_default().into()),
            None => Cell::Null,
        };
        changes.push(Part::Keys, item, [Cell::Uuid(id.as_uuid()), projects, Cell::int(key.revision)]);
    }
}

#[async_trait]
impl Catalog for SqlStore {
    async fn list_tasks(
        &self,
        project: ProjectId,
        filter: &TaskFilter,
        before: Option<TaskId>,
        limit: u32,
    ) -> Result<(Vec<TaskRow>, Option<TaskId>)> {
        tasks::list(self.db(), project, filter, before, limit).await
    }

    async fn list_projects(&self, after: Option<&str>, limit: u32) -> Result<Vec<ProjectRow>> {
        // No project's name is empty.
        let args = vec![Arg::Text(after.unwrap_or_default().to_owned()), Arg::Int(limit.into())];
        let rows = self.db().read(&LIST_PROJECTS, args).await?;
        rows.iter()
            .map(|row| {
                let mut row = Reader::new(row, "project");
                Ok(ProjectRow {
                    id: ProjectId::from_uuid(row.uuid("id")?),
                    name: row.text("name")?,
                    revision: row.count("revision")?,
                })
            })
            .collect()
    }

    async fn list_keys(
        &self,
        within: Option<&[String]>,
        before: Option<StreamId>,
        limit: u32,
    ) -> Result<Vec<StreamId>> {
        let before = before.map_or(Uuid::max(), StreamId::as_uuid);
        let mut args = vec![Arg::Uuid(before), Arg::Int(limit.into())];
        let rows = match within {
            None => self.db().read(&LIST_KEYS, args).await?,
            Some(projects) => {
                args.push(Arg::Texts(projects.to_vec()));
                self.db().read(&LIST_KEYS_WITHIN, args).await?
            }
        };
        rows.iter().map(|row| Reader::new(row, "api_key").uuid("id").map(StreamId::from_uuid)).collect()
    }
}
