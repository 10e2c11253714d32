//! Real servers for tests: PostgreSQL, Redis, and the `quarterdeck` binary as a
//! process of its own that can be stopped, frozen and killed; and a proxy between them.
//!
//! Invariants:
//! - Whatever a test starts ends with it, also when the test process is killed.
//! - Everything listens on loopback, on ports that were free.
//! - A missing program is an error that says how to install it; nothing is skipped.
//! - Every wait has a deadline, and says at the end of it what it waited for.
//!
//! It knows nothing of the program's insides: no crate of the server is named here.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use quarterdeck_harness::{Database, Quarterdeck, Redis, Secrets, ServeOptions};
//!
//! let database = Database::fresh().await?;
//! let redis = Redis::start().await?;
//! let secrets = Secrets::new()?;
//! let options = ServeOptions::new(&database, &secrets).redis(&redis);
//! let one = Quarterdeck::serve(options.clone()).await?;
//! let mut other = Quarterdeck::serve(options).await?;
//! other.kill9().await?;
//! println!("{} goes on, for {}", one.endpoint(), secrets.credential());
//! # Ok(()) }
//! ```

mod binary;
mod eventually;
mod flags;
mod launch;
mod ports;
mod postgres;
mod proxy;
mod quarterdeck;
mod redis;

pub use binary::{binary, cli};
pub use eventually::eventually;
pub use flags::{DevOptions, Secrets, ServeOptions};
pub use ports::free_port;
pub use postgres::{Database, Postgres, Stop};
pub use proxy::{Cut, Proxy, Way, Ways};
pub use quarterdeck::Quarterdeck;
pub use redis::Redis;
