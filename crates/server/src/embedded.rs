//! A whole server in this process on SQLite: `dev`, `demo` and tests.
//!
//! It listens on loopback only and makes a one-off bootstrap credential that is
//! gone with the process. On a file, API keys outlive it: their pepper is kept
//! beside the database, readable by its owner alone.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quarterdeck_engine::ports::{Entropy, SystemEntropy};
use quarterdeck_engine::{LocalBus, Options};
use quarterdeck_store::sql::SqliteOptions;
use quarterdeck_store::{SqlStore, Store};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::auth::secrets::SecretSource;
use crate::config::{AuthSettings, ConfigError, Limits, Settings};
use crate::serve::{Running, StartError, Stopped, serve};

/// Where an embedded server keeps its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// Nowhere: gone with the process.
    #[default]
    Memory,
    /// A SQLite file, created where it is missing.
    File(PathBuf),
}

#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Loopback only. Port 0 takes a free one.
    pub listen: SocketAddr,
    pub metrics_listen: Option<SocketAddr>,
    pub storage: Storage,
    pub engine: Options,
    pub limits: Limits,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            metrics_listen: None,
            storage: Storage::default(),
            engine: Options::default(),
            limits: Limits::default(),
        }
    }
}

/// A server in this process. Dropping it begins its drain.
pub struct Embedded {
    running: Running,
    store: Arc<SqlStore>,
    credential: String,
}

impl Embedded {
    /// Starts it; returns once it accepts connections.
    pub async fn start(options: EmbeddedOptions) -> Result<Self, StartError> {
        if !options.listen.ip().is_loopback() {
            let refused = ConfigError {
                setting: "listen address",
                problem: format!("{} can be reached from other machines", options.listen),
                mend: "An embedded server listens on loopback only; use `quarterdeck serve` for more"
                    .to_owned(),
            };
            return Err(refused.into());
        }
        let secret = secret();
        let pepper = match &options.storage {
            Storage::Memory => self::secret(),
            Storage::File(path) => kept_pepper(path)?,
        };
        let given = |text: &str| Some(SecretSource::Given(SecretString::from(text.to_owned())));
        let settings = Settings {
            listen: options.listen,
            metrics_listen: options.metrics_listen,
            auth: AuthSettings {
                bootstrap: given(&secret),
                pepper: given(&pepper),
                ..AuthSettings::default()
            },
            limits: options.limits,
            engine: options.engine,
            ..Settings::default()
        };
        let config = settings.validate()?;
        let store = open(&options.storage).await?;
        let served: Arc<dyn Store> = Arc::<SqlStore>::clone(&store);
        let running = serve(config, served, Arc::new(LocalBus::default()), CancellationToken::new()).await?;
        Ok(Self { running, store, credential: format!("qd_bootstrap_{secret}") })
    }

    /// Where clients connect: `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.running.grpc_addr)
    }

    /// The one-off credential of an admin of everything.
    pub fn credential(&self) -> &str {
        &self.credential
    }

    pub const fn grpc_addr(&self) -> SocketAddr {
        self.running.grpc_addr
    }

    pub const fn metrics_addr(&self) -> Option<SocketAddr> {
        self.running.metrics_addr
    }

    /// Cancelling it begins the drain.
    pub const fn shutdown(&self) -> &CancellationToken {
        self.running.shutdown()
    }

    /// Ready once the server has stopped, which it does when told to.
    pub async fn wait(self) -> Stopped {
        let stopped = self.running.wait().await;
        self.store.close().await;
        stopped
    }

    /// Drains and stops.
    pub async fn stop(self) -> Stopped {
        self.running.shutdown().cancel();
        self.wait().await
    }
}

/// 256 random bits in hexadecimal.
fn secret() -> String {
    SystemEntropy.draw().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The pepper beside the database, made at its first start.
fn kept_pepper(database: &Path) -> Result<String, StartError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".pepper");
    let path = PathBuf::from(path);
    let failed = |source: std::io::Error| StartError::File {
        path: path.clone(),
        problem: format!("the pepper of API keys cannot be written: {source}"),
        mend: "Check that the directory exists and that this user may write there.",
    };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let pepper = secret();
            file.write_all(pepper.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
            Ok(pepper)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            use secrecy::ExposeSecret as _;
            let known = SecretSource::File(path.clone()).read("pepper of API keys")?;
            Ok(known.expose_secret().to_owned())
        }
        Err(error) => Err(failed(error)),
    }
}

/// Opens the store and brings its schema up to date.
async fn open(storage: &Storage) -> Result<Arc<SqlStore>, StartError> {
    let opened = match storage {
        Storage::Memory => SqlStore::memory().await,
        Storage::File(path) => match SqlStore::open_sqlite(path, SqliteOptions::default()).await {
            Ok(store) => store.migrate().await.map(|_| store),
            Err(error) => Err(error),
        },
    };
    opened.map(Arc::new).map_err(StartError::store)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_pepper_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("quarterdeck.db");
        let first = kept_pepper(&database).unwrap();
        assert_eq!(kept_pepper(&database).unwrap(), first);
        let file = dir.path().join("quarterdeck.db.pepper");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let missing = kept_pepper(&dir.path().join("no/such/dir.db")).unwrap_err().to_string();
        assert!(missing.contains("no/such/dir.db.pepper"), "{missing}");
    }

    #[tokio::test]
    async fn an_embedded_server_listens_on_loopback_only() {
        let options = EmbeddedOptions { listen: SocketAddr::from(([0, 0, 0, 0], 0)), ..Default::default() };
        let error = Embedded::start(options).await.err().unwrap();
        assert!(matches!(error, StartError::Config(_)), "{error}");
    }
}
