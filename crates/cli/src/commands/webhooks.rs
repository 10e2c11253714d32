//! `quarterdeck webhooks ..`: telling other systems of approvals.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::ValueEnum;
use quarterdeck_client::api::approvals::v1::{
    CreateWebhookRequest, DeleteWebhookRequest, ListWebhooksRequest, NotificationKind, RiskLevel, Webhook,
};
use quarterdeck_client::{Error, to_json};
use quarterdeck_risk::preview::visible;
use serde_json::Value;

use super::approvals::Level;
use crate::clock;
use crate::connect::Globals;
use crate::failure::Failure;
use crate::output::{self, Format, Row, lower};

/// The commands of this group.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Tell an address of what happens from now on, and print the secret to check it with.
    Create(Create),
    /// List webhooks, and how far they have been told.
    List,
    /// Tell an address no more.
    Delete {
        /// Webhook.
        id: String,
        /// Makes repeating the command safe.
        #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
}

/// Arguments of `webhooks create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The server must have been started with --webhook-allow for the host. What is sent are ids and a link.")]
pub struct Create {
    /// Where to, such as https://hooks.example/quarterdeck.
    url: String,
    /// Link to where an approval is decided; {approval}, {task} and {project} are filled in.
    #[arg(long = "link", value_name = "TEMPLATE", default_value = "", hide_default_value = true)]
    link_template: String,
    /// Only of this; may be repeated.
    #[arg(long = "on", value_enum, value_name = "KIND")]
    kinds: Vec<Kind>,
    /// Only of at least this level.
    #[arg(long, value_enum, value_name = "LEVEL")]
    min_level: Option<Level>,
    /// Makes repeating the command safe; the secret is not shown again.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// What a webhook can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// People are asked for a yes.
    Requested,
    /// Nobody has decided for a while: more roles may.
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

impl From<Kind> for NotificationKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Requested => Self::Requested,
            Kind::Escalated => Self::Escalated,
            Kind::Granted => Self::Granted,
            Kind::Denied => Self::Denied,
            Kind::Expired => Self::Expired,
            Kind::Incident => Self::Incident,
        }
    }
}

/// Runs a command of this group.
pub async fn run(command: &Command, globals: &Globals) -> Result<ExitCode, Failure> {
    let client = globals.client().await?;
    match command {
        Command::Create(args) => {
            let request = CreateWebhookRequest {
                project: globals.project(),
                url: args.url.clone(),
                link_template: args.link_template.clone(),
                kinds: args.kinds.iter().map(|&kind| NotificationKind::from(kind).into()).collect(),
                min_level: args.min_level.map_or(RiskLevel::Unspecified, Into::into).into(),
                request_id: args.request_id.clone(),
            };
            let answer = client.create_webhook(request).await?;
            match globals.format {
                Format::Json => output::json(&to_json(&answer)?)?,
                Format::Table => {
                    let id = answer.webhook.map(|webhook| webhook.id).unwrap_or_default();
                    output::say(&format!("created {id}; this is the only time that its secret is shown:"));
                    output::emit(&answer.secret)?;
                }
            }
        }
        Command::List => {
            let request = ListWebhooksRequest { project: globals.project() };
            let webhooks = client.list_webhooks(request).await?;
            output::list(globals.format, &webhooks, "no webhooks: nobody is told")?;
        }
        Command::Delete { id, request_id } => {
            let request = DeleteWebhookRequest {
                project: globals.project(),
                webhook_id: id.clone(),
                request_id: request_id.clone(),
            };
            client.delete_webhook(request).await?;
            output::say(&format!("deleted {}", visible(id)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Row for Webhook {
    const HEAD: &'static [&'static str] =
        &["ID", "URL", "ON", "MIN LEVEL", "LAST TOLD", "FAILURES", "LAST ERROR", "CREATED BY"];

    fn cells(&self, now: SystemTime) -> Vec<String> {
        let kinds: Vec<String> =
            self.kinds().map(|kind| lower(kind.as_str_name(), "NOTIFICATION_KIND_")).collect();
        let delivery = self.delivery.clone().unwrap_or_default();
        let told = delivery.last_delivery_time.and_then(|time| SystemTime::try_from(time).ok());
        let level = match self.min_level() {
            RiskLevel::Unspecified => "any".to_owned(),
            level => lower(level.as_str_name(), "RISK_LEVEL_"),
        };
        vec![
            visible(&self.id),
            visible(&self.url),
            if kinds.is_empty() { "all".to_owned() } else { kinds.join(",") },
            level,
            told.map_or_else(|| "never".to_owned(), |time| format!("{} ago", clock::age(time, now))),
            delivery.failures.to_string(),
            visible(&delivery.last_error),
            visible(&self.created_by),
        ]
    }

    fn json(&self) -> Result<Value, Error> {
        to_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_client::api::approvals::v1::WebhookDelivery;

    #[test]
    fn a_webhook_shows_why_it_is_not_told() {
        let delivery =
            WebhookDelivery { failures: 3, last_error: "it answers 500".into(), ..Default::default() };
        let webhook = Webhook {
            url: "https://h/\u{1b}".into(),
            kinds: vec![NotificationKind::Incident.into()],
            delivery: Some(delivery),
            ..Default::default()
        };
        let cells = webhook.cells(SystemTime::UNIX_EPOCH);
        assert_eq!(cells[1..7], ["https://h/<U+001B>", "incident", "any", "never", "3", "it answers 500"]);
    }
}
