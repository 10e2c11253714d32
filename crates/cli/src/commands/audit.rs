//! `quarterdeck audit ..`: the record of decisions, and whether it is whole.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use quarterdeck_client::api::approvals::v1::{
    AuditEntry, GetAuditHeadRequest, ListAuditEntriesRequest, SignedHead,
};
use quarterdeck_core::merkle::{Frontier, leaf};
use quarterdeck_core::{Digest, Timestamp};
use quarterdeck_engine::sealer::{Head, is_signed};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::connect::{Globals, unreadable};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// The commands of this group.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show the newest signed head of the project's audit, and how much is not sealed yet.
    Head,
    /// Write the project's audit to a file: its signed head, then an entry a line.
    Export {
        /// Where it goes; `-` is standard output.
        #[arg(long, value_name = "FILE", default_value = "-")]
        output: PathBuf,
    },
    /// Check an export, without a server: every entry, their order and number, the signature.
    Verify(Verify),
}

/// Arguments of `audit verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// An export.
    file: PathBuf,
    /// Key that must have signed it, as `audit head` prints it. Without it anybody's
    /// signature will do.
    #[arg(long, value_name = "HEX")]
    public_key: Option<String>,
    /// An earlier export, or its first line: the file must go on from it.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
}

/// The first line of an export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    project: String,
    size: u64,
    root: Digest,
    /// Microseconds since the Unix epoch.
    time: i64,
    signature: String,
    public_key: String,
}

/// Runs a command of this group.
pub async fn run(command: &Command, globals: &Globals) -> Result<ExitCode, Failure> {
    match command {
        Command::Head => show(globals).await,
        Command::Export { output } => export(output, globals).await,
        Command::Verify(args) => verify(args, globals.format),
    }
}

async fn show(globals: &Globals) -> Result<ExitCode, Failure> {
    let (head, unsealed) = newest(globals).await?;
    let line = head.as_ref().map(Line::of_wire).transpose()?;
    if globals.format == Format::Json {
        output::json(&json!({ "head": line, "unsealed": unsealed }))?;
        return Ok(ExitCode::SUCCESS);
    }
    match line {
        None => output::say("nothing is sealed yet"),
        Some(line) => output::emit(&output::table(
            &["ENTRIES", "ROOT", "PUBLIC KEY"],
            vec![vec![line.size.to_string(), line.root.to_string(), line.public_key]],
        ))?,
    }
    output::say(&format!("{unsealed} entries are not sealed yet"));
    Ok(ExitCode::SUCCESS)
}

async fn newest(globals: &Globals) -> Result<(Option<SignedHead>, i64), Failure> {
    let client = globals.client().await?;
    let project = globals.project.clone().unwrap_or_default();
    let answer = client.audit_head(GetAuditHeadRequest { project }).await?;
    Ok((answer.head, answer.unsealed))
}

async fn export(path: &Path, globals: &Globals) -> Result<ExitCode, Failure> {
    let (head, unsealed) = newest(globals).await?;
    let Some(head) = head else {
        return Err(Failure::new(Exit::Refused, "nothing is sealed yet").fix("try again in a second"));
    };
    let mut output: Box<dyn Write> = match path == Path::new("-") {
        true => Box::new(BufWriter::new(std::io::stdout())),
        false => Box::new(BufWriter::new(File::create(path)?)),
    };
    let line = Line::of_wire(&head)?;
    writeln!(output, "{}", json!(line))?;
    let client = globals.client().await?;
    let (mut start, project) = (0, head.project.clone());
    while start < head.size {
        let request = ListAuditEntriesRequest { project: project.clone(), start, page_size: 1_000 };
        let entries: Vec<AuditEntry> = client.audit_entries(request).await?.entries;
        if entries.is_empty() {
            return Err(Failure::new(Exit::Refused, format!("the server has no entry {start}")));
        }
        for entry in entries.iter().take_while(|entry| entry.index < head.size) {
            writeln!(output, "{}", entry.body)?;
        }
        start += i64::try_from(entries.len()).unwrap_or(i64::MAX);
    }
    output.flush()?;
    output::say(&format!("{} entries; {unsealed} more are not sealed yet", head.size));
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &Verify, format: Format) -> Result<ExitCode, Failure> {
    let place = args.file.display().to_string();
    let wrong = |what: String| Failure::new(Exit::Refused, what).at(place.clone());
    let mut lines =
        BufReader::new(File::open(&args.file).map_err(|error| unreadable(&args.file, "FILE", &error))?)
            .lines();
    let head = Line::read(lines.next().transpose()?.as_deref(), &args.file)?;
    let earlier = args.since.as_deref().map(first_line).transpose()?;
    let mut tree = Frontier::default();
    let mut met = earlier.is_none();
    for line in lines {
        tree.push(leaf(line?.as_bytes()));
        if let Some(earlier) = earlier.as_ref().filter(|earlier| earlier.size == tree.size) {
            met = earlier.root == tree.root();
        }
    }
    if tree.size != head.size {
        return Err(wrong(format!("it holds {} entries, its head says {}", tree.size, head.size)));
    }
    if tree.root() != head.root {
        return Err(wrong(
            "entries were changed, left out, added or moved: they do not lead to its head".into(),
        ));
    }
    if !is_signed(&head.head()?) {
        return Err(wrong("the signature of its head is not good".into()));
    }
    if args.public_key.as_ref().is_some_and(|key| !key.eq_ignore_ascii_case(&head.public_key)) {
        return Err(wrong(format!("it is signed by another key: {}", head.public_key)));
    }
    if !met {
        return Err(wrong("it does not go on from the earlier one: one of the two was rewritten".into()));
    }
    match format {
        Format::Json => {
            output::json(&json!({ "project": head.project, "entries": head.size, "root": head.root }))?
        }
        Format::Table => {
            output::emit(&format!("whole: {} entries of `{}`, root {}", head.size, head.project, head.root))?;
        }
    }
    if args.public_key.is_none() {
        output::say(&format!("signed by {}: compare it, or give --public-key", head.public_key));
    }
    Ok(ExitCode::SUCCESS)
}

/// The head of an earlier export.
fn first_line(path: &Path) -> Result<Line, Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, "--since", &error))?;
    let line = BufReader::new(file).lines().next().transpose()?;
    Line::read(line.as_deref(), path)
}

impl Line {
    fn read(line: Option<&str>, path: &Path) -> Result<Self, Failure> {
        let read = serde_json::from_str(line.unwrap_or_default());
        read.map_err(|error| {
            Failure::usage(format!("its first line is no signed head: {error}"))
                .at(path.display().to_string())
                .fix("make one with `quarterdeck audit export`")
        })
    }

    fn of_wire(head: &SignedHead) -> Result<Self, Failure> {
        let wrong = || Failure::new(Exit::Refused, "the server's head cannot be read");
        let root: [u8; 32] = head.root.as_ref().try_into().map_err(|_| wrong())?;
        let time = head.time.ok_or_else(wrong)?;
        Ok(Self {
            project: head.project.clone(),
            size: u64::try_from(head.size).map_err(|_| wrong())?,
            root: Digest::from_bytes(root),
            time: time.seconds * 1_000_000 + i64::from(time.nanos / 1_000),
            signature: hex(&head.signature),
            public_key: hex(&head.public_key),
        })
    }

    fn head(&self) -> Result<Head, Failure> {
        let wrong = || Failure::new(Exit::Refused, "its first line is no signed head");
        let public_key = unhex(&self.public_key).and_then(|key| key.try_into().ok()).ok_or_else(wrong)?;
        Ok(Head {
            project: self.project.clone(),
            size: self.size,
            root: self.root,
            at: Timestamp::from_micros(self.time),
            signature: unhex(&self.signature).ok_or_else(wrong)?,
            public_key,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|letter| letter.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}
