//! PostgreSQL for tests: one cluster a process, one fresh database a test.
//!
//! How a private cluster is started (as which user, with which settings) stands
//! in one place, scripts/services.py; this module only runs it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::launch::ended;

const START: Duration = Duration::from_secs(90);
const STATEMENT: Duration = Duration::from_secs(30);

/// A private PostgreSQL cluster, for tests that stop or restart the database
/// itself. Others share one: see [`Database::fresh`].
pub struct Postgres {
    url: String,
    child: Child,
    /// What the script says; `None` while somebody waits for it.
    said: Option<BufReader<ChildStdout>>,
}

/// How a cluster is stopped to be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Connections are ended with a word, everything is written (SIGINT).
    Fast,
    /// Everything stops where it is, as in a crash; the next start recovers (SIGQUIT).
    Crash,
}

impl Postgres {
    /// Starts a cluster in a temporary directory, on a free port.
    ///
    /// # Errors
    /// When PostgreSQL or Python is missing, or it does not start.
    pub async fn start() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/services.py");
        // The script stops the cluster and removes its directory when this pipe
        // closes, that is, also when this process dies.
        let mut child = std::process::Command::new("python3")
            .arg(script)
            .arg("postgres")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("python3 is missing: apt-get install python3")?;
        let said = child.stdout.take().map(BufReader::new);
        let mut cluster = Postgres { url: String::new(), child, said };
        cluster.url = cluster.answer().await.unwrap_or_default();
        if cluster.url.is_empty() {
            let why = cluster.last_words()?;
            bail!("PostgreSQL did not start: {why}");
        }
        Ok(cluster)
    }

    /// The script's next line; empty at its end.
    async fn answer(&mut self) -> Result<String> {
        let mut said = self.said.take().context("an earlier answer is still awaited")?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            said.read_line(&mut line).map(|_| (line, said))
        });
        let waiting = tokio::time::timeout(START, reading);
        let (line, said) =
            waiting.await.map_err(|_| anyhow!("PostgreSQL did nothing within {START:?}"))???;
        self.said = Some(said);
        Ok(line.trim().to_owned())
    }

    async fn order(&mut self, words: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("no input")?;
        input.write_all(format!("{words}\n").as_bytes())?;
        match self.answer().await?.as_str() {
            "ok" => Ok(()),
            other => bail!("PostgreSQL was told to {words}: {other}"),
        }
    }

    /// Stops the server; its data and its port stay. Nobody can connect until
    /// [`Postgres::start_again`].
    ///
    /// # Errors
    /// When it does not end.
    pub async fn halt(&mut self, how: Stop) -> Result<()> {
        self.order(match how {
            Stop::Fast => "stop fast",
            Stop::Crash => "stop immediate",
        })
        .await
    }

    /// Starts the halted server again and waits until it takes connections.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        self.order("start").await
    }

    /// Its port, for a proxy in front of it.
    ///
    /// # Errors
    /// None, unless the script printed another kind of URL.
    pub fn port(&self) -> Result<u16> {
        let place = self.url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next());
        place.and_then(|port| port.parse().ok()).with_context(|| format!("no port in {}", self.url))
    }

    /// Ends the script and reads why it failed.
    fn last_words(&mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let mut words = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            errors.read_to_string(&mut words)?;
        }
        self.child.wait()?;
        Ok(words)
    }

    /// A superuser's URL of the database `postgres`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A new, empty database in this cluster.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn fresh_database(&self) -> Result<Database> {
        Database::create(&self.url).await
    }

    /// Stops the cluster and removes it.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let end = ended(&mut self.child, START).await?;
        if !end.success() {
            bail!("PostgreSQL ended with {end}: {}", self.last_words()?);
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A database of one test, empty at first, dropped with this value.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    cluster: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);
static SHARED: OnceCell<Postgres> = OnceCell::const_new();

impl Database {
    /// A new, empty database: in the cluster that QUARTERDECK_TEST_POSTGRES_URL
    /// names (scripts/test sets it), otherwise in one that this process starts
    /// for all its tests and that ends with it.
    ///
    /// # Errors
    /// When there is no PostgreSQL.
    pub async fn fresh() -> Result<Self> {
        if let Some(url) = environment("QUARTERDECK_TEST_POSTGRES_URL") {
            return Self::create(&url.to_string_lossy()).await;
        }
        let shared = SHARED.get_or_try_init(Postgres::start).await?;
        shared.fresh_database().await
    }

    async fn create(cluster: &str) -> Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let (server, _) = cluster
            .rsplit_once('/')
            .with_context(|| format!("{cluster} is not a PostgreSQL URL with a database"))?;
        let database = Database { url: format!("{server}/{name}"), cluster: cluster.to_owned(), name };
        // A process id comes back some day; what an earlier one left is of no use.
        let name = &database.name;
        psql(cluster, &format!("drop database if exists {name} with (force)")).await?;
        psql(cluster, &format!("create database {name}")).await?;
        Ok(database)
    }

    /// The URL of this database, with a superuser's rights.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs one statement and returns its rows, fields separated by `|`.
    ///
    /// # Errors
    /// With PostgreSQL's own words.
    pub async fn query(&self, sql: &str) -> Result<Vec<String>> {
        psql(&self.url, sql).await
    }

    /// Ends all connections to this database, as a failover would.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached.
    pub async fn cut_connections(&self) -> Result<()> {
        let name = &self.name;
        let sql = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
        psql(&self.cluster, &sql).await.map(|_| ())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Ok(program) = psql_program() else { return };
        let sql = format!("drop database if exists {} with (force)", self.name);
        // Best effort: the cluster goes away soon, and with it everything left.
        let _ = std::process::Command::new(program)
            .args(arguments(&self.cluster, &sql))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

async fn psql(url: &str, sql: &str) -> Result<Vec<String>> {
    let running = Command::new(psql_program()?)
        .args(arguments(url, sql))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(STATEMENT, running)
        .await
        .map_err(|_| anyhow!("no answer within {STATEMENT:?} to: {sql}"))??;
    if !output.status.success() {
        bail!("{sql}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}

fn arguments<'a>(url: &'a str, sql: &'a str) -> [&'a str; 10] {
    ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]
}

/// The `psql` of the newest installed server; Debian's wrapper in the PATH would
/// do too but costs a Perl start for each statement.
fn psql_program() -> Result<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(find_psql).clone().context("psql is missing: apt-get install postgresql")
}

fn find_psql() -> Option<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = installed
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("bin/psql"))
        .filter(|candidate| candidate.is_file())
        .max_by_key(|candidate| {
            let version = candidate.iter().rev().nth(2).unwrap_or_default();
            version.to_string_lossy().parse::<u32>().unwrap_or(0)
        });
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest.or_else(|| {
        std::env::split_paths(&path)
            .map(|directory| directory.join("psql"))
            .find(|candidate| candidate.is_file())
    })
}

/// Tests are configured by their environment; this is the one place that reads it.
pub(crate) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
