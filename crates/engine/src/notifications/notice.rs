//! What is sent: ids and a link, signed as the Standard Webhooks say
//! (<https://www.standardwebhooks.com>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use quarterdeck_core::approval::{Approval, Grantor, Level, Verdict};
use quarterdeck_core::id::encode_base32;
use quarterdeck_core::webhook::{Notice, Webhook};
use quarterdeck_core::{ApprovalId, Timestamp, WebhookId};
use quarterdeck_store::rows::{AuditEntry, AuditPlace};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::address::Address;
use super::courier::Parcel;
use crate::auth::Secrets;
use crate::error::{Error, Result};

/// What a notice takes from an entry of the audit.
#[derive(Deserialize)]
pub(super) struct Line {
    kind: String,
    approval: Option<ApprovalId>,
    /// Of a denial.
    #[serde(default)]
    by: serde_json::Value,
    /// Of a report.
    #[serde(default)]
    surplus: Vec<serde_json::Value>,
}

impl Line {
    /// `None` where the entry is nothing that notices are about.
    pub fn of(entry: &AuditEntry) -> Option<(Notice, ApprovalId)> {
        let line: Self = serde_json::from_str(&entry.body).ok()?;
        let notice = match line.kind.as_str() {
            "approval.requested" => Notice::Requested,
            "approval.escalated" => Notice::Escalated,
            "approval.granted" => Notice::Granted,
            "approval.denied" if line.by == "people" => Notice::Denied,
            "approval.expired" => Notice::Expired,
            "approval.reported" if !line.surplus.is_empty() => Notice::Incident,
            _ => return None,
        };
        Some((notice, line.approval?))
    }
}

/// Whether anybody was asked: what policy or a standing grant settles by itself is no
/// news, unless the agent did more.
pub(super) fn is_news(notice: Notice, approval: &Approval) -> bool {
    let asked = approval.asked.assessment.verdict == Verdict::Ask
        && !matches!(approval.granted_by, Some(Grantor::Policy | Grantor::Standing { .. }));
    asked || notice == Notice::Incident
}

/// The same at every try, so that receivers tell repetitions.
pub(super) fn notice_id(webhook: WebhookId, place: AuditPlace) -> String {
    let mut hash = Sha256::new();
    hash.update(b"quarterdeck.notice.v1\0");
    hash.update(webhook.as_uuid().as_bytes());
    hash.update(place.position.to_be_bytes());
    hash.update(place.n.to_be_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    format!("ntc_{}", encode_base32(u128::from_be_bytes(id)))
}

/// The notice of an entry, to be sent at `now`.
pub(super) fn parcel(
    secrets: &Secrets,
    webhook: &Webhook,
    address: Address,
    entry: &AuditEntry,
    (notice, approval): (Notice, &Approval),
    now: Timestamp,
) -> Result<Parcel> {
    let (asked, id) = (&approval.asked, notice_id(webhook.id, entry.place));
    let mut body = json!({
        "id": id,
        "kind": notice.word(),
        "project": asked.project,
        "approval": asked.id,
        "task": asked.origin.task,
        "level": level_word(asked.assessment.level),
        "at": rfc3339(entry.at),
    });
    let link = webhook.link(&asked.project, asked.id, asked.origin.task);
    if let (false, Some(body)) = (link.is_empty(), body.as_object_mut()) {
        body.insert("url".to_owned(), link.into());
    }
    let (body, seconds) = (body.to_string(), now.as_micros() / 1_000_000);
    let signature = sign(&secrets.webhook_key(webhook.id)?, &format!("{id}.{seconds}.{body}"))?;
    let headers = [
        ("webhook-id", id),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", format!("v1,{signature}")),
    ];
    Ok(Parcel { address, headers, body })
}

const fn level_word(level: Level) -> &'static str {
    match level {
        Level::Low => "low",
        Level::Medium => "medium",
        Level::High => "high",
    }
}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.as_micros()).map_or_else(|_| String::new(), |at| at.to_string())
}

fn sign(key: &[u8], text: &str) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .map_err(|_| Error::Internal("the key of a webhook cannot be used".to_owned()))?;
    mac.update(text.as_bytes());
    Ok(STANDARD.encode(mac.finalize().into_bytes()))
}

impl Secrets {
    /// The key that notices to a webhook are signed with: the same on every replica.
    fn webhook_key(&self, webhook: WebhookId) -> Result<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.pepper)
            .map_err(|_| Error::Internal("the key pepper cannot be used".to_owned()))?;
        mac.update(b"quarterdeck.webhook.v1\0");
        mac.update(webhook.to_string().as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }

    /// The same as receivers are given it.
    pub(super) fn webhook_secret(&self, webhook: WebhookId) -> Result<String> {
        Ok(format!("whsec_{}", STANDARD.encode(self.webhook_key(webhook)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference implementation.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let text = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        assert_eq!(sign(&key, text).unwrap(), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_webhook_has_a_secret_of_its_own() {
        let secrets = |pepper: u8| Secrets { bootstrap: None, pepper: vec![pepper; 32] };
        let webhook = |number: u128| WebhookId::from_uuid(uuid::Uuid::from_u128(number));
        let secret = secrets(7).webhook_secret(webhook(1)).unwrap();
        assert_eq!(secret.len(), "whsec_".len() + 44);
        assert_eq!(secret, secrets(7).webhook_secret(webhook(1)).unwrap());
        assert_ne!(secret, secrets(7).webhook_secret(webhook(2)).unwrap());
        assert_ne!(secret, secrets(8).webhook_secret(webhook(1)).unwrap());
    }

    #[test]
    fn what_people_have_no_part_in_is_no_notice() {
        let entry = |body: &str| AuditEntry {
            place: AuditPlace::default(),
            at: Timestamp::default(),
            body: body.to_owned(),
        };
        let id = "apr_00000000000000000000000001";
        let notice =
            |rest: &str| Line::of(&entry(&format!("{{\"approval\":\"{id}\",{rest}}}"))).map(|found| found.0);
        for (rest, expected) in [
            ("\"kind\":\"approval.requested\"", Some(Notice::Requested)),
            ("\"kind\":\"approval.granted\",\"by\":{\"grant\":\"x\"}", Some(Notice::Granted)),
            ("\"kind\":\"approval.denied\",\"by\":\"people\"", Some(Notice::Denied)),
            ("\"kind\":\"approval.denied\",\"by\":\"policy\"", None),
            ("\"kind\":\"approval.reported\",\"surplus\":[]", None),
            ("\"kind\":\"approval.reported\",\"surplus\":[{\"kind\":\"write\"}]", Some(Notice::Incident)),
            ("\"kind\":\"approval.voted\"", None),
            ("\"kind\":\"approval.something_new\"", None),
        ] {
            assert_eq!(notice(rest), expected, "{rest}");
        }
        assert_eq!(Line::of(&entry("{\"kind\":\"policy.changed\"}")), None);
        assert_eq!(Line::of(&entry("not json")), None);
    }

    #[test]
    fn times_are_written_as_the_internet_does() {
        assert_eq!(rfc3339(Timestamp::from_micros(1_614_265_330_000_000)), "2021-02-25T15:02:10Z");
    }
}
