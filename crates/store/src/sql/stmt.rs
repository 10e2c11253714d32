//! Statements: texts with a name, expanded once per dialect.

use std::sync::OnceLock;

use super::template::{Dialect, Type, expand, rows};

/// A statement outside the commit.
pub(crate) struct Stmt {
    /// `area.what`, as tests and errors name it.
    pub name: &'static str,
    text: &'static str,
    /// Columns of `{rows}`, if the text has it: always the only parameters.
    columns: &'static [(&'static str, Type)],
    postgres: OnceLock<String>,
    sqlite: OnceLock<String>,
}

impl Stmt {
    pub const fn new(name: &'static str, text: &'static str) -> Self {
        Self::over(name, &[], text)
    }

    /// A statement over rows with these columns beside `item`.
    pub const fn over(
        name: &'static str,
        columns: &'static [(&'static str, Type)],
        text: &'static str,
    ) -> Self {
        Self { name, text, columns, postgres: OnceLock::new(), sqlite: OnceLock::new() }
    }

    pub fn sql(&'static self, dialect: Dialect) -> &'static str {
        let (cell, first) = match dialect {
            Dialect::Postgres => (&self.postgres, 1),
            Dialect::Sqlite => (&self.sqlite, 1),
        };
        cell.get_or_init(|| {
            let text = self.text.replace("{rows}", &rows(dialect, self.columns, first));
            expand(dialect, &text)
        })
    }

    /// True where the store's clock is one more parameter on SQLite.
    pub fn wants_now(&self) -> bool {
        self.text.contains("{now}")
    }

    pub fn columns(&self) -> &'static [(&'static str, Type)] {
        self.columns
    }
}

/// One area's part of the commit: what happens to the rows handed to it.
pub(crate) struct Fragment {
    pub part: Part,
    /// Columns beside `item`, which comes first.
    pub columns: &'static [(&'static str, Type)],
    text: &'static str,
}

/// The parts of a commit, in the order in which SQLite carries them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Opened,
    Advanced,
    Events,
    Payloads,
    Requests,
    TasksOpened,
    TasksEnded,
    ReadyRemoved,
    ReadyAdded,
    LeasesRemoved,
    LeasesPut,
    TimersCleared,
    TimersSet,
    Projects,
    Keys,
    ApprovalsOpened,
    ApprovalsPut,
    GatesRemoved,
    GatesPut,
    Audit,
    WebhooksRemoved,
    WebhooksAdded,
}

impl Fragment {
    pub const fn new(part: Part, columns: &'static [(&'static str, Type)], text: &'static str) -> Self {
        Self { part, columns, text }
    }

    /// As part of the commit, with the parameters of its rows counted from `first`.
    pub fn expanded(&self, dialect: Dialect, first: usize) -> String {
        expand(dialect, &self.text.replace("{rows}", &rows(dialect, self.columns, first)))
    }
}
