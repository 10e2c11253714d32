//! One `quarterdeck` server as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::binary::{binary, own_variables};
use crate::flags::{printed_credential, says_serving};
use crate::launch::{ended, kill, launch, signal, tail};
use crate::{DevOptions, ServeOptions, eventually, free_port};

/// A debug build that migrates an empty database on a busy machine.
const START: Duration = Duration::from_secs(60);
/// Longer than the server's own drain deadline.
const STOP: Duration = Duration::from_secs(40);
const LOG_LINES: usize = 60;

/// A running server. It is killed when this value is dropped; if the test is
/// panicking then, its log goes to standard error.
pub struct Quarterdeck {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    metrics_port: u16,
    credential: Option<String>,
    /// Where the credential is read from the server's output at each start.
    prints_credential: bool,
    directory: TempDir,
    child: Option<Child>,
}

impl Quarterdeck {
    /// Starts `quarterdeck dev` with its data in `directory`.
    ///
    /// # Errors
    /// When it does not become ready; its log is part of the message.
    pub async fn dev(directory: &Path) -> Result<Self> {
        Self::dev_with(DevOptions::new(directory)).await
    }

    /// Starts `quarterdeck dev` with these options.
    ///
    /// # Errors
    /// As [`Quarterdeck::dev`].
    pub async fn dev_with(options: DevOptions) -> Result<Self> {
        let (port, metrics_port) = (free_port(), free_port());
        let arguments = options.arguments(port, metrics_port);
        let program = program(options.other_program()).await?;
        Self::new(program, arguments, port, metrics_port)?.started().await
    }

    /// Starts `quarterdeck serve`: one replica.
    ///
    /// # Errors
    /// As [`Quarterdeck::dev`].
    pub async fn serve(options: ServeOptions) -> Result<Self> {
        let (port, metrics_port) = (free_port(), free_port());
        let arguments = options.arguments(port, metrics_port);
        let program = program(options.other_program()).await?;
        let mut server = Self::new(program, arguments, port, metrics_port)?;
        server.credential = Some(options.credential());
        server.prints_credential = false;
        server.started().await
    }

    fn new(program: PathBuf, arguments: Vec<String>, port: u16, metrics_port: u16) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("quarterdeck-server-").tempdir()?;
        Ok(Quarterdeck {
            program,
            arguments,
            port,
            metrics_port,
            credential: None,
            prints_credential: true,
            directory,
            child: None,
        })
    }

    async fn started(mut self) -> Result<Self> {
        self.start_again().await?;
        Ok(self)
    }

    /// Starts a stopped or killed server again: same flags, same ports, same data.
    /// `dev` prints a new credential.
    ///
    /// # Errors
    /// When it runs already, or does not become ready.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the server is running already");
        }
        let log = self.log_file();
        self.put_log_aside()?;
        let mut child = launch(&self.program, &self.arguments, &log, |command| {
            for name in own_variables() {
                command.env_remove(name);
            }
            // Where it was run from must not matter.
            command.current_dir(self.directory.path());
        })?;
        let (port, prints_credential) = (self.port, self.prints_credential);
        let ready = eventually("the server to become ready", START, || {
            let gone = !matches!(child.try_wait(), Ok(None));
            let output = std::fs::read_to_string(&log).unwrap_or_default();
            async move {
                if gone {
                    return Some(None);
                }
                let credential = printed_credential(&output);
                let said = if prints_credential { credential.is_some() } else { says_serving(&output) };
                (said && accepts(port).await).then_some(Some(credential))
            }
        })
        .await;
        match ready {
            Ok(Some(credential)) => {
                if self.prints_credential {
                    self.credential = credential;
                }
                self.child = Some(child);
                Ok(())
            }
            failed => {
                let _ = child.kill();
                let status = child.wait()?;
                let why = failed.err().map_or_else(|| format!("it ended with {status}"), |e| e.to_string());
                bail!("quarterdeck {}: {why}\n{}", self.arguments.join(" "), tail(&log, LOG_LINES))
            }
        }
    }

    /// `http://127.0.0.1:<port>`, the same after every start.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port, for a proxy in front of it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An admin's credential: the one that `dev` printed at its last start, or the
    /// bootstrap credential of `serve`.
    pub fn credential(&self) -> &str {
        self.credential.as_deref().unwrap_or_default()
    }

    /// What the server has printed and logged since its last start.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(self.log_file())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What it has printed and logged in all its lives.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn whole_log(&self) -> Result<String> {
        let earlier = std::fs::read(self.earlier_log_file()).unwrap_or_default();
        Ok(String::from_utf8_lossy(&earlier).into_owned() + &self.log()?)
    }

    /// Moves what an earlier life said out of the way of [`Quarterdeck::log`].
    fn put_log_aside(&self) -> Result<()> {
        let log = self.log_file();
        if let Ok(mut said) = std::fs::File::open(&log) {
            let mut earlier =
                std::fs::File::options().create(true).append(true).open(self.earlier_log_file())?;
            std::io::copy(&mut said, &mut earlier)?;
        }
        Ok(std::fs::write(log, "")?)
    }

    /// Bytes of memory that the process has in use now (its resident set).
    ///
    /// # Errors
    /// When it is not running, or the kernel does not say.
    pub fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.running()?.id());
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")).with_context(|| path.clone())?;
        Ok(kib.trim().parse::<u64>()? * 1024)
    }

    /// The text that `/metrics` answers now.
    ///
    /// # Errors
    /// When it does not answer 200 within five seconds.
    pub async fn metrics(&self) -> Result<String> {
        let fetching = http_get(self.metrics_port, "/metrics");
        tokio::time::timeout(Duration::from_secs(5), fetching).await.context("no answer from /metrics")?
    }

    /// Kills it (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill9(&mut self) -> Result<()> {
        kill(&mut self.child.take().context("the server is not running")?)
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it is not running, does not end, or ends with an error.
    pub async fn stop(&mut self) -> Result<()> {
        self.ask_to_stop()?;
        let status = self.wait().await?;
        if !status.success() {
            bail!("the server ended with {status}\n{}", tail(&self.log_file(), LOG_LINES));
        }
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and does not wait: what it does while it drains
    /// can be watched. [`Quarterdeck::wait`] comes next.
    ///
    /// # Errors
    /// When it is not running.
    pub fn ask_to_stop(&self) -> Result<()> {
        signal(self.running()?, "TERM")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it is not running, or does not end.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        let child = self.child.as_mut().context("the server is not running")?;
        let status = ended(child, STOP).await?;
        self.child = None;
        Ok(status)
    }

    /// Freezes it (SIGSTOP): the connections stay open and nothing answers, as in
    /// a paused virtual machine.
    ///
    /// # Errors
    /// When it is not running.
    pub fn sigstop(&self) -> Result<()> {
        signal(self.running()?, "STOP")
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn sigcont(&self) -> Result<()> {
        signal(self.running()?, "CONT")
    }

    /// How it ended, where it did so by itself.
    ///
    /// # Errors
    /// When it was stopped or killed from here.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.as_mut().context("the server is not running")?.try_wait()?)
    }

    fn running(&self) -> Result<&Child> {
        self.child.as_ref().context("the server is not running")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn earlier_log_file(&self) -> PathBuf {
        self.directory.path().join("log.earlier")
    }
}

impl Drop for Quarterdeck {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = kill(child);
        }
        if std::thread::panicking() {
            let log = tail(&self.log_file(), LOG_LINES);
            eprintln!("--- quarterdeck {}\n{log}---", self.arguments.join(" "));
        }
    }
}

async fn program(other: Option<&Path>) -> Result<PathBuf> {
    Ok(match other {
        Some(other) => other.to_owned(),
        None => binary().await?.to_owned(),
    })
}

async fn accepts(port: u16) -> bool {
    let connecting = TcpStream::connect(("127.0.0.1", port));
    matches!(tokio::time::timeout(Duration::from_secs(1), connecting).await, Ok(Ok(_)))
}

/// A plain HTTP/1.1 request; enough for a page of text.
async fn http_get(port: u16, path: &str) -> Result<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.take(16 * 1024 * 1024).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        bail!("{path}: {status}");
    }
    Ok(body.to_owned())
}
