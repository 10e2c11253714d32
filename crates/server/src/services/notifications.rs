//! `quarterdeck.approvals.v1.NotificationService`.

use quarterdeck_api::approvals::v1 as pb;
use quarterdeck_api::approvals::v1::notification_service_server::NotificationService;
use quarterdeck_engine::Engine;
use tonic::{Request, Response, Status};

use super::caller;
use crate::convert::notifications;
use crate::status::Failure;

pub struct Notifications(pub Engine);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl NotificationService for Notifications {
    async fn create_webhook(
        &self,
        request: Request<pb::CreateWebhookRequest>,
    ) -> Answer<pb::CreateWebhookResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let new = notifications::new_webhook(&wire).map_err(Failure::from)?;
        let created = self.0.create_webhook(&caller, &wire.project, new, &wire.request_id).await;
        let (view, secret) = created.map_err(Failure::from)?;
        let webhook = Some(notifications::webhook(&view));
        Ok(Response::new(pb::CreateWebhookResponse { webhook, secret: secret.unwrap_or_default() }))
    }

    async fn list_webhooks(
        &self,
        request: Request<pb::ListWebhooksRequest>,
    ) -> Answer<pb::ListWebhooksResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let views = self.0.list_webhooks(&caller, &wire.project).await.map_err(Failure::from)?;
        let webhooks = views.iter().map(notifications::webhook).collect();
        Ok(Response::new(pb::ListWebhooksResponse { webhooks }))
    }

    async fn delete_webhook(
        &self,
        request: Request<pb::DeleteWebhookRequest>,
    ) -> Answer<pb::DeleteWebhookResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let deleted = self.0.delete_webhook(&caller, &wire.project, &wire.webhook_id, &wire.request_id).await;
        deleted.map_err(Failure::from)?;
        Ok(Response::new(pb::DeleteWebhookResponse {}))
    }
}
