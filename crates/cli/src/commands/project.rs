//! `quarterdeck project ..`.

use std::process::ExitCode;
use std::time::SystemTime;

use quarterdeck_client::api::operations::v1::{CreateProjectRequest, Project};
use quarterdeck_client::{Error, to_json};
use serde_json::Value;

use crate::clock;
use crate::connect::Globals;
use crate::failure::Failure;
use crate::output::{self, Row, lower};

/// The commands of this group.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Create a project.
    Create {
        /// Lower-case letters, digits and hyphens; 2 to 40.
        name: String,
        /// Name for people.
        #[arg(long, default_value = "")]
        display_name: String,
        /// Makes repeating the command safe.
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
    },
    /// List the projects that the key covers.
    List,
}

/// Runs a command of this group.
pub async fn run(command: &Command, globals: &Globals) -> Result<ExitCode, Failure> {
    let client = globals.client().await?;
    let projects = match command {
        Command::Create { name, display_name, request_id } => {
            let project =
                Project { name: name.clone(), display_name: display_name.clone(), ..Project::default() };
            let request = CreateProjectRequest {
                request_id: request_id.clone().unwrap_or_default(),
                project: Some(project),
            };
            vec![client.create_project(request).await?]
        }
        Command::List => client.list_projects().collect_all().await?,
    };
    output::list(globals.format, &projects, "the key covers no project")?;
    Ok(ExitCode::SUCCESS)
}

impl Row for Project {
    const HEAD: &'static [&'static str] = &["NAME", "STATE", "AGE", "DISPLAY NAME"];

    fn cells(&self, now: SystemTime) -> Vec<String> {
        let created = self.create_time.and_then(|time| SystemTime::try_from(time).ok());
        vec![
            self.name.clone(),
            lower(self.state().as_str_name(), "PROJECT_STATE_"),
            created.map_or_else(String::new, |time| clock::age(time, now)),
            self.display_name.clone(),
        ]
    }

    fn json(&self) -> Result<Value, Error> {
        to_json(self)
    }
}
