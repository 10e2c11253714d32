//! Agents and their sessions.

use quarterdeck_api::orchestration::v1 as pb;

use super::page::{Items, Page};
use super::tasks::fill;
use crate::client::Client;
use crate::error::Error;
use crate::retry;

impl Client {
    /// All agents of a project, by name.
    #[must_use]
    pub fn list_agents(&self, request: pb::ListAgentsRequest) -> Items<pb::Agent> {
        let client = self.clone();
        Items::walk(request.page_token.clone(), move |page_token| {
            let client = client.clone();
            let request = pb::ListAgentsRequest { page_token, ..request.clone() };
            async move {
                let page = client.list_agents_page(request).await?;
                Ok(Page { items: page.agents, next: page.next_page_token })
            }
        })
    }

    /// One page of agents.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn list_agents_page(
        &self,
        request: pb::ListAgentsRequest,
    ) -> Result<pb::ListAgentsResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.agent_stub();
            async move { stub.list_agents(request).await }
        })
        .await
    }

    /// All sessions of a project, newest first.
    #[must_use]
    pub fn list_sessions(&self, request: pb::ListSessionsRequest) -> Items<pb::Session> {
        let client = self.clone();
        Items::walk(request.page_token.clone(), move |page_token| {
            let client = client.clone();
            let request = pb::ListSessionsRequest { page_token, ..request.clone() };
            async move {
                let page = client.list_sessions_page(request).await?;
                Ok(Page { items: page.sessions, next: page.next_page_token })
            }
        })
    }

    /// One page of sessions.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn list_sessions_page(
        &self,
        request: pb::ListSessionsRequest,
    ) -> Result<pb::ListSessionsResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.agent_stub();
            async move { stub.list_sessions(request).await }
        })
        .await
    }

    /// Asks a session, or all of an agent, to finish and end. Answers those it reached.
    ///
    /// # Errors
    /// SESSION_NOT_FOUND.
    pub async fn drain_agent(&self, mut request: pb::DrainAgentRequest) -> Result<Vec<pb::Session>, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.agent_stub();
            async move { stub.drain_agent(request).await }
        });
        Ok(response.await?.sessions)
    }
}
