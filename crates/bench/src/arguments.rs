//! The command line, and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// Load against a real Quarterdeck server on this machine.
#[derive(Debug, Parser)]
#[command(name = "quarterdeck-bench", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Creates tasks, lets agents do them, and measures from request to acknowledged completion.
    Lifecycle(Lifecycle),
    /// The server under test, started by the other commands; ends when its standard input does.
    #[command(hide = true)]
    Server(Server),
    /// A private PostgreSQL, started by the other commands; ends when its standard input does.
    #[command(hide = true)]
    Postgres(Postgres),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    Sqlite,
    Postgres,
}

/// What every scenario is asked: where to store, and how to print.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// Database under the server.
    #[arg(long, value_enum)]
    pub store: StoreKind,
    /// PostgreSQL database to fill; what a run writes stays in it. Without it a private server is started and removed.
    #[arg(long, env = "QUARTERDECK_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Directory on the disk to measure; a subdirectory is made in it and removed [default: target/bench]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print one line of JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Debug, Args)]
pub struct Lifecycle {
    #[command(flatten)]
    pub place: Place,
    /// Tasks under way at any time.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub concurrency: u32,
    /// Length of the measured window.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub seconds: u32,
    /// Steps of each task, each after the one before.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub steps: u32,
    /// Seconds of load before the window.
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=600))]
    pub warmup: u32,
    /// Create tasks without a request id; the official clients always send one.
    #[arg(long)]
    pub no_request_ids: bool,
}

impl Lifecycle {
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    pub fn warmup(&self) -> Duration {
        Duration::from_secs(self.warmup.into())
    }

    /// Time for one sample of a ceiling: short runs keep to short samples.
    pub fn sample(&self) -> Duration {
        (self.window() / 10).clamp(Duration::from_millis(100), Duration::from_millis(1_000))
    }
}

#[derive(Clone, Debug, Args)]
pub struct Server {
    #[arg(long, value_enum)]
    pub store: StoreKind,
    /// Directory of the SQLite file.
    #[arg(long)]
    pub data: PathBuf,
    // Not an argument: process lists show those.
    #[arg(long, env = "QUARTERDECK_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub struct Postgres {
    /// Directory to make the cluster in; must belong to the account that it runs as.
    #[arg(long)]
    pub data: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn load_is_bounded() {
        for bad in
            [["--concurrency", "0"], ["--concurrency", "5000"], ["--steps", "1001"], ["--seconds", "0"]]
        {
            let words = ["bench", "lifecycle", "--store", "sqlite"].into_iter().chain(bad);
            assert!(Arguments::try_parse_from(words).is_err(), "{bad:?}");
        }
    }
}
