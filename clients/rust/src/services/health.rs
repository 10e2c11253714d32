//! `grpc.health.v1`.

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::client::Client;
use crate::error::Error;
use crate::retry;

/// What a server says about one of its services or roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Takes calls.
    Serving,
    /// Takes none now.
    NotServing,
    /// Knows no more than the name.
    Unknown,
}

impl Client {
    /// The health of a service by its full name, of a role (`live`, `ready`), or of
    /// the server as a whole (empty name).
    ///
    /// # Errors
    /// NOT_FOUND where the server has no such name.
    pub async fn health(&self, service: impl Into<String>) -> Result<Health, Error> {
        let request = HealthCheckRequest { service: service.into() };
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.health_stub();
            async move { stub.check(request).await }
        });
        Ok(match response.await?.status() {
            ServingStatus::Serving => Health::Serving,
            ServingStatus::NotServing => Health::NotServing,
            ServingStatus::Unknown | ServingStatus::ServiceUnknown => Health::Unknown,
        })
    }
}
