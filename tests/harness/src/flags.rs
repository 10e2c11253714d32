//! The command line of `quarterdeck`, as far as tests use it. Nowhere else does
//! a test spell a flag of `dev` or `serve`.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{Database, Redis};

/// With what `quarterdeck dev` is started.
#[derive(Clone, Debug)]
pub struct DevOptions {
    directory: PathBuf,
    program: Option<PathBuf>,
    more: Vec<String>,
}

impl DevOptions {
    /// Keeps its SQLite file in `directory`; a later start there finds it again.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        DevOptions { directory: directory.into(), program: None, more: Vec::new() }
    }

    /// Adds one argument, for flags that no other method knows.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.more.push(argument.into());
        self
    }

    /// Runs this executable, not the one under test: an older release, say.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    pub(crate) fn other_program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    pub(crate) fn arguments(&self, port: u16, metrics_port: u16) -> Vec<String> {
        let mut all = strings(&["dev"]);
        all.extend(listen(port, metrics_port));
        all.extend(strings(&["--data", &self.directory.to_string_lossy()]));
        all.extend(self.more.clone());
        all
    }
}

/// With what `quarterdeck serve` is started. Two starts with the same options
/// are two replicas.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    database_url: String,
    redis_url: Option<String>,
    secrets: Secrets,
    session_lease: Duration,
    program: Option<PathBuf>,
    more: Vec<String>,
}

impl ServeOptions {
    /// On this database, without Redis, with a session lease of 15 seconds.
    pub fn new(database: &Database, secrets: &Secrets) -> Self {
        ServeOptions {
            database_url: database.url().to_owned(),
            redis_url: None,
            secrets: secrets.clone(),
            session_lease: Duration::from_secs(15),
            program: None,
            more: Vec::new(),
        }
    }

    /// With Redis between the replicas.
    #[must_use]
    pub fn redis(mut self, redis: &Redis) -> Self {
        self.redis_url = Some(redis.url().to_owned());
        self
    }

    /// With a Redis at this address: that of a proxy in front of one.
    #[must_use]
    pub fn redis_url(mut self, url: impl Into<String>) -> Self {
        self.redis_url = Some(url.into());
        self
    }

    /// How long a session outlives the silence of its agent; whole milliseconds.
    #[must_use]
    pub fn session_lease(mut self, lease: Duration) -> Self {
        self.session_lease = lease;
        self
    }

    /// Another database than at first, as an operator would move it.
    #[must_use]
    pub fn database_url(mut self, url: impl Into<String>) -> Self {
        self.database_url = url.into();
        self
    }

    /// Adds one argument, for flags that no other method knows.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.more.push(argument.into());
        self
    }

    /// The credential of the first admin.
    pub fn credential(&self) -> String {
        self.secrets.credential()
    }

    /// Runs this executable, not the one under test: an older release, say.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    pub(crate) fn other_program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    pub(crate) fn arguments(&self, port: u16, metrics_port: u16) -> Vec<String> {
        let mut all = strings(&["serve"]);
        all.extend(listen(port, metrics_port));
        all.extend(strings(&["--database-url", &self.database_url]));
        if let Some(url) = &self.redis_url {
            all.extend(strings(&["--redis-url", url]));
        }
        all.extend(strings(&[
            "--bootstrap-secret-file",
            &self.secrets.bootstrap_file().to_string_lossy(),
            "--key-pepper-file",
            &self.secrets.pepper_file().to_string_lossy(),
            "--session-lease",
            &format!("{}ms", self.session_lease.as_millis()),
            // Three renewals have to fail before a lease ends.
            "--renew-every",
            &format!("{}ms", self.session_lease.as_millis() / 3),
            "--migrate",
        ]));
        all.extend(self.more.clone());
        all
    }
}

fn listen(port: u16, metrics_port: u16) -> Vec<String> {
    strings(&[
        "--listen",
        &format!("127.0.0.1:{port}"),
        "--metrics-listen",
        &format!("127.0.0.1:{metrics_port}"),
    ])
}

fn strings(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|&part| part.to_owned()).collect()
}

/// Whether `output` has the line by which `quarterdeck serve` says that it is up.
pub(crate) fn says_serving(output: &str) -> bool {
    output.lines().any(|line| line.contains("serving on "))
}

/// The credential that `quarterdeck dev` prints, if `output` has it by now.
pub(crate) fn printed_credential(output: &str) -> Option<String> {
    let complete = output.rsplit_once('\n')?.0;
    let start = complete.find("qd_")?;
    let text = &complete[start..];
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    Some(text[..end].to_owned())
}

/// Secrets that `serve` accepts, in files that only we may read. Replicas of one
/// installation share them; clones are the same secrets.
#[derive(Clone, Debug)]
pub struct Secrets {
    directory: Arc<TempDir>,
    bootstrap: String,
}

impl Secrets {
    /// Makes new ones.
    ///
    /// # Errors
    /// When the temporary directory cannot be written.
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("quarterdeck-secrets-").tempdir()?;
        let bootstrap = random_hex()?;
        let secrets = Secrets { directory: Arc::new(directory), bootstrap };
        private_file(&secrets.bootstrap_file(), &secrets.bootstrap)?;
        private_file(&secrets.pepper_file(), &random_hex()?)?;
        Ok(secrets)
    }

    /// The credential of the first admin, as sent after `Bearer `.
    pub fn credential(&self) -> String {
        format!("qd_bootstrap_{}", self.bootstrap)
    }

    /// The file for `--bootstrap-secret-file`.
    pub fn bootstrap_file(&self) -> PathBuf {
        self.directory.path().join("bootstrap_secret")
    }

    /// The file for `--key-pepper-file`.
    pub fn pepper_file(&self) -> PathBuf {
        self.directory.path().join("key_pepper")
    }
}

fn private_file(path: &Path, content: &str) -> Result<()> {
    fs::write(path, "")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(fs::write(path, content)?)
}

/// 32 random bytes as text.
fn random_hex() -> Result<String> {
    let mut bytes = [0u8; 32];
    let mut source = File::open("/dev/urandom").context("there is no /dev/urandom")?;
    source.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credential_is_found_only_in_complete_lines() {
        let cases = [
            ("", None),
            ("starting\n", None),
            ("key: qd_bootstrap_ab", None),
            ("key: qd_bootstrap_abc\n", Some("qd_bootstrap_abc")),
            ("a\nexport KEY='qd_bootstrap_abc1'\nb\n", Some("qd_bootstrap_abc1")),
            ("qd_abc_def.\n", Some("qd_abc_def")),
        ];
        for (output, expected) in cases {
            assert_eq!(printed_credential(output).as_deref(), expected, "{output:?}");
        }
    }

    #[test]
    fn secrets_are_readable_by_their_owner_alone() {
        let secrets = Secrets::new().unwrap();
        for file in [secrets.bootstrap_file(), secrets.pepper_file()] {
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
            assert_eq!(fs::read_to_string(&file).unwrap().len(), 64);
        }
        assert!(secrets.credential().starts_with("qd_bootstrap_"));
    }
}
