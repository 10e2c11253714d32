//! Rules of the tree that neither the compiler nor clippy knows. Each module
//! holds one kind of rule and returns its findings as lines of text.

mod crates;
mod files;
mod reasons;
mod source;

use std::path::Path;

use anyhow::{Result, bail};

/// Checks every rule and fails with all findings at once.
pub fn run(root: &Path) -> Result<()> {
    let files = files::all(root)?;
    let mut findings = files::check(&files);
    findings.extend(source::check(&files));
    findings.extend(crates::check(root)?);
    findings.extend(reasons::check(root)?);
    if findings.is_empty() {
        println!("tidy: {} files are fine", files.len());
        return Ok(());
    }
    bail!("the tree is not tidy:\n  {}", findings.join("\n  "))
}
