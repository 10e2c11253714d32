//! A server of one's own that writes nothing by itself while a test looks: its
//! leases are so long that none is renewed and none ends.

use std::path::PathBuf;
use std::time::Duration;

use quarterdeck_client::{Client, Config};
use quarterdeck_harness::{Database, Quarterdeck, Secrets, ServeOptions};
use tempfile::TempDir;

use crate::ledger::{Ledger, Mark};
use crate::raw::Line;
use crate::{tokens, wishes};

const LEASE: Duration = Duration::from_secs(12 * 60 * 60);

/// Where the server keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// It runs until it is dropped.
pub struct Server {
    pub quarterdeck: Quarterdeck,
    ledger: Ledger,
    database: Database,
    _directory: TempDir,
    _secrets: Secrets,
}

impl Server {
    /// Starts one that believes the JWTs of [`tokens`].
    pub async fn start(kind: Kind) -> Self {
        Self::start_telling(kind, "warn,quarterdeck::commands=info").await
    }

    /// The same, whose log is filtered so.
    pub async fn start_telling(kind: Kind, log: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("quarterdeck-input-").tempdir().unwrap();
        let file = directory.path().join("quarterdeck.db");
        let (database, secrets) = (Database::fresh().await.unwrap(), Secrets::new().unwrap());
        let mut options = ServeOptions::new(&database, &secrets).session_lease(LEASE);
        let jwt: PathBuf = tokens::secret_file(directory.path());
        for argument in [
            "--log",
            log,
            "--jwt-hs256-secret-file",
            &jwt.to_string_lossy(),
            "--jwt-issuer",
            tokens::ISSUER,
            "--jwt-audience",
            tokens::AUDIENCE,
            // Nothing writes by itself while the tests look.
            "--seal-every",
            "12h",
            "--webhook-allow",
            wishes::HOST,
        ] {
            options = options.arg(argument);
        }
        if kind == Kind::Sqlite {
            options = options.database_url(format!("sqlite://{}", file.display()));
        }
        let quarterdeck = Quarterdeck::serve(options).await.unwrap();
        let ledger = match kind {
            Kind::Sqlite => Ledger::sqlite(&file),
            Kind::Postgres => Ledger::postgres(&database).await,
        };
        Self { quarterdeck, ledger, database, _directory: directory, _secrets: secrets }
    }

    /// The first admin, with a connection of its own.
    pub fn admin(&self) -> Client {
        self.client(self.quarterdeck.credential())
    }

    /// Somebody with this credential, with a connection of its own.
    pub fn client(&self, credential: &str) -> Client {
        Client::lazy(Config::new(self.quarterdeck.endpoint()).with_credential(credential)).unwrap()
    }

    /// A connection for bytes as they are.
    pub async fn line(&self) -> Line {
        Line::connect(&self.quarterdeck.endpoint()).await
    }

    /// What a statement answers, a row a text; of PostgreSQL.
    pub async fn rows(&self, statement: &str) -> Vec<String> {
        self.database.query(statement).await.unwrap()
    }

    pub async fn mark(&self) -> Mark {
        self.ledger.mark(&self.database).await
    }

    pub async fn settled(&self) -> Mark {
        self.ledger.settled(&self.database).await
    }

    /// It has neither panicked nor found a defect in itself.
    pub fn is_sound(&self) {
        let log = self.quarterdeck.log().unwrap();
        let bad = |line: &&str| line.contains("panicked") || line.contains("ERROR");
        let found: Vec<&str> = log.lines().filter(bad).take(20).collect();
        assert!(found.is_empty(), "the server's log:\n{}", found.join("\n"));
        self.quarterdeck.resident_bytes().expect("the server runs");
    }
}
