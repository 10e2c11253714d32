//! What callers ask of tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use quarterdeck_core::digest::Canonical;
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::task::{self, Command, Event, NewTask, Task};
use quarterdeck_core::{Digest, Plan, ProjectId, Refusal, TaskId};
use quarterdeck_risk::redact;
use quarterdeck_store::RequestRecord;
use quarterdeck_store::rows::{TaskFilter, TaskRow};

use crate::aggregate::{Op, Said};
use crate::auth::Principal;
use crate::cursor::{Page, filter_digest, page_size, page_token, read_page_token};
use crate::engine::{Engine, Shared};
use crate::error::{Error, Noun, Result};
use crate::payloads::detached;

use crate::record::request_record;

/// A task to create, as the caller described it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRequest {
    pub display_name: String,
    pub labels: BTreeMap<String, String>,
    pub plan: Plan,
    /// Actions that its steps declare, as they are kept apart.
    pub actions: Vec<(Digest, bytes::Bytes)>,
}

impl TaskRequest {
    /// Digest of everything that makes this request this one.
    fn digest(&self) -> Result<Digest> {
        // The plan's JSON is canonical: fixed field order, validated, no maps.
        let plan = serde_json::to_vec(&self.plan)
            .map_err(|error| Error::Internal(format!("a plan cannot be written: {error}")))?;
        let mut canonical = Canonical::new("quarterdeck.request.create-task.v1");
        canonical.text(&self.display_name).int(self.labels.len() as i64);
        for (name, value) in &self.labels {
            canonical.text(name).text(value);
        }
        Ok(canonical.bytes(&plan).finish())
    }
}

impl Engine {
    /// Creates a task, or answers the one that the same request created.
    pub async fn create_task(
        &self,
        caller: &Principal,
        project: &str,
        request_id: &str,
        new: TaskRequest,
    ) -> Result<Arc<Task>> {
        let project = caller.project(project)?;
        if self.0.project(&project).await?.archived {
            return Err(Refusal::ProjectArchived.into());
        }
        let digest = if request_id.is_empty() { Digest::from_bytes([0; 32]) } else { new.digest()? };
        let mut apart = new.actions;
        let plan = new.plan.map_inputs(|input| detached(input, &mut apart));
        let new = NewTask {
            project: project.clone(),
            display_name: redact::text(&new.display_name),
            labels: unsecret(new.labels),
            plan,
            created_by: caller.subject.clone(),
            owner: caller.person.clone(),
        };
        let created = task::create(new, &self.0.time.ctx());
        self.0.contents.remember(&apart);
        self.0.open_task(&project, "CreateTask", request_id, digest, created, apart).await
    }

    /// The task as it is now.
    pub async fn get_task(&self, caller: &Principal, id: &str) -> Result<Arc<Task>> {
        let task = self.0.current(parse(id)?).await?;
        visible(caller, task)
    }

    /// Ends a running task.
    pub async fn cancel_task(
        &self,
        caller: &Principal,
        id: &str,
        request_id: &str,
        comment: String,
        if_revision: Option<u64>,
    ) -> Result<Arc<Task>> {
        let id = parse(id)?;
        let known = visible(caller, self.0.some_version(id).await?)?;
        let digest = Canonical::new("quarterdeck.request.cancel-task.v1")
            .text(&id.to_string())
            .text(&comment)
            .optional(if_revision, |c, revision| c.int(revision as i64))
            .finish();
        let project = ProjectId::of(&known.project);
        let request = request_record(project, "CancelTask", request_id, digest, id.stream());
        let command = Command::Cancel { comment: redact::text(&comment), if_revision };
        match self.0.ask(id, Op::Do(command), Vec::new(), request.clone()).await {
            Ok(Said::Task(task)) => Ok(task),
            Ok(Said::Duplicate) => {
                self.0.granted_before(request.as_ref(), &Error::RequestIdReused).await?;
                self.0.current(id).await
            }
            // Refused now, but perhaps granted before: then this is a repetition.
            Err(refused @ Error::Refused(_)) => {
                self.0.granted_before(request.as_ref(), &refused).await?;
                self.0.current(id).await
            }
            Err(error) => Err(error),
        }
    }

    /// Creates a task that does a failed or cancelled one again.
    pub async fn retry_task(&self, caller: &Principal, id: &str, request_id: &str) -> Result<Arc<Task>> {
        let id = parse(id)?;
        let task = visible(caller, self.0.current(id).await?)?;
        let digest = Canonical::new("quarterdeck.request.retry-task.v1").text(&id.to_string()).finish();
        let project = task.project.clone();
        if self.0.project(&project).await?.archived {
            return Err(Refusal::ProjectArchived.into());
        }
        let created = task::retry(&task, &caller.subject, &caller.person, &self.0.time.ctx())?;
        self.0.open_task(&project, "RetryTask", request_id, digest, created, Vec::new()).await
    }

    /// One page of a project's tasks, newest first.
    pub async fn list_tasks(
        &self,
        caller: &Principal,
        project: &str,
        mut filter: TaskFilter,
        size: u32,
        token: &str,
    ) -> Result<(String, Page<TaskRow>)> {
        filter.labels = unsecret(filter.labels);
        let project = caller.project(project)?;
        self.0.project(&project).await?;
        let own = filter_digest("tasks", |c| {
            c.text(&project).text(&format!("{filter:?}"));
        });
        let before = read_page_token(own, token)?.map(TaskId::from_uuid);
        let size = page_size(size, 50);
        let (items, last) = self.0.store.list_tasks(ProjectId::of(&project), &filter, before, size).await?;
        let next = last.map(|last| page_token(own, last.as_uuid())).unwrap_or_default();
        Ok((project, Page { items, next }))
    }

    /// One page of a task's history, oldest first, with the task it is of.
    pub async fn task_events(
        &self,
        caller: &Principal,
        id: &str,
        size: u32,
        token: &str,
    ) -> Result<(Arc<Task>, Page<Recorded<Event>>)> {
        let id = parse(id)?;
        let task = visible(caller, self.0.some_version(id).await?)?;
        let filter = filter_digest("events", |c| {
            c.text(&id.to_string());
        });
        let after = read_page_token(filter, token)?.map_or(0, |place| place.as_u128() as u64);
        let size = page_size(size, 100) as usize;
        let mut items = self.0.load_events(id.stream(), after, size as u32 + 1).await?;
        let more = items.len() > size;
        items.truncate(size);
        let last = items.last().filter(|_| more).map(|event| uuid::Uuid::from_u128(event.sequence.into()));
        let next = last.map(|last| page_token(filter, last)).unwrap_or_default();
        Ok((task, Page { items, next }))
    }
}

impl Shared {
    async fn open_task(
        self: &Arc<Self>,
        project: &str,
        method: &'static str,
        request_id: &str,
        digest: Digest,
        created: Event,
        apart: Vec<(Digest, bytes::Bytes)>,
    ) -> Result<Arc<Task>> {
        let Event::Created(first) = &created else {
            return Err(Error::Internal("a task must open with its creation".to_owned()));
        };
        let id = first.id;
        let request: Option<RequestRecord> =
            request_record(ProjectId::of(project), method, request_id, digest, id.stream());
        match self.ask(id, Op::Create(created), apart, request.clone()).await? {
            Said::Task(task) => Ok(task),
            Said::Duplicate => {
                let known = self.granted_before(request.as_ref(), &Error::RequestIdReused).await?;
                self.current(TaskId::from_uuid(known.stream.as_uuid())).await
            }
        }
    }
}

/// Labels are looked for by their values: only secrets are taken out of them.
pub(crate) fn unsecret(labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels.into_iter().map(|(name, value)| (name, redact::secrets(&value))).collect()
}

/// Text that is no task id names no task.
pub(crate) fn parse(id: &str) -> Result<TaskId> {
    id.parse().map_err(|_| Error::NotFound(Noun::Task))
}

/// What is not the caller's does not exist.
pub(crate) fn visible(caller: &Principal, task: Arc<Task>) -> Result<Arc<Task>> {
    match caller.scope.covers(&task.project) {
        true => Ok(task),
        false => Err(Error::NotFound(Noun::Task)),
    }
}
