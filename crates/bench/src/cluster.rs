//! What is measured: servers and their database, each a process of its own, with
//! the directory that holds their data.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use quarterdeck_engine::ports::{Entropy, SystemEntropy};
use serde::Serialize;

use crate::arguments::{Place, StoreKind};
use crate::child::Process;
use crate::data::Directory;
use crate::memory::{self, Resident};
use crate::metrics::Counters;
use crate::report::rounded;
use crate::server::{Location, Ready};
use crate::{cpu, postgres, redis};

pub struct Cluster {
    // Invariant: dropped in this order, servers before the database, and that
    // before its directory.
    servers: Vec<(Process, Ready)>,
    redis: Option<(Process, redis::Ready)>,
    postgres: Option<(Process, postgres::Ready)>,
    given: Option<String>,
    data: Directory,
    store: StoreKind,
    secret: String,
    /// What servers that are gone had counted.
    gone: Counters,
}

/// Processor time so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Of all servers together.
    pub server: Duration,
    pub generator: Duration,
    /// `None` where the database is in the server's process, or not ours.
    pub database: Option<Duration>,
}

/// Percent of one core.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shares {
    pub server: f64,
    pub generator: f64,
    /// Of a PostgreSQL that this run started, else null.
    pub database: Option<f64>,
}

impl Shares {
    pub fn words(&self) -> String {
        let database = self.database.map(|share| format!(", database {share:.1}")).unwrap_or_default();
        format!("server {:.1}, generator {:.1}{database}", self.server, self.generator)
    }
}

impl Cluster {
    /// Starts a database, if none is named, and one server on it. `redis`: servers
    /// tell each other through one, which is started too.
    ///
    /// # Errors
    /// When one of them does not start; it has said why on standard error.
    pub async fn start(place: &Place, data: Directory, redis: bool) -> Result<Self> {
        let given = place.database_url.clone().filter(|_| place.store == StoreKind::Postgres);
        let postgres = if place.store == StoreKind::Postgres && given.is_none() {
            let arguments = ["--data".as_ref(), data.path().as_os_str()];
            Some(Process::start::<postgres::Ready>("postgres", &arguments, &[]).await?)
        } else {
            None
        };
        let redis = if redis { Some(Process::start::<redis::Ready>("redis", &[], &[]).await?) } else { None };
        let secret = SystemEntropy.draw().iter().map(|byte| format!("{byte:02x}")).collect();
        let (servers, store, gone) = (Vec::new(), place.store, Counters::default());
        let mut cluster = Self { servers, redis, postgres, given, data, store, secret, gone };
        cluster.add_server().await?;
        Ok(cluster)
    }

    /// Starts one more server on the same database.
    pub async fn add_server(&mut self) -> Result<()> {
        let url =
            self.given.as_deref().or(self.postgres.as_ref().map(|(_, ready)| ready.server_url.as_str()));
        let store: &OsStr = match self.store {
            StoreKind::Sqlite => "sqlite".as_ref(),
            StoreKind::Postgres => "postgres".as_ref(),
        };
        let arguments = ["--store".as_ref(), store, "--data".as_ref(), self.data.path().as_os_str()];
        let redis = self.redis.as_ref().map(|(_, ready)| ready.url.as_str());
        // Empty, so that a URL in our own environment is not passed on by accident.
        let variables = [
            ("QUARTERDECK_DATABASE_URL", url.unwrap_or_default()),
            ("QUARTERDECK_REDIS_URL", redis.unwrap_or_default()),
            ("QUARTERDECK_BENCH_SECRET", &self.secret),
        ];
        self.servers.push(Process::start("server", &arguments, &variables).await?);
        Ok(())
    }

    /// Drains and stops the server that came last.
    pub async fn remove_server(&mut self) -> Result<()> {
        let Some((server, ready)) = self.servers.pop() else { return Ok(()) };
        self.gone = self.gone.and(Counters::read(ready.metrics).await?);
        server.stop().await
    }

    /// Where each server takes calls.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|(_, ready)| ready.address).collect()
    }

    /// Admin of everything, good for this cluster's life only.
    pub fn credential(&self) -> String {
        format!("qd_bootstrap_{}", self.secret)
    }

    /// What all servers together have counted, those that are gone included.
    pub async fn counters(&self) -> Result<Counters> {
        let mut all = self.gone;
        for (_, ready) in &self.servers {
            all = all.and(Counters::read(ready.metrics).await?);
        }
        Ok(all)
    }

    /// Processor time of all involved.
    pub fn used(&self) -> Used {
        let servers = self.servers.iter().filter_map(|(server, _)| cpu::of(server.id()));
        Used {
            server: servers.sum(),
            generator: cpu::of(std::process::id()).unwrap_or_default(),
            database: self.postgres.as_ref().and_then(|(_, ready)| cpu::of_family(ready.process)),
        }
    }

    /// Resident memory of the first server.
    pub fn resident(&self) -> Result<Resident> {
        let server = self.servers.first().and_then(|(server, _)| memory::of(server.id()));
        server.context("the server's memory cannot be read")
    }

    /// Fails if a process has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        for (server, _) in &mut self.servers {
            server.check()?;
        }
        for process in self.redis.iter_mut().map(|(redis, _)| redis) {
            process.check()?;
        }
        for process in self.postgres.iter_mut().map(|(postgres, _)| postgres) {
            process.check()?;
        }
        Ok(())
    }

    /// Drains and stops the servers; the database stays.
    pub async fn stop_servers(&mut self) -> Result<()> {
        while let Some((server, _)) = self.servers.pop() {
            server.stop().await?;
        }
        Ok(())
    }

    /// A store of the same kind on the same disk, for the ceiling.
    pub fn ceiling_store(&self) -> Location<'_> {
        match (&self.given, &self.postgres) {
            (Some(url), _) => Location::Postgres(url),
            (None, Some((_, ready))) => Location::Postgres(&ready.ceiling_url),
            (None, None) => Location::Sqlite(self.directory()),
        }
    }

    /// The directory of the data, on the disk that is measured.
    pub fn directory(&self) -> &Path {
        self.data.path()
    }

    /// Stops everything and removes the data.
    pub async fn stop(mut self) -> Result<()> {
        self.stop_servers().await?;
        if let Some((redis, _)) = self.redis.take() {
            redis.stop().await?;
        }
        match self.postgres.take() {
            Some((postgres, _)) => postgres.stop().await,
            None => Ok(()),
        }
    }
}

impl Used {
    /// Share of one core, in percent, over so many seconds: servers, generator, database.
    pub fn percent(&self, seconds: f64) -> Shares {
        let share = |used: Duration| rounded(100.0 * used.as_secs_f64() / seconds, 2);
        Shares {
            server: share(self.server),
            generator: share(self.generator),
            database: self.database.map(share),
        }
    }

    /// With that of another stretch of time.
    pub fn and(self, other: Self) -> Self {
        Self {
            server: self.server + other.server,
            generator: self.generator + other.generator,
            database: self.database.or(other.database).map(|used| match (self.database, other.database) {
                (Some(own), Some(more)) => own + more,
                _ => used,
            }),
        }
    }

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
