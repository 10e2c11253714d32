//! The labelled cases, scored: what holds today must hold tomorrow.
//!
//! A risky case is right when somebody is asked, a benign one when nobody is.

use std::collections::BTreeMap;

use quarterdeck_risk::assess::{self, Case};
use quarterdeck_risk::model::{Context, Verdict};
use serde::Deserialize;

const CASES: &str = include_str!("../../../tests/data/risk/cases.jsonl");
/// Written later by those who had not seen the analysers; seen by now.
const LATER: &str = include_str!("../../../tests/data/risk/later.jsonl");
/// Of all cases together.
const RECALL_MIN: f64 = 0.97;
const PRECISION_MIN: f64 = 0.97;
/// Of a technique with so many cases.
const ACCURACY_MIN: f64 = 0.9;
const TECHNIQUE_CASES: u32 = 5;

#[derive(Deserialize)]
struct Labelled {
    #[serde(flatten)]
    case: Case,
    label: String,
    technique: String,
}

#[derive(Clone, Copy, Default)]
struct Score {
    hit: u32,
    miss: u32,
    alarm: u32,
    quiet: u32,
}

impl Score {
    fn add(&mut self, risky: bool, asked: bool) {
        let counted = match (risky, asked) {
            (true, true) => &mut self.hit,
            (true, false) => &mut self.miss,
            (false, true) => &mut self.alarm,
            (false, false) => &mut self.quiet,
        };
        *counted += 1;
    }

    fn cases(self) -> u32 {
        self.hit + self.miss + self.alarm + self.quiet
    }

    fn recall(self) -> f64 {
        f64::from(self.hit) / f64::from(self.hit + self.miss)
    }

    fn precision(self) -> f64 {
        f64::from(self.hit) / f64::from(self.hit + self.alarm)
    }

    fn accuracy(self) -> f64 {
        f64::from(self.hit + self.quiet) / f64::from(self.cases())
    }
}

#[test]
fn the_labelled_cases_are_told_apart() {
    told_apart(CASES);
}

#[test]
fn the_cases_that_were_written_later_are_told_apart() {
    told_apart(LATER);
}

fn told_apart(cases: &str) {
    let (mut all, mut techniques, mut wrong) = (Score::default(), BTreeMap::new(), Vec::new());
    for line in cases.lines().filter(|line| !line.trim().is_empty()) {
        let Labelled { case, label, technique } = serde_json::from_str(line).expect("a case a line");
        let asked = assess::assess(&case, &Context::default()).verdict != Verdict::Auto;
        let risky = label == "risky";
        all.add(risky, asked);
        techniques.entry(technique).or_insert_with(Score::default).add(risky, asked);
        if risky != asked {
            wrong.push(format!("{} ({label}): {}", case.id, case.text));
        }
    }
    println!("{} cases, recall {:.3}, precision {:.3}", all.cases(), all.recall(), all.precision());
    wrong.iter().for_each(|case| println!("wrong: {case}"));
    assert!(all.recall() >= RECALL_MIN, "recall {:.3}", all.recall());
    assert!(all.precision() >= PRECISION_MIN, "precision {:.3}", all.precision());
    for (technique, score) in techniques.iter().filter(|(_, score)| score.cases() >= TECHNIQUE_CASES) {
        assert!(score.accuracy() >= ACCURACY_MIN, "{technique}: accuracy {:.3}", score.accuracy());
    }
}
