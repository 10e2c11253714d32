//! `quarterdeck.approvals.v1.PolicyService`.

use quarterdeck_api::approvals::v1 as pb;
use quarterdeck_api::approvals::v1::policy_service_server::PolicyService;
use quarterdeck_engine::Engine;
use tonic::{Request, Response, Status};

use super::caller;
use crate::convert::{action, approvals, page_size, policies, time};
use crate::status::{Failure, Violation};

pub struct Policies(pub Engine);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn get_policy(&self, request: Request<pb::GetPolicyRequest>) -> Answer<pb::GetPolicyResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let view = self.0.get_policy(&caller, &wire.project).await.map_err(Failure::from)?;
        Ok(Response::new(pb::GetPolicyResponse { policy: Some(policies::to_wire(view)) }))
    }

    async fn update_policy(
        &self,
        request: Request<pb::UpdatePolicyRequest>,
    ) -> Answer<pb::UpdatePolicyResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let (project, request_id) = (wire.project.clone(), wire.request_id.clone());
        let changed = policies::changed(wire).map_err(Failure::from)?;
        let updated = self.0.update_policy(&caller, &project, changed, &request_id).await;
        let policy = policies::to_wire(updated.map_err(Failure::from)?);
        Ok(Response::new(pb::UpdatePolicyResponse { policy: Some(policy) }))
    }

    async fn explain_policy(
        &self,
        request: Request<pb::ExplainPolicyRequest>,
    ) -> Answer<pb::ExplainPolicyResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        if wire.action.is_some() != wire.approval_id.is_empty() {
            let description = "give either `action` or `approval_id`".to_owned();
            return Err(Failure::from(Violation { field: "action".to_owned(), description }).into());
        }
        let action = match wire.action {
            Some(wire) => Some(action::from_wire("action", Some(wire)).map_err(Failure::from)?),
            None => None,
        };
        let explained = self
            .0
            .explain_policy(&caller, &wire.project, action.as_ref(), &wire.approval_id, &wire.source)
            .await;
        let (judged, explanation) = explained.map_err(Failure::from)?;
        Ok(Response::new(pb::ExplainPolicyResponse {
            assessment: Some(approvals::assessment(&judged.assessment)),
            terms: Some(approvals::terms(&judged.terms)),
            rules: policies::rules(&explanation),
            facts_json: judged.assessment.facts,
        }))
    }

    async fn simulate_policy(
        &self,
        request: Request<pb::SimulatePolicyRequest>,
    ) -> Answer<pb::SimulatePolicyResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let limit = page_size(wire.limit);
        let simulated = self.0.simulate_policy(&caller, &wire.project, &wire.source, limit).await;
        let (found, denied) = simulated.map_err(Failure::from)?;
        Ok(Response::new(policies::simulation(found, denied)))
    }

    async fn create_standing_grant(
        &self,
        request: Request<pb::CreateStandingGrantRequest>,
    ) -> Answer<pb::CreateStandingGrantResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let lifetime = wire.lifetime.map(time::span);
        let created = self
            .0
            .create_grant(
                &caller,
                &wire.approval_id,
                wire.any_agent,
                lifetime,
                &wire.comment,
                &wire.request_id,
            )
            .await;
        let (project, grant) = created.map_err(Failure::from)?;
        let grant = Some(policies::grant(&grant, &project));
        Ok(Response::new(pb::CreateStandingGrantResponse { grant }))
    }

    async fn list_standing_grants(
        &self,
        request: Request<pb::ListStandingGrantsRequest>,
    ) -> Answer<pb::ListStandingGrantsResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let (project, grants) = self.0.list_grants(&caller, &wire.project).await.map_err(Failure::from)?;
        let grants = grants.iter().map(|grant| policies::grant(grant, &project)).collect();
        Ok(Response::new(pb::ListStandingGrantsResponse { grants }))
    }

    async fn revoke_standing_grant(
        &self,
        request: Request<pb::RevokeStandingGrantRequest>,
    ) -> Answer<pb::RevokeStandingGrantResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let revoked = self.0.revoke_grant(&caller, &wire.project, &wire.grant_id, &wire.request_id).await;
        let (project, grant) = revoked.map_err(Failure::from)?;
        let grant = Some(policies::grant(&grant, &project));
        Ok(Response::new(pb::RevokeStandingGrantResponse { grant }))
    }

    async fn reinstate_agent(
        &self,
        request: Request<pb::ReinstateAgentRequest>,
    ) -> Answer<pb::ReinstateAgentResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let reinstated = self
            .0
            .reinstate_agent(&caller, &wire.project, &wire.agent, &wire.comment, &wire.request_id)
            .await;
        let policy = policies::to_wire(reinstated.map_err(Failure::from)?);
        Ok(Response::new(pb::ReinstateAgentResponse { policy: Some(policy) }))
    }
}
