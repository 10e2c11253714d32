//! The binary `quarterdeck`: servers, the demo, and commands for people and scripts.
//!
//! Calls go through the Rust client like everybody else's; only `serve`, `dev`, `demo`,
//! `migrate` and `doctor` know that there is a server or a database in here.

mod approval;
mod board;
mod cli;
mod clock;
mod commands;
mod connect;
mod database;
mod demo;
mod doctor;
mod edit;
mod failure;
#[cfg(feature = "inbox")]
mod inbox;
mod output;
mod plan_file;
mod startup;
mod tracker;
mod values;

use std::process::ExitCode;

use clap::Parser as _;

/// A quarter of the processor time under load went into the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// Mistakes that can be planted for the simulator never get into the product.
const _: () = assert!(!quarterdeck_core::canary::POSSIBLE);

fn main() -> ExitCode {
    quarterdeck_server::install_crypto();
    commands::run(cli::Cli::parse())
}
