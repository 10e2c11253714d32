//! Whether every statement fits the database's schema, for `doctor` and tests.

use super::db::Db;
use super::registry::statements;
use super::ruling;
use super::store::SqlStore;
use super::template::Dialect;
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
            Db::Sqlite(db) => {
                texts.push((ruling::LOOK.name.to_owned(), ruling::LOOK.sql(Dialect::Sqlite)));
                texts.push(("commit".to_owned(), db.writes().of(u32::MAX)));
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
