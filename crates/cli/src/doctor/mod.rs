//! Checks of `quarterdeck doctor`: each looks at one thing and says how to fix it.
//!
//! - `finding`: what a check says
//! - `server`: address, protocol, readiness, credential
//! - `machine`: files, limits, modes
//! - `backends`: database and Redis, where they were named

mod backends;
mod finding;
mod machine;
mod server;

pub use backends::{database, redis};
pub use finding::{Finding, State};
pub use machine::{build, clock, data_directory, open_files, secret_file, settings};
pub use server::server;
