//! Webhooks of a project: created, listed, deleted; the secret is shown once.

use std::collections::BTreeSet;

use quarterdeck_core::approval::Level;
use quarterdeck_core::digest::Canonical;
use quarterdeck_core::policy::{self as rules, Standing};
use quarterdeck_core::webhook::{Notice, WEBHOOKS_MAX, Webhook};
use quarterdeck_core::{ProjectId, Refusal, WebhookId};
use quarterdeck_store::rows::WebhookRow;

use super::address::Address;
use crate::auth::Principal;
use crate::engine::Engine;
use crate::error::{Error, Noun, Result};

/// A webhook to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWebhook {
    pub address: Address,
    pub link_template: String,
    /// Empty: all.
    pub kinds: BTreeSet<Notice>,
    pub min_level: Option<Level>,
}

/// A webhook as it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookView {
    pub project: String,
    pub webhook: Webhook,
    /// `None` where it has just come or gone.
    pub progress: Option<WebhookRow>,
}

impl Engine {
    /// Creates a webhook; its secret is answered only the first time.
    pub async fn create_webhook(
        &self,
        caller: &Principal,
        project: &str,
        new: NewWebhook,
        request_id: &str,
    ) -> Result<(WebhookView, Option<String>)> {
        let shared = &self.0;
        let project = self.own_project(caller, project).await?;
        if !shared.options.webhook_allow.permits(&new.address) {
            return Err(Error::WebhookAddressNotAllowed { address: new.address.origin() });
        }
        let ctx = shared.time.ctx();
        let digest = Canonical::new("quarterdeck.request.create-webhook.v1")
            .text(&project)
            .text(&format!("{new:?}"))
            .finish();
        let webhook = Webhook {
            id: WebhookId::new(&ctx, 0),
            url: new.address.as_str().to_owned(),
            link_template: new.link_template,
            kinds: new.kinds,
            min_level: new.min_level,
            created_by: caller.subject.clone(),
            created_at: ctx.now,
        };
        let decide = |standing: &Standing| Ok(rules::put_webhook(standing, webhook.clone())?);
        let standing = self.change_policy(&project, "CreateWebhook", request_id, digest, decide).await?;
        let (webhook, secret) = match standing.webhooks.get(&webhook.id) {
            Some(created) => (created, Some(shared.secrets.webhook_secret(webhook.id)?)),
            // A repetition: the one that the first made.
            None => {
                let same = |known: &&Webhook| {
                    let (id, created_at) = (known.id, known.created_at);
                    **known == Webhook { id, created_at, ..webhook.clone() }
                };
                let known = standing.webhooks.values().rev().find(same);
                (known.ok_or(Error::NotFound(Noun::Webhook))?, None)
            }
        };
        Ok((self.webhook_view(project, webhook.clone()).await?, secret))
    }

    /// All webhooks of a project, oldest first.
    pub async fn list_webhooks(&self, caller: &Principal, project: &str) -> Result<Vec<WebhookView>> {
        let project = self.own_project(caller, project).await?;
        let standing = self.0.standing(&project).await?;
        let rows = self.0.store.webhooks_of(ProjectId::of(&project), WEBHOOKS_MAX as u32).await?;
        let view = |webhook: &Webhook| WebhookView {
            project: project.clone(),
            webhook: webhook.clone(),
            progress: rows.iter().find(|row| row.webhook == webhook.id).cloned(),
        };
        Ok(standing.webhooks.values().map(view).collect())
    }

    /// Deletes a webhook: what it was not told yet, it is not told.
    pub async fn delete_webhook(
        &self,
        caller: &Principal,
        project: &str,
        webhook: &str,
        request_id: &str,
    ) -> Result<()> {
        let project = self.own_project(caller, project).await?;
        let id: WebhookId = webhook.parse().map_err(|_| Refusal::WebhookNotFound)?;
        let digest = Canonical::new("quarterdeck.request.delete-webhook.v1").text(webhook).finish();
        let decide = |standing: &Standing| Ok(rules::remove_webhook(standing, id, &caller.subject)?);
        self.change_policy(&project, "DeleteWebhook", request_id, digest, decide).await?;
        Ok(())
    }

    async fn webhook_view(&self, project: String, webhook: Webhook) -> Result<WebhookView> {
        let rows = self.0.store.webhooks_of(ProjectId::of(&project), WEBHOOKS_MAX as u32).await?;
        let progress = rows.into_iter().find(|row| row.webhook == webhook.id);
        Ok(WebhookView { project, webhook, progress })
    }
}
