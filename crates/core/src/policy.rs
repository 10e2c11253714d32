//! What holds in a project: its policy, its environment, its standing grants,
//! agents whose standing grants do not count, and who is told of approvals.
//!
//! One stream a project, so that whoever redeems a grant can name the one head that
//! must not have moved. What the policy's text means is not known here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::context::Ctx;
use crate::digest::Digest;
use crate::id::{ApprovalId, GrantId, WebhookId};
use crate::refusal::Refusal;
use crate::stream::{Kind, Recorded, StreamEvent};
use crate::time::{Span, Timestamp};
use crate::webhook::{WEBHOOKS_MAX, Webhook};

/// Standing grants that a project remembers, ended ones included.
pub const GRANTS_MAX: usize = 500;
/// How long an ended grant is remembered.
pub const ENDED_KEPT: Span = Span::from_secs(30 * 24 * 60 * 60);

/// A project's policy after some of its events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    pub settings: Settings,
    /// Sequence of the last event that changed what grants are given under.
    pub version: u64,
    pub grants: BTreeMap<GrantId, Grant>,
    pub suspended: BTreeSet<String>,
    pub webhooks: BTreeMap<WebhookId, Webhook>,
    pub updated_by: String,
    pub updated_at: Timestamp,
    /// Sequence of the last event.
    pub revision: u64,
}

/// What administrators set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// `development`, `staging`, `production`; empty: not declared.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub environment: String,
    /// Text of the policy; empty: the shipped one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The project's directory where actions name none; empty: `/workspace`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub directory: String,
}

/// A yes that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub id: GrantId,
    /// Empty: every agent of the project.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// What it covers, as JSON of the pattern that the analysers compare with.
    pub pattern: String,
    pub approval: ApprovalId,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Opens the stream, with the shipped policy.
    Opened,
    Changed {
        settings: Settings,
        /// Digest of the policy in force from now on.
        digest: Digest,
        by: String,
    },
    Remembered {
        grant: Grant,
    },
    Forgotten {
        grant: GrantId,
        by: String,
    },
    Suspended {
        agent: String,
        approval: ApprovalId,
    },
    Reinstated {
        agent: String,
        by: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        comment: String,
    },
    WebhookPut {
        webhook: Webhook,
    },
    WebhookRemoved {
        webhook: WebhookId,
        by: String,
    },
}

impl StreamEvent for Event {
    const KIND: Kind = Kind::Policy;
}

impl Grant {
    pub fn live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

impl Standing {
    /// Grants that count for an agent's actions now.
    pub fn grants_for<'a>(&'a self, agent: &'a str, now: Timestamp) -> impl Iterator<Item = &'a Grant> {
        let counts = !self.suspended.contains(agent);
        self.grants.values().filter(move |grant| {
            counts && grant.live(now) && (grant.agent.is_empty() || grant.agent == agent)
        })
    }
}

/// Changes settings; the same ones again are no event.
pub fn change(
    standing: &Standing,
    settings: Settings,
    digest: Digest,
    by: &str,
    if_version: Option<u64>,
) -> Result<Vec<Event>, Refusal> {
    if let Some(required) = if_version.filter(|&required| required != standing.version) {
        return Err(Refusal::RevisionMismatch { required, actual: standing.version });
    }
    match settings == standing.settings {
        true => Ok(Vec::new()),
        false => Ok(vec![Event::Changed { settings, digest, by: by.to_owned() }]),
    }
}

/// Remembers a grant.
pub fn remember(standing: &Standing, grant: Grant, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    let live = standing.grants.values().filter(|grant| grant.live(ctx.now)).count();
    match live < GRANTS_MAX {
        true => Ok(vec![Event::Remembered { grant }]),
        false => Err(Refusal::TooManyGrants { most: GRANTS_MAX }),
    }
}

/// Ends a grant; ending an ended one is no event.
pub fn forget(standing: &Standing, grant: GrantId, by: &str) -> Result<Vec<Event>, Refusal> {
    match standing.grants.get(&grant) {
        None => Err(Refusal::GrantNotFound),
        Some(known) if known.revoked_at.is_some() => Ok(Vec::new()),
        Some(_) => Ok(vec![Event::Forgotten { grant, by: by.to_owned() }]),
    }
}

/// Suspends an agent's standing grants.
pub fn suspend(standing: &Standing, agent: &str, approval: ApprovalId) -> Vec<Event> {
    match standing.suspended.contains(agent) {
        true => Vec::new(),
        false => vec![Event::Suspended { agent: agent.to_owned(), approval }],
    }
}

/// Lets them count again.
pub fn reinstate(standing: &Standing, agent: &str, by: &str, comment: &str) -> Vec<Event> {
    match standing.suspended.contains(agent) {
        false => Vec::new(),
        true => {
            let (agent, by, comment) = (agent.to_owned(), by.to_owned(), comment.to_owned());
            vec![Event::Reinstated { agent, by, comment }]
        }
    }
}

/// Tells one more address of approvals.
pub fn put_webhook(standing: &Standing, webhook: Webhook) -> Result<Vec<Event>, Refusal> {
    match standing.webhooks.len() < WEBHOOKS_MAX {
        true => Ok(vec![Event::WebhookPut { webhook }]),
        false => Err(Refusal::TooManyWebhooks { most: WEBHOOKS_MAX }),
    }
}

/// Tells it no more.
pub fn remove_webhook(standing: &Standing, webhook: WebhookId, by: &str) -> Result<Vec<Event>, Refusal> {
    match standing.webhooks.contains_key(&webhook) {
        true => Ok(vec![Event::WebhookRemoved { webhook, by: by.to_owned() }]),
        false => Err(Refusal::WebhookNotFound),
    }
}

/// The state after one more event. `None` before the first.
pub fn apply(state: Option<Standing>, recorded: &Recorded<Event>) -> Option<Standing> {
    let mut standing = state.unwrap_or_default();
    standing.revision = recorded.sequence;
    match &recorded.event {
        Event::Opened => {
            standing.version = recorded.sequence;
            standing.updated_at = recorded.at;
        }
        Event::Changed { settings, by, .. } => {
            standing.version = recorded.sequence;
            standing.settings.clone_from(settings);
            standing.updated_by.clone_from(by);
            standing.updated_at = recorded.at;
        }
        Event::Remembered { grant } => {
            let gone = |grant: &Grant| recorded.at.since(grant.expires_at) > ENDED_KEPT;
            standing.grants.retain(|_, grant| !gone(grant));
            standing.grants.insert(grant.id, grant.clone());
        }
        Event::Forgotten { grant, .. } => {
            if let Some(grant) = standing.grants.get_mut(grant) {
                grant.revoked_at = Some(recorded.at);
            }
        }
        Event::Suspended { agent, .. } => {
            standing.suspended.insert(agent.clone());
        }
        Event::Reinstated { agent, .. } => {
            standing.suspended.remove(agent);
        }
        // Grants are not given under these: `version` stays.
        Event::WebhookPut { webhook } => {
            standing.webhooks.insert(webhook.id, webhook.clone());
        }
        Event::WebhookRemoved { webhook, .. } => {
            standing.webhooks.remove(webhook);
        }
    }
    Some(standing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::Notice;

    fn at(sequence: u64, event: Event) -> Recorded<Event> {
        Recorded { sequence, at: Timestamp::from_micros(sequence as i64), event }
    }

    fn ctx() -> Ctx {
        Ctx::new(Timestamp::from_micros(1_000), [1; 32])
    }

    fn grant(agent: &str) -> Grant {
        Grant {
            id: GrantId::new(&ctx(), 0),
            agent: agent.to_owned(),
            pattern: "{}".to_owned(),
            approval: ApprovalId::new(&ctx(), 0),
            created_by: "key:ann".to_owned(),
            created_at: ctx().now,
            expires_at: Timestamp::from_micros(2_000),
            revoked_at: None,
            comment: String::new(),
        }
    }

    #[test]
    fn what_holds_changes_once_and_from_what_was_looked_at() {
        let opened = apply(None, &at(1, Event::Opened)).unwrap();
        let settings = Settings { environment: "production".into(), ..Settings::default() };
        let digest = Digest::of_content(b"");
        let events = change(&opened, settings.clone(), digest, "key:ann", Some(1)).unwrap();
        let held = apply(Some(opened), &at(2, events[0].clone())).unwrap();
        assert_eq!((held.version, held.revision), (2, 2));
        assert_eq!(change(&held, settings.clone(), digest, "key:ann", None), Ok(vec![]));
        let stale = change(&held, settings, digest, "key:ann", Some(1));
        assert_eq!(stale, Err(Refusal::RevisionMismatch { required: 1, actual: 2 }));
    }

    #[test]
    fn a_standing_grant_counts_for_its_agent_until_it_ends_or_the_agent_is_suspended() {
        let opened = apply(None, &at(1, Event::Opened)).unwrap();
        let events = remember(&opened, grant("ann"), &ctx()).unwrap();
        let held = apply(Some(opened), &at(2, events[0].clone())).unwrap();
        let count = |standing: &Standing, agent: &str, now| {
            standing.grants_for(agent, Timestamp::from_micros(now)).count()
        };
        assert_eq!(
            (count(&held, "ann", 1_999), count(&held, "ann", 2_000), count(&held, "bob", 1)),
            (1, 0, 0)
        );
        let events = suspend(&held, "ann", ApprovalId::new(&ctx(), 1));
        let suspended = apply(Some(held.clone()), &at(3, events[0].clone())).unwrap();
        assert_eq!(count(&suspended, "ann", 1), 0);
        assert!(suspend(&suspended, "ann", ApprovalId::new(&ctx(), 1)).is_empty());
        let events = reinstate(&suspended, "ann", "key:root", "looked at");
        let back = apply(Some(suspended), &at(4, events[0].clone())).unwrap();
        assert_eq!(count(&back, "ann", 1), 1);
        let events = forget(&back, grant("ann").id, "key:root").unwrap();
        let over = apply(Some(back), &at(5, events[0].clone())).unwrap();
        assert_eq!(count(&over, "ann", 1), 0);
        assert_eq!(forget(&over, grant("ann").id, "key:root"), Ok(vec![]));
        assert_eq!(forget(&over, GrantId::new(&ctx(), 7), "x"), Err(Refusal::GrantNotFound));
    }

    #[test]
    fn webhooks_come_and_go_up_to_a_limit_and_grants_stay_good() {
        let mut held = apply(None, &at(1, Event::Opened)).unwrap();
        let webhook = |number: u64| Webhook {
            id: WebhookId::new(&ctx(), number),
            url: "https://hooks.example/quarterdeck".to_owned(),
            link_template: String::new(),
            kinds: BTreeSet::new(),
            min_level: None,
            created_by: "key:ann".to_owned(),
            created_at: ctx().now,
        };
        for number in 0..WEBHOOKS_MAX as u64 {
            let events = put_webhook(&held, webhook(number)).unwrap();
            held = apply(Some(held), &at(2 + number, events[0].clone())).unwrap();
        }
        assert_eq!(held.version, 1, "nothing that grants are given under has changed");
        let most = WEBHOOKS_MAX;
        assert_eq!(put_webhook(&held, webhook(99)), Err(Refusal::TooManyWebhooks { most }));
        let events = remove_webhook(&held, webhook(0).id, "key:ann").unwrap();
        held = apply(Some(held), &at(99, events[0].clone())).unwrap();
        assert_eq!(remove_webhook(&held, webhook(0).id, "key:ann"), Err(Refusal::WebhookNotFound));
        assert!(put_webhook(&held, webhook(99)).is_ok());
        assert_eq!((held.version, held.revision), (1, 99));
    }

    #[test]
    fn what_is_logged_of_a_webhook_is_read_again() {
        let text = r#"{"type":"webhook_put","webhook":{"id":"whk_00000000000000000000000001",
            "url":"https://hooks.example/q","kinds":["requested","incident"],"min_level":"high",
            "created_by":"key:ann","created_at":7}}"#;
        let event: Event = serde_json::from_str(text).unwrap();
        let Event::WebhookPut { webhook } = &event else { panic!("{event:?}") };
        assert!(webhook.wants(Notice::Incident, crate::approval::Level::High));
        assert!(!webhook.wants(Notice::Incident, crate::approval::Level::Medium));
        assert!(!webhook.wants(Notice::Denied, crate::approval::Level::High));
        let again = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&again).unwrap(), event);
    }
}
