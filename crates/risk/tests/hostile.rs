//! Texts that are made to break an analyser: none panics, and what was left unlooked at asks.
//!
//! Times and memory are measured by `quarterdeck-bench assess --hostile`, in release.
//! `QUARTERDECK_RISK_MUTATIONS` sets how many mutated texts are tried, and
//! `QUARTERDECK_RISK_SEED` where they begin: a failure prints the command that repeats it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quarterdeck_risk::assess::{self, Case};
use quarterdeck_risk::hostile::{self, Dice};
use quarterdeck_risk::model::{Context, TEXT_MAX, Verdict};
use quarterdeck_risk::redact;

const CASES: &str = include_str!("../../../tests/data/risk/cases.jsonl");
/// Mutated texts, as many as take some seconds without optimisation.
const MUTATIONS: u64 = 4_000;
/// Bytes of a shape here: beyond every limit but those of bytes, and just below others.
const SIZES: [usize; 3] = [900, 2_500, 6 * 1024];

fn cases() -> Vec<Case> {
    let lines = CASES.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).expect("a case a line")).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test has no other configuration")]
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Assesses and redacts; `Err` where either panicked.
fn survives(case: &Case) -> Result<Verdict, ()> {
    let context = Context::default();
    catch_unwind(AssertUnwindSafe(|| {
        let redacted = redact::text(&case.text);
        assert!(redact::text(&redacted) == redacted, "redacting again changes something");
        assess::assess(case, &context).verdict
    }))
    .map_err(drop)
}

#[test]
fn no_shape_panics() {
    let broken: Vec<String> = SIZES
        .into_iter()
        .flat_map(hostile::cases)
        .filter(|hostile| {
            let context = Context::default();
            catch_unwind(AssertUnwindSafe(|| assess::assess(&hostile.case, &context))).is_err()
        })
        .map(|hostile| hostile.shape)
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn no_text_panics_the_search_for_secrets() {
    for (shape, text) in SIZES.into_iter().flat_map(hostile::texts) {
        let redacted = redact::text(&text);
        assert!(redact::text(&redacted) == redacted, "{shape}: redacting again changes something");
    }
}

#[test]
fn a_text_above_the_limit_is_asked() {
    for (kind, lang) in hostile::KINDS {
        let text = "ls\n".repeat(TEXT_MAX / 3 + 1);
        let case = Case { id: kind.to_owned(), kind: kind.to_owned(), text, lang: lang.map(str::to_owned) };
        assert_eq!(assess::assess(&case, &Context::default()).verdict, Verdict::Ask, "{kind} {lang:?}");
    }
}

#[test]
fn what_is_not_looked_at_is_asked() {
    let hidden = |before: &str| format!("{before}\nrm -rf ~\n");
    let texts = [
        hidden(&"ls\n".repeat(4_000)),
        hidden(&"a=$a$a; ".repeat(2_000)),
        hidden(&"f(){ ls; }; f\n".repeat(1_500)),
        format!("{}rm -rf ~{}", "(".repeat(200), ")".repeat(200)),
        format!("ls {} ~ && rm -rf ~", "x ".repeat(5_000)),
    ];
    for text in texts {
        let case = Case { id: String::new(), kind: "command".to_owned(), text, lang: None };
        assert_eq!(assess::assess(&case, &Context::default()).verdict, Verdict::Ask);
    }
}

#[test]
fn no_mutated_case_panics() {
    let cases = cases();
    let (first, count) =
        (setting("QUARTERDECK_RISK_SEED", 1), setting("QUARTERDECK_RISK_MUTATIONS", MUTATIONS));
    for seed in first..first + count {
        let mut dice = Dice::new(seed);
        let pick = |dice: &mut Dice| cases[dice.below(cases.len())].clone();
        let (mut case, other) = (pick(&mut dice), pick(&mut dice));
        case.text = hostile::mutated(&case.text, &other.text, &mut dice);
        // Also what another analyser was meant for.
        if dice.below(8) == 0 {
            (case.kind, case.lang) = (other.kind, other.lang);
        }
        assert!(
            survives(&case).is_ok(),
            "QUARTERDECK_RISK_SEED={seed} QUARTERDECK_RISK_MUTATIONS=1 \
             cargo test -p quarterdeck-risk --test hostile: {case:?}"
        );
    }
}
