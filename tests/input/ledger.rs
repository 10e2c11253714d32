//! Whether anything was written, from the database itself.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

use quarterdeck_harness::Database;

/// Where the database says that it was written to.
pub enum Ledger {
    /// The index of SQLite's write-ahead log.
    Sqlite(PathBuf),
    /// All tables, and a statement that sums their content up.
    Postgres(String),
}

/// Two equal marks: nothing was written in between.
pub type Mark = String;

impl Ledger {
    /// For the database in this file.
    pub fn sqlite(file: &std::path::Path) -> Self {
        let mut index = file.as_os_str().to_owned();
        index.push("-shm");
        Self::Sqlite(PathBuf::from(index))
    }

    /// For this database as it is migrated by now.
    pub async fn postgres(database: &Database) -> Self {
        let tables = "select table_name from information_schema.tables where table_schema = 'public'";
        let tables = database.query(tables).await.unwrap();
        assert!(tables.len() > 5, "the tables of a store: {tables:?}");
        // The sum of the rows' hashes does not depend on their order.
        let sums = tables.iter().map(|table| {
            format!("select '{table}', count(*), sum(hashtextextended(t::text, 0)) from \"{table}\" t")
        });
        Self::Postgres(sums.collect::<Vec<_>>().join(" union all "))
    }

    /// What is written by now.
    pub async fn mark(&self, database: &Database) -> Mark {
        match self {
            Self::Sqlite(index) => {
                // `iChange` of the header: a counter that is incremented with each
                // transaction (https://www.sqlite.org/walformat.html).
                let mut counter = [0; 4];
                File::open(index).unwrap().read_exact_at(&mut counter, 8).unwrap();
                u32::from_ne_bytes(counter).to_string()
            }
            Self::Postgres(sums) => database.query(sums).await.unwrap().join("\n"),
        }
    }

    /// What is written once nothing more is.
    pub async fn settled(&self, database: &Database) -> Mark {
        let mut mark = self.mark(database).await;
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let next = self.mark(database).await;
            if next == mark {
                break;
            }
            mark = next;
        }
        mark
    }
}
