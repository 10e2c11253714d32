//! The database itself, for those commands that work without a server.
//!
//! Only `serve`, `migrate` and `doctor` come here; everything else asks a server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quarterdeck_store::{Store, StoreError};

use crate::commands::DATABASE;
use crate::connect::read_line;
use crate::failure::{Exit, Failure};

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    url: String,
}

impl Source {
    /// From the flags; clap has made sure that one is given.
    ///
    /// # Errors
    /// None is given, the file cannot be read, or the URL is of another kind.
    pub fn from_flags(
        url: &Option<String>,
        file: &Option<PathBuf>,
        data: &Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let url = match (url, file, data) {
            (_, Some(file), _) => read_line(file, "--database-url-file")?,
            (Some(url), ..) => url.clone(),
            (None, None, Some(data)) => format!("sqlite://{}", data.join(DATABASE).display()),
            (None, None, None) => {
                return Err(Failure::usage("no database was named")
                    .fix("--database-url postgres://user@host/database")
                    .fix("--data .quarterdeck for the one of `quarterdeck dev`"));
            }
        };
        let known = ["postgres://", "postgresql://", "sqlite://", "sqlite:"];
        if known.iter().any(|scheme| url.starts_with(scheme)) {
            return Ok(Self { url });
        }
        Err(Failure::usage("the database URL is of an unknown kind")
            .at("--database-url")
            .fix("write postgres://user:password@host:port/database or sqlite://path/to/file.db"))
    }

    /// The URL without its password and parameters.
    pub fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.url.split_once("://") else { return self.url.clone() };
        match rest.rsplit_once('@') {
            Some((login, place)) => {
                let user = login.split([':', '/', '?']).next().unwrap_or_default();
                format!("{scheme}://{user}@{}", place.split('?').next().unwrap_or_default())
            }
            None => format!("{scheme}://{}", rest.split('?').next().unwrap_or_default()),
        }
    }
}
