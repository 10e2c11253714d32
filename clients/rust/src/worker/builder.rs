//! Building an agent.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::context::StepContext;
use super::running::{Answer, Handler};
use super::session::{Ended, Session, WorkerStatus};
use crate::client::Client;
use crate::error::Error;

/// Most capabilities and slots that the contract takes.
const MAX_CAPABILITIES: usize = 64;
const MAX_SLOTS: u32 = 1_000;

/// An agent that is ready to run.
pub struct Worker {
    client: Client,
    settings: Settings,
    status: watch::Sender<WorkerStatus>,
}

/// What an agent is.
pub(super) struct Settings {
    pub(super) agent: String,
    pub(super) version: String,
    pub(super) project: String,
    pub(super) slots: u32,
    pub(super) grace: Duration,
    pub(super) abort_grace: Duration,
    pub(super) capabilities: Vec<String>,
    /// For capabilities without one of their own.
    pub(super) fallback: Option<Handler>,
    pub(super) handlers: BTreeMap<String, Handler>,
}

impl Settings {
    pub(super) fn handler(&self, capability: &str) -> Option<&Handler> {
        self.handlers.get(capability).or(self.fallback.as_ref())
    }
}

/// Collects what an agent is.
pub struct WorkerBuilder {
    client: Client,
    settings: Settings,
}

impl Worker {
    /// Starts to build an agent. Several sessions may share its name.
    pub fn builder(client: &Client, agent: impl Into<String>) -> WorkerBuilder {
        WorkerBuilder {
            client: client.clone(),
            settings: Settings {
                agent: agent.into(),
                version: String::new(),
                project: String::new(),
                slots: 1,
                grace: Duration::from_secs(10),
                abort_grace: Duration::from_secs(2),
                capabilities: Vec::new(),
                fallback: None,
                handlers: BTreeMap::new(),
            },
        }
    }

    /// Where the agent stands, now and later. Take it before [`Worker::run`].
    #[must_use]
    pub fn status(&self) -> watch::Receiver<WorkerStatus> {
        self.status.subscribe()
    }

    /// Holds a session and runs the steps it is given, over any number of
    /// reconnects, until `shutdown` is cancelled or an operator drains the agent. Then
    /// takes no more, finishes what it holds within the grace, says Bye and ends.
    ///
    /// Dropping the future stops the handlers at their next `await`; the server gives
    /// their steps to others once the session's lease has run out.
    ///
    /// # Errors
    /// Only what trying again cannot mend: a credential that may not do this, an
    /// unknown project, a setting that the server refuses, a session that another
    /// process took over.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Ended, Error> {
        let session = Session::new(self.client, self.settings, shutdown, self.status);
        // Boxed: the session's state machine is large, and callers nest it.
        Box::pin(session.run()).await
    }
}

impl WorkerBuilder {
    /// Version of the agent, for people.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.settings.version = version.into();
        self
    }

    /// Adds something the agent can do.
    #[must_use]
    pub fn capability(mut self, capability: impl Into<String>) -> Self {
        let capability = capability.into();
        if !self.settings.capabilities.contains(&capability) {
            self.settings.capabilities.push(capability);
        }
        self
    }

    /// How many steps it holds at a time; 1 unless set.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.settings.slots = slots;
        self
    }

    /// Project to work for; the credential's only one unless set.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.settings.project = project.into();
        self
    }

    /// How long a shutdown waits for the steps at work; 10 seconds unless set.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// How long a handler whose step was taken away may go on; 2 seconds unless set.
    #[must_use]
    pub fn abort_grace(mut self, grace: Duration) -> Self {
        self.settings.abort_grace = grace;
        self
    }

    /// Runs the steps of all capabilities that have no handler of their own.
    #[must_use]
    pub fn handler<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(StepContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.settings.fallback = Some(boxed(handler));
        self
    }

    /// Adds a capability with its own handler.
    #[must_use]
    pub fn on<F, Fut>(self, capability: impl Into<String>, handler: F) -> Self
    where
        F: Fn(StepContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let capability = capability.into();
        let mut builder = self.capability(capability.clone());
        builder.settings.handlers.insert(capability, boxed(handler));
        builder
    }

    /// The agent.
    ///
    /// # Errors
    /// No capability, a capability without a handler, or numbers beyond the contract's limits.
    pub fn build(self) -> Result<Worker, Error> {
        let settings = &self.settings;
        let orphan = settings.capabilities.iter().find(|name| settings.handler(name).is_none());
        let fault = if settings.capabilities.is_empty() {
            Some("an agent needs a capability: add .capability(..) or .on(..)".to_owned())
        } else if settings.capabilities.len() > MAX_CAPABILITIES {
            Some(format!("an agent has at most {MAX_CAPABILITIES} capabilities"))
        } else if let Some(name) = orphan {
            Some(format!("nothing handles `{name}`: add .handler(..) or .on(\"{name}\", ..)"))
        } else if settings.slots == 0 || settings.slots > MAX_SLOTS {
            Some(format!("slots must be 1 to {MAX_SLOTS}, not {}", settings.slots))
        } else {
            None
        };
        match fault {
            Some(fault) => Err(Error::client(Code::InvalidArgument, fault)),
            None => Ok(Worker {
                client: self.client,
                settings: self.settings,
                status: watch::Sender::new(WorkerStatus::default()),
            }),
        }
    }
}

fn boxed<F, Fut>(handler: F) -> Handler
where
    F: Fn(StepContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    Arc::new(move |step| Box::pin(handler(step)))
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("agent", &self.settings.agent)
            .field("capabilities", &self.settings.capabilities)
            .field("slots", &self.settings.slots)
            .finish_non_exhaustive()
    }
}
