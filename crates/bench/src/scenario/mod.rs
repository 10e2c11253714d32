//! One file a scenario: what it does, what it measures, and nothing of how
//! processes are started or load is made.

pub mod lifecycle;
