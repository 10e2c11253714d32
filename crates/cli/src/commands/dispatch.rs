//! From a parsed command line to an exit code.

use std::process::ExitCode;

use super::{
    agent, approvals, audit, demo, dev, doctor, grants, health, key, migrate, policy, project, risk, serve,
    task, webhooks,
};
use crate::cli::{Cli, Command};
use crate::failure::{Exit, Failure};
use crate::output;

/// Runs a command to its end and says what went wrong, if something did.
pub fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return complain(&Failure::new(Exit::Unavailable, format!("no threads to run on: {error}")));
        }
    };
    runtime.block_on(async {
        match Box::pin(dispatch(&cli)).await {
            Ok(code) => code,
            Err(failure) => complain(&cli.globals.explain(failure).await),
        }
    })
}

fn complain(failure: &Failure) -> ExitCode {
    output::say(failure.render(output::colour()).trim_end());
    failure.code()
}

async fn dispatch(cli: &Cli) -> Result<ExitCode, Failure> {
    let globals = &cli.globals;
    match &cli.command {
        Command::Demo(args) => Box::pin(demo::run(args, globals)).await,
        Command::Dev(args) => Box::pin(dev::run(args)).await,
        Command::Serve(args) => Box::pin(serve::run(args)).await,
        Command::Task(command) => Box::pin(task::run(command, globals)).await,
        Command::Agent(command) => agent::run(command, globals).await,
        Command::Approvals(command) => Box::pin(approvals::run(command, globals)).await,
        #[cfg(feature = "inbox")]
        Command::Inbox(args) => Box::pin(super::inbox::run(args, globals)).await,
        Command::Webhooks(command) => webhooks::run(command, globals).await,
        Command::Grants(command) => grants::run(command, globals).await,
        Command::Project(command) => project::run(command, globals).await,
        Command::Key(command) => key::run(command, globals).await,
        Command::Audit(command) => audit::run(command, globals).await,
        Command::Risk(command) => risk::run(command),
        Command::Policy(command) => Box::pin(policy::run(command, globals)).await,
        Command::Migrate(command) => migrate::run(command, globals).await,
        Command::Health(args) => health::run(args, globals).await,
        Command::Doctor(args) => Box::pin(doctor::run(args, globals)).await,
    }
}
