//! `quarterdeck grants ..`: a yes that is remembered.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use quarterdeck_client::api::approvals::v1::{
    CreateStandingGrantRequest, ListStandingGrantsRequest, RevokeStandingGrantRequest, StandingGrant,
};
use quarterdeck_client::{Error, to_json};
use quarterdeck_risk::preview::visible;
use serde_json::Value;

use crate::clock;
use crate::connect::Globals;
use crate::failure::Failure;
use crate::output::{self, Format, Row};
use crate::values;

/// The commands of this group.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List standing grants, ended ones included while they are remembered.
    List,
    /// From now on do not ask for actions like that of an approval you have approved.
    Create(Create),
    /// End a standing grant.
    Revoke {
        /// Grant.
        id: String,
        /// Makes repeating the command safe.
        #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
}

/// Arguments of `grants create`.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// Approval to make it from.
    #[arg(value_name = "APPROVAL")]
    id: String,
    /// For every agent of the project, and not only that of the approval.
    #[arg(long)]
    any_agent: bool,
    /// How long, such as 7d; 90d at most [default: 8h].
    #[arg(long, value_parser = values::duration, value_name = "TIME")]
    lifetime: Option<Duration>,
    /// Why, for people.
    #[arg(long, default_value = "", hide_default_value = true)]
    comment: String,
    /// Makes repeating the command safe.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// Runs a command of this group.
pub async fn run(command: &Command, globals: &Globals) -> Result<ExitCode, Failure> {
    let client = globals.client().await?;
    match command {
        Command::List => {
            let request = ListStandingGrantsRequest { project: globals.project() };
            let grants = client.list_standing_grants(request).await?;
            output::list(
                globals.format,
                &grants,
                "no standing grants: everything that policy asks is asked",
            )?;
        }
        Command::Create(args) => {
            let lifetime = args.lifetime.map(TryInto::try_into).transpose();
            let request = CreateStandingGrantRequest {
                approval_id: args.id.clone(),
                any_agent: args.any_agent,
                lifetime: lifetime.map_err(|_| Failure::usage("that is too long").at("--lifetime"))?,
                comment: args.comment.clone(),
                request_id: args.request_id.clone(),
            };
            let grant = client.create_standing_grant(request).await?;
            if globals.format == Format::Table {
                output::say(&format!(
                    "from now on this is not asked; undo: quarterdeck grants revoke {}",
                    grant.id
                ));
            }
            output::list(globals.format, &[grant], "")?;
        }
        Command::Revoke { id, request_id } => {
            let request = RevokeStandingGrantRequest {
                project: globals.project(),
                grant_id: id.clone(),
                request_id: request_id.clone(),
            };
            output::list(globals.format, &[client.revoke_standing_grant(request).await?], "")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a grant covers, all of it.
fn covers(grant: &StandingGrant) -> String {
    let effect = |effect: &quarterdeck_client::api::approvals::v1::StandingEffect| {
        let target = if effect.target.is_empty() { "any" } else { &effect.target };
        visible(&format!("{} {target} ({})", effect.effect, effect.scope))
    };
    grant.effects.iter().map(effect).collect::<Vec<_>>().join(", ")
}

impl Row for StandingGrant {
    const HEAD: &'static [&'static str] =
        &["ID", "AGENT", "KIND", "COVERS", "STATE", "CREATED BY", "COMMENT"];

    fn cells(&self, now: SystemTime) -> Vec<String> {
        let expires = self.expire_time.and_then(|time| SystemTime::try_from(time).ok());
        let state = match (self.revoke_time, expires) {
            (Some(_), _) => "revoked".to_owned(),
            (None, Some(time)) if time <= now => "expired".to_owned(),
            (None, Some(time)) => format!("valid for {}", clock::age(now, time)),
            (None, None) => "valid".to_owned(),
        };
        vec![
            visible(&self.id),
            if self.agent.is_empty() { "any".to_owned() } else { visible(&self.agent) },
            visible(&self.kind),
            covers(self),
            state,
            visible(&self.created_by),
            visible(&self.comment),
        ]
    }

    fn json(&self) -> Result<Value, Error> {
        to_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_client::api::approvals::v1::StandingEffect;

    #[test]
    fn a_grant_shows_all_that_it_covers() {
        let effect = |effect: &str, target: &str| StandingEffect {
            effect: effect.into(),
            scope: "project".into(),
            target: target.into(),
        };
        let grant = StandingGrant {
            effects: vec![effect("write", "/w\u{202e}"), effect("network", "")],
            ..Default::default()
        };
        assert_eq!(covers(&grant), "write /w<U+202E> (project), network any (project)");
        assert_eq!(grant.cells(SystemTime::UNIX_EPOCH)[1], "any");
    }
}
