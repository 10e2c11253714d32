//! The engine over a real store that fails on purpose, with real replicas.

mod world;

mod faults;
mod races;
mod sessions;
