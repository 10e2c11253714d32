//! The `quarterdeck` executable: where it is, and running its short commands.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::postgres::environment;

const COMMAND: Duration = Duration::from_secs(60);
/// A build from nothing on a slow machine.
const BUILD: Duration = Duration::from_secs(30 * 60);

static BUILT: OnceCell<PathBuf> = OnceCell::const_new();

/// Path of the executable to test: QUARTERDECK_TEST_BINARY where it is set
/// (scripts/test builds first and sets it), otherwise that of this build
/// directory, brought up to date by cargo once a process.
///
/// # Errors
/// When it does not compile.
pub async fn binary() -> Result<&'static Path> {
    BUILT.get_or_try_init(find_or_build).await.map(PathBuf::as_path)
}

async fn find_or_build() -> Result<PathBuf> {
    if let Some(path) = environment("QUARTERDECK_TEST_BINARY") {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("QUARTERDECK_TEST_BINARY names {}, which is not there", path.display());
        }
        return Ok(path);
    }
    let cargo = environment("CARGO").unwrap_or_else(|| "cargo".into());
    let building = Command::new(cargo)
        .args(["build", "--quiet", "--package", "quarterdeck-cli"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let built = tokio::time::timeout(BUILD, building)
        .await
        .map_err(|_| anyhow!("quarterdeck-cli was not built within {BUILD:?}"))??;
    if !built.status.success() {
        bail!("quarterdeck-cli does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    }
    // A test is <target>/debug/deps/<name>, a program <target>/debug/<name>; both
    // have <target>/debug/quarterdeck.
    let this = std::env::current_exe()?;
    let mut above = this.ancestors().skip(1).take(2);
    let path = above.find_map(|directory| Some(directory.join("quarterdeck")).filter(|path| path.is_file()));
    path.with_context(|| format!("no quarterdeck beside {}", this.display()))
}

/// Runs `quarterdeck <arguments>` to its end and returns its output, whatever
/// its exit code. It sees no QUARTERDECK_ variable but those given.
///
/// # Errors
/// When it cannot be run, or takes longer than a minute.
pub async fn cli<I, S>(arguments: I, variables: &[(&str, &str)]) -> Result<Output>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(binary().await?);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for name in own_variables() {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    let running = command.output();
    tokio::time::timeout(COMMAND, running)
        .await
        .map_err(|_| anyhow!("quarterdeck did not end within {COMMAND:?}"))?
        .context("quarterdeck cannot be run")
}

/// Variables of the developer's shell that would change what is tested.
pub(crate) fn own_variables() -> Vec<std::ffi::OsString> {
    std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.to_string_lossy().starts_with("QUARTERDECK_"))
        .collect()
}
