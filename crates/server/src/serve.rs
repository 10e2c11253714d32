//! A server from start to drained.
//!
//! The stop, in order: health says NOT_SERVING; the engine asks agents to go
//! elsewhere; no new connection, GOAWAY on the others, watches end; shortly before
//! the deadline sessions end; at the deadline what is left is cut off; then the
//! engine finishes its commits. Every start-up error says what, where, how to fix.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quarterdeck_adapters::HttpCourier;
use quarterdeck_core::{Span, Timestamp};
use quarterdeck_engine::notifications::courier::{Courier, NoCourier};
use quarterdeck_engine::ports::Clock;
use quarterdeck_engine::{Bus, Engine, Error, Ports, Secrets};
use quarterdeck_store::{Store, StoreError};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::accept::{Acceptor, Peers, Server, Stages, bind};
use crate::auth::Authenticator;
use crate::auth::jwt::{JwtError, Verifier};
use crate::auth::secrets::{SecretError, pepper_from};
use crate::config::{Config, ConfigError, Limits};
use crate::health::Health;
use crate::layers::{Edge, Endings};
use crate::{files, metrics_port, services, telemetry, tls};

/// How often gauges of the process are measured and histograms tidied.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How long the engine has for its last commits after the drain.
const LAST_COMMITS: Duration = Duration::from_secs(5);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the address {address} is taken by another process. Stop it (`ss -ltnp 'sport = :{}'` shows it), or listen elsewhere.", .address.port())]
    PortTaken { address: SocketAddr },
    #[error(
        "cannot listen on {address}: {source}. Use an address of this machine, and a port above 1023 unless privileged."
    )]
    CannotListen { address: SocketAddr, source: io::Error },
    #[error("the TLS {what} cannot be read from {}: {source}. Check the path and that this user may read it.", path.display())]
    TlsUnreadable { what: &'static str, path: PathBuf, source: io::Error },
    #[error("the TLS {what} in {} cannot be used: {problem}. {mend}", path.display())]
    BadCertificate { what: &'static str, path: PathBuf, problem: String, mend: &'static str },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Jwt(#[from] JwtError),
    #[error("the contract built into this program is not complete: {0}. This is a defect of the build.")]
    Contract(String),
    #[error("the database cannot be used: {problem}. {mend}")]
    Store { problem: String, mend: &'static str },
    #[error("{}: {problem}. {mend}", path.display())]
    File { path: PathBuf, problem: String, mend: &'static str },
    #[error(
        "webhooks cannot be told safely: this machine's trusted certificates cannot be read: {0}. Install them (on Debian: ca-certificates), or start without --webhook-allow."
    )]
    NoRoots(io::Error),
    #[error("the engine does not start: {0}")]
    Engine(Error),
}

/// A server that runs. Dropping it without [`Running::wait`] begins the drain.
pub struct Running {
    /// Where gRPC is served, with the port that was taken.
    pub grpc_addr: SocketAddr,
    /// Where metrics are served.
    pub metrics_addr: Option<SocketAddr>,
    tls: bool,
    shutdown: CancellationToken,
    done: JoinHandle<Stopped>,
    _guard: DropGuard,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// True where everybody left before the deadline.
    pub drained: bool,
    /// Connections that had to be cut off.
    pub aborted_connections: usize,
}

impl Running {
    /// Cancelling it begins the drain.
    pub const fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// True where clients have to use `https://`.
    pub const fn tls(&self) -> bool {
        self.tls
    }

    /// Ready once the server has stopped, which it does when told to.
    pub async fn wait(self) -> Stopped {
        self.done.await.unwrap_or(Stopped { drained: false, aborted_connections: 0 })
    }
}

/// Makes aws-lc-rs the provider of all TLS in this process. First line of `main`
/// and of test harnesses; repeating it changes nothing.
pub fn install_crypto() {
    // An error means that a provider is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Starts a server on a migrated store. Returns once it accepts connections.
pub async fn serve(
    config: Config,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    shutdown: CancellationToken,
) -> Result<Running, StartError> {
    install_crypto();
    telemetry::recorder();
    quarterdeck_api::access::require_complete().map_err(StartError::Contract)?;
    quarterdeck_api::guard::require_complete().map_err(StartError::Contract)?;
    let ports = Ports { courier: courier(&config)?, ..Ports::system() };
    // Secrets and files first: whoever gets them wrong hears it before anything runs.
    let doors = Doors::open(&config, &ports).await?;
    let (grpc_addr, metrics_addr, tls) =
        (doors.grpc.1, doors.metrics.as_ref().map(|port| port.1), doors.tls.is_some());
    let options = config.settings().engine.clone();
    let engine = Engine::start(options, store, bus, ports.clone(), doors.secrets.clone()).await;
    let engine = engine.map_err(engine_error)?;
    announce(&config, grpc_addr, metrics_addr, &engine);
    let shutdown = shutdown.child_token();
    let done = run(doors, config.limits().clone(), engine, ports, shutdown.clone()).await?;
    let guard = shutdown.clone().drop_guard();
    Ok(Running { grpc_addr, metrics_addr, tls, shutdown, done, _guard: guard })
}

/// What takes notices to webhooks, where any may be told.
fn courier(config: &Config) -> Result<Arc<dyn Courier>, StartError> {
    let allow = &config.settings().engine.webhook_allow;
    match allow.is_empty() {
        true => Ok(Arc::new(NoCourier)),
        false => Ok(Arc::new(HttpCourier::new(allow.clone()).map_err(StartError::NoRoots)?)),
    }
}

/// Everything that comes from outside and may be wrong.
struct Doors {
    secrets: Secrets,
    jwt: Option<Verifier>,
    tls: Option<TlsAcceptor>,
    grpc: (TcpListener, SocketAddr),
    metrics: Option<(TcpListener, SocketAddr)>,
}

impl Doors {
    async fn open(config: &Config, ports: &Ports) -> Result<Self, StartError> {
        let settings = config.settings();
        Ok(Self {
            secrets: read_secrets(config)?,
            jwt: Verifier::load(&settings.auth.jwt, Arc::clone(&ports.clock))?,
            tls: settings.tls.as_ref().map(tls::acceptor).transpose()?,
            grpc: listen(settings.listen).await?,
            metrics: match settings.metrics_listen {
                Some(address) => Some(listen(address).await?),
                None => None,
            },
        })
    }
}

/// Binds; answers the address with the port that was taken.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = bind(address).await?;
    let taken = listener.local_addr().map_err(|source| StartError::CannotListen { address, source })?;
    Ok((listener, taken))
}

/// Starts everything that runs until `shutdown`, and what stops it then.
async fn run(
    doors: Doors,
    limits: Limits,
    engine: Engine,
    ports: Ports,
    shutdown: CancellationToken,
) -> Result<JoinHandle<Stopped>, StartError> {
    let (tracker, stages, endings) = (TaskTracker::new(), Stages::default(), Endings::default());
    let health = Health::new().await;
    let routes = services::routes(&engine, &tracker, limits.message_size);
    let routes = health.add_to(routes).map_err(StartError::Contract)?;
    // These live until the drain is over.
    let (background, over) = (TaskTracker::new(), CancellationToken::new());
    if let Some(upkeep) = doors.jwt.as_ref().and_then(Verifier::upkeep) {
        background.spawn(over.clone().run_until_cancelled_owned(upkeep));
    }
    let authenticator = Authenticator::new(engine.clone(), doors.jwt, Arc::clone(&ports.clock));
    let clock = (Arc::clone(&ports.clock), ports.entropy.as_ref());
    let edge = Edge::new(routes, authenticator, limits.clone(), clock, endings.clone());
    let aborted = Arc::new(AtomicUsize::new(0));
    let accepting = Acceptor {
        listener: doors.grpc.0,
        tls: doors.tls,
        server: Arc::new(Server::new(edge, limits.clone(), Arc::clone(&ports.clock), tracker.clone())),
        stages: stages.clone(),
        tracker: tracker.clone(),
        max_connections: files::connections(limits.max_connections),
        peers: Peers::new(&limits, Arc::clone(&ports.clock)),
        clock: Arc::clone(&ports.clock),
        aborted: Arc::clone(&aborted),
    };
    tracker.spawn(accepting.run());
    let health = background.spawn(health.follow(engine.clone(), shutdown.clone()));
    background.spawn(upkeep(Arc::clone(&ports.clock), over.clone()));
    if let Some((listener, _)) = doors.metrics {
        let (draining, tracker) = (shutdown.clone(), background.clone());
        background.spawn(metrics_port::run(listener, engine.clone(), draining, over.clone(), tracker));
    }
    let stop = Stop { engine, health, stages, endings, tracker, aborted, over };
    Ok(background.spawn(async move {
        shutdown.cancelled().await;
        stop.run(limits.drain_deadline, ports.clock.as_ref()).await
    }))
}

fn read_secrets(config: &Config) -> Result<Secrets, StartError> {
    let auth = &config.settings().auth;
    let bootstrap = auth.bootstrap.as_ref().map(|source| source.read("bootstrap secret")).transpose()?;
    let pepper = match (&auth.pepper, &bootstrap) {
        (Some(source), _) => source.read("key pepper")?.expose_secret().as_bytes().to_vec(),
        (None, Some(bootstrap)) => pepper_from(bootstrap),
        // `Settings::validate` refuses this.
        (None, None) => Vec::new(),
    };
    Ok(Secrets { bootstrap: bootstrap.map(|secret| secret.expose_secret().to_owned()), pepper })
}

fn engine_error(error: Error) -> StartError {
    match error {
        Error::Store(error) => StartError::store(error),
        error => StartError::Engine(error),
    }
}

impl StartError {
    /// What to do about a store that cannot be used.
    pub fn store(error: StoreError) -> Self {
        let mend = match &error {
            StoreError::Unavailable(_) | StoreError::Unknown(_) => {
                "Check that it runs, that its address is right and that this user may reach and open it."
            }
            StoreError::Schema(_) => {
                "`quarterdeck migrate status` shows the schema; `quarterdeck migrate up` brings an older one up to date."
            }
            StoreError::Corrupt { .. } | StoreError::Poison(_) => {
                "Restore a backup, or ask for help with the text above."
            }
        };
        Self::Store { problem: error.to_string(), mend }
    }
}

fn announce(config: &Config, grpc: SocketAddr, metrics: Option<SocketAddr>, engine: &Engine) {
    let settings = config.settings();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        replica = %engine.replica(),
        %grpc,
        metrics = metrics.map(|address| address.to_string()),
        tls = settings.tls.is_some(),
        limits = ?settings.limits,
        engine = ?settings.engine,
        "starting"
    );
    for line in config.lines() {
        tracing::info!("{line}");
    }
    if settings.tls.is_none() && !grpc.ip().is_loopback() {
        tracing::warn!(
            "{grpc} is plaintext and not loopback: credentials travel in the clear unless something in front speaks TLS"
        );
    }
}

async fn upkeep(clock: Arc<dyn Clock>, over: CancellationToken) {
    let started = clock.now();
    loop {
        telemetry::measure_process(clock.now().since(started).as_std());
        if let Some(recorder) = telemetry::recorder() {
            recorder.run_upkeep();
        }
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            () = tokio::time::sleep(UPKEEP_EVERY) => {}
        }
    }
}

/// What stopping needs.
struct Stop {
    engine: Engine,
    /// Ends once nothing serves any more.
    health: JoinHandle<()>,
    stages: Stages,
    endings: Endings,
    /// Connections and their calls.
    tracker: TaskTracker,
    aborted: Arc<AtomicUsize>,
    over: CancellationToken,
}

impl Stop {
    async fn run(self, deadline: Duration, clock: &dyn Clock) -> Stopped {
        tracing::info!(?deadline, "draining");
        let until: Timestamp = clock.now().plus(Span::from_std(deadline));
        let _ = self.health.await;
        self.engine.drain(Some(until)).await;
        self.endings.watches.cancel();
        self.stages.graceful.cancel();
        self.tracker.close();
        // Sessions end a little before everything does, so that agents hear why.
        let drained = tokio::time::timeout(deadline.mul_f64(0.9), self.tracker.wait()).await.is_ok();
        if !drained {
            self.endings.sessions.cancel();
            let rest = tokio::time::timeout(deadline.mul_f64(0.1), self.tracker.wait()).await;
            if rest.is_err() {
                tracing::warn!(
                    tasks = self.tracker.len(),
                    "the drain deadline has passed; cutting off what is left"
                );
            }
        }
        self.stages.abort.cancel();
        // Cut connections end at once; calls under way notice when they are next polled.
        let _ = tokio::time::timeout(LAST_COMMITS, self.tracker.wait()).await;
        self.engine.stop();
        self.over.cancel();
        let stopped = Stopped { drained, aborted_connections: self.aborted.load(Ordering::Relaxed) };
        tracing::info!(drained, aborted_connections = stopped.aborted_connections, "stopped");
        stopped
    }
}
