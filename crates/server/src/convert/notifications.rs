//! Webhooks.

use quarterdeck_api::approvals::v1 as pb;
use quarterdeck_core::webhook::{Notice, check_template};
use quarterdeck_engine::notifications::{Address, NewWebhook, WebhookView};

use super::approvals::{level, min_level};
use super::{time, violation};
use crate::status::Violation;

/// A webhook to create. Whether its address is allowed is the engine's to say.
pub fn new_webhook(wire: &pb::CreateWebhookRequest) -> Result<NewWebhook, Violation> {
    let address = Address::parse(&wire.url).map_err(|why| violation("url", &why))?;
    check_template(&wire.link_template).map_err(|why| violation("link_template", why))?;
    Ok(NewWebhook {
        address,
        link_template: wire.link_template.clone(),
        kinds: wire.kinds().filter_map(notice).collect(),
        min_level: min_level(wire.min_level),
    })
}

pub fn webhook(view: &WebhookView) -> pb::Webhook {
    let webhook = &view.webhook;
    pb::Webhook {
        id: webhook.id.to_string(),
        project: view.project.clone(),
        url: webhook.url.clone(),
        link_template: webhook.link_template.clone(),
        kinds: webhook.kinds.iter().map(|&notice| kind(notice).into()).collect(),
        min_level: webhook.min_level.map_or(pb::RiskLevel::Unspecified, level).into(),
        created_by: webhook.created_by.clone(),
        create_time: Some(time::timestamp(webhook.created_at)),
        delivery: view.progress.as_ref().map(|row| pb::WebhookDelivery {
            told_until: Some(time::timestamp(row.passed_at)),
            last_delivery_time: row.delivered_at.map(time::timestamp),
            failures: i32::try_from(row.failures).unwrap_or(i32::MAX),
            last_error: row.last_error.clone(),
            next_attempt_time: (row.failures > 0).then(|| time::timestamp(row.due)),
        }),
    }
}

const fn notice(kind: pb::NotificationKind) -> Option<Notice> {
    match kind {
        pb::NotificationKind::Unspecified => None,
        pb::NotificationKind::Requested => Some(Notice::Requested),
        pb::NotificationKind::Escalated => Some(Notice::Escalated),
        pb::NotificationKind::Granted => Some(Notice::Granted),
        pb::NotificationKind::Denied => Some(Notice::Denied),
        pb::NotificationKind::Expired => Some(Notice::Expired),
        pb::NotificationKind::Incident => Some(Notice::Incident),
    }
}

const fn kind(notice: Notice) -> pb::NotificationKind {
    match notice {
        Notice::Requested => pb::NotificationKind::Requested,
        Notice::Escalated => pb::NotificationKind::Escalated,
        Notice::Granted => pb::NotificationKind::Granted,
        Notice::Denied => pb::NotificationKind::Denied,
        Notice::Expired => pb::NotificationKind::Expired,
        Notice::Incident => pb::NotificationKind::Incident,
    }
}
