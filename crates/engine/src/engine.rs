//! The parts together: starting, draining, stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use quarterdeck_core::{Span, Timestamp, project};
use quarterdeck_store::Store;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::aggregate::Slots;
use crate::approvals::{Gates, StandingCache, Waits};
use crate::auth::Secrets;
use crate::bus::Bus;
use crate::committer::Committer;
use crate::dispatcher::Dispatcher;
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::keys::KeyCache;
use crate::options::Options;
use crate::payloads::Contents;
use crate::ports::{Ports, Time};
use crate::projects::ProjectCache;
use crate::session::{Down, GoAwayCause};

/// An answer about the time that took longer is not believed.
pub(crate) const CLOCK_TRIP: Span = Span::from_millis(100);
/// Times that the database is asked for the time at the start.
const CLOCK_TRIES: u32 = 10;

/// One replica.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Shared>);

/// What all parts share.
pub struct Shared {
    pub(crate) options: Options,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) committer: Committer,
    pub(crate) time: Time,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) replica: Uuid,
    pub(crate) secrets: Secrets,
    pub(crate) slots: Slots,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) hub: Hub,
    pub(crate) contents: Contents,
    pub(crate) projects: ProjectCache,
    pub(crate) keys: KeyCache,
    pub(crate) standings: StandingCache,
    pub(crate) gates: Gates,
    pub(crate) waits: Waits,
    /// Set when no new sessions, watches or requests are taken.
    pub(crate) draining: CancellationToken,
    /// Set when the background loops end.
    pub(crate) stopping: CancellationToken,
    /// Earliest deadline that this replica knows of, in microseconds.
    pub(crate) next_due: AtomicI64,
    pub(crate) sooner: Notify,
}

impl Engine {
    /// Starts a replica on a migrated store. Creates the project `default` where
    /// it is missing.
    pub async fn start(
        options: Options,
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        ports: Ports,
        secrets: Secrets,
    ) -> Result<Self> {
        options.validate().map_err(Error::Internal)?;
        crate::metrics::describe();
        crate::approvals::warm()?;
        let time = Time::new(ports);
        set_clock(&time, store.as_ref()).await?;
        let draw = time.ctx().draw("replica", 0);
        let mut replica = [0; 16];
        replica.copy_from_slice(&draw[..16]);
        let shared = Arc::new(Shared {
            committer: Committer::start(&options, Arc::clone(&store), time.clone()),
            slots: Slots::new(options.tasks_cached_max),
            dispatcher: Dispatcher::default(),
            hub: Hub::new(options.watches_max),
            contents: Contents::default(),
            projects: ProjectCache::default(),
            keys: KeyCache::default(),
            standings: StandingCache::default(),
            gates: Gates::default(),
            waits: Waits::default(),
            replica: uuid::Builder::from_custom_bytes(replica).into_uuid(),
            draining: CancellationToken::new(),
            stopping: CancellationToken::new(),
            next_due: AtomicI64::new(i64::MAX),
            sooner: Notify::new(),
            options,
            store,
            time,
            bus,
            secrets,
        });
        shared.ensure_project(project::DEFAULT, "Default").await?;
        for background in [
            Box::pin(Arc::clone(&shared).pump()) as crate::ports::Wait,
            Box::pin(Arc::clone(&shared).sweep()),
            Box::pin(Arc::clone(&shared).renew()),
            Box::pin(Arc::clone(&shared).listen()),
            Box::pin(Arc::clone(&shared).keep_sealing()),
        ] {
            shared.time.spawn(background);
        }
        // Where nobody may be told there is nothing to follow.
        if !shared.options.webhook_allow.is_empty() {
            shared.time.spawn(Arc::clone(&shared).notify());
        }
        Ok(Self(shared))
    }

    /// Stops taking new sessions and watches, and asks agents to go elsewhere.
    /// Calls that are under way go on.
    pub async fn drain(&self, deadline: Option<Timestamp>) {
        self.0.draining.cancel();
        for session in self.0.dispatcher.held().into_keys() {
            self.0.dispatcher.set_draining(session);
            self.0.dispatcher.send(session, Down::GoAway { cause: GoAwayCause::Rotate, deadline });
        }
    }

    /// Ends the background loops. Commits under way are finished and answered.
    pub fn stop(&self) {
        self.0.draining.cancel();
        self.0.stopping.cancel();
    }

    /// Whether the store answers; says why not.
    pub async fn ready(&self) -> std::result::Result<(), String> {
        if self.0.draining.is_cancelled() {
            return Err("draining".to_owned());
        }
        self.0.store.now().await.map(drop).map_err(|error| error.to_string())
    }

    /// Cancelled once this replica drains: streams that serve callers end then.
    pub fn draining(&self) -> CancellationToken {
        self.0.draining.clone()
    }

    /// Identity of this replica, new at each start.
    pub fn replica(&self) -> Uuid {
        self.0.replica
    }

    /// About what the database's clock says.
    pub fn now(&self) -> Timestamp {
        self.0.time.now()
    }

    pub fn options(&self) -> &Options {
        &self.0.options
    }
}

/// Sets the clock by the database's. An answer that took long says little about
/// when it was written: deadlines would come too early by as much. Then it is asked
/// again, a few times; the shortest counts.
async fn set_clock(time: &Time, store: &dyn Store) -> Result<()> {
    let mut shortest = None;
    for _ in 0..CLOCK_TRIES {
        let before = time.local();
        let database = store.now().await?;
        let trip = time.local().since(before);
        if shortest.is_none_or(|shortest| trip < shortest) {
            shortest = Some(trip);
            time.learn(database, before.plus(Span::from_micros(trip.as_micros() / 2)));
        }
        if trip < CLOCK_TRIP {
            break;
        }
    }
    Ok(())
}

impl Shared {
    /// Lets the sweeper know of a deadline that may come before its next look.
    pub(crate) fn next_due(&self, due: Timestamp) {
        let before = self.next_due.fetch_min(due.as_micros(), Ordering::Relaxed);
        if due.as_micros() < before {
            self.sooner.notify_one();
        }
    }
}
