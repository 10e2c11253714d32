//! `quarterdeck.orchestration.v1.WorkerService`.

use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::worker_service_server::WorkerService;
use quarterdeck_engine::Engine;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::{caller, session};
use crate::convert::payload::{self, Room, Stored};
use crate::status::Failure;

/// Messages waiting for the connection; the engine's queue is behind it.
const OUTBOUND: usize = 32;

pub struct Worker {
    pub engine: Engine,
    pub tracker: TaskTracker,
}

#[tonic::async_trait]
impl WorkerService for Worker {
    type SessionStream = ReceiverStream<Result<pb::SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let caller = caller(&request)?;
        let (outbound, responses) = mpsc::channel(OUTBOUND);
        let session = session::run(self.engine.clone(), caller, request.into_inner(), outbound);
        // Answered at once: an agent may wait for the headers before it says Hello.
        self.tracker.spawn(session.in_current_span());
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn get_dependency_output(
        &self,
        request: Request<pb::GetDependencyOutputRequest>,
    ) -> Result<Response<pb::GetDependencyOutputResponse>, Status> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let output = self.engine.dependency_output(&caller, &wire.lease_token, &wire.step_key).await;
        let output = output.map_err(Failure::from)?;
        let output = output.map(|output| payload::to_wire(&output, &Stored::new(), &mut Room::answer()));
        Ok(Response::new(pb::GetDependencyOutputResponse { output }))
    }
}
