//! `quarterdeck health`.

use std::process::ExitCode;

use quarterdeck_client::{Code, Health};
use serde_json::json;

use crate::connect::Globals;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// Asks a server whether it takes calls. Needs no key.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `ready`, `live` (never depends on databases), or a service by its full name.
    #[arg(long, default_value = "ready", value_name = "NAME")]
    service: String,
}

/// Runs the command.
pub async fn run(args: &Args, globals: &Globals) -> Result<ExitCode, Failure> {
    let mut config = globals.config()?;
    config.credential = None;
    // A probe wants the truth now, not after repetitions.
    let client = globals.connect(config).await?.without_retries();
    let health = client.health(&args.service).await.map_err(|error| {
        let unknown = error.code == Code::NotFound;
        let failure = Failure::from(error);
        match unknown {
            true => failure
                .fix("ask for live, ready, or a service such as quarterdeck.orchestration.v1.TaskService"),
            false => failure,
        }
    })?;
    let words = match health {
        Health::Serving => "serving",
        Health::NotServing => "not serving",
        Health::Unknown => "unknown",
    };
    match globals.format {
        Format::Json => output::json(&json!({"service": args.service, "status": words}))?,
        Format::Table => output::emit(words)?,
    }
    if health == Health::Serving {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(Exit::Unavailable, format!("{} is {words}", args.service))
        .at(&globals.address)
        .fix("look at the server's log; `quarterdeck doctor` examines what it needs"))
}
