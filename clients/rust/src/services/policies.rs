//! Policies of projects, and standing grants.

use quarterdeck_api::approvals::v1 as pb;

use super::page::required;
use super::tasks::fill;
use crate::client::Client;
use crate::error::Error;
use crate::retry;

impl Client {
    /// The policy of a project.
    ///
    /// # Errors
    /// PROJECT_NOT_FOUND.
    pub async fn get_policy(&self, request: pb::GetPolicyRequest) -> Result<pb::Policy, Error> {
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.policy_stub();
            async move { stub.get_policy(request).await }
        });
        required(response.await?.policy, "policy")
    }

    /// Changes what holds in a project; an empty `request_id` is filled.
    ///
    /// # Errors
    /// POLICY_INVALID, REVISION_MISMATCH.
    pub async fn update_policy(&self, mut request: pb::UpdatePolicyRequest) -> Result<pb::Policy, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.policy_stub();
            async move { stub.update_policy(request).await }
        });
        required(response.await?.policy, "policy")
    }

    /// What a policy makes of an action.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn explain_policy(
        &self,
        request: pb::ExplainPolicyRequest,
    ) -> Result<pb::ExplainPolicyResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.policy_stub();
            async move { stub.explain_policy(request).await }
        })
        .await
    }

    /// What another policy would have made of past actions.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn simulate_policy(
        &self,
        request: pb::SimulatePolicyRequest,
    ) -> Result<pb::SimulatePolicyResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.policy_stub();
            async move { stub.simulate_policy(request).await }
        })
        .await
    }

    /// Remembers a yes; an empty `request_id` is filled.
    ///
    /// # Errors
    /// GRANT_NOT_POSSIBLE and what the contract says besides.
    pub async fn create_standing_grant(
        &self,
        mut request: pb::CreateStandingGrantRequest,
    ) -> Result<pb::StandingGrant, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.policy_stub();
            async move { stub.create_standing_grant(request).await }
        });
        required(response.await?.grant, "grant")
    }

    /// All standing grants of a project.
    ///
    /// # Errors
    /// PROJECT_NOT_FOUND.
    pub async fn list_standing_grants(
        &self,
        request: pb::ListStandingGrantsRequest,
    ) -> Result<Vec<pb::StandingGrant>, Error> {
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.policy_stub();
            async move { stub.list_standing_grants(request).await }
        });
        Ok(response.await?.grants)
    }

    /// Ends a standing grant; an empty `request_id` is filled.
    ///
    /// # Errors
    /// GRANT_NOT_FOUND.
    pub async fn revoke_standing_grant(
        &self,
        mut request: pb::RevokeStandingGrantRequest,
    ) -> Result<pb::StandingGrant, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.policy_stub();
            async move { stub.revoke_standing_grant(request).await }
        });
        required(response.await?.grant, "grant")
    }

    /// Lets an agent's standing grants count again; an empty `request_id` is filled.
    ///
    /// # Errors
    /// PROJECT_NOT_FOUND.
    pub async fn reinstate_agent(&self, mut request: pb::ReinstateAgentRequest) -> Result<pb::Policy, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.policy_stub();
            async move { stub.reinstate_agent(request).await }
        });
        required(response.await?.policy, "policy")
    }
}
