//! The installation: three replicas on one PostgreSQL and one Redis, each with
//! proxies of its own on every side.

use std::path::Path;

use anyhow::{Context as _, Result};
use quarterdeck_harness::{Database, Postgres, Proxy, Quarterdeck, Redis, Secrets, ServeOptions};
use tokio::sync::Mutex;

use crate::plan::{LEASE, REPLICAS};

/// Everything that runs. Dropped, it is ended in this order.
pub struct Site {
    /// Whoever strikes one has it for himself until it is mended.
    pub replicas: Vec<Mutex<Quarterdeck>>,
    pub links: Vec<Links>,
    pub redis: Mutex<Redis>,
    pub database: Database,
    pub postgres: Mutex<Postgres>,
    /// The files that a restart reads again.
    secrets: Secrets,
}

/// The proxies of one replica.
pub struct Links {
    pub edge: Proxy,
    pub database: Proxy,
    pub bus: Proxy,
}

impl Site {
    /// Starts it all.
    ///
    /// # Errors
    /// When a program is missing or does not start.
    pub async fn start() -> Result<Self> {
        let postgres = Postgres::start().await?;
        let port = postgres.port()?;
        let database = postgres.fresh_database().await?;
        let redis = Redis::start().await?;
        let secrets = Secrets::new()?;
        let (mut replicas, mut links) = (Vec::new(), Vec::new());
        for _ in 0..REPLICAS {
            let behind = Proxy::start(port).await?;
            let bus = Proxy::start(redis.port()).await?;
            let options = ServeOptions::new(&database, &secrets)
                .database_url(through(database.url(), port, behind.port())?)
                .redis_url(format!("redis://127.0.0.1:{}", bus.port()))
                .session_lease(LEASE);
            let replica = Quarterdeck::serve(options).await?;
            let edge = Proxy::start(replica.port()).await?;
            replicas.push(Mutex::new(replica));
            links.push(Links { edge, database: behind, bus });
        }
        let (redis, postgres) = (Mutex::new(redis), Mutex::new(postgres));
        Ok(Self { replicas, links, redis, database, postgres, secrets })
    }

    /// Where people connect to.
    pub fn ports(&self) -> Vec<u16> {
        self.links.iter().map(|links| links.edge.port()).collect()
    }

    /// The credential of everybody.
    pub fn credential(&self) -> String {
        self.secrets.credential()
    }

    /// What each replica logged in all its lives.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub async fn logs(&self) -> Result<Vec<String>> {
        let mut logs = Vec::new();
        for replica in &self.replicas {
            logs.push(replica.lock().await.whole_log()?);
        }
        Ok(logs)
    }

    /// Stops the replicas in order; what of that failed.
    pub async fn stop(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (place, replica) in self.replicas.iter().enumerate() {
            if let Err(error) = replica.lock().await.stop().await {
                wrong.push(format!("replica {place} does not stop in order: {error:#}"));
            }
        }
        wrong
    }

    /// Writes the replicas' logs into a directory.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub async fn save_logs(&self, directory: &Path) -> Result<()> {
        for (place, log) in self.logs().await?.into_iter().enumerate() {
            std::fs::write(directory.join(format!("replica-{place}.log")), log)?;
        }
        Ok(())
    }
}

/// The same URL with the proxy's port.
fn through(url: &str, port: u16, proxy: u16) -> Result<String> {
    let (start, end) = url.split_once(&format!(":{port}/")).with_context(|| format!("no port in {url}"))?;
    Ok(format!("{start}:{proxy}/{end}"))
}
