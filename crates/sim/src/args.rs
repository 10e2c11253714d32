//! What the command line says.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use quarterdeck_sim::Setup;

/// Simulates replicas, agents and clients, and checks what happened.
#[derive(Clone, Parser)]
pub struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    pub seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// This one alone, with all that is wrong.
    #[arg(long, conflicts_with_all = ["seeds", "from", "seconds", "processes"])]
    pub seed: Option<u64>,
    /// About how many things are asked of replicas in one seed.
    #[arg(long, default_value_t = 1_000)]
    pub ops: usize,
    /// Where to write what happened in `--seed`.
    #[arg(long, requires = "seed")]
    pub log: Option<PathBuf>,
    /// Processes to share the seeds among; one a core by default.
    #[arg(long)]
    pub processes: Option<u64>,
    /// Begin no seed after so many seconds, and say how many were left out.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Which share of the seeds this process has.
    #[arg(long, hide = true)]
    pub share: Option<Share>,
    /// A mistake to plant, to see it found.
    #[cfg(feature = "canary")]
    #[arg(long)]
    pub canary: Option<quarterdeck_sim::canary::Canary>,
}

/// Every `of`-th seed from the `index`-th on.
#[derive(Clone, Copy)]
pub struct Share {
    pub index: u64,
    pub of: u64,
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if of > 0 && index < of => Ok(Self { index, of }),
            _ => Err("not a share".to_owned()),
        }
    }
}

impl Args {
    pub fn setup(&self, seed: u64) -> Setup {
        Setup {
            log: self.log.is_some(),
            #[cfg(feature = "canary")]
            canary: self.canary,
            ..Setup::new(seed, self.ops)
        }
    }

    /// This command's own arguments for a process with a share of the seeds.
    pub fn of_share(&self, share: Share) -> Vec<String> {
        let Self { seeds, from, ops, .. } = self;
        let mut arguments = vec![
            format!("--seeds={seeds}"),
            format!("--from={from}"),
            format!("--ops={ops}"),
            format!("--share={}/{}", share.index, share.of),
        ];
        arguments.extend(self.seconds.map(|seconds| format!("--seconds={seconds}")));
        arguments.extend(self.canary_name().map(|name| format!("--canary={name}")));
        arguments
    }

    /// The command that shows this seed alone.
    pub fn command(&self, seed: u64) -> String {
        let features = if cfg!(feature = "canary") { " --features canary" } else { "" };
        let canary = self.canary_name().map(|name| format!(" --canary {name}")).unwrap_or_default();
        let ops = self.ops;
        format!(
            "cargo run --release -p quarterdeck-sim{features} -- --seed {seed} --ops {ops} --log seed-{seed}.log{canary}"
        )
    }

    #[cfg(feature = "canary")]
    fn canary_name(&self) -> Option<String> {
        self.canary.map(quarterdeck_sim::canary::Canary::name)
    }

    #[cfg(not(feature = "canary"))]
    fn canary_name(&self) -> Option<String> {
        None
    }
}
