//! `quarterdeck doctor`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::clock;
use crate::connect::{Globals, read_line};
use crate::database::Source;
use crate::doctor::{self, Finding, State};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// Examines this machine, the server and what it needs, and says how to fix what is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 1 if a check fails; warnings are no failure.")]
pub struct Args {
    /// Examine this database too.
    #[arg(long, env = "QUARTERDECK_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// File that holds its URL.
    #[arg(long, env = "QUARTERDECK_DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
    /// Examine this Redis too.
    #[arg(long, env = "QUARTERDECK_REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<String>,
    /// File that holds its URL.
    #[arg(long, env = "QUARTERDECK_REDIS_URL_FILE", value_name = "FILE")]
    redis_url_file: Option<PathBuf>,
    /// Secret file that `serve` would be given.
    #[arg(long, env = "QUARTERDECK_BOOTSTRAP_SECRET_FILE", value_name = "FILE")]
    bootstrap_secret_file: Option<PathBuf>,
    /// Data directory of `quarterdeck dev`.
    #[arg(long, env = "QUARTERDECK_DATA", default_value = ".quarterdeck", value_name = "DIR")]
    data: PathBuf,
}

/// Runs the command.
pub async fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    let mut findings = vec![
        doctor::build(),
        doctor::settings(globals.api_key.is_some(), globals.api_key_file.is_some()),
        doctor::clock(clock::now()),
        doctor::open_files(),
        doctor::data_directory(&args.data),
    ];
    let files = [
        ("--api-key-file", &globals.api_key_file),
        ("--bootstrap-secret-file", &args.bootstrap_secret_file),
        ("--database-url-file", &args.database_url_file),
        ("--redis-url-file", &args.redis_url_file),
    ];
    for (flag, path) in files {
        findings.extend(path.as_ref().map(|path| doctor::secret_file(flag, path)));
    }
    findings.extend(doctor::server(globals).await);
    let named = args.database_url.is_some() || args.database_url_file.is_some();
    let source = match named.then(|| Source::from_flags(&args.database_url, &args.database_url_file, &None)) {
        None => None,
        Some(Ok(source)) => Some(source),
        Some(Err(failure)) => {
            findings.push(Finding::fail("database", failure.what, failure.fix.join("; or ")));
            None
        }
    };
    findings.extend(doctor::database(source.as_ref(), clock::now).await);
    let redis_url = match &args.redis_url_file {
        Some(path) => read_line(path, "--redis-url-file").ok(),
        None => args.redis_url.clone(),
    };
    findings.push(doctor::redis(redis_url.as_deref()).await);
    report(&findings, globals.format)
}

fn report(findings: &[Finding], format: Format) -> Result<ExitCode, Failure> {
    let count = |state: State| findings.iter().filter(|finding| finding.state == state).count();
    let (failed, warned) = (count(State::Fail), count(State::Warn));
    match format {
        Format::Json => {
            let all: Vec<Value> = findings.iter().map(Finding::json).collect();
            output::json(&json!({"checks": all, "failed": failed, "warnings": warned}))?;
        }
        Format::Table => {
            let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
            for finding in findings {
                output::emit(&format!(
                    "{:4}  {:width$}  {}",
                    finding.state.word(),
                    finding.check,
                    finding.found
                ))?;
                if !finding.fix.is_empty() {
                    output::emit(&format!("{:4}  {:width$}  fix: {}", "", "", finding.fix))?;
                }
            }
        }
    }
    if failed == 0 {
        output::say(&format!("{} checks: none failed, {warned} to look at", findings.len()));
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(
        Exit::Refused,
        format!("{} checks: {failed} failed, {warned} to look at", findings.len()),
    ))
}
