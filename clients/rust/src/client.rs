//! The client: a shared connection and the generated stubs on top of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quarterdeck_api::approvals::v1::approval_service_client::ApprovalServiceClient;
use quarterdeck_api::approvals::v1::audit_service_client::AuditServiceClient;
use quarterdeck_api::approvals::v1::gate_service_client::GateServiceClient;
use quarterdeck_api::approvals::v1::notification_service_client::NotificationServiceClient;
use quarterdeck_api::approvals::v1::policy_service_client::PolicyServiceClient;
use quarterdeck_api::operations::v1::key_service_client::KeyServiceClient;
use quarterdeck_api::operations::v1::project_service_client::ProjectServiceClient;
use quarterdeck_api::orchestration::v1::agent_service_client::AgentServiceClient;
use quarterdeck_api::orchestration::v1::task_service_client::TaskServiceClient;
use quarterdeck_api::orchestration::v1::worker_service_client::WorkerServiceClient;
use tonic_health::pb::health_client::HealthClient;

use crate::channel::{Authorized, Connection, MAX_DECODED};
use crate::config::Config;
use crate::error::Error;
use crate::retry::{Policy, Repeat};

/// Calls a Quarterdeck server. Cheap to clone; clones share one HTTP/2 connection.
///
/// A connection carries as many streams at a time as the server allows (watches
/// and sessions each take one); open further clients for hundreds of them.
#[derive(Clone)]
pub struct Client {
    pub(crate) connection: Arc<Connection>,
    config: Arc<Config>,
    deadline: Duration,
    retries: bool,
}

impl Client {
    /// Connects now.
    ///
    /// # Errors
    /// A bad configuration, or a server that cannot be reached.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let connection = Connection::dial(&config).await?;
        Ok(Self::over(connection, config))
    }

    /// Connects at the first call. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A bad configuration.
    pub fn lazy(config: Config) -> Result<Self, Error> {
        let connection = Connection::lazy(&config)?;
        Ok(Self::over(connection, config))
    }

    fn over(connection: Connection, config: Config) -> Self {
        Self {
            connection: Arc::new(connection),
            deadline: config.default_deadline,
            config: Arc::new(config),
            retries: true,
        }
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A client over the same connection whose unary calls have this long,
    /// repetitions included.
    #[must_use]
    pub fn with_deadline(&self, overall: Duration) -> Self {
        Self { deadline: overall, ..self.clone() }
    }

    /// A client over the same connection that calls once and shows the error.
    #[must_use]
    pub fn without_retries(&self) -> Self {
        Self { retries: false, ..self.clone() }
    }

    pub(crate) fn policy(&self) -> Policy {
        self.policy_with(Repeat::Always)
    }

    pub(crate) fn policy_with(&self, repeat: Repeat) -> Policy {
        Policy { deadline: self.deadline, repeat: if self.retries { repeat } else { Repeat::Never } }
    }

    fn channel(&self) -> Authorized {
        self.connection.current().1
    }

    /// The generated stub: authenticated, but without retries and deadlines.
    #[must_use]
    pub fn task_stub(&self) -> TaskServiceClient<Authorized> {
        TaskServiceClient::new(self.channel()).max_decoding_message_size(MAX_DECODED)
    }

    /// As [`Client::task_stub`].
    #[must_use]
    pub fn agent_stub(&self) -> AgentServiceClient<Authorized> {
        AgentServiceClient::new(self.channel()).max_decoding_message_size(MAX_DECODED)
    }

    /// As [`Client::task_stub`].
    #[must_use]
    pub fn worker_stub(&self) -> WorkerServiceClient<Authorized> {
        WorkerServiceClient::new(self.channel()).max_decoding_message_size(MAX_DECODED)
    }

    /// As [`Client::task_stub`].
    #[must_use]
    pub fn project_stub(&self) -> ProjectServiceClient<Authorized> {
        ProjectServiceClient::new(self.channel()).max_decoding_message_size(MAX_DECODED)
    }

    /// As [`Client::task_stub`].
    #[must_use]
    pub fn key_stub(&self) -> KeyServiceClient<Authorized> {
        KeyServiceClient::new(self.channel()).max_decoding_message_size(MAX_DECODED)
    }

    /// As [`Client::task_stub`].
    #[must_use]
    pub fn approval_stub(&self) -> ApprovalServiceClient<Authorized> {
        ApprovalServiceClient::new(self.channel()).max_decoding_message_size(MAX_DECODED)
    }

    /// As [`Client::task_stub`].
    #[must_use]
    pub fn audit_stub(&self) -> AuditServiceClient<Authorized> {
        AuditServiceClient::new(self.channel()).max_decoding_message_size(MAX_DECODED)
    }

    /// As [`Client::task_stub`].
    #[must_use]
    pub fn gate_stub(&self) -> GateServiceClient<Authorized> {
        GateServiceClient::new(self.channel()).max_decoding_message_size(MAX_DECODED)
    }

    /// As [`Client::task_stub`].
    #[must_use]
    pub fn notification_stub(&self) -> NotificationServiceClient<Authorized> {
        NotificationServiceClient::new(self.channel()).max_decoding_message_size(MAX_DECODED)
    }

    /// As [`Client::task_stub`].
    #[must_use]
    pub fn policy_stub(&self) -> PolicyServiceClient<Authorized> {
        PolicyServiceClient::new(self.channel()).max_decoding_message_size(MAX_DECODED)
    }

    /// As [`Client::task_stub`].
    #[must_use]
    pub fn health_stub(&self) -> HealthClient<Authorized> {
        HealthClient::new(self.channel())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.config)
            .field("deadline", &self.deadline)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}
