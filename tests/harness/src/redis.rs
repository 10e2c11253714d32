//! A private Redis that a test may stop and start as it likes.

use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::launch::{ended, kill, launch, signal, tail};
use crate::{eventually, free_port};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(20);

/// A Redis process on a port of its own. It stores nothing: started again, it is
/// empty, which is the worst that Quarterdeck has to live with.
pub struct Redis {
    port: u16,
    url: String,
    directory: TempDir,
    child: Option<Child>,
}

impl Redis {
    /// Starts a Redis on a free port.
    ///
    /// # Errors
    /// When there is no `redis-server` (or `valkey-server`), or it does not start.
    pub async fn start() -> Result<Self> {
        let port = free_port();
        let directory = tempfile::Builder::new().prefix("quarterdeck-redis-").tempdir()?;
        let mut redis = Redis { port, url: format!("redis://127.0.0.1:{port}"), directory, child: None };
        redis.start_again().await?;
        Ok(redis)
    }

    /// `redis://127.0.0.1:<port>`, the same for the whole life of this value.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it in order (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// When it is not running, or does not end.
    pub async fn stop(&mut self) -> Result<()> {
        let mut child = self.child.take().context("Redis is not running")?;
        signal(&child, "TERM")?;
        let stopped = ended(&mut child, STOP).await;
        if stopped.is_err() {
            kill(&mut child)?;
        }
        stopped.map(|_| ())
    }

    /// Kills it (SIGKILL), as a crash would.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> Result<()> {
        kill(&mut self.child.take().context("Redis is not running")?)
    }

    /// Freezes it (SIGSTOP): connections stay open and nothing answers.
    ///
    /// # Errors
    /// When it is not running.
    pub fn sigstop(&self) -> Result<()> {
        signal(self.child.as_ref().context("Redis is not running")?, "STOP")
    }

    /// Lets a frozen one go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn sigcont(&self) -> Result<()> {
        signal(self.child.as_ref().context("Redis is not running")?, "CONT")
    }

    /// Its port, for a proxy in front of it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes it forget everything (FLUSHALL), scripts too.
    ///
    /// # Errors
    /// When it does not answer within five seconds.
    pub async fn flush(&self) -> Result<()> {
        let asking = async {
            let mut connection = TcpStream::connect(("127.0.0.1", self.port)).await?;
            connection.write_all(b"FLUSHALL\r\nSCRIPT FLUSH\r\nQUIT\r\n").await?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await?;
            if answer != "+OK\r\n+OK\r\n+OK\r\n" {
                bail!("Redis was told to forget and said {answer:?}");
            }
            Ok(())
        };
        tokio::time::timeout(Duration::from_secs(5), asking).await.context("Redis does not answer")?
    }

    /// Starts it again on the same port, empty, and waits until it answers.
    ///
    /// # Errors
    /// When it runs already, or does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("Redis is running already");
        }
        let log = self.directory.path().join("log");
        let arguments = [
            "--bind",
            "127.0.0.1",
            "--port",
            &self.port.to_string(),
            "--dir",
            &self.directory.path().to_string_lossy(),
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        .map(String::from);
        let mut child = launch(&program()?, &arguments, &log, |_| {})?;
        let (port, id) = (self.port, child.id());
        let answers = eventually("Redis to answer", START, || {
            let gone = !matches!(child.try_wait(), Ok(None));
            async move { if gone { Some(false) } else { is_process(port, id).await.then_some(true) } }
        })
        .await;
        if !matches!(answers, Ok(true)) {
            kill(&mut child)?;
            bail!("Redis did not start on port {port}:\n{}", tail(&log, 20));
        }
        self.child = Some(child);
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = kill(child);
        }
    }
}

/// Whether the server at `port` is the process `id`, and answers.
async fn is_process(port: u16, id: u32) -> bool {
    let ask = async {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        connection.write_all(b"INFO server\r\n").await.ok()?;
        let mut answer = vec![0; 64 * 1024];
        let mut filled = 0;
        while filled < answer.len() {
            let read = connection.read(&mut answer[filled..]).await.ok()?;
            filled += read;
            let text = String::from_utf8_lossy(&answer[..filled]);
            if text.contains(&format!("process_id:{id}\r")) {
                return Some(true);
            }
            if read == 0 || text.contains("config_file:") {
                return Some(false);
            }
        }
        None
    };
    let answer = tokio::time::timeout(Duration::from_secs(1), ask).await;
    matches!(answer, Ok(Some(true)))
}

fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| directories.iter().map(move |directory| directory.join(name)))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| anyhow!("Redis is missing: apt-get install redis-server"))
}
