//! The command line: the commands, and what every scenario is asked. What only one
//! is asked is in its file.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::scenario::{
    approve, assess, backlog, chain, grown, idle, latency, lifecycle, plans, replicas, sessions, soak, watch,
};

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
    Lifecycle(lifecycle::Lifecycle),
    /// The same with three steps a task, each after the one before.
    Chain(chain::Chain),
    /// One task at a time: what it takes, and how many disk syncs that is.
    Latency(latency::Single),
    /// Agents that hold a step each and watchers that wait: what the server uses meanwhile.
    Idle(idle::Idle),
    /// One task with many watchers: from an event's commit until each has it.
    Watch(watch::Watch),
    /// Tasks pile up without agents; then agents come and work them off.
    Backlog(backlog::Backlog),
    /// The same load on one server and on two, on one PostgreSQL.
    Replicas(replicas::Replicas),
    /// How much slower new tasks are where many finished ones are stored.
    Grown(grown::Grown),
    /// What a step costs by the size and shape of its plan.
    Plans(plans::Plans),
    /// What a task costs by the number of agents' sessions.
    Sessions(sessions::Sessions),
    /// Full load for minutes: whether memory grows.
    Soak(soak::Soak),
    /// Agents that ask before they act: how long an answer takes, and how soon a decision is known.
    Approve(approve::Approve),
    /// How long understanding an action takes, and what hostile texts cost at worst.
    Assess(assess::Assess),
    /// The server under test, started by the other commands; ends when its standard input does.
    #[command(hide = true)]
    Server(Server),
    /// A private PostgreSQL, started by the other commands; ends when its standard input does.
    #[command(hide = true)]
    Postgres(Postgres),
    /// A private Redis, started by the other commands; ends when its standard input does.
    #[command(hide = true)]
    Redis,
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
pub struct Server {
    #[arg(long, value_enum)]
    pub store: StoreKind,
    /// Directory of the SQLite file.
    #[arg(long)]
    pub data: PathBuf,
    // Not an argument: process lists show those.
    #[arg(long, env = "QUARTERDECK_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    #[arg(long, env = "QUARTERDECK_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Bootstrap secret, the same for all servers of a run.
    #[arg(long, env = "QUARTERDECK_BENCH_SECRET", hide_env_values = true)]
    pub secret: String,
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
