//! `grpc.health.v1` and reflection.
//!
//! Names: every service by its full name and `` (all of them), serving until the
//! drain begins; the role `live`, the same and independent of any database; the
//! role `ready`, which follows the store. All turn NOT_SERVING before anybody is
//! sent home.

use std::time::Duration;

use quarterdeck_engine::Engine;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};

use crate::layers::service_names;
use crate::telemetry;

/// Role: the process lives and is not draining.
pub const LIVE: &str = "live";
/// Role: calls that need the store will succeed.
pub const READY: &str = "ready";

/// Longest request: all of them are names.
const MESSAGE_MAX: usize = 16 * 1024;
/// How often the store is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Says who serves.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// Everything serves but `ready`, which nobody knows about yet.
    pub async fn new() -> Self {
        let health = Self { reporter: HealthReporter::new() };
        health.set_all(ServingStatus::Serving).await;
        health.reporter.set_service_status(READY, ServingStatus::NotServing).await;
        health
    }

    async fn set_all(&self, status: ServingStatus) {
        for name in service_names() {
            self.reporter.set_service_status(name, status).await;
        }
        for name in ["", LIVE, READY] {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Lets `ready` follow the engine until the drain begins, and then says that
    /// nothing serves any more. Only this changes a status, so nothing comes after.
    pub async fn follow(self, engine: Engine, draining: CancellationToken) {
        let mut known = None;
        loop {
            let state = tokio::select! {
                biased;
                () = draining.cancelled() => break,
                state = engine.ready() => state,
            };
            let ready = state.is_ok();
            if known != Some(ready) {
                match state {
                    Ok(()) => tracing::info!("ready"),
                    Err(problem) => tracing::warn!(problem, "not ready"),
                }
                let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
                self.reporter.set_service_status(READY, status).await;
                metrics::gauge!(telemetry::READY).set(if ready { 1.0 } else { 0.0 });
                known = Some(ready);
            }
            tokio::select! {
                biased;
                () = draining.cancelled() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        self.set_all(ServingStatus::NotServing).await;
        metrics::gauge!(telemetry::READY).set(0.0);
    }

    /// Adds health and both versions of reflection.
    pub fn add_to(&self, routes: Routes) -> Result<Routes, String> {
        let health = HealthService::from_health_reporter(self.reporter.clone());
        let sets = [
            quarterdeck_api::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let builder = || {
            let builder = tonic_reflection::server::Builder::configure().include_reflection_service(false);
            sets.iter().fold(builder, |builder, set| builder.register_encoded_file_descriptor_set(set))
        };
        let v1 = builder().build_v1().map_err(|error| error.to_string())?;
        let v1alpha = builder().build_v1alpha().map_err(|error| error.to_string())?;
        let health = tonic_health::pb::health_server::HealthServer::new(health);
        Ok(routes
            .add_service(health.max_decoding_message_size(MESSAGE_MAX))
            .add_service(v1.max_decoding_message_size(MESSAGE_MAX))
            .add_service(v1alpha.max_decoding_message_size(MESSAGE_MAX)))
    }
}
