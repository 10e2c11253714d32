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
    match command {
        Command::Status(target) => {
            let source = target.source()?;
            let schema = database::schema(&source).await?;
            show(&source, &schema, globals.format)?;
            for migration in &schema.pending {
                output::say(&format!("missing: {migration}"));
            }
            if schema.is_current() {
                return Ok(ExitCode::SUCCESS);
            }
            Err(Failure::new(Exit::Refused, "the database's schema is not up to date")
                .at(source.redacted())
                .fix("quarterdeck migrate up, with the same flags"))
        }
        Command::Up(target) => {
            let source = target.source()?;
            let (schema, applied) = database::migrate(&source).await?;
            for migration in &applied {
                output::say(&format!("applied: {migration}"));
            }
            show(&source, &schema, globals.format)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn show(source: &Source, schema: &Schema, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::json(&json!({
            "database": source.redacted(),
            "schema": schema.found,
            "needed": schema.needed,
            "pending": schema.pending,
        })),
        Format::Table => {
            let row =
                vec![source.redacted(), schema.found.to_string(), schema.needed.to_string(), schema.words()];
            output::emit(&output::table(&["DATABASE", "SCHEMA", "NEEDED", "STATE"], vec![row]))
        }
    }
}
