//! `quarterdeck.orchestration.v1.TaskService`.

use std::collections::BTreeSet;

use quarterdeck_api::orchestration::v1 as pb;
use quarterdeck_api::orchestration::v1::task_service_server::TaskService;
use quarterdeck_core::Refusal;
use quarterdeck_core::task::Task;
use quarterdeck_engine::Engine;
use quarterdeck_engine::tasks::TaskRequest;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::{caller, watches};
use crate::convert::payload::{ANSWER_MAX, Room};
use crate::convert::{events, page_size, plan, revision, tasks};
use crate::status::{Failure, Violation};

/// Most events in an answer: with 4 KiB of output each they still fit into it.
const EVENTS_MAX: u32 = 500;

pub struct Tasks {
    pub engine: Engine,
    pub tracker: TaskTracker,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl TaskService for Tasks {
    type WatchTaskStream = watches::TaskFrames;
    type WatchTasksStream = watches::ProjectFrames;

    async fn create_task(&self, request: Request<pb::CreateTaskRequest>) -> Answer<pb::CreateTaskResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let plan = wire.plan.ok_or_else(|| {
            Failure::from(Violation { field: "plan".to_owned(), description: "is required".to_owned() })
        })?;
        let (plan, actions) = plan::from_wire(plan)?;
        let new = TaskRequest { display_name: wire.display_name, labels: wire.labels, plan, actions };
        let created = self.engine.create_task(&caller, &wire.project, &wire.request_id, new).await;
        let task = created.map_err(Failure::from)?;
        Ok(Response::new(pb::CreateTaskResponse { task: Some(tasks::basic(&task)) }))
    }

    async fn get_task(&self, request: Request<pb::GetTaskRequest>) -> Answer<pb::GetTaskResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let task = self.engine.get_task(&caller, &wire.task_id).await.map_err(Failure::from)?;
        let full = wire.view() == pb::TaskView::Full;
        let task = self.view(&task, full, &wire.step_keys).await?;
        Ok(Response::new(pb::GetTaskResponse { task: Some(task) }))
    }

    async fn list_tasks(&self, request: Request<pb::ListTasksRequest>) -> Answer<pb::ListTasksResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let filter = tasks::filter(wire.filter).map_err(Failure::from)?;
        let size = page_size(wire.page_size);
        let listed = self.engine.list_tasks(&caller, &wire.project, filter, size, &wire.page_token).await;
        let (project, page) = listed.map_err(Failure::from)?;
        Ok(Response::new(pb::ListTasksResponse {
            tasks: page.items.into_iter().map(|row| tasks::row(row, &project)).collect(),
            next_page_token: page.next,
        }))
    }

    async fn cancel_task(&self, request: Request<pb::CancelTaskRequest>) -> Answer<pb::CancelTaskResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let required = revision(wire.if_revision_match);
        let canceled =
            self.engine.cancel_task(&caller, &wire.task_id, &wire.request_id, wire.comment, required).await;
        let task = canceled.map_err(Failure::from)?;
        Ok(Response::new(pb::CancelTaskResponse { task: Some(tasks::basic(&task)) }))
    }

    async fn retry_task(&self, request: Request<pb::RetryTaskRequest>) -> Answer<pb::RetryTaskResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let retried = self.engine.retry_task(&caller, &wire.task_id, &wire.request_id).await;
        let task = retried.map_err(Failure::from)?;
        Ok(Response::new(pb::RetryTaskResponse { task: Some(tasks::basic(&task)) }))
    }

    async fn watch_task(&self, request: Request<pb::WatchTaskRequest>) -> Answer<Self::WatchTaskStream> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let watch = self.engine.watch_task(&caller, &wire.task_id, &wire.resume_after).await;
        let frames = watches::of_task(&self.tracker, wire.task_id, watch.map_err(Failure::from)?);
        Ok(Response::new(frames))
    }

    async fn watch_tasks(&self, request: Request<pb::WatchTasksRequest>) -> Answer<Self::WatchTasksStream> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let watch = self
            .engine
            .watch_tasks(&caller, &wire.project, wire.labels, wire.include_steps, &wire.resume_after)
            .await;
        Ok(Response::new(watches::of_project(&self.tracker, watch.map_err(Failure::from)?)))
    }

    async fn list_task_events(
        &self,
        request: Request<pb::ListTaskEventsRequest>,
    ) -> Answer<pb::ListTaskEventsResponse> {
        let caller = caller(&request)?;
        let wire = request.into_inner();
        let size = page_size(wire.page_size).min(EVENTS_MAX);
        let listed = self.engine.task_events(&caller, &wire.task_id, size, &wire.page_token).await;
        let (task, page) = listed.map_err(Failure::from)?;
        let mut room = Room::answer();
        let convert = |event| events::to_wire(task.id, event, &task.plan, &mut room);
        let events = page.items.iter().map(convert).collect();
        Ok(Response::new(pb::ListTaskEventsResponse { events, next_page_token: page.next }))
    }
}

impl Tasks {
    /// The steps asked for, with contents where the view wants them.
    async fn view(&self, task: &Task, full: bool, step_keys: &[String]) -> Result<pb::Task, Failure> {
        if let Some(unknown) = step_keys.iter().find(|key| task.plan.index_of(key).is_none()) {
            let refusal = Refusal::StepNotFound { step_key: unknown.clone() };
            return Err(quarterdeck_engine::Error::from(refusal).into());
        }
        let asked: BTreeSet<&str> = step_keys.iter().map(String::as_str).collect();
        let wanted = |key: &str| asked.is_empty() || asked.contains(key);
        if !full {
            return Ok(tasks::to_wire(task, wanted, &Default::default(), &mut Room::none()));
        }
        let payloads = tasks::payloads(task, wanted);
        let stored = self.engine.contents(&payloads, ANSWER_MAX).await?;
        Ok(tasks::to_wire(task, wanted, &stored, &mut Room::answer()))
    }
}
