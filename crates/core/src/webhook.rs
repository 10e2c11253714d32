//! Addresses that are told of a project's approvals, and of what they are told.
//!
//! Whether an address may be told at all is the installation's to say, not known here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::approval::Level;
use crate::id::{ApprovalId, TaskId, WebhookId};
use crate::time::Timestamp;

/// Webhooks of a project.
pub const WEBHOOKS_MAX: usize = 20;

/// What a webhook can be told of. Part of the log's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// People are asked for a yes.
    Requested,
    /// More roles may decide.
    Escalated,
    /// People said yes.
    Granted,
    /// People said no.
    Denied,
    /// Nobody decided, or nobody started it, in time.
    Expired,
    /// An agent did more than was approved.
    Incident,
}

impl Notice {
    /// As receivers see it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Requested => "approval.requested",
            Self::Escalated => "approval.escalated",
            Self::Granted => "approval.granted",
            Self::Denied => "approval.denied",
            Self::Expired => "approval.expired",
            Self::Incident => "approval.incident",
        }
    }
}

/// An address that is told. Part of the log's format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    pub id: WebhookId,
    pub url: String,
    /// Of links in notices; empty: notices have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub link_template: String,
    /// Empty: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<Notice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_level: Option<Level>,
    pub created_by: String,
    pub created_at: Timestamp,
}

impl Webhook {
    pub fn wants_kind(&self, notice: Notice) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&notice)
    }

    pub fn wants(&self, notice: Notice, level: Level) -> bool {
        self.wants_kind(notice) && self.min_level.is_none_or(|least| level >= least)
    }

    /// The link to an approval; empty where there is no template.
    pub fn link(&self, project: &str, approval: ApprovalId, task: TaskId) -> String {
        self.link_template
            .replace("{project}", project)
            .replace("{approval}", &approval.to_string())
            .replace("{task}", &task.to_string())
    }
}

/// Says what is wrong with the template of links.
pub fn check_template(template: &str) -> Result<(), &'static str> {
    if template.is_empty() {
        return Ok(());
    }
    let plain = template.replace("{project}", "p").replace("{task}", "t");
    let bare = plain.replace("{approval}", "a");
    if !template.starts_with("https://") && !template.starts_with("http://") {
        return Err("begins with https:// or http://");
    }
    if bare.len() == plain.len() {
        return Err("has {approval} in it, such as https://desk.example/approvals/{approval}");
    }
    if bare.contains(['{', '}']) {
        return Err("has no braces but {approval}, {task} and {project}");
    }
    if !bare.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("is of visible ASCII letters without spaces");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Ctx;

    #[test]
    fn a_link_is_the_template_with_its_names_filled_in() {
        let ctx = Ctx::new(Timestamp::from_micros(1_000), [1; 32]);
        let (approval, task) = (ApprovalId::new(&ctx, 0), TaskId::new(&ctx, 0));
        let webhook = |template: &str| Webhook {
            id: WebhookId::new(&ctx, 0),
            url: String::new(),
            link_template: template.to_owned(),
            kinds: BTreeSet::new(),
            min_level: None,
            created_by: String::new(),
            created_at: ctx.now,
        };
        let link = webhook("https://desk/{project}/{task}?a={approval}").link("acme", approval, task);
        assert_eq!(link, format!("https://desk/acme/{task}?a={approval}"));
        assert_eq!(webhook("").link("acme", approval, task), "");
    }

    #[test]
    fn a_template_that_makes_no_link_is_refused() {
        for good in ["", "https://desk/{approval}", "http://localhost/{project}/{task}/{approval}"] {
            assert_eq!(check_template(good), Ok(()), "{good}");
        }
        for bad in [
            "desk/{approval}",
            "https://desk/",
            "https://desk/{approval}/{key}",
            "https://desk/{approval} x",
            "https://d/{approval}\u{202e}",
        ] {
            assert!(check_template(bad).is_err(), "{bad}");
        }
    }
}
