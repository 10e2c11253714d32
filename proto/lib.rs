//! The Quarterdeck contract in Rust: the stubs generated from `proto/`, the
//! descriptors behind them, and the codec that decodes and validates messages.
//!
//! Only the edge (`server`, `clients`, `tests`, `bench`) may name this crate.

pub mod access;
pub mod codec;
mod descriptors;
pub mod guard;

/// The generated packages, as `quarterdeck::<area>::v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/mod.rs"));
}

pub use descriptors::{FILE_DESCRIPTOR_SET, descriptor_pool};
pub use generated::quarterdeck::*;
