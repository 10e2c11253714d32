//! Approvals: read, list, decide. Watching is in `watch`.

use quarterdeck_api::approvals::v1 as pb;

use super::page::{Items, Page, required};
use super::tasks::fill;
use crate::client::Client;
use crate::error::Error;
use crate::retry;

impl Client {
    /// Reads an approval with its preview.
    ///
    /// # Errors
    /// APPROVAL_NOT_FOUND.
    pub async fn get_approval(&self, id: impl Into<String>) -> Result<pb::GetApprovalResponse, Error> {
        let request = pb::GetApprovalRequest { approval_id: id.into() };
        retry::call(self.policy(), request, |request| {
            let mut stub = self.approval_stub();
            async move { stub.get_approval(request).await }
        })
        .await
    }

    /// All approvals that match, newest first, from the page of `request.page_token` on.
    #[must_use]
    pub fn list_approvals(&self, request: pb::ListApprovalsRequest) -> Items<pb::Approval> {
        let client = self.clone();
        Items::walk(request.page_token.clone(), move |page_token| {
            let client = client.clone();
            let request = pb::ListApprovalsRequest { page_token, ..request.clone() };
            async move {
                let page = client.list_approvals_page(request).await?;
                Ok(Page { items: page.approvals, next: page.next_page_token })
            }
        })
    }

    /// One page of approvals.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn list_approvals_page(
        &self,
        request: pb::ListApprovalsRequest,
    ) -> Result<pb::ListApprovalsResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.approval_stub();
            async move { stub.list_approvals(request).await }
        })
        .await
    }

    /// Counts what is pending in a project, by level.
    ///
    /// # Errors
    /// PROJECT_NOT_FOUND.
    pub async fn count_approvals(
        &self,
        request: pb::CountApprovalsRequest,
    ) -> Result<pb::CountApprovalsResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.approval_stub();
            async move { stub.count_approvals(request).await }
        })
        .await
    }

    /// Says yes or no to exactly these, all or none; an empty `request_id` is filled.
    ///
    /// # Errors
    /// As the contract says; DIGEST_MISMATCH where another action than the one shown is meant.
    pub async fn decide_approvals(
        &self,
        mut request: pb::DecideApprovalsRequest,
    ) -> Result<Vec<pb::Approval>, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.approval_stub();
            async move { stub.decide_approvals(request).await }
        });
        Ok(response.await?.approvals)
    }

    /// Replaces the action; answers the new approval. An empty `request_id` is filled.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn edit_approval(&self, mut request: pb::EditApprovalRequest) -> Result<pb::Approval, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.approval_stub();
            async move { stub.edit_approval(request).await }
        });
        required(response.await?.approval, "approval")
    }

    /// Lets another person decide; an empty `request_id` is filled.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn delegate_approval(
        &self,
        mut request: pb::DelegateApprovalRequest,
    ) -> Result<pb::Approval, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.approval_stub();
            async move { stub.delegate_approval(request).await }
        });
        required(response.await?.approval, "approval")
    }

    /// Takes a pending request back; an empty `request_id` is filled.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn withdraw_approval(
        &self,
        mut request: pb::WithdrawApprovalRequest,
    ) -> Result<pb::Approval, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.approval_stub();
            async move { stub.withdraw_approval(request).await }
        });
        required(response.await?.approval, "approval")
    }

    /// Takes a grant back; an empty `request_id` is filled.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn revoke_approval(
        &self,
        mut request: pb::RevokeApprovalRequest,
    ) -> Result<pb::Approval, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.approval_stub();
            async move { stub.revoke_approval(request).await }
        });
        required(response.await?.approval, "approval")
    }

    /// The action without masks. Each call is audited, repetitions included.
    ///
    /// # Errors
    /// APPROVAL_NOT_FOUND.
    pub async fn reveal_action(
        &self,
        request: pb::RevealActionRequest,
    ) -> Result<pb::RevealActionResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.approval_stub();
            async move { stub.reveal_action(request).await }
        })
        .await
    }
}
