//! Adapters: implementations of ports over other people's servers, one file each.
//!
//! - [`redis_bus`]: the engine's `Bus` over Redis Streams
//!
//! Invariant: no promise of Quarterdeck depends on anything in this crate.

pub mod redis_bus;

pub use redis_bus::{BusError, RedisBus};
