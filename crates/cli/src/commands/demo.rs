//! `quarterdeck demo`: the digest in one process, or its agents for a running server.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::connect::Globals;
use crate::demo::{self, Agents, Job};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// Digests the documents of a directory with three agents: a reader splits the files, an
/// analyst picks key sentences and terms, a writer composes, and every citation is checked
/// against its source. One step fails on purpose and is tried again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without DIR: README.md, ARCHITECTURE.md, CHANGELOG.md and docs/ of the current directory.
With DIR: every UTF-8 text below it that is not code or data, at most 200 files and 2 MB.

Examples:
  quarterdeck demo
  quarterdeck demo ~/notes --output notes.md
  quarterdeck demo --agents-only     # agents for a server that runs already, then:
  quarterdeck task create examples/digest.plan.yaml --wait")]
pub struct Args {
    /// Directory to read.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// File to write the digest to [default: digest.md].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only run the agents, for the server at --address, until Ctrl-C. They read below DIR.
    #[arg(long, conflicts_with = "output")]
    agents_only: bool,
}

/// Runs the command.
pub async fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    let directory = args.directory.clone().unwrap_or_else(|| PathBuf::from("."));
    let real = directory.canonicalize().map_err(|error| {
        Failure::usage(format!("cannot read the directory {}: {error}", directory.display()))
            .at("DIR")
            .fix("name a directory that exists: quarterdeck demo <DIR>")
    })?;
    if !real.is_dir() {
        return Err(Failure::usage(format!("{} is no directory", directory.display()))
            .at("DIR")
            .fix("name the directory that holds the documents"));
    }
    if args.agents_only {
        return agents_only(globals, &real).await;
    }
    let include = if args.directory.is_none() { demo::OWN_DOCUMENTS.to_vec() } else { Vec::new() };
    check_documents(&real, &include, args.directory.is_none())?;
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from("digest.md"));
    let summary = Box::pin(demo::run(&Job { directory: real, include, output })).await?;
    match globals.format {
        Format::Json => output::json(&summary.json())?,
        Format::Table => output::emit(&summary.text())?,
    }
    if summary.complete() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(Exit::Refused, "the watcher did not see exactly what is stored").detail(format!(
        "{} stored, {} watched, {} gaps",
        summary.stored,
        summary.watched(),
        summary.gaps
    )))
}

/// Says at once what the reader would say later.
fn check_documents(directory: &std::path::Path, include: &[&str], own: bool) -> Result<(), Failure> {
    let include: Vec<String> = include.iter().map(|path| (*path).to_owned()).collect();
    let found = demo::read_directory(directory, &include)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", directory.display())).at("DIR"))?;
    if !found.files.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::usage(format!("there are no documents in {}", directory.display())).at("DIR");
    for (reason, count) in &found.skipped {
        failure = failure.detail(format!("{count} files left out: {reason}"));
    }
    Err(if own {
        failure.fix("run it in a checkout of Quarterdeck, or name a directory: quarterdeck demo <DIR>")
    } else {
        failure.fix("name a directory with .md, .txt, .rst or other UTF-8 text files")
    })
}

async fn agents_only(globals: &Globals, root: &std::path::Path) -> Result<ExitCode, Failure> {
    let config = globals.config()?;
    let mut agents = Agents::start(&config, &globals.project(), root).await?;
    output::say(&format!(
        "agents reader, analyst and writer are connected to {} and read below {}\n\
         give them work: quarterdeck task create examples/digest.plan.yaml --wait\n\
         Ctrl-C ends them",
        globals.address,
        root.display()
    ));
    tokio::select! {
        biased;
        () = crate::startup::stop_signal() => {
            agents.stop().await;
            output::say("the agents have said goodbye");
            Ok(ExitCode::SUCCESS)
        }
        ended = agents.ended() => match ended {
            Some((name, Err(error))) => {
                let failure = Failure::from(error);
                Err(failure.detail(format!("agent {name} cannot go on")))
            }
            Some((name, Ok(_))) => {
                agents.stop().await;
                output::say(&format!("{name} was drained; the others have said goodbye"));
                Ok(ExitCode::SUCCESS)
            }
            None => Ok(ExitCode::SUCCESS),
        },
    }
}
