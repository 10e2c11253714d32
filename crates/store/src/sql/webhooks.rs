//! How far webhooks have been told.
//!
//! Invariant: `due` only moves in updates that name what it was, so that of several
//! replicas one has a webhook at a time, for as long as it took it.

use async_trait::async_trait;
use quarterdeck_core::{ProjectId, Span, Timestamp, WebhookId};

use super::changes::{Changes, Net};
use super::db::Row;
use super::stmt::{Fragment, Part, Stmt};
use super::store::SqlStore;
use super::template::Type::Uuid as Id;
use super::value::{Arg, Cell, Reader};
use crate::port::{Result, Webhooks};
use crate::rows::{AuditPlace, WebhookRow};

pub(crate) static REMOVED: Fragment = Fragment::new(
    Part::WebhooksRemoved,
    &[("id", Id)],
    "DELETE FROM webhook WHERE id {any}SELECT r.id FROM {rows} {live}{end}",
);

/// It begins behind the commit that adds it.
pub(crate) static ADDED: Fragment = Fragment::new(
    Part::WebhooksAdded,
    &[("id", Id), ("project", Id)],
    "INSERT INTO webhook (id, project, position, n, passed_at, failures, due, last_error)
     SELECT r.id, r.project, {position}, 9223372036854775807, {at}, 0, {at}, '' FROM {rows} {live}
     ON CONFLICT (id) DO NOTHING",
);

/// The columns of a webhook, in the order in which they are read.
macro_rules! webhook_columns {
    () => {
        "id, project, position, n, passed_at, failures, due, last_error, delivered_at"
    };
}

static OF_PROJECT: Stmt = Stmt::new(
    "webhooks.of_project",
    concat!("SELECT ", webhook_columns!(), " FROM webhook WHERE project = $1 ORDER BY id LIMIT $2"),
);

/// A subquery for one value: as a join it would be planned over the whole audit.
static DUE: Stmt = Stmt::new(
    "webhooks.due",
    concat!(
        "SELECT ",
        webhook_columns!(),
        " FROM webhook w WHERE w.due <= {now} AND (
             SELECT a.position FROM audit a
             WHERE a.project = w.project AND (a.position, a.n) > (w.position, w.n)
             ORDER BY a.position, a.n LIMIT 1) IS NOT NULL
         ORDER BY w.due LIMIT $1"
    ),
);

static CLAIM: Stmt = Stmt::new(
    "webhooks.claim",
    concat!(
        "UPDATE webhook SET due = {now} + $3 WHERE id = $1 AND due = $2 AND due <= {now} RETURNING ",
        webhook_columns!()
    ),
);

static SETTLE: Stmt = Stmt::new(
    "webhooks.settle",
    "UPDATE webhook SET position = $3, n = $4, passed_at = $5, failures = $6, last_error = $7,
         delivered_at = $8, due = {now} + $9
     WHERE id = $1 AND due = $2 RETURNING due",
);

pub(crate) static ALL: &[&Stmt] = &[&OF_PROJECT, &DUE, &CLAIM, &SETTLE];

pub(crate) fn add<'a>(changes: &mut Changes<'a>, item: i64, net: &Net<'a>) {
    for (webhook, project) in &net.webhooks {
        let id = Cell::Uuid(webhook.as_uuid());
        match project {
            Some(project) => {
                changes.push(Part::WebhooksAdded, item, [id, Cell::Uuid(project.as_uuid())]);
            }
            None => changes.push(Part::WebhooksRemoved, item, [id]),
        }
    }
}

fn webhook(row: &Row) -> Result<WebhookRow> {
    let mut row = Reader::new(row, "webhook");
    Ok(WebhookRow {
        webhook: WebhookId::from_uuid(row.uuid("id")?),
        project: ProjectId::from_uuid(row.uuid("project")?),
        passed: AuditPlace { position: row.int("position")?, n: row.int("n")? },
        passed_at: Timestamp::from_micros(row.int("passed_at")?),
        failures: row.count("failures")?,
        due: Timestamp::from_micros(row.int("due")?),
        last_error: row.text("last_error")?,
        delivered_at: row.opt_int("delivered_at")?.map(Timestamp::from_micros),
    })
}

#[async_trait]
impl Webhooks for SqlStore {
    async fn webhooks_of(&self, project: ProjectId, limit: u32) -> Result<Vec<WebhookRow>> {
        let args = vec![Arg::Uuid(project.as_uuid()), Arg::Int(limit.into())];
        self.db().read(&OF_PROJECT, args).await?.iter().map(webhook).collect()
    }

    async fn due_webhooks(&self, limit: u32) -> Result<Vec<WebhookRow>> {
        self.db().read(&DUE, vec![Arg::Int(limit.into())]).await?.iter().map(webhook).collect()
    }

    async fn claim_webhook(&self, id: WebhookId, seen: Timestamp, lease: Span) -> Result<Option<WebhookRow>> {
        let args = vec![Arg::Uuid(id.as_uuid()), Arg::Int(seen.as_micros()), Arg::Int(lease.as_micros())];
        self.db().write(&CLAIM, args).await?.first().map(webhook).transpose()
    }

    async fn settle_webhook(&self, row: &WebhookRow, after: Span) -> Result<Option<Timestamp>> {
        let args = vec![
            Arg::Uuid(row.webhook.as_uuid()),
            Arg::Int(row.due.as_micros()),
            Arg::Int(row.passed.position),
            Arg::Int(row.passed.n),
            Arg::Int(row.passed_at.as_micros()),
            Arg::Int(row.failures.into()),
            Arg::Text(row.last_error.clone()),
            Arg::OptInt(row.delivered_at.map(Timestamp::as_micros)),
            Arg::Int(after.as_micros()),
        ];
        let rows = self.db().write(&SETTLE, args).await?;
        let due = rows.first().map(|row| Reader::new(row, "webhook").int("due")).transpose()?;
        Ok(due.map(Timestamp::from_micros))
    }
}
