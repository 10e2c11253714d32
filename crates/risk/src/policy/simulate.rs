//! What another policy would have said of past actions.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Policy;
use super::facts::Facts;
use super::judge::{Judgement, Reason};
use super::terms::Terms;
use crate::model::Verdict;

/// Equal facts are judged once; so many are kept.
const KEPT_MAX: usize = 20_000;

/// What would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Simulation<Id> {
    /// How many actions were judged.
    pub judged: u64,
    /// How many went from which verdict to which, unchanged ones included.
    pub counts: Vec<Count>,
    /// How many keep their verdict and are asked on other terms.
    pub terms_only: u64,
    /// Each action whose verdict or terms change, in the order they came.
    pub changes: Vec<Change<Id>>,
}

/// How many actions went from one verdict to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    pub from: Verdict,
    pub to: Verdict,
    pub actions: u64,
}

/// An action that would be judged otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change<Id> {
    pub id: Id,
    pub from: Verdict,
    pub to: Verdict,
    pub from_reasons: Vec<Reason>,
    pub to_reasons: Vec<Reason>,
    pub from_terms: Terms,
    pub to_terms: Terms,
}

/// Judges past actions by two policies, and says where they differ. Terms count where
/// somebody is asked by both.
pub fn simulate<Id>(
    old: &Policy,
    new: &Policy,
    actions: impl Iterator<Item = (Id, Facts)>,
) -> Simulation<Id> {
    let mut kept: BTreeMap<Facts, (Judgement, Judgement)> = BTreeMap::new();
    let mut counts: BTreeMap<(Verdict, Verdict), u64> = BTreeMap::new();
    let mut all = Simulation { judged: 0, counts: Vec::new(), terms_only: 0, changes: Vec::new() };
    for (id, facts) in actions {
        let fresh;
        let (from, to) = match kept.get(&facts) {
            Some((from, to)) => (from, to),
            None if kept.len() >= KEPT_MAX => {
                fresh = (old.judge(&facts), new.judge(&facts));
                (&fresh.0, &fresh.1)
            }
            None => {
                let judged = (old.judge(&facts), new.judge(&facts));
                let (from, to) = kept.entry(facts).or_insert(judged);
                (&*from, &*to)
            }
        };
        all.judged += 1;
        *counts.entry((from.verdict, to.verdict)).or_default() += 1;
        if let Some(change) = change(id, from, to) {
            all.terms_only += u64::from(change.from == change.to);
            all.changes.push(change);
        }
    }
    all.counts = counts.into_iter().map(|((from, to), actions)| Count { from, to, actions }).collect();
    all
}

fn change<Id>(id: Id, from: &Judgement, to: &Judgement) -> Option<Change<Id>> {
    let terms = from.verdict == Verdict::Ask && from.terms != to.terms;
    (from.verdict != to.verdict || terms).then(|| Change {
        id,
        from: from.verdict,
        to: to.verdict,
        from_reasons: from.reasons.clone(),
        to_reasons: to.reasons.clone(),
        from_terms: from.terms.clone(),
        to_terms: to.terms.clone(),
    })
}
