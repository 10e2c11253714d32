//! `quarterdeck.orchestration.v1.WorkerService`.

use std::time::Duration;

use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::worker_service_server::WorkerService;
use quarterdeck_core::Span;
use quarterdeck_engine::session::Word;
use quarterdeck_engine::{Engine, Principal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::{caller, session};
use crate::convert::payload::{self, Room, Stored};
use crate::convert::worker;
use crate::layers::TimeAllowed;
use crate::status::Failure;

/// What a call for steps keeps of its time, so that its answer is not too late.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Messages waiting for the connection; the engine's queue is behind it.
const OUTBOUND: usize = 32;

pub struct Worker {
    pub engine: Engine,
    pub tracker: TaskTracker,
}

impl Worker {
    async fn say(&self, caller: &Principal, (token, word): (String, Word)) -> Result<(), Failure> {
        Ok(self.engine.say(caller, &token, word).await?)
    }
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

    async fn acquire_steps(
        &self,
        request: Request<pb::AcquireStepsRequest>,
    ) -> Result<Response<pb::AcquireStepsResponse>, Status> {
        let caller = caller(&request)?;
        let allowed = request.extensions().get::<TimeAllowed>().map_or(Duration::ZERO, |time| time.0);
        let margin = ANSWER_WITHIN.min(allowed / 4);
        let poll = worker::poll(request.into_inner(), Span::from_std(allowed - margin));
        let acquired = self.engine.acquire_steps(&caller, poll).await.map_err(Failure::from)?;
        Ok(Response::new(worker::acquired(acquired)))
    }

    async fn report_progress(
        &self,
        request: Request<pb::ReportProgressRequest>,
    ) -> Result<Response<pb::ReportProgressResponse>, Status> {
        let caller = caller(&request)?;
        self.say(&caller, worker::progress(request.into_inner())?).await?;
        Ok(Response::new(pb::ReportProgressResponse {}))
    }

    async fn complete_step(
        &self,
        request: Request<pb::CompleteStepRequest>,
    ) -> Result<Response<pb::CompleteStepResponse>, Status> {
        let caller = caller(&request)?;
        self.say(&caller, worker::complete(request.into_inner())?).await?;
        Ok(Response::new(pb::CompleteStepResponse {}))
    }

    async fn fail_step(
        &self,
        request: Request<pb::FailStepRequest>,
    ) -> Result<Response<pb::FailStepResponse>, Status> {
        let caller = caller(&request)?;
        self.say(&caller, worker::fail(request.into_inner())).await?;
        Ok(Response::new(pb::FailStepResponse {}))
    }

    async fn release_session(
        &self,
        request: Request<pb::ReleaseSessionRequest>,
    ) -> Result<Response<pb::ReleaseSessionResponse>, Status> {
        let caller = caller(&request)?;
        let token = request.into_inner().session_token;
        self.engine.release_session(&caller, &token).await.map_err(Failure::from)?;
        Ok(Response::new(pb::ReleaseSessionResponse {}))
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
