//! Whether every statement fits the database's schema, for `doctor` and tests.

use super::db::Db;
use super::registry::{FRAGMENTS, statements};
use super::store::SqlStore;
use super::template::Dialect;
use super::{ruling, schema};
use crate::error::StoreError;
use crate::port::Result;

impl SqlStore {
    /// Has the database prepare every statement there is. How many; the first
    /// that does not fit is a `Schema` error.
    pub async fn check_statements(&self) -> Result<usize> {
        let dialect = self.db().dialect();
        let mut texts: Vec<(String, &'static str)> =
            statements().map(|stmt| (stmt.name.to_owned(), stmt.sql(dialect))).collect();
        match self.db() {
            Db::Postgres(db) => texts.push(("commit".to_owned(), db.whole_commit())),
            Db::Sqlite(_) => {
                let own = [&ruling::HEADS, &schema::META, &schema::ADVANCE_META];
                texts.extend(own.map(|stmt| (stmt.name.to_owned(), stmt.sql(Dialect::Sqlite))));
                texts.extend(FRAGMENTS.map(|part| (format!("commit.{:?}", part.part), part.sqlite())));
            }
        }
        for (name, sql) in &texts {
            self.db().prepare(sql).await.map_err(|failure| match failure.of_read() {
                StoreError::Unavailable(why) => StoreError::Unavailable(why),
                error => StoreError::Schema(format!("{name} cannot be prepared: {error}")),
            })?;
        }
        Ok(texts.len())
    }
}
