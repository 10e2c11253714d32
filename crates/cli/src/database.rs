//! The database itself, for those commands that work without a server.
//!
//! Only `serve`, `migrate` and `doctor` come here; everything else asks a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quarterdeck_store::sql::{PgOptions, SqliteOptions};
use quarterdeck_store::{Log as _, SqlStore, Store, StoreError};

use crate::commands::dev::DATABASE;
use crate::connect::read_line;
use crate::failure::{Exit, Failure};

/// A URL by its kind.
enum Kind<'a> {
    Postgres(&'a str),
    Sqlite(&'a Path),
}

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

    fn kind(&self) -> Kind<'_> {
        let path = self.url.strip_prefix("sqlite://").or_else(|| self.url.strip_prefix("sqlite:"));
        path.map_or(Kind::Postgres(&self.url), |path| {
            Kind::Sqlite(Path::new(path.split('?').next().unwrap_or(path)))
        })
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

/// The schema that a database has, and the one that this version needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Version of the database; 0 where nothing was migrated yet.
    pub found: i64,
    /// Version that this program needs.
    pub needed: i64,
    /// Migrations that are missing, in order.
    pub pending: Vec<String>,
}

impl Schema {
    /// True where this version can work with it.
    pub fn is_current(&self) -> bool {
        self.pending.is_empty()
    }

    /// In words.
    pub fn words(&self) -> String {
        match (self.found, self.pending.len()) {
            (_, 0) => "up to date".to_owned(),
            (0, _) => "empty".to_owned(),
            (_, missing) => format!("{missing} migrations behind"),
        }
    }
}

/// Opens the database for a server; an older schema is refused unless `migrate`.
///
/// # Errors
/// The database cannot be reached, or has another schema.
pub async fn open(source: &Source, migrate: bool) -> Result<Arc<dyn Store>, Failure> {
    let store = connect(source).await?;
    let ready = if migrate { store.migrate().await } else { store.ensure_ready().await };
    ready.map_err(|error| explain(error, source))?;
    Ok(Arc::new(store))
}

/// Looks at the schema, and makes nothing.
///
/// # Errors
/// The database cannot be reached, or a newer version has migrated it.
pub async fn schema(source: &Source) -> Result<Schema, Failure> {
    if let Kind::Sqlite(path) = source.kind()
        && !path.exists()
    {
        return Err(Failure::new(Exit::Refused, format!("there is no database at {}", path.display()))
            .at(source.redacted())
            .fix("`quarterdeck migrate up` makes it, and so does `quarterdeck dev`"));
    }
    let store = connect(source).await?;
    let status = status(&store).await;
    store.close().await;
    status.map_err(|error| explain(error, source))
}

/// Brings the schema up to date and answers what was missing before.
///
/// # Errors
/// As [`schema`], or a migration failed.
pub async fn migrate(source: &Source) -> Result<(Schema, Vec<String>), Failure> {
    let store = connect(source).await?;
    let outcome = async {
        let before = status(&store).await?;
        store.migrate().await?;
        Ok((status(&store).await?, before.pending))
    }
    .await;
    store.close().await;
    outcome.map_err(|error| explain(error, source))
}

/// The database's clock.
///
/// # Errors
/// The database cannot be reached.
pub async fn time(source: &Source) -> Result<SystemTime, Failure> {
    let store = connect(source).await?;
    let now = store.now().await;
    store.close().await;
    let now = now.map_err(|error| explain(error, source))?;
    let since = u64::try_from(now.as_micros()).unwrap_or(0);
    Ok(SystemTime::UNIX_EPOCH + Duration::from_micros(since))
}

async fn status(store: &SqlStore) -> Result<Schema, StoreError> {
    let status = store.schema_status().await?;
    let pending = status.pending.into_iter().map(|step| format!("{} {}", step.version, step.name));
    Ok(Schema { found: status.current, needed: status.latest, pending: pending.collect() })
}

async fn connect(source: &Source) -> Result<SqlStore, Failure> {
    let opened = match source.kind() {
        Kind::Sqlite(path) => SqlStore::open_sqlite(path, SqliteOptions::default()).await,
        Kind::Postgres(url) => SqlStore::open_postgres(url, PgOptions::default()).await,
    };
    opened.map_err(|error| explain(error, source))
}

/// What the store says, and what most often helps.
fn explain(error: StoreError, source: &Source) -> Failure {
    let failure = match error {
        StoreError::Schema(words) => match words.split_once(": run ") {
            Some((what, fix)) => Failure::new(Exit::Refused, what).fix(format!("run {fix}")),
            None => Failure::new(Exit::Refused, words),
        },
        StoreError::Unavailable(words) | StoreError::Unknown(words) => {
            let fix = remedy(&words);
            Failure::new(Exit::Unavailable, format!("the database cannot be used: {words}")).fix(fix)
        }
        error => Failure::new(Exit::Refused, error.to_string()),
    };
    failure.at(source.redacted())
}

/// The remedy by the database's words, which are all that a driver hands on.
fn remedy(words: &str) -> &'static str {
    let known = [
        ("password authentication failed", "check user and password in the database URL"),
        ("unable to open database file", "make the directory, and let this user write there"),
        ("does not exist", "create it: createuser and createdb, as PostgreSQL's administrator"),
        ("Connection refused", "start PostgreSQL, or correct host and port in the database URL"),
        ("pool timed out", "start PostgreSQL, or correct host and port in the database URL"),
        ("lookup address", "correct the host in the database URL"),
        ("too many clients", "raise max_connections of PostgreSQL, or end other clients"),
        ("file is not a database", "name another file: this one is something else"),
        ("locked", "end the other process that has the file open"),
    ];
    let found = known.iter().find(|(part, _)| words.contains(part));
    found.map_or("check that it runs and that the URL is right", |(_, fix)| fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(url: &str) -> Source {
        Source::from_flags(&Some(url.to_owned()), &None, &None).unwrap()
    }

    #[test]
    fn passwords_are_never_shown() {
        for (url, shown) in [
            ("postgres://me:p@ss?word@db:5432/x?sslmode=require", "postgres://me@db:5432/x"),
            ("postgres://db/x?password=geheim", "postgres://db/x"),
            ("postgres://db/x?password=ge@heim", "postgres://db@heim"),
            ("sqlite:///tmp/a.db", "sqlite:///tmp/a.db"),
        ] {
            assert_eq!(source(url).redacted(), shown);
        }
    }

    #[test]
    fn unknown_kinds_of_database_are_refused_without_repeating_them() {
        let refused =
            Source::from_flags(&Some("mysql://me:secret@db/x".to_owned()), &None, &None).unwrap_err();
        assert!(!refused.render(false).contains("secret"));
        assert!(Source::from_flags(&None, &None, &None).is_err());
    }

    #[test]
    fn the_data_directory_stands_for_its_database() {
        let source = Source::from_flags(&None, &None, &Some(PathBuf::from("/d"))).unwrap();
        assert_eq!(source.redacted(), "sqlite:///d/quarterdeck.db");
    }

    #[test]
    fn errors_of_the_store_get_a_remedy_and_no_password() {
        let source = source("postgres://me:geheim@db/x");
        for (error, fix, exit) in [
            (StoreError::Unavailable("db: Connection refused (os error 111)".into()), "start PostgreSQL", 3),
            (StoreError::Unavailable("password authentication failed".into()), "user and password", 3),
            (StoreError::Schema("it has version 1: run `quarterdeck migrate up`".into()), "migrate up", 1),
        ] {
            let failure = explain(error, &source);
            assert!(failure.fix[0].contains(fix), "{failure:?}");
            assert_eq!(failure.exit as i32, exit);
            assert!(!failure.render(false).contains("geheim"));
        }
    }

    #[tokio::test]
    async fn a_new_file_is_migrated_and_then_up_to_date() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::from_flags(&None, &None, &Some(directory.path().to_owned())).unwrap();
        assert!(schema(&source).await.unwrap_err().what.contains("no database"));
        assert!(!directory.path().join(DATABASE).exists(), "looking must make nothing");
        let (after, applied) = migrate(&source).await.unwrap();
        assert!(after.is_current() && !applied.is_empty());
        assert_eq!(schema(&source).await.unwrap(), after);
        assert!(migrate(&source).await.unwrap().1.is_empty());
        assert!(open(&source, false).await.is_ok());
        assert!(time(&source).await.unwrap() > SystemTime::UNIX_EPOCH);
    }
}
