//! Between the contract's messages and the types of the core, by hand and
//! exhaustive both ways.
//!
//! In: what the validating codec cannot know (graphs, sizes of JSON) is checked
//! here, with the path of the field at fault. Out: nothing can fail; content that
//! does not fit into an answer is omitted, with its size and digest.

pub mod action;
pub mod agents;
pub mod approvals;
pub mod events;
pub mod json;
pub mod keys;
pub mod notifications;
pub mod payload;
pub mod plan;
pub mod policies;
pub mod projects;
pub mod tasks;
pub mod time;
pub mod worker;

use crate::status::Violation;

/// A field that cannot be taken.
fn violation(field: impl Into<String>, description: impl Into<String>) -> Violation {
    Violation { field: field.into(), description: description.into() }
}

/// The size of a page as asked for; the codec has refused negative ones.
pub fn page_size(asked: i32) -> u32 {
    u32::try_from(asked).unwrap_or(0)
}

/// A revision that must match; the codec has refused those below 1.
pub fn revision(required: Option<i64>) -> Option<u64> {
    required.map(|revision| u64::try_from(revision).unwrap_or(0))
}

/// Sequences and counts on the wire are signed.
fn int64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn int32(value: impl TryInto<i32>) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}
