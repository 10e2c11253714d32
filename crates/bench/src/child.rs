//! Processes of this very program under another subcommand.
//!
//! Invariant: such a process ends when its standard input does, that is, at the
//! latest with the process that started it, however that ends. It says one line
//! of JSON when it is ready.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;

const START: Duration = Duration::from_secs(90);
/// Longer than a server drains and a database checkpoints.
const STOP: Duration = Duration::from_secs(45);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Longest first line.
const LINE_MAX: u64 = 64 * 1024;

#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    /// Starts `name` with `arguments` and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends instead, having said why on standard error, or takes too long.
    pub async fn start<T: DeserializeOwned>(
        name: &'static str,
        arguments: &[&OsStr],
        variables: &[(&str, &str)],
    ) -> Result<(Self, T)> {
        let program = std::env::current_exe().context("this program cannot be found again")?;
        let child = Command::new(program)
            .arg(name)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C at the terminal is for us; we stop it in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start the {name}"))?;
        let mut process = Self { name, child };
        let said = process.child.stdout.take().context("it has no output")?;
        let first = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(said.take(LINE_MAX)).read_line(&mut line).map(|_| line)
        });
        let line = match tokio::time::timeout(START, first).await {
            Ok(line) => line??,
            Err(_) => bail!("the {name} was not ready within {START:?}"),
        };
        if line.is_empty() {
            bail!("the {name} did not start; its reasons are above");
        }
        let ready = serde_json::from_str(&line).with_context(|| format!("the {name} said: {line}"))?;
        Ok((process, ready))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the {} ended during the run ({status}); its reasons are above", self.name),
        }
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let until = clock::now() + STOP;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the {} ended badly: {status}", self.name);
            }
            if clock::now() >= until {
                self.kill();
                bail!("the {} did not end within {STOP:?} and was killed", self.name);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Process {
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    /// For runs that fail; blocks until the process is gone.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let until = clock::now() + STOP;
        while matches!(self.child.try_wait(), Ok(None)) && clock::now() < until {
            std::thread::sleep(LOOK_EVERY);
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

/// Within such a process: says that it is ready.
pub fn ready(words: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(words)?);
    Ok(())
}

/// Within such a process: returns when it is time to end.
pub fn until_told() {
    let mut input = std::io::stdin().lock();
    let mut rest = [0; 64];
    while matches!(input.read(&mut rest), Ok(read) if read > 0) {}
}
