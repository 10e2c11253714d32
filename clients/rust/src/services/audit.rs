//! The audit.

use quarterdeck_api::approvals::v1 as pb;

use crate::client::Client;
use crate::error::Error;
use crate::retry;

impl Client {
    /// The newest signed head, and how much is not sealed yet.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn audit_head(
        &self,
        request: pb::GetAuditHeadRequest,
    ) -> Result<pb::GetAuditHeadResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.audit_stub();
            async move { stub.get_audit_head(request).await }
        })
        .await
    }

    /// A range of sealed entries.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn audit_entries(
        &self,
        request: pb::ListAuditEntriesRequest,
    ) -> Result<pb::ListAuditEntriesResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.audit_stub();
            async move { stub.list_audit_entries(request).await }
        })
        .await
    }
}
