//! Everything a change has to pass before review, short of the private servers
//! and the contract's linter, which `scripts/test` has.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{surface, tidy};

pub fn run(root: &Path) -> Result<()> {
    cargo(root, &["fmt", "--all", "--check"])?;
    tidy::run(root)?;
    surface::check(root)?;
    cargo(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    cargo(root, &["test", "--workspace"])
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    println!("==> cargo {}", arguments.join(" "));
    let status =
        Command::new("cargo").args(arguments).current_dir(root).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(())
}
