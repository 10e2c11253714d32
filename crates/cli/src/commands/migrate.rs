//! `quarterdeck migrate ..`: works on the database itself, without a server.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::connect::Globals;
use crate::database::{self, Schema, Source};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// The commands of this group.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Compare the database's schema with the one this version needs. Exit code 1 unless equal.
    Status(Target),
    /// Bring the schema up to date. Replicas of the version before may go on meanwhile.
    Up(Target),
}

/// Which database.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// PostgreSQL (`postgres://..`) or SQLite (`sqlite://path`).
    #[arg(long, env = "QUARTERDECK_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// File that holds the URL.
    #[arg(long, env = "QUARTERDECK_DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
    /// Data directory of `quarterdeck dev`.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Target {
    fn source(&self) -> Result<Source, Failure> {
        Source::from_flags(&self.database_url, &self.database_url_file, &self.data)
    }
}

/// Runs a command of this group.
pub async fn run(command: &Command, globals: &Globals) -> Result<ExitCode, Failure> {
    let (source, schema) = match command {
        Command::Status(target) => {
            let source = target.source()?;
            let schema = database::schema(&source).await?;
            (source, schema)
        }
        Command::Up(target) => {
            let source = target.source()?;
            let schema = database::migrate(&source).await?;
            (source, schema)
        }
    };
    show(&source, &schema, globals.output)?;
    if schema.is_current() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(verdict(&schema).at(source.redacted()))
}

fn show(source: &Source, schema: &Schema, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::json(&json!({
            "database": source.redacted(),
            "found": schema.found,
            "needed": schema.needed,
            "current": schema.is_current(),
        })),
        Format::Table => {
            let found = schema.found.map_or("none".to_owned(), |version| version.to_string());
            let rows =
                vec![vec![source.redacted(), found, schema.needed.to_string(), schema.words().to_owned()]];
            output::emit(&output::table(&["DATABASE", "SCHEMA", "NEEDED", "STATE"], rows))
        }
    }
}

/// What to do about a schema that does not fit.
fn verdict(schema: &Schema) -> Failure {
    if schema.is_newer() {
        Failure::new(Exit::Refused, "the database was migrated by a newer version of Quarterdeck")
            .fix("run that version, or restore a backup from before")
    } else {
        Failure::new(Exit::Refused, "the database's schema is not up to date").fix("quarterdeck migrate up")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_and_newer_schemas_get_different_advice() {
        let with = |found| Schema { found, needed: 3 };
        assert!(with(Some(3)).is_current());
        assert!(verdict(&with(Some(4))).what.contains("newer"));
        assert!(verdict(&with(Some(2))).fix[0].contains("migrate up"));
        assert!(verdict(&with(None)).fix[0].contains("migrate up"));
    }
}
