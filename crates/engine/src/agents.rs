//! Looking at agents, and sending them home.

use std::collections::{BTreeMap, BTreeSet};

use quarterdeck_core::{ProjectId, SessionId, Timestamp};
use quarterdeck_store::rows::SessionRow;

use crate::auth::Principal;
use crate::bus::Hint;
use crate::cursor::{
    Page, filter_digest, name_token, page_size, page_token, read_name_token, read_page_token,
};
use crate::engine::{Engine, Shared};
use crate::error::{Error, Noun, Result};
use crate::session::{Down, GoAwayCause};

/// Sessions that are looked at to list agents.
const SESSIONS_MAX: u32 = 10_000;

/// An agent: a name and the sessions that use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSummary {
    pub name: String,
    pub project: String,
    pub capabilities: BTreeSet<String>,
    pub open_sessions: u32,
    pub slots: u32,
    pub held_steps: u32,
    /// When the lease of its latest session was last renewed.
    pub last_seen: Timestamp,
}

/// A session with what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSummary {
    pub row: SessionRow,
    pub project: String,
    pub held_steps: u32,
}

/// Whom to drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrainTarget {
    Session(String),
    Agent(String),
}

impl Engine {
    pub async fn list_agents(
        &self,
        caller: &Principal,
        project: &str,
        size: u32,
        token: &str,
    ) -> Result<Page<AgentSummary>> {
        let project = caller.project(project)?;
        self.0.project(&project).await?;
        let filter = filter_digest("agents", |c| {
            c.text(&project);
        });
        let after = read_name_token(filter, token)?;
        let sessions = self.0.store.list_sessions(ProjectId::of(&project), None, None, SESSIONS_MAX).await?;
        let mut agents: BTreeMap<String, AgentSummary> = BTreeMap::new();
        for (row, held) in sessions {
            let agent = agents.entry(row.agent.clone()).or_insert_with(|| AgentSummary {
                name: row.agent.clone(),
                project: project.clone(),
                capabilities: BTreeSet::new(),
                open_sessions: 0,
                slots: 0,
                held_steps: 0,
                last_seen: Timestamp::default(),
            });
            let renewed = Timestamp::from_micros(row.expires_at.as_micros() - row.lease.as_micros());
            agent.last_seen = agent.last_seen.max(renewed);
            if row.state.is_live() {
                agent.capabilities.extend(row.capabilities);
                agent.open_sessions += 1;
                agent.slots += row.slots;
                agent.held_steps += held;
            }
        }
        let size = page_size(size, 50) as usize;
        let later =
            agents.into_values().filter(|agent| after.as_ref().is_none_or(|after| agent.name > *after));
        let mut items: Vec<AgentSummary> = later.take(size + 1).collect();
        let more = items.len() > size;
        items.truncate(size);
        let next =
            items.last().filter(|_| more).map(|agent| name_token(filter, &agent.name)).unwrap_or_default();
        Ok(Page { items, next })
    }

    pub async fn list_sessions(
        &self,
        caller: &Principal,
        project: &str,
        agent: &str,
        size: u32,
        token: &str,
    ) -> Result<Page<SessionSummary>> {
        let project = caller.project(project)?;
        self.0.project(&project).await?;
        let size = page_size(size, 50);
        let filter = filter_digest("sessions", |c| {
            c.text(&project).text(agent);
        });
        let before = read_page_token(filter, token)?.map(SessionId::from_uuid);
        let agent = (!agent.is_empty()).then_some(agent);
        let rows = self.0.store.list_sessions(ProjectId::of(&project), agent, before, size).await?;
        let mut page = Page::default();
        if rows.len() == size as usize {
            page.next =
                rows.last().map(|(row, _)| page_token(filter, row.session.as_uuid())).unwrap_or_default();
        }
        page.items = rows
            .into_iter()
            .map(|(row, held_steps)| SessionSummary { row, project: project.clone(), held_steps })
            .collect();
        Ok(page)
    }

    /// Asks sessions to finish what they hold and end; those that are draining.
    pub async fn drain_agent(
        &self,
        caller: &Principal,
        project: &str,
        target: DrainTarget,
    ) -> Result<Vec<SessionSummary>> {
        let project = caller.project(project)?;
        let id = ProjectId::of(&project);
        let rows = match &target {
            DrainTarget::Session(text) => {
                let session = text.parse().map_err(|_| Error::NotFound(Noun::Session))?;
                self.0.store.drain_sessions(id, Some(session), None).await?
            }
            DrainTarget::Agent(name) => self.0.store.drain_sessions(id, None, Some(name)).await?,
        };
        if rows.is_empty() {
            return Err(Error::NotFound(Noun::Session));
        }
        let hints = rows.iter().map(|row| Hint::Draining { session: row.session.as_uuid() });
        self.0.tell(hints.collect());
        for row in &rows {
            self.0.ask_to_finish(row.session);
        }
        Ok(rows
            .into_iter()
            .map(|row| SessionSummary { row, project: project.clone(), held_steps: 0 })
            .collect())
    }
}

impl Shared {
    /// Tells a session here, once, that it is to finish.
    pub(crate) fn ask_to_finish(&self, session: SessionId) {
        if self.dispatcher.set_draining(session) {
            let message = Down::GoAway { cause: GoAwayCause::Drain, deadline: None };
            self.dispatcher.send(session, message);
        }
    }
}
