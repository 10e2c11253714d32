//! `quarterdeck key ..`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use quarterdeck_client::api::operations::v1::{CreateKeyRequest, Key, RevokeKeyRequest};
use quarterdeck_client::api::options::v1::Role as ApiRole;
use quarterdeck_client::{Error, to_json};
use serde_json::Value;

use crate::clock;
use crate::connect::Globals;
use crate::failure::Failure;
use crate::output::{self, Format, Row, lower};
use crate::values;

/// The commands of this group.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Create a key; its secret is shown once, on standard output.
    Create(Create),
    /// List keys, revoked and expired ones included.
    List,
    /// Make a key useless, everywhere within two seconds.
    Revoke {
        /// Key.
        id: String,
        /// Makes repeating the command safe.
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
    },
}

/// Arguments of `key create`.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// Name for people; with `key:` before it, it stands in histories.
    #[arg(long)]
    name: String,
    /// What it may be used for; may be repeated.
    #[arg(long = "role", value_enum, required = true, value_name = "ROLE")]
    roles: Vec<Role>,
    /// Project it covers; may be repeated [default: --project, or `default`].
    #[arg(long = "for-project", value_name = "NAME")]
    projects: Vec<String>,
    /// Cover every project, now and later.
    #[arg(long, conflicts_with = "projects")]
    all_projects: bool,
    /// When it ends, such as 90d [default: never].
    #[arg(long, value_parser = values::duration, value_name = "TIME")]
    lifetime: Option<Duration>,
    /// Person who will use it: keys of one person count once where several people have to
    /// approve, and nobody approves what they asked for [default: your own person].
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
}

/// Roles of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Reads tasks, agents and projects.
    Viewer,
    /// Also creates, cancels and retries tasks.
    User,
    /// Viewer that also decides on approvals.
    Approver,
    /// Everything in its projects.
    Admin,
    /// Works on steps, and nothing else.
    Agent,
    /// A program acting for its users.
    Service,
}

impl From<Role> for ApiRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::User => Self::User,
            Role::Approver => Self::Approver,
            Role::Admin => Self::Admin,
            Role::Agent => Self::Agent,
            Role::Service => Self::Service,
        }
    }
}

/// Runs a command of this group.
pub async fn run(command: &Command, globals: &Globals) -> Result<ExitCode, Failure> {
    let client = globals.client().await?;
    match command {
        Command::Create(args) => {
            let answer = client.create_key(request(args, globals)?).await?;
            match globals.format {
                Format::Json => output::json(&to_json(&answer)?)?,
                Format::Table => {
                    let id = answer.key.map(|key| key.id).unwrap_or_default();
                    output::say(&format!("created {id}; this is the only time that its secret is shown:"));
                    output::emit(&answer.secret)?;
                }
            }
        }
        Command::List => {
            output::list(globals.format, &client.list_keys().collect_all().await?, "no keys")?;
        }
        Command::Revoke { id, request_id } => {
            let request =
                RevokeKeyRequest { key_id: id.clone(), request_id: request_id.clone().unwrap_or_default() };
            output::list(globals.format, &[client.revoke_key(request).await?], "")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn request(args: &Create, globals: &Globals) -> Result<CreateKeyRequest, Failure> {
    let mut projects = args.projects.clone();
    if projects.is_empty() && !args.all_projects {
        projects.push(globals.project.clone().unwrap_or_else(|| "default".to_owned()));
    }
    let mut roles: Vec<i32> = Vec::new();
    for role in &args.roles {
        let role = ApiRole::from(*role).into();
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    let mut request = CreateKeyRequest {
        display_name: args.name.clone(),
        roles,
        projects,
        all_projects: args.all_projects,
        person: args.person.clone().unwrap_or_default(),
        ..CreateKeyRequest::default()
    };
    if let Some(lifetime) = args.lifetime {
        let lifetime =
            lifetime.try_into().map_err(|_| Failure::usage("that is too long").at("--lifetime"))?;
        request.lifetime = Some(lifetime);
    }
    Ok(request)
}

impl Row for Key {
    const HEAD: &'static [&'static str] = &["ID", "NAME", "ROLES", "PROJECTS", "STATE", "AGE", "CREATED BY"];

    fn cells(&self, now: SystemTime) -> Vec<String> {
        let created = self.create_time.and_then(|time| SystemTime::try_from(time).ok());
        let expires = self.expire_time.and_then(|time| SystemTime::try_from(time).ok());
        let state = match (self.revoke_time, expires) {
            (Some(_), _) => "revoked".to_owned(),
            (None, Some(time)) if time <= now => "expired".to_owned(),
            (None, Some(time)) => format!("valid for {}", clock::age(now, time)),
            (None, None) => "valid".to_owned(),
        };
        let roles: Vec<String> = self.roles().map(|role| lower(role.as_str_name(), "ROLE_")).collect();
        vec![
            self.id.clone(),
            self.display_name.clone(),
            roles.join(","),
            if self.all_projects { "all".to_owned() } else { self.projects.join(",") },
            state,
            created.map_or_else(String::new, |time| clock::age(time, now)),
            self.created_by.clone(),
        ]
    }

    fn json(&self) -> Result<Value, Error> {
        to_json(self)
    }
}
