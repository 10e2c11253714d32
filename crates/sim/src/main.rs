//! Runs seeds and says which of them broke a promise.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use quarterdeck_sim::{Report, Setup, run};

/// Simulates replicas, agents and clients, and checks what happened.
#[derive(Parser)]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// This one alone, with all that is wrong.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// About how many things clients do in one seed.
    #[arg(long, default_value_t = 1_000)]
    ops: usize,
    /// Where to write what happened in `--seed`.
    #[arg(long, requires = "seed")]
    log: Option<PathBuf>,
    /// Threads; each seed runs in one.
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// A mistake to plant, to see it found.
    #[cfg(feature = "canary")]
    #[arg(long)]
    canary: Option<quarterdeck_sim::canary::Canary>,
}

impl Args {
    fn setup(&self, seed: u64) -> Setup {
        Setup {
            seed,
            ops: self.ops,
            #[cfg(feature = "canary")]
            canary: self.canary,
        }
    }

    /// The command that shows this seed alone.
    fn command(&self, seed: u64) -> String {
        #[cfg(feature = "canary")]
        let canary = self.canary.map(|canary| format!(" --canary {}", canary.name())).unwrap_or_default();
        #[cfg(not(feature = "canary"))]
        let canary = "";
        let features = if cfg!(feature = "canary") { " --features canary" } else { "" };
        let ops = self.ops;
        format!(
            "cargo run --release -p quarterdeck-sim{features} -- --seed {seed} --ops {ops} --log seed-{seed}.log{canary}"
        )
    }
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let reports = match args.seed {
        Some(seed) => vec![one(&args, seed)?],
        None => many(&args)?,
    };
    let bad: Vec<&Report> = reports.iter().filter(|report| !report.is_good()).collect();
    for report in &bad {
        let first = report.violations.iter().chain(&report.void).next().map_or("", String::as_str);
        let (seed, count) = (report.seed, report.violations.len());
        println!("seed {seed}: {count} violations, void: {}; first: {first}", report.void.is_some());
        println!("  {}", args.command(seed));
    }
    let sum = |of: fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
    println!(
        "seeds {} calls {} answered {} tasks {} violations {} failing seeds {}",
        reports.len(),
        sum(|report| report.calls),
        sum(|report| report.answered),
        sum(|report| report.tasks),
        sum(|report| report.violations.len()),
        bad.len()
    );
    Ok(if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn one(args: &Args, seed: u64) -> Result<Report> {
    let report = run(&args.setup(seed))?;
    for violation in &report.violations {
        println!("{violation}");
    }
    if let Some(path) = &args.log {
        std::fs::write(path, &report.log).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report)
}

fn many(args: &Args) -> Result<Vec<Report>> {
    let threads = args.threads.max(1);
    let share = |thread: u64| -> Result<Vec<Report>> {
        let seeds = (args.from..args.from + args.seeds).filter(|seed| seed % threads == thread);
        seeds.map(|seed| Ok(Report { log: String::new(), ..run(&args.setup(seed))? })).collect()
    };
    let mut reports = std::thread::scope(|scope| -> Result<Vec<Report>> {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        let mut reports = Vec::new();
        for thread in running {
            reports.extend(thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??);
        }
        Ok(reports)
    })?;
    reports.sort_by_key(|report| report.seed);
    Ok(reports)
}
