//! The server from outside, by plain clients: `calls`, `transport`, `limits`, `embedded`.
#![allow(clippy::unwrap_used)]

mod calls;
mod embedded;
mod limits;
mod support;
mod transport;
