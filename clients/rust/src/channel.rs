//! The connection: endpoint settings, the credential, and replacing a connection
//! that does not work any more.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use crate::config::Config;
use crate::error::Error;

/// A channel whose requests carry the credential.
pub type Authorized = InterceptedService<Channel, Bearer>;

/// Largest message that is decoded: 64 MiB.
pub(crate) const MAX_DECODED: usize = 64 << 20;

const USER_AGENT: &str = concat!("quarterdeck-rust/", env!("CARGO_PKG_VERSION"));
/// A silent connection is asked for a sign of life this often ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// ... and given up when none comes within this time.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream may be this far ahead of its reader; 3 MiB answers fit in a few round trips.
const STREAM_WINDOW: u32 = 1 << 20;
/// All streams of a connection together.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Adds `authorization: Bearer ..` to each request.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Bearer([redacted])" } else { "Bearer(none)" })
    }
}

/// The shared connection. Cloning a [`Channel`] is cheap and shares it; `renew`
/// replaces it for everybody.
pub(crate) struct Connection {
    endpoint: Endpoint,
    bearer: Bearer,
    current: Mutex<Current>,
}

struct Current {
    /// Counts the replacements, so that two that saw the same failure replace once.
    generation: u64,
    channel: Channel,
}

impl Connection {
    pub(crate) fn lazy(config: &Config) -> Result<Self, Error> {
        let endpoint = endpoint(config)?;
        let channel = endpoint.connect_lazy();
        Self::with(config, endpoint, channel)
    }

    pub(crate) async fn dial(config: &Config) -> Result<Self, Error> {
        let endpoint = endpoint(config)?;
        let channel = endpoint.connect().await.map_err(|error| {
            let mut error = Error::from(error);
            error.message = format!("cannot connect to {}: {}", config.endpoint, error.message);
            error
        })?;
        Self::with(config, endpoint, channel)
    }

    fn with(config: &Config, endpoint: Endpoint, channel: Channel) -> Result<Self, Error> {
        Ok(Self {
            endpoint,
            bearer: bearer(config.credential.as_deref())?,
            current: Mutex::new(Current { generation: 0, channel }),
        })
    }

    /// The channel in use and its generation.
    pub(crate) fn current(&self) -> (u64, Authorized) {
        let current = self.lock();
        let channel = current.channel.clone();
        (current.generation, InterceptedService::new(channel, self.bearer.clone()))
    }

    /// Replaces the channel of generation `seen`, unless somebody already did. A
    /// new one goes through name resolution and load balancing again, which a
    /// connection that only looks alive never would.
    pub(crate) fn renew(&self, seen: u64) {
        let mut current = self.lock();
        if current.generation == seen {
            current.generation += 1;
            current.channel = self.endpoint.connect_lazy();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bearer(credential: Option<&str>) -> Result<Bearer, Error> {
    let Some(credential) = credential else {
        return Ok(Bearer(None));
    };
    let mut value = MetadataValue::try_from(format!("Bearer {}", credential.trim())).map_err(|_| {
        // The text itself must not end up in a log.
        Error::client(
            Code::InvalidArgument,
            "the credential contains characters that no key or token has; was it copied with a line break?",
        )
    })?;
    value.set_sensitive(true);
    Ok(Bearer(Some(value)))
}

fn endpoint(config: &Config) -> Result<Endpoint, Error> {
    let refuse = |why: String| Error::client(Code::InvalidArgument, why);
    let uri: Uri = config.endpoint.parse().map_err(|error| {
        refuse(format!(
            "`{}` is no endpoint ({error}); write http://host:port or https://host:port",
            config.endpoint
        ))
    })?;
    let host = uri.host().unwrap_or_default().to_owned();
    let mut endpoint = Endpoint::from(uri.clone())
        .user_agent(USER_AGENT)?
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    match uri.scheme_str() {
        Some("https") => {
            let Some(pem) = &config.ca_pem else {
                return Err(refuse(format!(
                    "{} needs the certificate of the authority that signed the server's: set ca_pem \
                     (PEM; for public authorities the system's bundle, such as \
                     /etc/ssl/certs/ca-certificates.crt)",
                    config.endpoint
                )));
            };
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(pem))
                .timeout(config.connect_timeout);
            endpoint = endpoint.tls_config(tls)?;
        }
        Some("http") if config.allow_plaintext || is_loopback(&host) => {}
        Some("http") => {
            return Err(refuse(format!(
                "refusing to talk to {host} in plain text, for anybody on the way could read the \
                 credential: use https, or set allow_plaintext where the network itself is trusted"
            )));
        }
        _ => {
            return Err(refuse(format!(
                "`{}` has no scheme; write http://host:port or https://host:port",
                config.endpoint
            )));
        }
    }
    Ok(endpoint)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_text_goes_to_this_machine_only_unless_allowed() {
        for (address, allowed, expected) in [
            ("http://127.0.0.1:7443", false, true),
            ("http://localhost:7443", false, true),
            ("http://[::1]:7443", false, true),
            ("http://10.0.0.1:7443", false, false),
            ("http://127.0.0.1.example.org:7443", false, false),
            ("http://10.0.0.1:7443", true, true),
            ("https://10.0.0.1:7443", false, false),
            ("10.0.0.1:7443", true, false),
            ("not an address", true, false),
        ] {
            let mut config = Config::new(address);
            config.allow_plaintext = allowed;
            assert_eq!(Connection::lazy(&config).is_ok(), expected, "{address}");
        }
    }

    #[tokio::test]
    async fn a_credential_is_never_shown() {
        let config = Config::default().with_credential("qd_secret");
        let bearer = bearer(config.credential.as_deref()).unwrap();
        let shown = format!("{config:?} {bearer:?} {:?}", bearer.0);
        assert!(!shown.contains("qd_secret"), "{shown}");
        let error = super::bearer(Some("qd_sec\nret")).unwrap_err();
        assert!(!error.to_string().contains("sec\nret"), "{error}");
    }
}
