//! The server under test: the real one, in a process of its own, on free loopback
//! ports, with the credential of this run.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use quarterdeck_adapters::RedisBus;
use quarterdeck_engine::{Bus, LocalBus};
use quarterdeck_server::{AuthSettings, LogSettings, SecretSource, Settings};
use quarterdeck_store::sql::{PgOptions, SqliteOptions};
use quarterdeck_store::{SqlStore, Store};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::arguments::{Server, StoreKind};
use crate::child;

/// Where a store is.
#[derive(Clone, Debug)]
pub enum Location<'a> {
    /// Directory of the file.
    Sqlite(&'a Path),
    /// URL of the database.
    Postgres(&'a str),
}

/// What the server says when it takes calls.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ready {
    pub address: SocketAddr,
    pub metrics: SocketAddr,
}

/// Serves until standard input ends.
///
/// # Errors
/// What the server's start says, or a database that cannot be opened.
pub async fn run(arguments: Server) -> Result<()> {
    quarterdeck_server::install_crypto();
    let log = LogSettings { filter: "warn".to_owned(), ..LogSettings::default() };
    let _log = quarterdeck_server::init_logging(&log)?;
    let location = match (arguments.store, &arguments.database_url) {
        (StoreKind::Sqlite, _) => Location::Sqlite(&arguments.data),
        (StoreKind::Postgres, Some(url)) => Location::Postgres(url),
        (StoreKind::Postgres, None) => bail!("no database was named"),
    };
    let store = open(&location, "server").await?;
    let settings = Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        metrics_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        auth: AuthSettings {
            bootstrap: Some(SecretSource::Given(SecretString::from(arguments.secret))),
            ..AuthSettings::default()
        },
        log,
        ..Settings::default()
    };
    let shutdown = CancellationToken::new();
    let bus: Arc<dyn Bus> = match arguments.redis_url.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => RedisBus::connect(url, "quarterdeck")?,
        None => Arc::new(LocalBus::default()),
    };
    let running = quarterdeck_server::serve(settings.validate()?, store, bus, shutdown.clone()).await?;
    child::ready(&Ready {
        address: running.grpc_addr,
        metrics: running.metrics_addr.context("the server has no metrics port")?,
    })?;
    let told = shutdown.clone();
    // A thread of its own: a read of standard input cannot be cancelled.
    std::thread::spawn(move || {
        child::until_told();
        told.cancel();
    });
    running.wait().await;
    Ok(())
}

/// Opens and migrates a store. `name` tells SQLite files in one directory apart.
/// The defaults hold: SQLite with `synchronous=FULL`.
///
/// # Errors
/// A database that cannot be reached, or has a newer schema.
pub async fn open(location: &Location<'_>, name: &str) -> Result<Arc<dyn Store>> {
    let store = match location {
        Location::Sqlite(directory) => {
            let path = directory.join(name).with_extension("db");
            SqlStore::open_sqlite(path, SqliteOptions::default()).await?
        }
        Location::Postgres(url) => SqlStore::open_postgres(url, PgOptions::default()).await?,
    };
    store.migrate().await?;
    Ok(Arc::new(store))
}
