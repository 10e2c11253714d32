//! `quarterdeck risk ..`: works on files, without a server.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use quarterdeck_risk::assess::{Case, assess_by};
use quarterdeck_risk::model::{Context, TEXT_MAX};
use quarterdeck_risk::policy::Policy;

use super::policy;
use crate::connect::unreadable;
use crate::failure::{Exit, Failure};

/// The longest line that is read: JSON writes a byte of text as six at most.
const LINE_MAX: u64 = 6 * TEXT_MAX as u64 + 4096;

/// The commands of this group.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say of each action in a file what it does, and whether somebody would be asked.
    ///
    /// Input is a JSON object a line: id, kind (command, path, code, sql, http), text,
    /// and lang for code. Output is one a line: id, verdict (auto, ask, deny), level
    /// (low, medium, high), findings.
    Assess(Files),
}

/// What is read and written.
#[derive(Debug, clap::Args)]
pub struct Files {
    /// Actions, a JSON object a line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where answers go, a JSON object a line; `-` is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Policy that gives the verdicts [default: the shipped one].
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Runs a command of this group.
pub fn run(command: &Command) -> Result<ExitCode, Failure> {
    let Command::Assess(files) = command;
    let stdin = Path::new("-");
    if files.input == stdin && files.policy.as_deref() == Some(stdin) {
        return Err(Failure::usage("actions and policy cannot both come from standard input")
            .at("--policy")
            .fix("name a file for one of them"));
    }
    let own = files.policy.as_deref().map(policy::load).transpose()?;
    let policy = own.as_ref().unwrap_or_else(|| Policy::shipped());
    let input = open(&files.input)?;
    let mut output = create(&files.output)?;
    let written = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::new(Exit::Refused, "the reader of the answers has gone"),
        _ => Failure::new(Exit::Refused, format!("an answer cannot be written: {error}")),
    };
    each_line(input, &files.input, |number, line| {
        let case: Case = serde_json::from_str(line).map_err(|error| {
            Failure::usage(format!("this line is no action: {error}"))
                .at(format!("{}:{number}", files.input.display()))
                .fix(r#"write {"id": "1", "kind": "command", "text": "ls"}"#)
        })?;
        let answer = assess_by(&case, &Context::default(), policy);
        serde_json::to_writer(&mut output, &answer).map_err(|error| written(error.into()))?;
        output.write_all(b"\n").map_err(written)
    })?;
    output.flush().map_err(written)?;
    Ok(ExitCode::SUCCESS)
}

/// Hands over each line that is not empty, with its number.
fn each_line(
    mut input: Box<dyn BufRead>,
    path: &Path,
    mut take: impl FnMut(usize, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        let read = std::io::Read::take(&mut input, LINE_MAX).read_line(&mut line);
        let read = read.map_err(|error| unreadable(path, "--input", &error))?;
        if read == 0 {
            break;
        }
        if read as u64 == LINE_MAX && !line.ends_with('\n') {
            return Err(Failure::usage(format!("this line is longer than {LINE_MAX} bytes"))
                .at(format!("{}:{number}", path.display())));
        }
        if !line.trim().is_empty() {
            take(number, &line)?;
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = File::open(path).map_err(|error| unreadable(path, "--input", &error))?;
    Ok(Box::new(BufReader::new(file)))
}

fn create(path: &Path) -> Result<Box<dyn Write>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufWriter::new(std::io::stdout())));
    }
    let file = File::create(path).map_err(|error| {
        Failure::usage(format!("the file for answers cannot be made: {error}")).at(path.display().to_string())
    })?;
    Ok(Box::new(BufWriter::new(file)))
}
