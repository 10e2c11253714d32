//! The demo: real documents in, one cited and checked digest out, by three agents over gRPC.
//!
//! - `files`, `prose`: which files are documents, and what sentences they hold
//! - `split`, `analyse`, `compose`, `verify`: the four kinds of step, as pure functions
//! - `agents`: those functions as agents; `plan`: what they are asked to do
//! - `run`, `summary`: server, agents and task from start to figures

mod agents;
mod analyse;
mod compose;
mod files;
mod plan;
mod prose;
mod run;
mod split;
mod summary;
mod verify;

pub use agents::Agents;
pub use files::{OWN_DOCUMENTS, read_directory};
pub use run::{Job, run};

#[cfg(test)]
mod tests;
