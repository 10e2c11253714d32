//! Adapters: implementations of ports over other people's servers, one file each.
//!
//! - [`redis_bus`]: the engine's `Bus` over Redis Streams
//! - [`http_courier`]: the engine's `Courier` over HTTP
//!
//! Invariant: no promise of Quarterdeck depends on anything in this crate.

pub mod http_courier;
pub mod redis_bus;

pub use http_courier::HttpCourier;
pub use redis_bus::{BusError, RedisBus};
