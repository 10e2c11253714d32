//! Tasks: create, read, end, list. Watching is in `watch`.

use futures::StreamExt;
use quarterdeck_api::orchestration::v1 as pb;
use tonic::Code;

use super::page::{Items, Page, required};
use crate::client::Client;
use crate::error::Error;
use crate::{ambient, retry};

impl Client {
    /// Creates a task. An empty `request_id` is filled, so that repeating after a
    /// lost answer creates nothing twice.
    ///
    /// # Errors
    /// As the contract says; what may pass has been repeated until the deadline.
    pub async fn create_task(&self, mut request: pb::CreateTaskRequest) -> Result<pb::Task, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.task_stub();
            async move { stub.create_task(request).await }
        });
        required(response.await?.task, "task")
    }

    /// Reads a task with its payloads (until 3 MiB are reached).
    ///
    /// # Errors
    /// TASK_NOT_FOUND.
    pub async fn get_task(&self, id: impl Into<String>) -> Result<pb::Task, Error> {
        self.get_task_with(pb::GetTaskRequest {
            task_id: id.into(),
            view: pb::TaskView::Full.into(),
            step_keys: Vec::new(),
        })
        .await
    }

    /// Reads a task, or some steps of it.
    ///
    /// # Errors
    /// TASK_NOT_FOUND, STEP_NOT_FOUND.
    pub async fn get_task_with(&self, request: pb::GetTaskRequest) -> Result<pb::Task, Error> {
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.task_stub();
            async move { stub.get_task(request).await }
        });
        required(response.await?.task, "task")
    }

    /// All tasks that match, newest first, from the page of `request.page_token` on.
    #[must_use]
    pub fn list_tasks(&self, request: pb::ListTasksRequest) -> Items<pb::Task> {
        let client = self.clone();
        Items::walk(request.page_token.clone(), move |page_token| {
            let client = client.clone();
            let request = pb::ListTasksRequest { page_token, ..request.clone() };
            async move {
                let page = client.list_tasks_page(request).await?;
                Ok(Page { items: page.tasks, next: page.next_page_token })
            }
        })
    }

    /// One page of tasks.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn list_tasks_page(
        &self,
        request: pb::ListTasksRequest,
    ) -> Result<pb::ListTasksResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.task_stub();
            async move { stub.list_tasks(request).await }
        })
        .await
    }

    /// Ends a task; an empty `request_id` is filled.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn cancel_task(&self, mut request: pb::CancelTaskRequest) -> Result<pb::Task, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.task_stub();
            async move { stub.cancel_task(request).await }
        });
        required(response.await?.task, "task")
    }

    /// Does an unsuccessful task again, as a new one; an empty `request_id` is filled.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn retry_task(&self, mut request: pb::RetryTaskRequest) -> Result<pb::Task, Error> {
        fill(&mut request.request_id);
        let response = retry::call(self.policy(), request, |request| {
            let mut stub = self.task_stub();
            async move { stub.retry_task(request).await }
        });
        required(response.await?.task, "task")
    }

    /// The history of a task, oldest first.
    #[must_use]
    pub fn task_events(&self, id: impl Into<String>) -> Items<pb::TaskEvent> {
        let (client, task_id) = (self.clone(), id.into());
        Items::walk(String::new(), move |page_token| {
            let client = client.clone();
            let request = pb::ListTaskEventsRequest { task_id: task_id.clone(), page_size: 0, page_token };
            async move {
                let page = client.task_events_page(request).await?;
                Ok(Page { items: page.events, next: page.next_page_token })
            }
        })
    }

    /// One page of a task's history.
    ///
    /// # Errors
    /// As the contract says.
    pub async fn task_events_page(
        &self,
        request: pb::ListTaskEventsRequest,
    ) -> Result<pb::ListTaskEventsResponse, Error> {
        retry::call(self.policy(), request, |request| {
            let mut stub = self.task_stub();
            async move { stub.list_task_events(request).await }
        })
        .await
    }

    /// Waits for the end of a task and answers it with its payloads. Waits as long
    /// as the task lives; put a timeout around it.
    ///
    /// # Errors
    /// The task cannot be read, or the server stays away (`Config::reconnect_for`).
    pub async fn wait_for_task(&self, id: impl Into<String>) -> Result<pb::Task, Error> {
        let id = id.into();
        let mut frames = self.watch_task(id.clone());
        while let Some(frame) = frames.next().await {
            frame?;
        }
        let task = self.get_task(id).await?;
        if task.end_time.is_none() && task.state() == pb::TaskState::Running {
            return Err(Error::client(
                Code::Internal,
                format!("the watch of {} ended, but the task did not", task.id),
            ));
        }
        Ok(task)
    }
}

/// Gives a mutation an id of its own, unless the caller chose one.
pub(super) fn fill(request_id: &mut String) {
    if request_id.is_empty() {
        *request_id = ambient::request_id();
    }
}
