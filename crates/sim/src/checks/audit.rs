//! The audit: one entry for each thing that happened to an approval, in its order, and
//! seals that are heads of exactly those entries, the first so many.

use std::collections::BTreeMap;

use quarterdeck_core::merkle::{Frontier, leaf};
use quarterdeck_store::rows::{AuditEntry, AuditSeal};
use serde_json::Value;

use super::Evidence;

/// What the store has of it in the end: entries in the order of commits, seals by size.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    pub entries: Vec<AuditEntry>,
    pub seals: Vec<AuditSeal>,
}

/// Entries of things that are no events.
const OTHERS: [&str; 2] = ["approval.refused", "approval.revealed"];

pub fn check(evidence: &Evidence) -> Vec<String> {
    let mut wrong = entries(evidence);
    wrong.extend(seals(&evidence.audit));
    wrong
}

/// The kinds of an approval's entries are the kinds of its events.
fn entries(evidence: &Evidence) -> Vec<String> {
    let mut audited: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in &evidence.audit.entries {
        let body: Value = serde_json::from_str(&entry.body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = text("kind");
        if kind.starts_with("approval.") && !OTHERS.contains(&kind.as_str()) {
            audited.entry(text("approval")).or_default().push(kind);
        }
    }
    let mut wrong = Vec::new();
    for (id, log) in &evidence.approvals {
        let happened =
            log.events.iter().map(|(_, event)| serde_json::to_value(&event.event).unwrap_or_default());
        let kind =
            |event: Value| event.get("type").and_then(Value::as_str).map(|kind| format!("approval.{kind}"));
        let happened: Vec<String> = happened.filter_map(kind).collect();
        let written = audited.remove(id).unwrap_or_default();
        if written != happened {
            wrong.push(format!("{id} has the entries {written:?} of {happened:?}"));
        }
    }
    wrong.extend(audited.keys().map(|id| format!("{id} has entries and no events")));
    wrong
}

fn seals(audit: &Audit) -> Vec<String> {
    let (mut tree, mut entries, mut wrong) = (Frontier::default(), audit.entries.iter(), Vec::new());
    let mut last = None;
    for seal in &audit.seals {
        while tree.size < seal.size {
            let Some(entry) = entries.next() else { break };
            tree.push(leaf(quarterdeck_engine::sealer::entry_text(entry).as_bytes()));
            last = Some(entry.place);
        }
        if (tree.size, tree.root(), last) != (seal.size, seal.root, Some(seal.last)) {
            wrong.push(format!("the head of {} entries is not theirs", seal.size));
        }
    }
    let left = entries.count();
    if left > 0 {
        wrong.push(format!("{left} entries were never sealed"));
    }
    wrong
}
