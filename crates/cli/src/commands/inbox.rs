//! `quarterdeck inbox`.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use crate::connect::Globals;
use crate::failure::Failure;
use crate::inbox;

/// Arguments of `inbox`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys:
  j k, arrows    up and down             enter, tab   look at one, and back
  a              approve what was read   d            deny, with a comment
  e              edit in $EDITOR         r            show without masks, on record
  space          pick                    A            approve exactly those picked
  /              filter by level         q            quit")]
pub struct Args {}

/// Opens the inbox.
pub async fn run(_args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::usage("the inbox needs a terminal")
            .fix("for scripts: quarterdeck approvals list, watch, approve, deny"));
    }
    let client = globals.client().await?;
    Box::pin(inbox::run(&client, &globals.project())).await?;
    Ok(ExitCode::SUCCESS)
}
