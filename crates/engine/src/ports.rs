//! What the engine needs of the world: time, waiting, entropy, spawning, sending.
//!
//! Invariant: the engine waits, draws and spawns through these alone, so that a
//! simulator can run replicas in one thread from one seed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quarterdeck_core::{Ctx, Span, Timestamp};
use tokio_util::task::TaskTracker;

use crate::notifications::courier::{Courier, NoCourier};

/// A future that is spawned or waited for.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Time and waiting.
pub trait Clock: Send + Sync + 'static {
    /// This machine's wall clock. May be wrong; see [`Time`].
    fn now(&self) -> Timestamp;

    /// Ready after `span`.
    fn sleep(&self, span: Span) -> Wait;
}

/// Randomness.
pub trait Entropy: Send + Sync + 'static {
    fn draw(&self) -> [u8; 32];
}

/// Spawning, tracked.
pub trait Spawn: Send + Sync + 'static {
    fn spawn(&self, task: Wait);
}

/// The ports together.
#[derive(Clone)]
pub struct Ports {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub spawner: Arc<dyn Spawn>,
    pub courier: Arc<dyn Courier>,
}

impl Ports {
    /// The machine's own clock, the operating system's entropy, tokio's tasks; nothing
    /// is sent.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            spawner: Arc::new(SystemSpawner(TaskTracker::new())),
            courier: Arc::new(NoCourier),
        }
    }
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // This is the port.
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let micros = since.unwrap_or(Duration::ZERO).as_micros();
        Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    fn sleep(&self, span: Span) -> Wait {
        Box::pin(tokio::time::sleep(span.as_std()))
    }
}

/// The operating system's entropy.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[allow(clippy::disallowed_methods)] // This is the port.
    fn draw(&self) -> [u8; 32] {
        rand::Rng::random(&mut rand::rng())
    }
}

/// Tokio's tasks, counted.
pub struct SystemSpawner(TaskTracker);

impl Spawn for SystemSpawner {
    fn spawn(&self, task: Wait) {
        drop(self.0.spawn(task));
    }
}

/// The database's clock as this replica knows it: its own clock and an offset
/// that is measured against the database (see the sweeper).
#[derive(Clone)]
pub struct Time {
    ports: Ports,
    offset: Arc<AtomicI64>,
}

impl Time {
    pub fn new(ports: Ports) -> Self {
        Self { ports, offset: Arc::new(AtomicI64::new(0)) }
    }

    /// About what the database's clock says.
    pub fn now(&self) -> Timestamp {
        let offset = self.offset.load(Ordering::Relaxed);
        Timestamp::from_micros(self.ports.clock.now().as_micros().saturating_add(offset))
    }

    /// This machine's clock: for measuring lengths of time only.
    pub fn local(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// A measurement: the database said `database` while this clock said `local`.
    pub fn learn(&self, database: Timestamp, local: Timestamp) {
        let offset = database.as_micros().saturating_sub(local.as_micros());
        self.offset.store(offset, Ordering::Relaxed);
    }

    pub fn ctx(&self) -> Ctx {
        Ctx::new(self.now(), self.ports.entropy.draw())
    }

    pub async fn sleep(&self, span: Span) {
        self.ports.clock.sleep(span).await;
    }

    pub fn courier(&self) -> &dyn Courier {
        &*self.ports.courier
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.ports.spawner.spawn(Box::pin(task));
    }

    /// Full jitter between 0 and `span`.
    pub fn jitter(&self, span: Span) -> Span {
        let fraction = self.ctx().fraction("jitter", 0);
        Span::from_micros((span.as_micros() as f64 * fraction) as i64)
    }
}
