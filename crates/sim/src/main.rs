//! Runs seeds and says which of them broke a promise.

use std::process::ExitCode;

use clap::Parser as _;

mod args;
mod shares;

use args::Args;

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if let Some(share) = args.share {
        shares::work(&args, share)?;
        return Ok(ExitCode::SUCCESS);
    }
    match args.seed {
        Some(seed) => shares::one(&args, seed),
        None => shares::all(&args),
    }
}
