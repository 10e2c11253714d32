//! What people share: the way to the replicas, the record, and whether it is over.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quarterdeck_client::{CancellationToken, Client, Config, Error};
use quarterdeck_sim::history::Fact;

use tokio::task::{JoinError, JoinSet};

use crate::record::Record;

/// Longest wait for the answer to a call, repetitions included.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// A watch that hears nothing for this long is opened again: a little more than
/// the server's heartbeat.
const WATCH_SILENCE: Duration = Duration::from_secs(12);

struct Inner {
    ports: Vec<u16>,
    credential: String,
    healed: AtomicBool,
    /// Watches that have not seen the end.
    watching: AtomicUsize,
    /// Tasks that the project's feed has seen ending.
    fed: AtomicUsize,
    ids: AtomicU64,
    people: Mutex<JoinSet<()>>,
}

/// The world; clones are the same one.
#[derive(Clone)]
pub struct World {
    inner: Arc<Inner>,
    pub record: Record,
    /// Cancelled when clients shall start nothing more.
    pub enough: CancellationToken,
}

impl World {
    /// A world whose replicas are reached through these ports.
    pub fn new(ports: Vec<u16>, credential: String) -> Self {
        let inner = Inner {
            ports,
            credential,
            healed: AtomicBool::new(false),
            watching: AtomicUsize::new(0),
            fed: AtomicUsize::new(0),
            ids: AtomicU64::new(0),
            people: Mutex::default(),
        };
        Self { inner: Arc::new(inner), record: Record::default(), enough: CancellationToken::new() }
    }

    /// Sends somebody off.
    pub fn spawn(&self, life: impl Future<Output = ()> + Send + 'static) {
        let mut people = self.inner.people.lock().unwrap_or_else(PoisonError::into_inner);
        people.spawn(life);
    }

    /// Ends everybody; those who had panicked.
    pub async fn send_home(&self) -> Vec<String> {
        let mut people =
            std::mem::take(&mut *self.inner.people.lock().unwrap_or_else(PoisonError::into_inner));
        people.abort_all();
        let mut panics = Vec::new();
        while let Some(end) = people.join_next().await {
            panics.extend(end.err().filter(JoinError::is_panic).map(|panic| format!("panic: {panic}")));
        }
        panics
    }

    pub fn replicas(&self) -> usize {
        self.inner.ports.len()
    }

    /// A connection of its own to a replica.
    ///
    /// # Errors
    /// None with these settings.
    pub fn client(&self, replica: usize) -> Result<Client, Error> {
        let port = self.inner.ports.get(replica).copied().unwrap_or_default();
        let config = Config {
            credential: Some(self.inner.credential.clone()),
            connect_timeout: Duration::from_secs(1),
            default_deadline: PATIENCE,
            reconnect_for: Duration::from_secs(5),
            watch_silence: WATCH_SILENCE,
            ..Config::new(format!("http://127.0.0.1:{port}"))
        };
        Client::lazy(config)
    }

    /// True once nothing fails any more and agents are diligent.
    pub fn healed(&self) -> bool {
        self.inner.healed.load(Ordering::Relaxed)
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.record.add(Fact::Nemesis("healed".to_owned()));
        self.inner.healed.store(true, Ordering::Relaxed);
    }

    /// A number that nobody else has.
    pub fn number(&self) -> u64 {
        self.inner.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Watches that have not seen the end.
    pub fn watching(&self) -> &AtomicUsize {
        &self.inner.watching
    }

    /// Tasks that the feed from the beginning has seen ending.
    pub fn fed(&self) -> &AtomicUsize {
        &self.inner.fed
    }
}
