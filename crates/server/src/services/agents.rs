//! `quarterdeck.orchestration.v1.AgentService`.

use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::agent_service_server::AgentService;
use quarterdeck_engine::Engine;
use tonic::{Request, Response, Status};

use super::caller;
use crate::convert::{agents, page_size};
use crate::status::Failure;

pub struct Agents(pub Engine);

#[tonic::async_trait]
impl AgentService for Agents {
    async fn list_agents(
        &self,
        request: Request<pb::ListAgentsRequest>,
    ) -> Result<Response<pb::ListAgentsResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let size = page_size(wire.page_size);
        let listed = self.0.list_agents(&caller, &wire.project, size, &wire.page_token).await;
        let page = listed.map_err(Failure::from)?;
        let agents = page.items.into_iter().map(agents::agent).collect();
        Ok(Response::new(pb::ListAgentsResponse { agents, next_page_token: page.next }))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let size = page_size(wire.page_size);
        let listed = self.0.list_sessions(&caller, &wire.project, &wire.agent, size, &wire.page_token).await;
        let page = listed.map_err(Failure::from)?;
        let sessions = page.items.into_iter().map(agents::session).collect();
        Ok(Response::new(pb::ListSessionsResponse { sessions, next_page_token: page.next }))
    }

    async fn drain_agent(
        &self,
        request: Request<pb::DrainAgentRequest>,
    ) -> Result<Response<pb::DrainAgentResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let target = agents::target(wire.target).map_err(Failure::from)?;
        let drained = self.0.drain_agent(&caller, &wire.project, target).await.map_err(Failure::from)?;
        let sessions = drained.into_iter().map(agents::session).collect();
        Ok(Response::new(pb::DrainAgentResponse { sessions }))
    }
}
