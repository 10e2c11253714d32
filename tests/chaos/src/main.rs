//! Runs chaos for a while and says what was broken.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use quarterdeck_chaos::plan::plan;
use quarterdeck_chaos::{Setup, run};
use tokio::signal::unix::{SignalKind, signal};

/// Three replicas, real agents and clients, and everything that goes wrong.
#[derive(Parser)]
struct Args {
    /// How long trouble goes on.
    #[arg(long, default_value_t = 4.0)]
    minutes: f64,
    /// Decides what happens to whom, and when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the record and the logs are kept if anything is wrong.
    #[arg(long, default_value = "target/chaos", value_name = "DIRECTORY")]
    keep: PathBuf,
    /// Only print what would happen.
    #[arg(long)]
    plan: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let length = Duration::try_from_secs_f64(args.minutes * 60.0)?;
    for strike in plan(args.seed, length) {
        println!("{strike}");
    }
    if args.plan {
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let setup = Setup { seed: args.seed, length, keep: args.keep };
    let result = runtime.block_on(until_told(&setup));
    // Whatever still runs is ended by being dropped.
    runtime.shutdown_timeout(Duration::from_secs(30));
    result
}

/// Runs to the end, or until a signal; then everything that was started ends.
async fn until_told(setup: &Setup) -> Result<ExitCode> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let report = tokio::select! {
        biased;
        _ = terminate.recv() => return Ok(ExitCode::from(143)),
        _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        report = Box::pin(run(setup)) => report?,
    };
    for violation in &report.violations {
        println!("VIOLATION {violation}");
    }
    for void in &report.void {
        println!("VOID {void}");
    }
    println!("seed {} {report}", setup.seed);
    if let Some(kept) = &report.kept {
        println!("the record and the replicas' logs are in {}", kept.display());
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
