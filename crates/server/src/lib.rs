//! The edge: gRPC in, use cases of the engine out.
//!
//! - [`config`]: one validated configuration, printed at start
//! - [`serve`]: a server from start to drained
//! - [`embedded`]: the same on SQLite in one process, for `dev`, `demo` and tests
//! - `accept`, `layers`, `auth`: connections, requests, callers
//! - `services`, `convert`: one file an area; authenticate, convert, call, convert
//! - `status`: the only file that builds a `tonic::Status`
//!
//! Invariants: a method that states no access is not served; every wait, queue
//! and message has a limit from [`config::Limits`]; texts of internal errors are
//! logged, never sent. It knows no SQL, no Redis and no rule of a task.

mod accept;
mod auth;
pub mod config;
mod convert;
pub mod embedded;
mod files;
mod health;
mod layers;
mod metrics_port;
pub mod serve;
mod services;
mod status;
pub mod telemetry;
mod tls;

pub use auth::secrets::{SecretError, SecretSource};
pub use config::{
    AuthSettings, Config, ConfigError, JwksSource, JwtSettings, Limits, LogFormat, LogSettings, Settings,
    TlsFiles,
};
pub use embedded::{Embedded, EmbeddedOptions, Storage};
pub use serve::{Running, StartError, Stopped, install_crypto, serve};
pub use telemetry::{LogError, LogGuard, init_logging};
