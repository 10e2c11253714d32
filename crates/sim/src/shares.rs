//! Many seeds, shared among processes.
//!
//! Processes and not threads, because SQLite has locks that all its databases in
//! one process share. Each is bound to one core: the driver's thread and ours hand
//! over to each other some ten thousand times in a seed, and between cores that
//! takes three times as long.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use quarterdeck_sim::{Report, run};
use serde::{Deserialize, Serialize};

use crate::args::{Args, Share};

/// What a process says of one seed, as a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    seed: u64,
    operations: usize,
    calls: usize,
    answered: usize,
    tasks: usize,
    approvals: usize,
    violations: usize,
    void: bool,
    /// The first thing that is wrong.
    first: Option<String>,
}

impl Line {
    fn of(report: &Report) -> Self {
        Self {
            seed: report.seed,
            operations: report.operations,
            calls: report.calls,
            answered: report.answered,
            tasks: report.tasks,
            approvals: report.approvals,
            violations: report.violations.len(),
            void: report.void.is_some(),
            first: report.violations.iter().chain(&report.void).next().cloned(),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "how long to go on; decides nothing within a seed")]
fn now() -> Instant {
    Instant::now()
}

/// Binds this thread, and those it starts, to one of the cores it may use.
#[cfg(target_os = "linux")]
fn bind(index: u64) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    // Not being allowed to only costs time.
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    if let Some(&core) = cores.get(index as usize % cores.len().max(1)) {
        let mut one = CpuSet::new();
        one.set(core);
        let _ = sched_setaffinity(None, &one);
    }
}

#[cfg(not(target_os = "linux"))]
fn bind(_: u64) {}

/// One seed, with everything that is wrong with it.
pub fn one(args: &Args, seed: u64) -> Result<ExitCode> {
    bind(seed);
    let report = run(&args.setup(seed))?;
    for wrong in report.violations.iter().chain(&report.void) {
        println!("{wrong}");
    }
    if let Some(path) = &args.log {
        std::fs::write(path, &report.log).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{:?}", Line::of(&report));
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a process with a share of the seeds does.
pub fn work(args: &Args, share: Share) -> Result<()> {
    bind(share.index);
    let started = now();
    for seed in args.from..args.from.saturating_add(args.seeds) {
        if (seed - args.from) % share.of != share.index {
            continue;
        }
        if args.seconds.is_some_and(|most| started.elapsed() >= Duration::from_secs(most)) {
            break;
        }
        println!("{}", serde_json::to_string(&Line::of(&run(&args.setup(seed))?))?);
    }
    Ok(())
}

/// All seeds; prints those that broke a promise as they are found.
pub fn all(args: &Args) -> Result<ExitCode> {
    let started = now();
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let of = args.processes.unwrap_or_else(cores).clamp(1, args.seeds.max(1));
    let (lines, received) = mpsc::channel();
    let mut children = Vec::new();
    for index in 0..of {
        children.push(start(args, Share { index, of }, lines.clone())?);
    }
    drop(lines);
    let (mut all, mut bad) = (Vec::new(), 0);
    for line in received {
        let line: Line = serde_json::from_str(&line).with_context(|| format!("not a result: {line}"))?;
        if let Some(first) = &line.first {
            bad += 1;
            let what = if line.void { "void" } else { "broken" };
            println!("seed {} is {what}, {} violations, first: {first}", line.seed, line.violations);
            println!("  {}", args.command(line.seed));
        }
        all.push(line);
    }
    for mut child in children {
        let status = child.wait()?;
        ensure!(status.success(), "a process ended with {status}");
    }
    let sum = |of: fn(&Line) -> usize| all.iter().map(of).sum::<usize>();
    println!(
        "seeds {} from {} operations {} calls {} answered {} tasks {} approvals {} violations {} failing seeds {bad} seconds {}",
        all.len(),
        args.from,
        sum(|line| line.operations),
        sum(|line| line.calls),
        sum(|line| line.answered),
        sum(|line| line.tasks),
        sum(|line| line.approvals),
        sum(|line| line.violations),
        started.elapsed().as_secs(),
    );
    if (all.len() as u64) < args.seeds {
        let part = all.len() as f64 / args.seeds as f64;
        println!("CUT by time to {part:.3}: {} of {} seeds were run", all.len(), args.seeds);
    }
    Ok(if bad == 0 && !all.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn start(args: &Args, share: Share, lines: mpsc::Sender<String>) -> Result<Child> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.args(args.of_share(share)).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let output = child.stdout.take().context("no output of a process")?;
    std::thread::spawn(move || {
        // The end of a process is seen in its status.
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    Ok(child)
}
