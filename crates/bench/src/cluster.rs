//! What is measured: a server and its database, each a process of its own, with
//! the directory that holds their data.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::arguments::{Place, StoreKind};
use crate::child::Process;
use crate::data::Directory;
use crate::server::{Location, Ready};
use crate::{cpu, postgres};

pub struct Cluster {
    // Invariant: dropped in this order, the server before its database, and that
    // before its directory.
    server: Option<Process>,
    pub address: Ready,
    postgres: Option<(Process, postgres::Ready)>,
    given: Option<String>,
    data: Directory,
}

/// Processor time so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    pub server: Duration,
    pub generator: Duration,
    /// `None` where the database is in the server's process, or not ours.
    pub database: Option<Duration>,
}

impl Cluster {
    /// Starts a database, if none is named, and one server on it.
    ///
    /// # Errors
    /// When one of them does not start; it has said why on standard error.
    pub async fn start(place: &Place, data: Directory) -> Result<Self> {
        let given = place.database_url.clone().filter(|_| place.store == StoreKind::Postgres);
        let postgres = if place.store == StoreKind::Postgres && given.is_none() {
            let arguments = ["--data".as_ref(), data.path().as_os_str()];
            Some(Process::start::<postgres::Ready>("postgres", &arguments, &[]).await?)
        } else {
            None
        };
        let url = given.as_deref().or(postgres.as_ref().map(|(_, ready)| ready.server_url.as_str()));
        let store: &OsStr = match place.store {
            StoreKind::Sqlite => "sqlite".as_ref(),
            StoreKind::Postgres => "postgres".as_ref(),
        };
        let arguments = ["--store".as_ref(), store, "--data".as_ref(), data.path().as_os_str()];
        // Empty, so that a URL in our own environment is not passed on by accident.
        let variables = [("QUARTERDECK_DATABASE_URL", url.unwrap_or_default())];
        let (server, address) = Process::start("server", &arguments, &variables).await?;
        Ok(Self { server: Some(server), address, postgres, given, data })
    }

    /// Processor time of all involved.
    pub fn used(&self) -> Used {
        let server = self.server.as_ref().and_then(|server| cpu::of(server.id()));
        Used {
            server: server.unwrap_or_default(),
            generator: cpu::of(std::process::id()).unwrap_or_default(),
            database: self.postgres.as_ref().and_then(|(_, ready)| cpu::of_family(ready.process)),
        }
    }

    /// Fails if a process has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        if let Some(server) = &mut self.server {
            server.check()?;
        }
        if let Some((postgres, _)) = &mut self.postgres {
            postgres.check()?;
        }
        Ok(())
    }

    /// Drains and stops the server; its database stays.
    pub async fn stop_server(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    /// A store of the same kind on the same disk, for the ceiling.
    pub fn ceiling_store(&self) -> Location<'_> {
        match (&self.given, &self.postgres) {
            (Some(url), _) => Location::Postgres(url),
            (None, Some((_, ready))) => Location::Postgres(&ready.ceiling_url),
            (None, None) => Location::Sqlite(self.directory()),
        }
    }

    fn directory(&self) -> &Path {
        self.data.path()
    }

    /// Stops everything and removes the data.
    pub async fn stop(mut self) -> Result<()> {
        self.stop_server().await?;
        match self.postgres.take() {
            Some((postgres, _)) => postgres.stop().await,
            None => Ok(()),
        }
    }
}

impl Used {
    /// What came since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        let database = self.database.zip(earlier.database);
        Self {
            server: self.server.saturating_sub(earlier.server),
            generator: self.generator.saturating_sub(earlier.generator),
            database: database.map(|(now, then)| now.saturating_sub(then)),
        }
    }
}
