//! Agents and their sessions.

use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_engine::agents::{AgentSummary, DrainTarget, SessionSummary};
use quarterdeck_store::rows::SessionState;

use super::{int32, time, violation};
use crate::status::Violation;

pub fn agent(summary: AgentSummary) -> pb::Agent {
    pb::Agent {
        name: summary.name,
        project: summary.project,
        capabilities: summary.capabilities.into_iter().collect(),
        open_sessions: int32(summary.open_sessions),
        slots: int32(summary.slots),
        held_steps: int32(summary.held_steps),
        last_seen_time: Some(time::timestamp(summary.last_seen)),
    }
}

pub fn session(summary: SessionSummary) -> pb::Session {
    let row = summary.row;
    let state = match row.state {
        SessionState::Open => pb::SessionState::Open,
        SessionState::Draining => pb::SessionState::Draining,
        SessionState::Closed => pb::SessionState::Closed,
        SessionState::Expired => pb::SessionState::Expired,
    };
    pb::Session {
        id: row.session.to_string(),
        agent: row.agent,
        project: summary.project,
        build: row.build,
        state: state.into(),
        capabilities: row.capabilities,
        slots: int32(row.slots),
        held_steps: int32(summary.held_steps),
        principal: row.principal,
        replica: row.replica.to_string(),
        create_time: Some(time::timestamp(row.created_at)),
        expire_time: Some(time::timestamp(row.expires_at)),
    }
}

/// Whom to drain. The codec has refused a request without a target.
pub fn target(wire: Option<pb::drain_agent_request::Target>) -> Result<DrainTarget, Violation> {
    match wire {
        Some(pb::drain_agent_request::Target::SessionId(id)) => Ok(DrainTarget::Session(id)),
        Some(pb::drain_agent_request::Target::Agent(name)) => Ok(DrainTarget::Agent(name)),
        None => Err(violation("target", "name a session or an agent")),
    }
}
