//! Three dependent steps: what it costs to go from one step to the next. The same
//! measurement as `lifecycle`, with longer tasks.

use anyhow::Result;
use clap::Args;

use super::lifecycle::{self, Lifecycle};
use crate::arguments::Place;

#[derive(Clone, Debug, Args)]
pub struct Chain {
    #[command(flatten)]
    place: Place,
    /// Tasks under way at any time.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    concurrency: u32,
    /// Length of the measured window.
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Steps of each task, each after the one before.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    steps: u32,
    /// Seconds of load before the window.
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=600))]
    warmup: u32,
}

/// Runs it and prints the figures.
///
/// # Errors
/// As `lifecycle`.
pub async fn run(arguments: Chain) -> Result<()> {
    let Chain { place, concurrency, seconds, steps, warmup } = arguments;
    let load = Lifecycle { place, concurrency, seconds, steps, warmup, no_request_ids: false };
    lifecycle::named("chain", &load).await
}
