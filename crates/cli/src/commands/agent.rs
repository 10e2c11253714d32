//! `quarterdeck agent ..`.

use std::process::ExitCode;
use std::time::SystemTime;

use quarterdeck_client::api::orchestration::v1::{
    Agent, DrainAgentRequest, ListAgentsRequest, ListSessionsRequest, Session, drain_agent_request::Target,
};
use quarterdeck_client::{Error, to_json};
use serde_json::Value;

use crate::clock;
use crate::connect::Globals;
use crate::failure::Failure;
use crate::output::{self, Row, lower};

/// The commands of this group.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List agents with a session now or within the last hour.
    List {
        /// List sessions instead, one line a connection.
        #[arg(long)]
        sessions: bool,
    },
    /// Ask an agent, or one session of it, to finish what it holds and end.
    Drain {
        /// Name of an agent, or id of a session (`ses_..`).
        #[arg(value_name = "NAME|SESSION")]
        target: String,
    },
}

/// Runs a command of this group.
pub async fn run(command: &Command, globals: &Globals) -> Result<ExitCode, Failure> {
    let client = globals.client().await?;
    let project = globals.project();
    match command {
        Command::List { sessions: false } => {
            let request = ListAgentsRequest { project, ..ListAgentsRequest::default() };
            let agents = client.list_agents(request).collect_all().await?;
            output::list(globals.format, &agents, "no agent has had a session within the last hour")?;
        }
        Command::List { sessions: true } => {
            let request = ListSessionsRequest { project, ..ListSessionsRequest::default() };
            let sessions = client.list_sessions(request).collect_all().await?;
            output::list(globals.format, &sessions, "no agent has had a session within the last hour")?;
        }
        Command::Drain { target } => {
            let request = DrainAgentRequest {
                project,
                target: Some(self::target(target)),
                ..DrainAgentRequest::default()
            };
            let sessions = client.drain_agent(request).await?;
            output::list(globals.format, &sessions, "it has no open session")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Ids of sessions have a form of their own: `ses_` and 26 characters.
fn target(text: &str) -> Target {
    match text.strip_prefix("ses_") {
        Some(rest) if rest.len() == 26 => Target::SessionId(text.to_owned()),
        _ => Target::Agent(text.to_owned()),
    }
}

impl Row for Agent {
    const HEAD: &'static [&'static str] = &["NAME", "SESSIONS", "HOLDS", "SLOTS", "CAPABILITIES", "SEEN"];

    fn cells(&self, now: SystemTime) -> Vec<String> {
        let seen = self.last_seen_time.and_then(|time| SystemTime::try_from(time).ok());
        vec![
            self.name.clone(),
            self.open_sessions.to_string(),
            self.held_steps.to_string(),
            self.slots.to_string(),
            self.capabilities.join(","),
            seen.map_or_else(String::new, |time| format!("{} ago", clock::age(time, now))),
        ]
    }

    fn json(&self) -> Result<Value, Error> {
        to_json(self)
    }
}

impl Row for Session {
    const HEAD: &'static [&'static str] =
        &["ID", "AGENT", "STATE", "HOLDS", "SLOTS", "BUILD", "AGE", "PRINCIPAL"];

    fn cells(&self, now: SystemTime) -> Vec<String> {
        let created = self.create_time.and_then(|time| SystemTime::try_from(time).ok());
        vec![
            self.id.clone(),
            self.agent.clone(),
            lower(self.state().as_str_name(), "SESSION_STATE_"),
            self.held_steps.to_string(),
            self.slots.to_string(),
            self.build.clone(),
            created.map_or_else(String::new, |time| clock::age(time, now)),
            self.principal.clone(),
        ]
    }

    fn json(&self) -> Result<Value, Error> {
        to_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_and_agents_are_told_apart() {
        let session = "ses_01hzy3k5m7p9q1r3s5t7v9w1x3";
        assert!(matches!(target(session), Target::SessionId(_)));
        assert!(matches!(target("reader"), Target::Agent(_)));
        assert!(matches!(target("ses_reader"), Target::Agent(_)));
    }
}
