//! The server from outside, by plain clients: `calls`, `transport`, `embedded`.
#![allow(clippy::unwrap_used)]

mod calls;
mod embedded;
mod support;
mod transport;
