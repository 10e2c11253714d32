//! Servers: those that all tests share, and those of one test.

use std::path::Path;

use quarterdeck_client::{Client, Config};
use quarterdeck_harness::{Database, DevOptions, Quarterdeck, Redis, Secrets, ServeOptions};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Lease of the servers that are used to see leases end; renewed three times as often.
pub const QUICK_LEASE: std::time::Duration = std::time::Duration::from_millis(1_500);

/// How long leases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As in production: no lease ends while a test looks.
    Usual,
    /// [`QUICK_LEASE`].
    Quick,
}

/// One installation. Dropped, it is gone, servers first.
pub struct Stack {
    /// One on SQLite, several on PostgreSQL.
    pub replicas: Vec<Quarterdeck>,
    /// Between the replicas, if anything is.
    pub redis: Option<Redis>,
    /// What the replicas share.
    pub database: Option<Database>,
    directory: Option<TempDir>,
    /// The files that a restart reads again.
    _secrets: Secrets,
}

/// Runs the named tests on the shared servers, once on each kind.
macro_rules! both {
    ($pace:ident: $($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::stack::Pace;
            use crate::world::World;

            #[tokio::test]
            async fn on_sqlite() {
                Box::pin(super::$name(World::on_sqlite(Pace::$pace).await)).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                Box::pin(super::$name(World::on_postgres(Pace::$pace).await)).await;
            }
        }
    )+};
}
pub(crate) use both;

static SQLITE: [OnceCell<Stack>; 2] = [const { OnceCell::const_new() }; 2];
static POSTGRES: [OnceCell<Stack>; 2] = [const { OnceCell::const_new() }; 2];

impl Stack {
    /// The `quarterdeck dev` that tests share.
    pub async fn shared_sqlite(pace: Pace) -> &'static Self {
        SQLITE[pace as usize].get_or_init(|| Self::sqlite(pace)).await
    }

    /// The two replicas on PostgreSQL, with Redis, that tests share.
    pub async fn shared_postgres(pace: Pace) -> &'static Self {
        POSTGRES[pace as usize].get_or_init(|| Self::with_redis(pace)).await
    }

    /// A `quarterdeck dev` of one's own.
    pub async fn sqlite(pace: Pace) -> Self {
        let directory = tempfile::Builder::new().prefix("quarterdeck-dev-").tempdir().unwrap();
        let secrets = Secrets::new().unwrap();
        let server = match pace {
            Pace::Usual => Quarterdeck::dev(directory.path()).await,
            Pace::Quick => quick_sqlite(directory.path(), &secrets).await,
        };
        let (replicas, directory) = (vec![server.unwrap()], Some(directory));
        Self { replicas, redis: None, database: None, directory, _secrets: secrets }
    }

    /// A `quarterdeck dev` of one's own with more arguments.
    pub async fn sqlite_with(arguments: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("quarterdeck-dev-").tempdir().unwrap();
        let options = DevOptions::new(directory.path());
        let options = arguments.iter().fold(options, |options, argument| options.arg(*argument));
        let replicas = vec![Quarterdeck::dev_with(options).await.unwrap()];
        let (directory, secrets) = (Some(directory), Secrets::new().unwrap());
        Self { replicas, redis: None, database: None, directory, _secrets: secrets }
    }

    /// Two replicas of one's own with more arguments, that know each other only through
    /// PostgreSQL.
    pub async fn postgres_with(arguments: &[&str]) -> Self {
        Self::postgres_given(Pace::Usual, None, arguments).await
    }

    /// Two replicas of one's own, with a Redis of their own.
    pub async fn with_redis(pace: Pace) -> Self {
        Self::postgres(pace, Some(Redis::start().await.unwrap())).await
    }

    /// Two replicas of one's own that know each other only through PostgreSQL.
    pub async fn without_redis(pace: Pace) -> Self {
        Self::postgres(pace, None).await
    }

    async fn postgres(pace: Pace, redis: Option<Redis>) -> Self {
        Self::postgres_given(pace, redis, &[]).await
    }

    async fn postgres_given(pace: Pace, redis: Option<Redis>, arguments: &[&str]) -> Self {
        let database = Database::fresh().await.unwrap();
        let secrets = Secrets::new().unwrap();
        let mut options = ServeOptions::new(&database, &secrets);
        if pace == Pace::Quick {
            options = options.session_lease(QUICK_LEASE);
        }
        if let Some(redis) = &redis {
            options = options.redis(redis);
        }
        for argument in arguments {
            options = options.arg(*argument);
        }
        // The first one migrates; the other would only wait for it.
        let first = Quarterdeck::serve(options.clone()).await.unwrap();
        let second = Quarterdeck::serve(options).await.unwrap();
        let (replicas, database) = (vec![first, second], Some(database));
        Self { replicas, redis, database, directory: None, _secrets: secrets }
    }

    /// A connection of its own to a replica, as the first admin.
    pub fn admin(&self, replica: usize) -> Client {
        self.client(replica, self.replicas[replica].credential())
    }

    /// A connection of its own to a replica, with this credential.
    pub fn client(&self, replica: usize, credential: &str) -> Client {
        Client::lazy(self.config(replica).with_credential(credential)).unwrap()
    }

    /// How to reach a replica, without a credential.
    pub fn config(&self, replica: usize) -> Config {
        Config::new(self.replicas[replica].endpoint())
    }

    /// The Redis of this stack.
    pub fn redis(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("a stack with Redis")
    }

    /// Where `dev` keeps its data.
    pub fn directory(&self) -> &Path {
        self.directory.as_ref().expect("a stack on SQLite").path()
    }
}

/// `dev` has no flag for leases; `serve` does the same on the same kind of file.
async fn quick_sqlite(directory: &Path, secrets: &Secrets) -> anyhow::Result<Quarterdeck> {
    let file = directory.join("quarterdeck.db");
    let unused = Database::fresh().await?;
    let options = ServeOptions::new(&unused, secrets).session_lease(QUICK_LEASE);
    Quarterdeck::serve(options.database_url(format!("sqlite://{}", file.display()))).await
}
