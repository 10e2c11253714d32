//! Everything that can be set, checked once and printed at start.
//!
//! [`Settings`] is what somebody wrote; [`Config`] exists only if it holds
//! together. Nothing here reads files, flags or the environment.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use quarterdeck_engine::Options;

use crate::auth::secrets::SecretSource;

/// Longest clock difference that may be forgiven to issuers of JWTs.
pub const LEEWAY_MAX: Duration = Duration::from_secs(30);

/// What the operator asks for; not checked yet.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where gRPC is served. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/metrics`, `/livez` and `/readyz` are served. `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Allows `metrics_listen` to be reachable from other machines.
    pub metrics_public: bool,
    /// Serve TLS, not plaintext.
    pub tls: Option<TlsFiles>,
    pub limits: Limits,
    pub auth: AuthSettings,
    pub log: LogSettings,
    pub engine: Options,
}

/// PEM files of the server's certificate chain and its private key.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Limits of connections, requests and waiting. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub max_connections: u32,
    /// Connections at a time of one address (of IPv6: of one network of 64 bits);
    /// more are closed at once. A part of them all and no small number: behind NAT
    /// or a proxy many agents have one address.
    pub connections_per_address: u32,
    /// Calls at a time on one connection.
    pub concurrent_streams: u32,
    /// Of requests, sent before they are looked at. On one stream,
    pub stream_window: u32,
    /// and on all of a connection: what each may make the server hold.
    pub connection_window: u32,
    /// HTTP/2 frame, 16 KiB to 16 MiB - 1.
    pub max_frame: u32,
    /// Headers of one request, all together.
    pub header_list: u32,
    /// Streams that a client resets before they are accepted; more close the
    /// connection (CVE-2023-44487, rapid reset).
    pub pending_accept_resets: u32,
    /// Streams reset for a client's protocol errors; more close the connection.
    pub local_error_resets: u32,
    /// Frames a second on one connection that belong to no call, such as PING or
    /// WINDOW_UPDATE; SETTINGS counts as a hundred. More, beyond two seconds'
    /// worth at once, close the connection (CVE-2019-9512 to -9515).
    pub control_frames: u32,
    /// Calls a second on one connection that its client resets, or makes without
    /// a credential that counts. More, beyond ten seconds' worth at once, close
    /// the connection.
    pub fruitless_calls: u32,
    /// Calls at a time on one connection that need no credential: health and
    /// reflection. An address has 32 times as many.
    pub open_calls: u32,
    /// Memory for messages that have come in part and answers that nobody has
    /// read. Above it connections that have held some for longest are closed; what
    /// is younger than a second is spared up to twice as much.
    pub held: u32,
    /// A connection without any call for as long, or up to twice as long, is
    /// asked to go; clients come back with their next call.
    pub idle_timeout: Duration,
    /// Between pings on a connection.
    pub keepalive_interval: Duration,
    /// Wait for the answer to such a ping.
    pub keepalive_timeout: Duration,
    /// From accepting a connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From there to the HTTP/2 preface, or to the end of HTTP/1 headers; and for
    /// any later block of headers from its beginning to its end.
    pub header_timeout: Duration,
    /// One request message, decoded from the wire.
    pub message_size: u32,
    /// Of unary calls that state no deadline.
    pub default_deadline: Duration,
    /// Longest that a unary call may ask for; more is cut to it.
    pub max_deadline: Duration,
    /// From the wish to stop until what still runs is cut off.
    pub drain_deadline: Duration,
}

/// Who is let in.
#[derive(Clone, Debug, Default)]
pub struct AuthSettings {
    /// Secret behind `qd_bootstrap_<secret>`, the credential of the first admin.
    pub bootstrap: Option<SecretSource>,
    /// Key of the hashes of API keys. `None`: derived from `bootstrap`, so that
    /// another bootstrap secret makes all keys useless.
    pub pepper: Option<SecretSource>,
    pub jwt: JwtSettings,
}

/// Whose JWTs are believed. Without any key: nobody's.
#[derive(Clone, Debug)]
pub struct JwtSettings {
    /// Shared secret for HS256.
    pub hs256_secret: Option<SecretSource>,
    /// PEM files with public keys for RS256.
    pub rs256_keys: Vec<PathBuf>,
    /// PEM files with public keys for EdDSA (Ed25519).
    pub eddsa_keys: Vec<PathBuf>,
    /// Published set of public keys.
    pub jwks: Option<JwksSource>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must contain.
    pub audience: Option<String>,
    /// Clock difference forgiven for `exp` and `nbf`; at most [`LEEWAY_MAX`].
    pub leeway: Duration,
}

/// Where a JWK set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// Read again when it changes.
    File(PathBuf),
    /// Fetched at start, every few minutes, and when a token names a key that is
    /// not in it. Either `https`, or `http` on loopback.
    Url(Uri),
}

impl FromStr for JwksSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, _)) = text.split_once("://") else {
            return Ok(Self::File(PathBuf::from(text)));
        };
        let uri: Uri = text.parse().map_err(|error| format!("`{text}` is no address: {error}"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        match scheme.to_ascii_lowercase().as_str() {
            "https" => Ok(Self::Url(uri)),
            "http" if loopback => Ok(Self::Url(uri)),
            "http" => Err("whoever can change the answer on its way can sign tokens: use https".to_owned()),
            _ => Err(format!("`{scheme}` is not served: give a file, or an https address")),
        }
    }
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(uri) => uri.fmt(f),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How to log, to standard error.
#[derive(Clone, Debug)]
pub struct LogSettings {
    pub format: LogFormat,
    /// Directives such as `info,quarterdeck_engine=debug`.
    pub filter: String,
}

/// Settings that hold together.
#[derive(Clone, Debug)]
pub struct Config {
    settings: Settings,
}

/// A setting that cannot be, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}. {mend}.")]
pub struct ConfigError {
    pub setting: &'static str,
    pub problem: String,
    pub mend: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7443)),
            metrics_listen: Some(SocketAddr::from(([127, 0, 0, 1], 7444))),
            metrics_public: false,
            tls: None,
            limits: Limits::default(),
            auth: AuthSettings::default(),
            log: LogSettings::default(),
            engine: Options::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            connections_per_address: 2_500,
            concurrent_streams: 1_024,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            max_frame: 64 * 1024,
            header_list: 16 * 1024,
            pending_accept_resets: 20,
            local_error_resets: 256,
            control_frames: 5_000,
            fruitless_calls: 200,
            open_calls: 16,
            held: 48 * 1024 * 1024,
            idle_timeout: Duration::from_secs(5 * 60),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            message_size: 4 * 1024 * 1024,
            default_deadline: Duration::from_secs(30),
            max_deadline: Duration::from_secs(5 * 60),
            drain_deadline: Duration::from_secs(25),
        }
    }
}

impl Default for JwtSettings {
    fn default() -> Self {
        Self {
            hs256_secret: None,
            rs256_keys: Vec::new(),
            eddsa_keys: Vec::new(),
            jwks: None,
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(10),
        }
    }
}

impl JwtSettings {
    /// Whether any JWT can be believed.
    pub fn enabled(&self) -> bool {
        self.hs256_secret.is_some()
            || !self.rs256_keys.is_empty()
            || !self.eddsa_keys.is_empty()
            || self.jwks.is_some()
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

fn wrong(setting: &'static str, problem: impl Into<String>, mend: impl Into<String>) -> ConfigError {
    ConfigError { setting, problem: problem.into(), mend: mend.into() }
}

impl Settings {
    /// Checks what can be checked without touching files.
    pub fn validate(self) -> Result<Config, ConfigError> {
        if let Some(address) = self.metrics_listen
            && !address.ip().is_loopback()
            && !self.metrics_public
        {
            return Err(wrong(
                "metrics address",
                format!("{address} can be reached from other machines, and metrics need no credential"),
                "Use 127.0.0.1, or allow it explicitly where a firewall stands in front",
            ));
        }
        if self.metrics_listen.is_some_and(|address| address == self.listen && address.port() != 0) {
            let problem = format!("{} is the gRPC address already", self.listen);
            return Err(wrong("metrics address", problem, "Give it a port of its own"));
        }
        if self.auth.bootstrap.is_none() && !self.auth.jwt.enabled() {
            return Err(wrong(
                "credentials",
                "neither a bootstrap secret nor a JWT key is set, so nobody could ever call",
                "Name a file with a bootstrap secret (for example from `openssl rand -hex 32`)",
            ));
        }
        if self.auth.bootstrap.is_none() && self.auth.pepper.is_none() {
            return Err(wrong(
                "credentials",
                "without a bootstrap secret there is nothing to derive the pepper of API keys from",
                "Name a file with a pepper",
            ));
        }
        if self.auth.jwt.leeway > LEEWAY_MAX {
            let problem = format!("{:?} of leeway would let expired tokens live on", self.auth.jwt.leeway);
            return Err(wrong("jwt leeway", problem, format!("Use at most {LEEWAY_MAX:?}")));
        }
        self.limits.validate()?;
        self.engine.validate().map_err(|problem| wrong("engine", problem, "See the engine's options"))?;
        Ok(Config { settings: self })
    }
}

impl Limits {
    fn validate(&self) -> Result<(), ConfigError> {
        const MAX_WINDOW: u32 = (1 << 31) - 1;
        const MIB: u32 = 1024 * 1024;
        let ranges = [
            ("max connections", self.max_connections, 1, 1_000_000),
            ("connections per address", self.connections_per_address, 1, self.max_connections),
            ("concurrent streams", self.concurrent_streams, 1, 1_000_000),
            ("stream window", self.stream_window, 65_535, MAX_WINDOW),
            ("connection window", self.connection_window, self.stream_window, MAX_WINDOW),
            ("max frame", self.max_frame, 16_384, (1 << 24) - 1),
            ("header list", self.header_list, 4_096, MIB),
            ("pending accept resets", self.pending_accept_resets, 1, 10_000),
            ("local error resets", self.local_error_resets, 1, 100_000),
            ("control frames", self.control_frames, 100, 1_000_000),
            ("fruitless calls", self.fruitless_calls, 10, 100_000),
            ("open calls", self.open_calls, 1, 10_000),
            ("message size", self.message_size, 16_384, 64 * MIB),
            // One request and one answer must fit, of two connections.
            ("held", self.held, self.message_size.saturating_mul(4), u32::MAX),
        ];
        for (setting, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Err(wrong(
                    setting,
                    format!("{value} is out of range"),
                    format!("Use {low} to {high}"),
                ));
            }
        }
        let (low, high) = (Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));
        for (setting, value) in [
            ("keepalive interval", self.keepalive_interval),
            ("keepalive timeout", self.keepalive_timeout),
            ("handshake timeout", self.handshake_timeout),
            ("header timeout", self.header_timeout),
            ("idle timeout", self.idle_timeout),
            ("default deadline", self.default_deadline),
            ("max deadline", self.max_deadline),
            ("drain deadline", self.drain_deadline),
        ] {
            if !(low..=high).contains(&value) {
                let mend = format!("Use {low:?} to {high:?}");
                return Err(wrong(setting, format!("{value:?} is out of range"), mend));
            }
        }
        if self.default_deadline > self.max_deadline {
            let problem =
                format!("{:?} is above the max deadline {:?}", self.default_deadline, self.max_deadline);
            return Err(wrong("default deadline", problem, "Lower it or raise the max deadline"));
        }
        Ok(())
    }
}

impl Config {
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub const fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    pub const fn log(&self) -> &LogSettings {
        &self.settings.log
    }

    /// What is in force, for people. Secrets are named by their file only.
    pub fn lines(&self) -> Vec<String> {
        let (all, limits) = (&self.settings, &self.settings.limits);
        let metrics = all.metrics_listen.map_or("off".to_owned(), |address| address.to_string());
        let tls = match &all.tls {
            Some(files) => format!("TLS from {}", files.certificate.display()),
            None => "plaintext".to_owned(),
        };
        let secret =
            |source: &Option<SecretSource>| source.as_ref().map_or("none".to_owned(), ToString::to_string);
        let jwt = match all.auth.jwt.enabled() {
            true => format!(
                "HS256 {}, RS256 {} keys, EdDSA {} keys, JWKS {}, leeway {:?}",
                secret(&all.auth.jwt.hs256_secret),
                all.auth.jwt.rs256_keys.len(),
                all.auth.jwt.eddsa_keys.len(),
                all.auth.jwt.jwks.as_ref().map_or("none".to_owned(), ToString::to_string),
                all.auth.jwt.leeway,
            ),
            false => "off".to_owned(),
        };
        vec![
            format!("gRPC {} ({tls}), metrics {metrics}", all.listen),
            format!(
                "connections {} ({} per address), streams {} each, windows {} and {} bytes, frame {} bytes, headers {} bytes",
                limits.max_connections,
                limits.connections_per_address,
                limits.concurrent_streams,
                limits.stream_window,
                limits.connection_window,
                limits.max_frame,
                limits.header_list,
            ),
            format!(
                "resets {} pending and {} local, {} control frames and {} fruitless calls a second, {} calls without credential",
                limits.pending_accept_resets,
                limits.local_error_resets,
                limits.control_frames,
                limits.fruitless_calls,
                limits.open_calls,
            ),
            format!(
                "idle {:?}, keepalive {:?} + {:?}, handshake {:?}, headers within {:?}",
                limits.idle_timeout,
                limits.keepalive_interval,
                limits.keepalive_timeout,
                limits.handshake_timeout,
                limits.header_timeout,
            ),
            format!(
                "message {} bytes, {} held for slow clients, deadline {:?} unless stated and {:?} at most, drain {:?}",
                limits.message_size,
                limits.held,
                limits.default_deadline,
                limits.max_deadline,
                limits.drain_deadline,
            ),
            format!(
                "bootstrap {}, pepper {}, JWT {jwt}",
                secret(&all.auth.bootstrap),
                secret(&all.auth.pepper)
            ),
            format!("webhooks to {}", all.engine.webhook_allow),
            format!("engine {:?}", all.engine),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(change: impl FnOnce(&mut Settings)) -> Result<Config, ConfigError> {
        let mut settings = Settings::default();
        settings.auth.bootstrap = Some(SecretSource::File("/run/secrets/bootstrap".into()));
        change(&mut settings);
        settings.validate()
    }

    #[test]
    fn a_key_set_is_a_file_or_an_address_that_cannot_be_changed_on_the_way() {
        for good in ["https://issuer/keys", "http://127.0.0.1:1/k", "http://[::1]/k", "http://localhost/k"] {
            assert!(matches!(good.parse(), Ok(JwksSource::Url(_))), "{good}");
        }
        for bad in ["http://issuer/keys", "http://127.0.0.1.issuer/keys", "ftp://issuer/keys", "https://"] {
            assert!(bad.parse::<JwksSource>().is_err(), "{bad}");
        }
        assert_eq!("/etc/keys.json".parse(), Ok(JwksSource::File("/etc/keys.json".into())));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let public = SocketAddr::from(([0, 0, 0, 0], 7444));
        type Change = Box<dyn FnOnce(&mut Settings)>;
        let cases: Vec<(&str, Change)> = vec![
            ("metrics address", Box::new(move |s| s.metrics_listen = Some(public))),
            ("metrics address", Box::new(|s| s.metrics_listen = Some(s.listen))),
            ("credentials", Box::new(|s| s.auth.bootstrap = None)),
            ("jwt leeway", Box::new(|s| s.auth.jwt.leeway = Duration::from_secs(31))),
            ("max connections", Box::new(|s| s.limits.max_connections = 0)),
            ("connections per address", Box::new(|s| s.limits.max_connections = 2_499)),
            ("held", Box::new(|s| s.limits.message_size = 17 * 1024 * 1024)),
            ("max frame", Box::new(|s| s.limits.max_frame = 100)),
            ("connection window", Box::new(|s| s.limits.connection_window = s.limits.stream_window - 1)),
            ("drain deadline", Box::new(|s| s.limits.drain_deadline = Duration::ZERO)),
            ("default deadline", Box::new(|s| s.limits.default_deadline = Duration::from_secs(301))),
            ("engine", Box::new(|s| s.engine.renew_every = s.engine.session_lease)),
        ];
        for (setting, change) in cases {
            let error = settings(change).unwrap_err();
            assert_eq!(error.setting, setting, "{error}");
        }
        assert!(settings(|_| ()).is_ok());
        let allowed = settings(|s| (s.metrics_listen, s.metrics_public) = (Some(public), true));
        assert!(allowed.is_ok());
    }

    #[test]
    fn every_limit_is_printed_and_no_secret_is() {
        let config = settings(|s| {
            s.auth.pepper = Some(SecretSource::Given("a-very-secret-pepper".to_owned().into()));
            s.limits.max_connections = 77_777;
        });
        let lines = config.unwrap().lines().join("\n");
        for part in [
            "77777",
            "streams 1024",
            "message 4194304",
            "/run/secrets/bootstrap",
            "resets 20",
            "2500 per address",
        ] {
            assert!(lines.contains(part), "{part} in {lines}");
        }
        assert!(!lines.contains("very-secret"), "{lines}");
    }
}
