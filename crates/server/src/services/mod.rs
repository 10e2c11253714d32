//! One file a service: take the caller from the request, convert, call the
//! engine, convert. Nothing is decided here.

mod agents;
mod approvals;
mod audit;
mod gates;
mod keys;
mod notifications;
mod policies;
mod projects;
mod session;
mod tasks;
mod watches;
mod worker;

use std::sync::Arc;

use quarterdeck_api::approvals::v1::approval_service_server::ApprovalServiceServer;
use quarterdeck_api::approvals::v1::audit_service_server::AuditServiceServer;
use quarterdeck_api::approvals::v1::gate_service_server::GateServiceServer;
use quarterdeck_api::approvals::v1::notification_service_server::NotificationServiceServer;
use quarterdeck_api::approvals::v1::policy_service_server::PolicyServiceServer;
use quarterdeck_api::operations::v1::key_service_server::KeyServiceServer;
use quarterdeck_api::operations::v1::project_service_server::ProjectServiceServer;
use quarterdeck_api::orchestration::v1::agent_service_server::AgentServiceServer;
use quarterdeck_api::orchestration::v1::task_service_server::TaskServiceServer;
use quarterdeck_api::orchestration::v1::worker_service_server::WorkerServiceServer;
use quarterdeck_engine::{Engine, Principal};
use tokio_util::task::TaskTracker;
use tonic::Request;
use tonic::service::Routes;

use crate::auth::Caller;
use crate::status::{Failure, Fault};

/// All services of the contract, each with the message limit.
pub fn routes(engine: &Engine, tracker: &TaskTracker, message_size: u32) -> Routes {
    let limit = message_size as usize;
    let (engine, tracker) = (engine.clone(), tracker.clone());
    let tasks = tasks::Tasks { engine: engine.clone(), tracker: tracker.clone() };
    let approvals = approvals::Approvals { engine: engine.clone(), tracker: tracker.clone() };
    Routes::new(TaskServiceServer::new(tasks).max_decoding_message_size(limit))
        .add_service(ApprovalServiceServer::new(approvals).max_decoding_message_size(limit))
        .add_service(AuditServiceServer::new(audit::Audit(engine.clone())).max_decoding_message_size(limit))
        .add_service(GateServiceServer::new(gates::Gates(engine.clone())).max_decoding_message_size(limit))
        .add_service(
            NotificationServiceServer::new(notifications::Notifications(engine.clone()))
                .max_decoding_message_size(limit),
        )
        .add_service(
            PolicyServiceServer::new(policies::Policies(engine.clone())).max_decoding_message_size(limit),
        )
        .add_service(AgentServiceServer::new(agents::Agents(engine.clone())).max_decoding_message_size(limit))
        .add_service(
            ProjectServiceServer::new(projects::Projects(engine.clone())).max_decoding_message_size(limit),
        )
        .add_service(KeyServiceServer::new(keys::Keys(engine.clone())).max_decoding_message_size(limit))
        .add_service(
            WorkerServiceServer::new(worker::Worker { engine, tracker }).max_decoding_message_size(limit),
        )
}

/// Who calls, as the edge has found out.
fn caller<T>(request: &Request<T>) -> Result<Arc<Principal>, Failure> {
    match request.extensions().get::<Caller>() {
        Some(caller) => Ok(Arc::clone(&caller.principal)),
        None => {
            // The edge lets nobody through without one.
            tracing::error!("a handler was reached without a caller");
            Err(Fault::Defect.into())
        }
    }
}
