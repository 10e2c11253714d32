//! The command line: what can be said, and what each part is called.

use clap::{Parser, Subcommand};

#[cfg(feature = "inbox")]
use crate::commands::inbox;
use crate::commands::{
    agent, approvals, audit, demo, dev, doctor, grants, health, key, migrate, policy, project, risk, serve,
    task, webhooks,
};
use crate::connect::Globals;

/// Quarterdeck decides which agent does what, and keeps a log that survives.
///
/// Try `quarterdeck demo` first: three agents digest the documents of this directory.
/// Then `quarterdeck dev` for a server of your own.
#[derive(Debug, Parser)]
#[command(name = "quarterdeck", version, max_term_width = 100)]
#[command(after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// For every command.
    #[command(flatten)]
    pub globals: Globals,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused by the server, or done and found wanting (a task that failed, a check that failed)
  2  wrong usage: a flag, a file named on the command line
  3  a server, database or port cannot be had now

Data goes to standard output, everything else to standard error. NO_COLOR is respected.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See it work: three agents write a cited digest of real documents (no server needed).
    Demo(demo::Args),
    /// Run a server for this machine: SQLite, loopback only, one-off key.
    Dev(dev::Args),
    /// Run a server for others: PostgreSQL, secrets from files, TLS.
    Serve(Box<serve::Args>),
    /// Create, read, follow, cancel and retry tasks.
    #[command(subcommand)]
    Task(task::Command),
    /// See agents, and send them home.
    #[command(subcommand)]
    Agent(agent::Command),
    /// See what agents want to do, and decide on it.
    #[command(subcommand)]
    Approvals(approvals::Command),
    /// Decide in a terminal of its own, as requests come in.
    #[cfg(feature = "inbox")]
    Inbox(inbox::Args),
    /// A yes that is remembered: list, create and revoke standing grants.
    #[command(subcommand)]
    Grants(grants::Command),
    /// Tell other systems of approvals: create, list and delete webhooks.
    #[command(subcommand)]
    Webhooks(webhooks::Command),
    /// Create and list projects.
    #[command(subcommand)]
    Project(project::Command),
    /// Create, list and revoke API keys.
    #[command(subcommand)]
    Key(key::Command),
    /// Read, export and verify the record of decisions.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Understand actions before they happen (no server needed).
    #[command(subcommand)]
    Risk(risk::Command),
    /// Say what runs by itself and what is asked: check files, read, set and try policies.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Look at a database's schema and bring it up to date.
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Ask a server whether it takes calls (needs no key).
    Health(health::Args),
    /// Examine this machine, the server and what it needs, and say how to fix what is wrong.
    Doctor(doctor::Args),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_people_type_is_understood() {
        for line in [
            "quarterdeck demo",
            "quarterdeck demo docs --output out.md -o json",
            "quarterdeck demo --agents-only --address http://127.0.0.1:7443 --api-key k",
            "quarterdeck dev --listen 127.0.0.1:0 --data /tmp/x",
            "quarterdeck serve --database-url postgres://x/y --bootstrap-secret-file s",
            "quarterdeck serve --database-url-file u --redis-url-file r --bootstrap-secret-file s --migrate --session-lease 15s",
            "quarterdeck task create plan.yaml --name n --label a=b --label c=d --request-id r --project p --wait",
            "quarterdeck task get tsk_1 --full -o json",
            "quarterdeck task get tsk_1 --output-of write",
            "quarterdeck task list --state running --state failed --label a=b --limit 5",
            "quarterdeck task watch tsk_1 --resume-after c",
            "quarterdeck task cancel tsk_1 --comment why",
            "quarterdeck task retry tsk_1",
            "quarterdeck agent list --sessions",
            "quarterdeck agent drain reader",
            "quarterdeck project create acme",
            "quarterdeck project list -o json",
            "quarterdeck key create --name ci --role user --role agent --for-project acme --lifetime 90d",
            "quarterdeck key create --name ann --role approver --person ann@example.com",
            "quarterdeck key list",
            "quarterdeck key revoke key_1",
            "quarterdeck migrate status --data .quarterdeck",
            "quarterdeck migrate up --database-url postgres://x/y",
            "quarterdeck risk assess --input cases.jsonl --output answers.jsonl",
            "quarterdeck risk assess --input -",
            "quarterdeck audit head --project acme",
            "quarterdeck audit export --output audit.jsonl",
            "quarterdeck audit verify audit.jsonl --public-key 00 --since old.jsonl",
            "quarterdeck risk assess --input cases.jsonl --policy team.cedar",
            "quarterdeck policy check team.cedar",
            "quarterdeck policy get --source",
            "quarterdeck policy set --file team.cedar --environment production --if-revision 3",
            "quarterdeck policy set --shipped",
            "quarterdeck policy set --directory /workspace",
            "quarterdeck policy explain apr_1 --policy team.cedar",
            "quarterdeck policy explain --action action.json -o json",
            "quarterdeck policy simulate team.cedar --limit 500",
            "quarterdeck approvals list --state pending --state granted --min-level high --task t --agent a",
            "quarterdeck approvals show apr_1 -o json",
            "quarterdeck approvals approve apr_1 apr_2 --comment fine --request-id r",
            "quarterdeck approvals approve apr_1 -y",
            "quarterdeck approvals deny apr_1 --yes --comment why",
            "quarterdeck approvals edit apr_1 --file action.json",
            "quarterdeck approvals edit apr_1 --reveal why",
            "quarterdeck approvals delegate apr_1 --to ann --lifetime 4h",
            "quarterdeck approvals withdraw apr_1",
            "quarterdeck approvals revoke apr_1 --comment why",
            "quarterdeck approvals reveal apr_1 --reason why",
            "quarterdeck approvals watch --min-level medium --resume-after c",
            "quarterdeck grants list",
            "quarterdeck grants create apr_1 --any-agent --lifetime 7d --comment why",
            "quarterdeck grants revoke grt_1",
            "quarterdeck webhooks create https://hooks.example/q --link https://desk/{approval} --on requested --on incident --min-level high",
            "quarterdeck webhooks list",
            "quarterdeck webhooks delete whk_1 --request-id r",
            "quarterdeck serve --database-url a --bootstrap-secret-file s --webhook-allow hooks.example --webhook-allow *.corp:8443",
            "quarterdeck dev --webhook-allow http://127.0.0.1:8080",
            "quarterdeck policy check - -o json",
            "quarterdeck policy show-default",
            "quarterdeck policy show-schema",
            "quarterdeck health --service ready",
            "quarterdeck doctor --redis-url redis://127.0.0.1 -o json",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "quarterdeck",
            "quarterdeck migrate up",
            "quarterdeck migrate up --data d --database-url postgres://x/y",
            "quarterdeck serve --bootstrap-secret-file s",
            "quarterdeck serve --database-url a --database-url-file b --bootstrap-secret-file s",
            "quarterdeck serve --database-url a --tls-cert c",
            "quarterdeck key create --name n",
            "quarterdeck key create --name n --role king",
            "quarterdeck task create plan.yaml --label novalue",
            "quarterdeck task list --state sleeping",
            "quarterdeck policy check",
            "quarterdeck policy set",
            "quarterdeck policy set --if-revision 3",
            "quarterdeck policy set --file a --shipped",
            "quarterdeck policy explain",
            "quarterdeck policy explain apr_1 --action a",
            "quarterdeck approvals approve",
            "quarterdeck approvals edit apr_1 --file a --reveal why",
            "quarterdeck approvals delegate apr_1",
            "quarterdeck approvals reveal apr_1",
            "quarterdeck grants create",
            "quarterdeck webhooks create",
            "quarterdeck webhooks create https://hooks.example --on lunch",
            "quarterdeck dev --webhook-allow http://hooks.example",
            "quarterdeck demo --agents-only --output x",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
