//! `quarterdeck dev`: a server for this machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use quarterdeck_engine::Options;
use quarterdeck_engine::notifications::{AllowList, Allowed};
use quarterdeck_server::{Embedded, EmbeddedOptions, LogFormat, LogSettings, Storage, init_logging};

use crate::failure::{Exit, Failure};
use crate::output;
use crate::startup::{start_failure, stop_signal};

/// File of the database within the data directory.
pub const DATABASE: &str = "quarterdeck.db";

/// Runs a server on SQLite for this machine only, and prints a key for it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The key covers everything, is new at each start and is printed once. Other commands read it
from QUARTERDECK_API_KEY. Tasks, projects and keys made with `quarterdeck key create` stay in
the data directory.")]
pub struct Args {
    /// Loopback address for gRPC; port 0 takes a free one.
    #[arg(long, env = "QUARTERDECK_LISTEN", default_value = "127.0.0.1:7443", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// Loopback address for /metrics.
    #[arg(
        long,
        env = "QUARTERDECK_METRICS_LISTEN",
        default_value = "127.0.0.1:7444",
        value_name = "HOST:PORT"
    )]
    metrics_listen: SocketAddr,
    /// Directory for the database; made if missing.
    #[arg(long, env = "QUARTERDECK_DATA", default_value = ".quarterdeck", value_name = "DIR")]
    data: PathBuf,
    /// Host that webhooks may tell, such as http://127.0.0.1:8080; may be repeated
    /// [default: none].
    #[arg(long, env = "QUARTERDECK_WEBHOOK_ALLOW", value_delimiter = ',', value_name = "HOST[:PORT]")]
    webhook_allow: Vec<Allowed>,
    /// What to log, such as `info` or `info,quarterdeck_engine=debug`.
    #[arg(long, env = "QUARTERDECK_LOG", default_value = "warn", value_name = "FILTER")]
    log: String,
}

/// Runs the command.
pub async fn run(args: &Args) -> Result<ExitCode, Failure> {
    for (address, flag) in [(args.listen, "--listen"), (args.metrics_listen, "--metrics-listen")] {
        if !address.ip().is_loopback() {
            return Err(Failure::usage(format!("`dev` listens on this machine only, and {address} is not"))
                .at(flag)
                .fix("use 127.0.0.1 or [::1]")
                .fix("for others to connect, run `quarterdeck serve`"));
        }
    }
    let database = data_directory(&args.data)?.join(DATABASE);
    let log = LogSettings { format: LogFormat::Text, filter: args.log.clone() };
    let _log = init_logging(&log).map_err(|error| Failure::usage(error.to_string()).at("--log"))?;
    let server = Embedded::start(EmbeddedOptions {
        listen: args.listen,
        metrics_listen: Some(args.metrics_listen),
        storage: Storage::File(database.clone()),
        engine: Options { webhook_allow: AllowList(args.webhook_allow.clone()), ..Options::default() },
        ..EmbeddedOptions::default()
    })
    .await
    .map_err(start_failure)?;
    output::emit(&greeting(&server, &database))?;
    stop_signal().await;
    output::say("stopping; what runs has its time to finish");
    let stopped = server.stop().await;
    if !stopped.drained {
        output::say(&format!("{} connections had to be cut off", stopped.aborted_connections));
    }
    Ok(ExitCode::SUCCESS)
}

/// The directory, made if missing and closed to others.
fn data_directory(path: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Usage, format!("cannot use the data directory {}: {error}", path.display()))
            .at("--data")
            .fix("name a directory that you may write to")
    };
    if !path.exists() {
        std::fs::create_dir_all(path).map_err(failed)?;
        // Tasks may hold what others must not read. A directory that was there keeps its mode.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
    }
    path.canonicalize().map_err(failed)
}

fn greeting(server: &Embedded, database: &Path) -> String {
    let metrics =
        server.metrics_addr().map_or("off".to_owned(), |address| format!("http://{address}/metrics"));
    let endpoint = server.endpoint();
    let address = if endpoint == "http://127.0.0.1:7443" {
        String::new()
    } else {
        format!("  export QUARTERDECK_ADDRESS={endpoint}\n")
    };
    format!(
        "\
Quarterdeck {version}, for development on this machine
  gRPC     {endpoint}
  metrics  {metrics}
  data     {data}

In another terminal, say who you are (this key is new at each start, and is kept nowhere):
{address}  export QUARTERDECK_API_KEY={key}

Then give it agents, and work for them:
  quarterdeck demo --agents-only &
  quarterdeck task create examples/digest.plan.yaml --wait

Nobody approves what they asked for. To decide on what agents want to do, be somebody else:
  quarterdeck key create --name approver --role approver --all-projects --person approver
  QUARTERDECK_API_KEY=qd_... quarterdeck inbox

Ctrl-C stops it.",
        version = env!("CARGO_PKG_VERSION"),
        data = database.display(),
        key = server.credential(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_made_and_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        assert!(data_directory(&path).unwrap().ends_with("a/b"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(data_directory(&file.join("x")).is_err());
    }
}
