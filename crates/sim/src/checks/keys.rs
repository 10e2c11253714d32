//! Keys: one that is revoked is refused everywhere within a second, one that is
//! not never.

use std::collections::BTreeMap;

use super::Evidence;
use crate::history::{Answer, Call, Fact};

/// How long a replica may still take a revoked key, with some room for its idea of
/// the time, in microseconds.
const TRUSTED: i64 = 1_000_000 + 300_000;

/// When revoking a key was first asked for, and when first acknowledged.
#[derive(Default)]
struct Revoking {
    asked: Option<i64>,
    acknowledged: Option<i64>,
}

pub fn check(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut calls: BTreeMap<u64, (i64, &Call)> = BTreeMap::new();
    let mut keys: BTreeMap<&str, Revoking> = BTreeMap::new();
    for entry in &evidence.entries {
        match &entry.fact {
            Fact::Invoked { op, call, .. } => {
                calls.insert(*op, (entry.at, call));
                if let Call::RevokeKey { key, .. } = call {
                    keys.entry(key).or_default().asked.get_or_insert(entry.at);
                }
            }
            Fact::Answered { op, answer } => match calls.get(op) {
                Some((_, Call::RevokeKey { key, .. })) if matches!(answer, Answer::Key { .. }) => {
                    keys.entry(key).or_default().acknowledged.get_or_insert(entry.at);
                }
                Some((asked, Call::ShowKey { key, .. })) => {
                    let revoking = keys.get(key.as_str());
                    let gone = revoking.and_then(|revoking| revoking.acknowledged);
                    if *answer == Answer::Done && gone.is_some_and(|gone| gone + TRUSTED < *asked) {
                        found.push(format!("{key} was taken at {asked}, revoked since {gone:?}"));
                    }
                    if *answer == Answer::Revoked && revoking.is_none_or(|revoking| revoking.asked.is_none())
                    {
                        found.push(format!("{key} was called revoked, which nobody has asked for"));
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    found
}
