//! The agent in the client's examples is a complete agent, in as many lines as we say.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use quarterdeck_client::Payload;
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::api::orchestration::v1::TaskState;
use tokio::process::Command;

use crate::plans::{StepWords, plan, step};
use crate::stack::both;
use crate::world::World;

both!(Usual: the_example_agent_does_its_work);

/// A build from nothing on a slow machine.
const BUILD: Duration = Duration::from_secs(30 * 60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The example's executable, brought up to date; scripts/test has built it already.
async fn executable() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "quarterdeck-client", "--example", "agent"]);
    let build = build.current_dir(root()).stdin(Stdio::null()).kill_on_drop(true).output();
    let built = tokio::time::timeout(BUILD, build).await.expect("the example is built in time").unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    // This test is <target>/<profile>/deps/<name>.
    let this = std::env::current_exe().unwrap();
    let path = this.parent().and_then(Path::parent).unwrap().join("examples/agent");
    assert!(path.is_file(), "no {}", path.display());
    path
}

async fn the_example_agent_does_its_work(world: World) {
    let secret = world.key(Role::Agent).await;
    // Nothing of ours is inherited: whoever reads our output must not wait for the agent's end.
    let mut command = Command::new(executable().await);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let config = world.other.config();
    command.env("QUARTERDECK_ADDRESS", &config.endpoint).env("QUARTERDECK_API_KEY", secret);
    let mut running = command.stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let task = world.create(plan([step("a", "echo").input(Payload::text("ahoy"))])).await;
    let task = world.ended(&task.id).await;
    assert_eq!(task.state(), TaskState::Succeeded);
    assert_eq!(Payload::from(task.steps[0].output.clone()).to_text().unwrap(), "AHOY");
    assert!(running.try_wait().unwrap().is_none(), "it goes on");
    running.kill().await.unwrap();
}

/// The lines of a program, without comments, attributes and space.
fn lines(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//") && !line.starts_with("#!")).collect()
}

#[test]
fn the_example_agent_has_about_fifteen_lines() {
    let text = std::fs::read_to_string(root().join("clients/rust/examples/agent.rs")).unwrap();
    let body: Vec<&str> = lines(&text).into_iter().filter(|line| line.len() > 2).collect();
    assert!(body.len() <= 15, "{} lines:\n{}", body.len(), body.join("\n"));
}
