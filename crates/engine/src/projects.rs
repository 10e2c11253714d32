//! Projects: created by administrators, checked by everybody.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use quarterdeck_core::digest::Canonical;
use quarterdeck_core::project::{self, Event, Project};
use quarterdeck_core::{ProjectId, Span, Timestamp};
use quarterdeck_risk::redact;
use quarterdeck_store::RequestRecord;
use quarterdeck_store::rows::{ProjectRow, RowChange};

use crate::auth::Principal;
use crate::cursor::{Page, filter_digest, name_token, page_size, read_name_token};
use crate::engine::{Engine, Shared};
use crate::error::{Error, Noun, Result};
use crate::record::{Change, Folding, request_record};

/// How long a project is taken for unchanged. An archived project may take new
/// tasks on other replicas for this long.
const TRUSTED_FOR: Span = Span::from_secs(2);
/// Projects kept in memory.
const CACHED_MAX: usize = 10_000;

/// Projects read lately.
#[derive(Default)]
pub struct ProjectCache(Mutex<BTreeMap<String, (Timestamp, Project)>>);

impl ProjectCache {
    fn put(&self, now: Timestamp, project: &Project) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHED_MAX {
            cache.clear();
        }
        cache.insert(project.name.clone(), (now, project.clone()));
    }

    fn get(&self, now: Timestamp, name: &str) -> Option<Project> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, project) = cache.get(name)?;
        (now.since(*read_at) < TRUSTED_FOR).then(|| project.clone())
    }
}

fn folding(name: &str) -> Folding<Project, Event> {
    let id = ProjectId::of(name);
    Folding { stream: id.stream(), project: id, apply: project::apply }
}

fn row(project: &Project) -> RowChange {
    RowChange::ProjectPut(ProjectRow {
        id: ProjectId::of(&project.name),
        name: project.name.clone(),
        revision: project.revision,
    })
}

fn revision(project: &Project) -> u64 {
    project.revision
}

impl Engine {
    pub async fn create_project(
        &self,
        _caller: &Principal,
        request_id: &str,
        name: &str,
        display_name: &str,
    ) -> Result<Project> {
        let digest =
            Canonical::new("quarterdeck.request.create-project.v1").text(name).text(display_name).finish();
        let id = ProjectId::of(name);
        let request =
            request_record(ProjectId::installation(), "CreateProject", request_id, digest, id.stream());
        let display_name = &redact::secrets(display_name);
        let decide = |state: Option<&Project>| Ok(project::create(state, name, display_name)?);
        self.0.put_project(name, request, decide).await
    }

    pub async fn get_project(&self, caller: &Principal, name: &str) -> Result<Project> {
        if !caller.scope.covers(name) {
            return Err(Error::NotFound(Noun::Project));
        }
        self.0.fold(&folding(name)).await?.ok_or(Error::NotFound(Noun::Project))
    }

    pub async fn list_projects(&self, caller: &Principal, size: u32, token: &str) -> Result<Page<Project>> {
        let size = page_size(size, 50);
        let filter = filter_digest("projects", |_| {});
        let mut after = read_name_token(filter, token)?;
        let mut page = Page::default();
        loop {
            let rows = self.0.store.list_projects(after.as_deref(), size).await?;
            let more = rows.len() == size as usize;
            // Rows that the caller may not see do not count.
            for row in rows {
                if page.items.len() == size as usize {
                    page.next = after.map(|after| name_token(filter, &after)).unwrap_or_default();
                    return Ok(page);
                }
                if caller.scope.covers(&row.name) {
                    page.items.extend(self.0.fold(&folding(&row.name)).await?);
                }
                after = Some(row.name);
            }
            if !more {
                return Ok(page);
            }
        }
    }

    pub async fn update_project(
        &self,
        caller: &Principal,
        request_id: &str,
        name: &str,
        change: project::Change,
    ) -> Result<Project> {
        if !caller.scope.covers(name) {
            return Err(Error::NotFound(Noun::Project));
        }
        let digest = Canonical::new("quarterdeck.request.update-project.v1")
            .text(name)
            .optional(change.display_name.as_deref(), |c, name| c.text(name))
            .optional(change.archived, |c, archived| c.int(archived.into()))
            .optional(change.if_revision, |c, revision| c.int(revision as i64))
            .finish();
        let display_name = change.display_name.as_deref().map(redact::secrets);
        let change = project::Change { display_name, ..change };
        let id = ProjectId::of(name);
        let request = request_record(id, "UpdateProject", request_id, digest, id.stream());
        let decide = |state: Option<&Project>| match state {
            Some(state) => Ok(project::update(state, &change)?),
            None => Err(Error::NotFound(Noun::Project)),
        };
        self.0.put_project(name, request, decide).await
    }
}

impl Shared {
    async fn put_project(
        &self,
        name: &str,
        request: Option<RequestRecord>,
        decide: impl Fn(Option<&Project>) -> Result<Vec<Event>>,
    ) -> Result<Project> {
        let folding = folding(name);
        let project = match self.change(&folding, revision, request.as_ref(), decide, row).await {
            Ok(Change::Done(project)) => project,
            Ok(Change::Duplicate) => {
                self.granted_before(request.as_ref(), &Error::RequestIdReused).await?;
                self.fold(&folding).await?.ok_or(Error::NotFound(Noun::Project))?
            }
            // Refused now, but perhaps it was granted before: then this is a repetition.
            Err(refused @ Error::Refused(_)) => {
                self.granted_before(request.as_ref(), &refused).await?;
                self.fold(&folding).await?.ok_or(Error::NotFound(Noun::Project))?
            }
            Err(error) => return Err(error),
        };
        self.projects.put(self.time.now(), &project);
        Ok(project)
    }

    /// The project, as it was within the last two seconds.
    pub(crate) async fn project(&self, name: &str) -> Result<Project> {
        if let Some(project) = self.projects.get(self.time.now(), name) {
            return Ok(project);
        }
        let project = self.fold(&folding(name)).await?.ok_or(Error::NotFound(Noun::Project))?;
        self.projects.put(self.time.now(), &project);
        Ok(project)
    }

    pub(crate) async fn ensure_project(&self, name: &str, display_name: &str) -> Result<()> {
        let decide = |state: Option<&Project>| match state {
            Some(_) => Ok(Vec::new()),
            None => Ok(project::create(None, name, display_name)?),
        };
        self.change(&folding(name), revision, None, decide, row).await.map(drop)
    }
}
