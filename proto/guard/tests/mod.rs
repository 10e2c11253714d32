//! The guard against messages of the real contract, encoded well and badly.

mod bytes;
pub(crate) mod compile;
mod random;
mod requests;
mod sessions;
mod wire;
