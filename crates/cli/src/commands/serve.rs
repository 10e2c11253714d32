//! `quarterdeck serve`: a server for others.
//!
//! Flags, environment (`QUARTERDECK_*`) and files become the server's settings here and
//! nowhere else. Secrets come from files only; URLs with passwords may.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use quarterdeck_adapters::RedisBus;
use quarterdeck_client::CancellationToken;
use quarterdeck_core::Span;
use quarterdeck_engine::notifications::{AllowList, Allowed};
use quarterdeck_engine::{Bus, LocalBus, Options};
use quarterdeck_server::{
    AuthSettings, JwksSource, JwtSettings, Limits, LogFormat, LogSettings, SecretSource, Settings, TlsFiles,
    init_logging,
};

use crate::connect::read_line;
use crate::database::{self, Source};
use crate::failure::Failure;
use crate::startup::{start_failure, stop_signal};
use crate::values;

/// Runs a server for others.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The first administrator uses the bootstrap secret as key: QUARTERDECK_API_KEY=qd_bootstrap_<secret>.
  (umask 077; openssl rand -hex 32 > bootstrap.secret)
  quarterdeck serve --database-url postgres://quarterdeck@db/quarterdeck --migrate \\
    --bootstrap-secret-file bootstrap.secret --listen 0.0.0.0:7443 --tls-cert cert.pem --tls-key key.pem")]
pub struct Args {
    /// Address for gRPC.
    #[arg(long, env = "QUARTERDECK_LISTEN", default_value = "127.0.0.1:7443", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// Address for /metrics, /livez and /readyz, or `off`.
    #[arg(long, env = "QUARTERDECK_METRICS_LISTEN", default_value = "127.0.0.1:7444", value_name = "HOST:PORT", value_parser = metrics)]
    metrics_listen: MetricsListen,
    /// Allow --metrics-listen to be reachable from other machines; metrics need no credential.
    #[arg(long, env = "QUARTERDECK_METRICS_PUBLIC")]
    metrics_public: bool,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    secrets: SecretArgs,
    #[command(flatten)]
    jwt: JwtArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// How to log, to standard error.
    #[arg(long, env = "QUARTERDECK_LOG_FORMAT", value_enum, default_value_t = Log::Text)]
    log_format: Log,
    /// What to log, such as `info` or `info,quarterdeck_engine=debug`.
    #[arg(long, env = "QUARTERDECK_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Database and bus")]
struct DatabaseArgs {
    /// PostgreSQL (`postgres://..`) or SQLite (`sqlite://path`).
    #[arg(long, env = "QUARTERDECK_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    #[arg(required_unless_present = "database_url_file", conflicts_with = "database_url_file")]
    database_url: Option<String>,
    /// File that holds the URL.
    #[arg(long, env = "QUARTERDECK_DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
    /// Bring the database's schema up to date first; otherwise an older one is refused.
    #[arg(long, env = "QUARTERDECK_MIGRATE")]
    migrate: bool,
    /// Redis for wake-ups between replicas (`redis://..`). Without it they look at the tables.
    #[arg(long, env = "QUARTERDECK_REDIS_URL", hide_env_values = true, value_name = "URL")]
    #[arg(conflicts_with = "redis_url_file")]
    redis_url: Option<String>,
    /// File that holds the URL.
    #[arg(long, env = "QUARTERDECK_REDIS_URL_FILE", value_name = "FILE")]
    redis_url_file: Option<PathBuf>,
    /// Prefix of the names used in Redis; one installation, one prefix.
    #[arg(long, env = "QUARTERDECK_REDIS_PREFIX", default_value = "quarterdeck", value_name = "NAME")]
    redis_prefix: String,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Secrets and TLS")]
struct SecretArgs {
    /// File with the secret of the first administrator; only its owner may read it.
    #[arg(long, env = "QUARTERDECK_BOOTSTRAP_SECRET_FILE", value_name = "FILE")]
    bootstrap_secret_file: Option<PathBuf>,
    /// File with the key of the hashes of API keys [default: derived from the bootstrap secret].
    #[arg(long, env = "QUARTERDECK_KEY_PEPPER_FILE", value_name = "FILE")]
    key_pepper_file: Option<PathBuf>,
    /// Certificate chain (PEM).
    #[arg(long, env = "QUARTERDECK_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, env = "QUARTERDECK_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "JSON Web Tokens")]
struct JwtArgs {
    /// File with the shared secret for HS256.
    #[arg(long, env = "QUARTERDECK_JWT_HS256_SECRET_FILE", value_name = "FILE")]
    jwt_hs256_secret_file: Option<PathBuf>,
    /// Public key (PEM) for RS256; may be repeated.
    #[arg(
        long = "jwt-rs256-key",
        env = "QUARTERDECK_JWT_RS256_KEYS",
        value_delimiter = ',',
        value_name = "FILE"
    )]
    jwt_rs256_keys: Vec<PathBuf>,
    /// Public key (PEM) for EdDSA; may be repeated.
    #[arg(
        long = "jwt-eddsa-key",
        env = "QUARTERDECK_JWT_EDDSA_KEYS",
        value_delimiter = ',',
        value_name = "FILE"
    )]
    jwt_eddsa_keys: Vec<PathBuf>,
    /// JWK set: a file, read again when it changes, or an https address, fetched
    /// every five minutes and when a token names a key that is not in it.
    #[arg(long, env = "QUARTERDECK_JWT_JWKS", value_name = "FILE|URL")]
    jwt_jwks: Option<JwksSource>,
    /// What `iss` must be.
    #[arg(long, env = "QUARTERDECK_JWT_ISSUER", value_name = "TEXT")]
    jwt_issuer: Option<String>,
    /// What `aud` must contain.
    #[arg(long, env = "QUARTERDECK_JWT_AUDIENCE", value_name = "TEXT")]
    jwt_audience: Option<String>,
    /// Clock difference forgiven for `exp` and `nbf`; at most 30s.
    #[arg(long, env = "QUARTERDECK_JWT_LEEWAY", default_value = "10s", value_parser = values::duration, value_name = "TIME")]
    jwt_leeway: Duration,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Times and limits")]
struct EngineArgs {
    /// How long an agent may be silent before its steps are given to others.
    #[arg(long, env = "QUARTERDECK_SESSION_LEASE", default_value = "15s", value_parser = values::duration, value_name = "TIME")]
    session_lease: Duration,
    /// How often leases are renewed; a third of the lease or less.
    #[arg(long, env = "QUARTERDECK_RENEW_EVERY", default_value = "5s", value_parser = values::duration, value_name = "TIME")]
    renew_every: Duration,
    /// How often the audit's heads are signed.
    #[arg(long, env = "QUARTERDECK_SEAL_EVERY", default_value = "1s", value_parser = values::duration, value_name = "TIME")]
    seal_every: Duration,
    /// From the wish to stop until what still runs is cut off.
    #[arg(long, env = "QUARTERDECK_DRAIN_DEADLINE", default_value = "25s", value_parser = values::duration, value_name = "TIME")]
    drain_deadline: Duration,
    /// Connections at a time.
    #[arg(long, env = "QUARTERDECK_MAX_CONNECTIONS", default_value_t = 10_000, value_name = "N")]
    max_connections: u32,
    /// Connections at a time from one address (IPv6: one /64) [default: a quarter of --max-connections].
    ///
    /// Raise it where all clients come through one address, such as a TCP load balancer.
    #[arg(long, env = "QUARTERDECK_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N")]
    max_connections_per_address: Option<u32>,
    /// Host that webhooks may tell, such as hooks.example, *.example.com:8443 or 10.0.0.5;
    /// may be repeated [default: none].
    #[arg(long, env = "QUARTERDECK_WEBHOOK_ALLOW", value_delimiter = ',', value_name = "HOST[:PORT]")]
    webhook_allow: Vec<Allowed>,
    /// Memory in MiB for messages that come in parts and answers that clients have not read yet.
    #[arg(long, env = "QUARTERDECK_CLIENT_MEMORY", default_value_t = 48, value_name = "MIB")]
    #[arg(value_parser = clap::value_parser!(u32).range(16..4_096))]
    client_memory: u32,
}

/// Log formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Log {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where metrics are served, if anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsListen(Option<SocketAddr>);

fn metrics(text: &str) -> Result<MetricsListen, String> {
    if text == "off" {
        return Ok(MetricsListen(None));
    }
    let address =
        text.parse().map_err(|_| "write it as host:port, such as 127.0.0.1:7444, or `off`".to_owned());
    address.map(|address| MetricsListen(Some(address)))
}

/// Runs the command.
pub async fn run(args: &Args) -> Result<ExitCode, Failure> {
    let source = Source::from_flags(&args.database.database_url, &args.database.database_url_file, &None)?;
    let config = settings(args).validate().map_err(|error| start_failure(error.into()))?;
    let _log = init_logging(config.log()).map_err(|error| Failure::usage(error.to_string()).at("--log"))?;
    let store = database::open(&source, args.database.migrate).await?;
    let bus = bus(&args.database)?;
    let shutdown = CancellationToken::new();
    let server =
        quarterdeck_server::serve(config, store, bus, shutdown.clone()).await.map_err(start_failure)?;
    let scheme = if server.tls() { "https" } else { "http" };
    tracing::info!(database = source.redacted(), "serving on {scheme}://{}", server.grpc_addr);
    if !server.tls() && !server.grpc_addr.ip().is_loopback() {
        tracing::warn!("without --tls-cert, keys and payloads can be read on the way");
    }
    stop_signal().await;
    tracing::info!("stopping; what runs has its time to finish");
    shutdown.cancel();
    let stopped = server.wait().await;
    if !stopped.drained {
        tracing::warn!(connections = stopped.aborted_connections, "some had to be cut off");
    }
    Ok(ExitCode::SUCCESS)
}

fn bus(args: &DatabaseArgs) -> Result<Arc<dyn Bus>, Failure> {
    let url = match &args.redis_url_file {
        Some(path) => Some(read_line(path, "--redis-url-file")?),
        None => args.redis_url.clone(),
    };
    let Some(url) = url else { return Ok(Arc::new(LocalBus::default())) };
    let connected = RedisBus::connect(&url, &args.redis_prefix);
    // The URL may hold a password: it is not repeated.
    let bus = connected.map_err(|error| {
        Failure::usage(format!("the Redis URL cannot be used: {error}"))
            .at("--redis-url")
            .fix("write it as redis://[user:password@]host:port[/database]")
    })?;
    Ok(bus)
}

fn settings(args: &Args) -> Settings {
    let file = |path: &Option<PathBuf>| path.clone().map(SecretSource::File);
    let engine = &args.engine;
    let tls = args.secrets.tls_cert.clone().zip(args.secrets.tls_key.clone());
    Settings {
        listen: args.listen,
        metrics_listen: args.metrics_listen.0,
        metrics_public: args.metrics_public,
        tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
        limits: Limits {
            drain_deadline: engine.drain_deadline,
            max_connections: engine.max_connections,
            connections_per_address: engine
                .max_connections_per_address
                .unwrap_or_else(|| engine.max_connections.div_ceil(4)),
            held: engine.client_memory * 1024 * 1024,
            ..Limits::default()
        },
        auth: AuthSettings {
            bootstrap: file(&args.secrets.bootstrap_secret_file),
            pepper: file(&args.secrets.key_pepper_file),
            jwt: JwtSettings {
                hs256_secret: file(&args.jwt.jwt_hs256_secret_file),
                rs256_keys: args.jwt.jwt_rs256_keys.clone(),
                eddsa_keys: args.jwt.jwt_eddsa_keys.clone(),
                jwks: args.jwt.jwt_jwks.clone(),
                issuer: args.jwt.jwt_issuer.clone(),
                audience: args.jwt.jwt_audience.clone(),
                leeway: args.jwt.jwt_leeway,
            },
        },
        log: LogSettings {
            format: match args.log_format {
                Log::Text => LogFormat::Text,
                Log::Json => LogFormat::Json,
            },
            filter: args.log.clone(),
        },
        engine: Options {
            session_lease: Span::from_std(engine.session_lease),
            renew_every: Span::from_std(engine.renew_every),
            seal_every: Span::from_std(engine.seal_every),
            webhook_allow: AllowList(engine.webhook_allow.clone()),
            ..Options::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_can_be_turned_off() {
        assert_eq!(metrics("off"), Ok(MetricsListen(None)));
        assert_eq!(metrics("127.0.0.1:1"), Ok(MetricsListen(Some(([127, 0, 0, 1], 1).into()))));
        assert!(metrics("7444").is_err());
    }
}
