//! Webhooks of projects.

use quarterdeck_api::approvals::v1 as pb;

use super::tasks::fill;
use crate::client::Client;
use crate::error::Error;
use crate::retry::{self, Repeat};

impl Client {
    /// Tells an address of approvals; an empty `request_id` is filled.
    ///
    /// Repeated only where nothing was done: a second answer would lack the secret.
    ///
    /// # Errors
    /// WEBHOOK_ADDRESS_NOT_ALLOWED, LIMIT_REACHED. After an error of
    /// [`Origin::Transport`](crate::Origin) the webhook may exist without anybody
    /// knowing its secret: delete it.
    pub async fn create_webhook(
        &self,
        mut request: pb::CreateWebhookRequest,
    ) -> Result<pb::CreateWebhookResponse, Error> {
        fill(&mut request.request_id);
        retry::call(self.policy_with(Repeat::IfNotDone), request, |request| {
            let mut stub = self.notification_stub();
            async move { stub.create_webhook(request).await }
        })
        .await
    }

    /// All webhooks of a project.
    ///
    /// # Errors
    /// PROJECT_NOT_FOUND.
    pub async fn list_webhooks(&self, request: pb::ListWebhooksRequest) -> Result<Vec<pb::Webhook>, Error> {
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.notification_stub();
            async move { stub.list_webhooks(request).await }
        });
        Ok(response.await?.webhooks)
    }

    /// Tells an address no more; an empty `request_id` is filled.
    ///
    /// # Errors
    /// WEBHOOK_NOT_FOUND.
    pub async fn delete_webhook(&self, mut request: pb::DeleteWebhookRequest) -> Result<(), Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.notification_stub();
            async move { stub.delete_webhook(request).await }
        });
        response.await.map(drop)
    }
}
