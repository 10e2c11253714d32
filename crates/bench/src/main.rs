//! `quarterdeck-bench`: load against a real server, with raw figures as JSON.
//!
//! - [`scenario`]: one file a scenario; what is measured and how
//! - [`cluster`], [`server`], [`postgres`]: the processes that are measured
//! - [`connect`], [`load`], [`agents`], [`flights`]: the load generator
//! - [`ceiling`], [`disk`]: what the machine could do at best
//! - [`report`]: what is printed
//!
//! Invariants: the server and the database are processes of their own, reached
//! over loopback; data is on the disk that is named; every phase is bounded in
//! time; processes and files that a run made are gone when it ends; a figure is
//! never printed without the number of errors beside it.

mod account;
mod agents;
mod arguments;
mod ceiling;
mod child;
mod clock;
mod cluster;
mod connect;
mod cpu;
mod data;
mod disk;
mod flights;
mod load;
mod metrics;
mod postgres;
mod problems;
mod report;
mod scenario;
mod server;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quarterdeck-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> Result<()> {
    match arguments.command {
        // No runtime: it forks, waits and stops.
        Command::Postgres(arguments) => postgres::keep(&arguments.data),
        Command::Server(arguments) => runtime()?.block_on(server::run(arguments)),
        Command::Lifecycle(arguments) => {
            let runtime = runtime()?;
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    stopped = asked_to_stop() => stopped,
                    done = scenario::lifecycle::run(arguments) => done,
                }
            })
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Ends the run by an error, so that everything it holds is dropped in order.
async fn asked_to_stop() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}
