//! Starting child processes that do not outlive this one.
//!
//! `Drop` stops them in the usual case. Where it cannot run, because the test
//! process was killed, the kernel does: children are started through `setpriv
//! --pdeathsig KILL` (util-linux, on every Debian). That signal is sent when the
//! *thread* that forked ends, so one thread that never ends forks them all.
//! Without `setpriv` children still end by `Drop`.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::eventually;

type Answer = std::io::Result<Child>;

struct Order {
    command: Command,
    answer: SyncSender<Answer>,
}

static LAUNCHER: OnceLock<SyncSender<Order>> = OnceLock::new();

/// Starts `program` so that it ends with this process at the latest. Both outputs
/// go to `log`, stdin to nowhere.
pub(crate) fn launch(
    program: &Path,
    arguments: &[String],
    log: &Path,
    configure: impl FnOnce(&mut Command),
) -> Result<Child> {
    let mut command = dying_with_us(program);
    let out = File::options().create(true).append(true).open(log)?;
    command.args(arguments).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    configure(&mut command);
    let (answer, answered) = sync_channel(1);
    launcher().send(Order { command, answer }).context("the launcher thread is gone")?;
    answered.recv()?.with_context(|| format!("cannot start {}", program.display()))
}

fn launcher() -> &'static SyncSender<Order> {
    LAUNCHER.get_or_init(|| {
        let (orders, received) = sync_channel::<Order>(16);
        std::thread::spawn(move || {
            for mut order in received {
                let started = order.command.spawn();
                // Nobody waits any more: end what nobody will own.
                if let Err(unheard) = order.answer.send(started)
                    && let Ok(mut orphan) = unheard.0
                {
                    let _ = orphan.kill();
                    let _ = orphan.wait();
                }
            }
        });
        orders
    })
}

fn dying_with_us(program: &Path) -> Command {
    for setpriv in ["/usr/bin/setpriv", "/bin/setpriv"] {
        if Path::new(setpriv).exists() {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            return command;
        }
    }
    Command::new(program)
}

/// Sends a signal by name, such as `TERM`.
pub(crate) fn signal(child: &Child, name: &str) -> Result<()> {
    // The shell's own `kill`: it is everywhere, and needs no unsafe code here.
    let sent = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &child.id().to_string()])
        .status()
        .context("cannot run sh")?;
    if !sent.success() {
        bail!("process {} took no signal {name}", child.id());
    }
    Ok(())
}

/// Waits for the end of a child, for at most `deadline`.
pub(crate) async fn ended(child: &mut Child, deadline: Duration) -> Result<ExitStatus> {
    let what = format!("the end of process {}", child.id());
    eventually(&what, deadline, || {
        let state = child.try_wait();
        async move { state.transpose() }
    })
    .await?
    .context("cannot wait for a child")
}

/// Kills a child at once and collects it.
pub(crate) fn kill(child: &mut Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// The last lines of a log, indented, for messages.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    let Ok(bytes) = std::fs::read(log) else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    last.iter().map(|line| format!("    {line}\n")).collect()
}
