//! Understanding actions: how long one assessment takes, warm and on one thread, and what
//! the worst of the hostile texts cost in time and memory.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use quarterdeck_risk::assess::{self, Case};
use quarterdeck_risk::hostile;
use quarterdeck_risk::model::{Context, TEXT_MAX};
use quarterdeck_risk::redact;
use serde::Serialize;

use super::generated;
use crate::clock;
use crate::memory;
use crate::report::{Figures, row};

/// The labelled cases of this repository.
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/risk/cases.jsonl");
/// Assessments of a hostile text; the quickest counts, as the others measure the machine.
const HOSTILE_ROUNDS: usize = 3;
/// Worst texts that are named.
const WORST: usize = 12;

#[derive(Clone, Debug, Args)]
pub struct Assess {
    /// Labelled cases, a JSON object a line.
    #[arg(long, value_name = "FILE", default_value = CASES)]
    cases: PathBuf,
    /// How often each case is assessed.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Hostile texts instead of the cases.
    #[arg(long)]
    hostile: bool,
    /// Bytes of a hostile text.
    #[arg(long, value_name = "BYTES", default_value_t = TEXT_MAX, requires = "hostile")]
    size: usize,
    /// Print one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    scenario: &'static str,
    /// Texts, each assessed `rounds` times.
    cases: usize,
    rounds: u32,
    /// Assessments that were timed.
    count: usize,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    slowest: Vec<Worst>,
}

#[derive(Serialize)]
struct HostileReport {
    scenario: &'static str,
    size: usize,
    count: usize,
    max_us: f64,
    /// The most that one text added to the resident memory while it was assessed.
    text_mib: f64,
    /// Resident memory above what the process held before the first text, at its highest:
    /// what allocators and parsers keep for the next text is in it, of all texts together.
    peak_mib: f64,
    slowest: Vec<Worst>,
    largest: Vec<Large>,
}

#[derive(Clone, Debug, Serialize)]
struct Large {
    name: String,
    mib: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Worst {
    name: String,
    us: f64,
}

/// Runs it and prints the figures.
///
/// # Errors
/// When the cases cannot be read.
pub fn run(arguments: &Assess) -> Result<()> {
    if arguments.hostile {
        return print(&hostile_report(arguments.size), arguments.json);
    }
    let cases = cases(&arguments.cases)?.into_iter().chain(generated::cases()).collect::<Vec<_>>();
    print(&report(&cases, arguments.rounds), arguments.json)
}

fn print<F: Figures>(figures: &F, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(figures)?);
    } else {
        figures.rows().into_iter().for_each(|(name, figure)| println!("{name:<28}{figure}"));
    }
    Ok(())
}

fn cases(file: &Path) -> Result<Vec<Case>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let cases = lines.map(serde_json::from_str).collect::<Result<Vec<Case>, _>>()?;
    ensure!(!cases.is_empty(), "{} holds no case", file.display());
    Ok(cases)
}

fn report(cases: &[Case], rounds: u32) -> Report {
    let context = Context::default();
    cases.iter().for_each(|case| drop(assess::assess(case, &context)));
    let mut all = Vec::new();
    let mut slowest = Vec::new();
    for case in cases {
        let times: Vec<Duration> = (0..rounds).map(|_| timed(|| assess::assess(case, &context))).collect();
        let quickest = times.iter().min().copied().unwrap_or_default();
        slowest.push(Worst { name: case.id.clone(), us: micros(quickest) });
        all.extend(times);
    }
    all.sort_unstable();
    let at = |quantile: f64| {
        let place = (all.len() as f64 * quantile).ceil() as usize;
        all.get(place.saturating_sub(1)).copied().map_or(0.0, micros)
    };
    Report {
        scenario: "assess",
        cases: cases.len(),
        rounds,
        count: all.len(),
        p50_us: at(0.50),
        p99_us: at(0.99),
        max_us: at(1.0),
        slowest: worst(slowest),
    }
}

fn hostile_report(size: usize) -> HostileReport {
    let context = Context::default();
    // Tables and parsers are there before memory is looked at.
    hostile::cases(256).iter().for_each(|hostile| drop(assess::assess(&hostile.case, &context)));
    hostile::texts(256).iter().for_each(|(_, text)| drop(redact::text(text)));
    let (cases, texts) = (hostile::cases(size), hostile::texts(size));
    let before = memory::of(std::process::id()).unwrap_or_default().now;
    let (mut times, mut sizes, mut peak) = (Vec::new(), Vec::new(), before);
    let mut measure = |name: String, mut assess: Box<dyn FnMut() + '_>| {
        let (us, grown, highest) = measured(&mut assess);
        peak = highest.max(peak);
        times.push(Worst { name: name.clone(), us });
        sizes.push(Large { name, mib: grown });
    };
    for hostile in &cases {
        let run = || drop(black_box(assess::assess(&hostile.case, &context)));
        measure(hostile.shape.clone(), Box::new(run));
    }
    for (name, text) in &texts {
        measure(format!("redact {name}"), Box::new(|| drop(black_box(redact::text(text)))));
    }
    sizes.sort_by(|one, other| other.mib.total_cmp(&one.mib));
    sizes.truncate(WORST);
    let count = times.len();
    let slowest = worst(times);
    HostileReport {
        scenario: "assess --hostile",
        size,
        count,
        max_us: slowest.first().map_or(0.0, |worst| worst.us),
        text_mib: sizes.first().map_or(0.0, |large| large.mib),
        peak_mib: crate::report::rounded(peak - before, 1),
        slowest,
        largest: sizes,
    }
}

/// The quickest time, how much the memory grew for it, and its highest mark.
fn measured(assess: &mut dyn FnMut()) -> (f64, f64, f64) {
    let resident = || memory::of(std::process::id()).unwrap_or_default();
    // The kernel's mark of the highest begins anew; where it may not, growth is that of the process.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = resident().now;
    let us = quickest(assess);
    let peak = resident().peak;
    (us, crate::report::rounded((peak - before).max(0.0), 1), peak)
}

fn quickest(mut assess: impl FnMut()) -> f64 {
    (0..HOSTILE_ROUNDS).map(|_| timed(&mut assess)).min().map_or(0.0, micros)
}

fn timed<T>(mut assess: impl FnMut() -> T) -> Duration {
    let from = clock::now();
    black_box(assess());
    from.elapsed()
}

fn micros(time: Duration) -> f64 {
    crate::report::rounded(time.as_secs_f64() * 1e6, 1)
}

fn worst(mut all: Vec<Worst>) -> Vec<Worst> {
    all.sort_by(|one, other| other.us.total_cmp(&one.us));
    all.truncate(WORST);
    all
}

fn lines(slowest: &[Worst]) -> impl Iterator<Item = (String, String)> + '_ {
    slowest.iter().map(|worst| row(format!("  {}", worst.name), format!("{:.0} us", worst.us)))
}

impl Figures for Report {
    fn errors(&self) -> u64 {
        0
    }

    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            row("assessments", format!("{} of {} texts", self.count, self.cases)),
            row("p50, us", format!("{:.1}", self.p50_us)),
            row("p99, us", format!("{:.1}", self.p99_us)),
            row("max, us", format!("{:.1}", self.max_us)),
        ];
        rows.extend(lines(&self.slowest));
        rows
    }
}

impl Figures for HostileReport {
    fn errors(&self) -> u64 {
        0
    }

    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            row("texts", format!("{} of {} bytes", self.count, self.size)),
            row("max, us", format!("{:.0}", self.max_us)),
            row("largest text, MiB", format!("{:.1}", self.text_mib)),
            row("peak of all, MiB", format!("{:.1}", self.peak_mib)),
        ];
        rows.extend(lines(&self.slowest));
        rows.extend(
            self.largest
                .iter()
                .map(|large| row(format!("  {}", large.name), format!("{:.1} MiB", large.mib))),
        );
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_are_found_and_assessed() {
        let cases = cases(Path::new(CASES)).unwrap();
        let report = report(&cases[..3], 2);
        assert_eq!((report.cases, report.count), (3, 6));
        assert!(report.p50_us <= report.p99_us && report.p99_us <= report.max_us);
    }
}
