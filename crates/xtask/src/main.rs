//! Commands for developers: `cargo xtask <command>`.

mod check;
mod surface;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks and generators of the repository.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes proto/surface.txt, the text of the whole API.
    Surface,
    /// Fails if proto/surface.txt is not what `surface` would write.
    CheckSurface,
    /// Fails where the tree breaks a rule of its own; see crates/xtask/src/tidy.
    Tidy,
    /// fmt, clippy, tests, tidy and the surface in one command.
    Check,
}

fn main() -> ExitCode {
    let root = root();
    let done = match Arguments::parse().command {
        Command::Surface => surface::write(&root),
        Command::CheckSurface => surface::check(&root),
        Command::Tidy => tidy::run(&root),
        Command::Check => check::run(&root),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}
