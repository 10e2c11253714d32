//! Rewrites that keep what an action does must not lower its verdict.
//!
//! Each risky case is written anew in as many ways as its kind has, and assessed again.
//! Every failure is printed; the shares that must hold are below.

mod rewrites {
    pub mod code;
    pub mod command;
    pub mod http;
    pub mod path;
    pub mod sql;
}

use std::collections::BTreeMap;

use quarterdeck_risk::assess::{self, Case};
use quarterdeck_risk::model::{Context, Verdict};
use serde::Deserialize;

const CASES: &str = include_str!("../../../tests/data/risk/cases.jsonl");
/// Of all rewrites together, and of each single way of rewriting.
const KEPT_MIN: f64 = 0.98;
const KEPT_MIN_OF_ONE: f64 = 0.90;
/// Rewrites of each case.
const REWRITES_MIN: usize = 20;

/// A way of rewriting, by name, and what came of it.
pub type Rewrite = (&'static str, String);

#[derive(Deserialize)]
struct Labelled {
    #[serde(flatten)]
    case: Case,
    label: String,
}

fn rewritten(case: &Case) -> Vec<Rewrite> {
    let text = case.text.as_str();
    let all = match (case.kind.as_str(), case.lang.as_deref()) {
        ("command", _) => rewrites::command::all(text),
        ("sql", _) => rewrites::sql::all(text),
        ("http", _) => rewrites::http::all(text),
        ("path", _) => rewrites::path::all(text),
        (_, lang) => rewrites::code::all(lang.unwrap_or_default(), text),
    };
    all.into_iter().filter(|(_, text)| *text != case.text).collect()
}

#[derive(Default)]
struct Share {
    kept: u32,
    all: u32,
}

impl Share {
    fn add(&mut self, kept: bool) {
        self.kept += u32::from(kept);
        self.all += 1;
    }

    fn of_one(&self) -> f64 {
        f64::from(self.kept) / f64::from(self.all.max(1))
    }
}

#[test]
fn no_rewrite_lowers_the_verdict() {
    let context = Context::default();
    let (mut all, mut ways) = (Share::default(), BTreeMap::<String, Share>::new());
    let mut few = Vec::new();
    for line in CASES.lines().filter(|line| !line.trim().is_empty()) {
        let Labelled { case, label } = serde_json::from_str(line).expect("a case a line");
        let verdict = assess::assess(&case, &context).verdict;
        if label != "risky" || verdict == Verdict::Auto {
            continue;
        }
        let rewrites = rewritten(&case);
        if rewrites.len() < REWRITES_MIN {
            few.push(format!("{}: {} rewrites of {}", case.id, rewrites.len(), case.text));
        }
        for (way, text) in rewrites {
            let kept =
                assess::assess(&Case { text: text.clone(), ..case.clone() }, &context).verdict >= verdict;
            all.add(kept);
            ways.entry(format!("{} {way}", case.kind)).or_default().add(kept);
            if !kept {
                println!("lowered: {} {way}: {text:?}", case.id);
            }
        }
    }
    println!("{} of {} rewrites keep the verdict: {:.4}", all.kept, all.all, all.of_one());
    for (way, share) in ways.iter().filter(|(_, share)| share.kept < share.all) {
        println!("{way}: {} of {}", share.kept, share.all);
    }
    assert!(few.is_empty(), "{few:?}");
    assert!(all.of_one() >= KEPT_MIN, "{:.4}", all.of_one());
    for (way, share) in &ways {
        assert!(share.of_one() >= KEPT_MIN_OF_ONE, "{way}: {} of {}", share.kept, share.all);
    }
}
