//! `quarterdeck-bench`: load against a real server, with raw figures as JSON.
//!
//! - [`scenario`]: one file a scenario; what is measured and how
//! - [`bed`], [`cluster`], [`server`], [`postgres`], [`redis`]: the processes that are measured
//! - [`connect`], [`load`], [`agents`], [`flights`], [`watchers`]: the load generator
//! - [`phase`]: one stretch of load, looked at from outside
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
mod bed;
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
mod memory;
mod metrics;
mod phase;
mod postgres;
mod problems;
mod redis;
mod report;
mod scenario;
mod server;
mod statistics;
mod watchers;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, Command};

/// The server's own (see `crates/cli`): what is measured must be what is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
        Command::Redis => runtime()?.block_on(redis::keep()),
        Command::Lifecycle(arguments) => run(scenario::lifecycle::run(arguments)),
        Command::Chain(arguments) => run(scenario::chain::run(arguments)),
        Command::Latency(arguments) => run(scenario::latency::run(arguments)),
        Command::Idle(arguments) => run(scenario::idle::run(arguments)),
        Command::Watch(arguments) => run(scenario::watch::run(arguments)),
        Command::Backlog(arguments) => run(scenario::backlog::run(arguments)),
        Command::Replicas(arguments) => run(scenario::replicas::run(arguments)),
        Command::Grown(arguments) => run(scenario::grown::run(arguments)),
        Command::Plans(arguments) => run(scenario::plans::run(arguments)),
        Command::Sessions(arguments) => run(scenario::sessions::run(arguments)),
        Command::Soak(arguments) => run(scenario::soak::run(arguments)),
        Command::Approve(arguments) => run(scenario::approve::run(arguments)),
        // No runtime: nothing but one thread's own work is timed.
        Command::Assess(arguments) => scenario::assess::run(&arguments),
    }
}

/// A scenario, to its end or until somebody has enough.
fn run(scenario: impl Future<Output = Result<()>>) -> Result<()> {
    runtime()?.block_on(async {
        tokio::select! {
            biased;
            stopped = asked_to_stop() => stopped,
            done = scenario => done,
        }
    })
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
