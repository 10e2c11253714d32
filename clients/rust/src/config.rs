//! Where the server is and how to talk to it.

use std::fmt;
use std::time::Duration;

/// Settings of a [`Client`](crate::Client). The environment is never read here.
#[derive(Clone)]
pub struct Config {
    /// `http://host:port` or `https://host:port`.
    pub endpoint: String,
    /// Text sent as `authorization: Bearer <text>`: an API key or a JWT.
    pub credential: Option<String>,
    /// Certificates (PEM) of the authorities that may sign the server's. Required for `https`.
    pub ca_pem: Option<Vec<u8>>,
    /// Allow `http` to hosts other than this one. The credential is then readable on the way.
    pub allow_plaintext: bool,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the answer to a unary call, repetitions included.
    pub default_deadline: Duration,
    /// A watch that got no frame for this long, reconnecting all the while, gives up.
    pub reconnect_for: Duration,
    /// A watch that got no frame, not even a heartbeat, for this long reconnects.
    pub watch_silence: Duration,
}

impl Config {
    /// The defaults for another endpoint.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), ..Self::default() }
    }

    /// With a credential.
    #[must_use]
    pub fn with_credential(mut self, credential: impl Into<String>) -> Self {
        self.credential = Some(credential.into());
        self
    }

    /// With the authorities that may sign the server's certificate.
    #[must_use]
    pub fn with_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:7443".to_owned(),
            credential: None,
            ca_pem: None,
            allow_plaintext: false,
            connect_timeout: Duration::from_secs(5),
            default_deadline: Duration::from_secs(10),
            reconnect_for: Duration::from_secs(120),
            watch_silence: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("endpoint", &self.endpoint)
            .field("credential", &self.credential.as_ref().map(|_| "[redacted]"))
            .field("ca_pem", &self.ca_pem.as_ref().map(Vec::len))
            .field("allow_plaintext", &self.allow_plaintext)
            .field("connect_timeout", &self.connect_timeout)
            .field("default_deadline", &self.default_deadline)
            .field("reconnect_for", &self.reconnect_for)
            .field("watch_silence", &self.watch_silence)
            .finish()
    }
}
