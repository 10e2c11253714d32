//! A private PostgreSQL, kept by a process of its own so that it is stopped and
//! removed however the run ends.
//!
//! It syncs like a real one (`fsync` and `synchronous_commit` on); of the rest only
//! what a small production machine would set differs from the defaults.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::{child, clock};

const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=256MB",
    "max_wal_size=2GB",
    "timezone=UTC",
];
const START: Duration = Duration::from_secs(60);
/// For a fast shutdown, with its checkpoint; then it is killed.
const STOP: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const PORT_TRIES: usize = 3;
/// End of the log that is shown when it does not start.
const LAST_WORDS: usize = 2_000;

/// What the keeper says when the cluster is up.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Empty database for the server.
    pub server_url: String,
    /// Another for the ceiling of the store.
    pub ceiling_url: String,
    /// The postmaster.
    pub process: u32,
}

/// Starts a cluster in `data`, says so, and stops it when told.
///
/// # Errors
/// When PostgreSQL is missing, does not start, or ends by itself.
pub fn keep(data: &Path) -> Result<()> {
    let programs = programs()?;
    let kept = Cluster::start(programs, data).and_then(|mut cluster| {
        child::ready(&cluster.ready()?)?;
        cluster.until_told()?;
        cluster.stop()
    });
    // The account may not be allowed to remove the directory itself; this process is.
    fs::remove_dir_all(data.join("cluster")).ok();
    kept
}

/// Directory of the newest installed server's programs.
fn programs() -> Result<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let newest = installed
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").is_file())
        .max();
    if let Some((_, programs)) = newest {
        return Ok(programs);
    }
    let found = Command::new("sh").args(["-c", "command -v initdb"]).stdin(Stdio::null()).output()?;
    let path = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    match path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned)) {
        Some(programs) => Ok(programs),
        None => {
            bail!("PostgreSQL is missing: apt-get install postgresql, or name a database with --database-url")
        }
    }
}

struct Cluster {
    programs: PathBuf,
    account: Option<Account>,
    directory: PathBuf,
    log: PathBuf,
    port: u16,
    postmaster: Child,
}

impl Cluster {
    fn start(programs: PathBuf, data: &Path) -> Result<Self> {
        let account = Account::unprivileged()?;
        let (directory, log) = (data.join("cluster"), data.join("postgres.log"));
        let mut initdb = command(&programs, "initdb", account);
        initdb.arg("--pgdata").arg(&directory);
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        finish(initdb)?;
        for _ in 0..PORT_TRIES {
            let port = free_port()?;
            let postmaster = launch(&programs, account, &directory, &log, port)?;
            let mut cluster = Self {
                programs: programs.clone(),
                account,
                directory: directory.clone(),
                log: log.clone(),
                port,
                postmaster,
            };
            if cluster.came_up()? {
                for name in ["quarterdeck", "ceiling"] {
                    let mut createdb = command(&cluster.programs, "createdb", account);
                    createdb.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string(), name]);
                    finish(createdb)?;
                }
                return Ok(cluster);
            }
            if !cluster.last_words().contains("in use") {
                bail!("PostgreSQL did not start; its last words:\n{}", cluster.last_words());
            }
        }
        bail!("no free port was found for PostgreSQL")
    }

    /// False if it ended instead.
    fn came_up(&mut self) -> Result<bool> {
        let until = clock::now() + START;
        while clock::now() < until && self.postmaster.try_wait()?.is_none() {
            // The last line of the lock file is the state of this very server.
            let state = fs::read_to_string(self.directory.join("postmaster.pid")).unwrap_or_default();
            if state.trim_end().ends_with("ready") {
                return Ok(true);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(false)
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LAST_WORDS)..]).into_owned()
    }

    fn ready(&self) -> Result<Ready> {
        let url = |name| format!("postgres://postgres@127.0.0.1:{}/{name}", self.port);
        let state = fs::read_to_string(self.directory.join("postmaster.pid"))?;
        let process = state.lines().next().and_then(|line| line.trim().parse().ok());
        Ok(Ready {
            server_url: url("quarterdeck"),
            ceiling_url: url("ceiling"),
            process: process.context("PostgreSQL's lock file names no process")?,
        })
    }

    /// Waits for the end of standard input, and watches the postmaster meanwhile.
    fn until_told(&mut self) -> Result<()> {
        let (tell, told) = sync_channel(1);
        std::thread::spawn(move || {
            child::until_told();
            let _ = tell.send(());
        });
        while let Err(RecvTimeoutError::Timeout) = told.recv_timeout(Duration::from_millis(200)) {
            if let Some(status) = self.postmaster.try_wait()? {
                bail!("PostgreSQL ended by itself ({status}); its last words:\n{}", self.last_words());
            }
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        if self.postmaster.try_wait()?.is_some() {
            return Ok(());
        }
        let mut stop = command(&self.programs, "pg_ctl", self.account);
        stop.args(["stop", "-m", "fast", "-w", "-t", &STOP.as_secs().to_string(), "-D"]).arg(&self.directory);
        let stopped = finish(stop);
        if stopped.is_err() {
            self.postmaster.kill()?;
        }
        self.postmaster.wait()?;
        stopped
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("PostgreSQL did not stop in order: {error:#}");
        }
    }
}

fn launch(
    programs: &Path,
    account: Option<Account>,
    directory: &Path,
    log: &Path,
    port: u16,
) -> Result<Child> {
    // Where this keeper itself is killed, the kernel ends PostgreSQL. The signal
    // belongs to the thread that forks; it is the main one, which lives longest.
    let setpriv = Path::new("/usr/bin/setpriv");
    let mut command = if setpriv.exists() {
        let mut command = self::command(Path::new("/usr/bin"), "setpriv", account);
        command.args(["--pdeathsig", "INT", "--"]).arg(programs.join("postgres"));
        command
    } else {
        self::command(programs, "postgres", account)
    };
    let out = fs::File::create(log)?;
    command.arg("-D").arg(directory).args(["-p", &port.to_string()]);
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command.stdout(out.try_clone()?).stderr(out);
    command.spawn().context("cannot start PostgreSQL")
}

fn command(programs: &Path, name: &str, account: Option<Account>) -> Command {
    let mut command = Command::new(programs.join(name));
    // Our own directory may be closed to the account.
    command.current_dir("/").stdin(Stdio::null());
    if let Some(account) = account {
        account.runs(&mut command);
    }
    command
}

/// Runs a command to its end and fails with what it said.
fn finish(mut command: Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let mut words = String::from_utf8_lossy(&output.stderr).into_owned();
        output.stdout.take(LAST_WORDS as u64).read_to_string(&mut words).ok();
        bail!("{} failed: {}", program.display(), words.trim());
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
