//! What holds in a project, read and cached.
//!
//! Invariant: a cached state may be a second old; a commit that starts an action
//! guards the stream at the revision that was looked at, so an old one conflicts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quarterdeck_core::policy::{self, Event, Standing};
use quarterdeck_core::task::StepGrant;
use quarterdeck_core::{ProjectId, Span, StreamId, Timestamp};
use quarterdeck_store::rows::RowChange;
use quarterdeck_store::{Guard, RequestRecord};

use crate::audit;
use crate::engine::Shared;
use crate::error::{Error, Result};
use crate::record::{Change, Folding};

/// How long what holds is taken for unchanged.
const TRUSTED_FOR: Span = Span::from_secs(1);
/// Projects kept in memory.
const CACHED_MAX: usize = 10_000;

/// What holds in the projects looked at lately.
#[derive(Default)]
pub(crate) struct StandingCache(Mutex<BTreeMap<ProjectId, (Timestamp, Arc<Standing>)>>);

impl StandingCache {
    fn get(&self, now: Timestamp, project: ProjectId) -> Option<Arc<Standing>> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, standing) = cache.get(&project)?;
        (now.since(*read_at) < TRUSTED_FOR).then(|| Arc::clone(standing))
    }

    fn put(&self, now: Timestamp, project: ProjectId, standing: Standing) -> Arc<Standing> {
        let standing = Arc::new(standing);
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHED_MAX {
            cache.clear();
        }
        cache.insert(project, (now, Arc::clone(&standing)));
        standing
    }

    pub fn forget(&self, project: ProjectId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&project);
    }
}

fn folding(id: ProjectId) -> Folding<Standing, Event> {
    Folding { stream: id.policy_stream(), project: id, apply: policy::apply }
}

fn revision(standing: &Standing) -> u64 {
    standing.revision
}

impl Shared {
    /// What holds in a project, as it was within the last second; as shipped where
    /// nobody has set anything.
    pub(crate) async fn standing(&self, project: &str) -> Result<Arc<Standing>> {
        self.standing_of(ProjectId::of(project)).await
    }

    /// The same by the project's id.
    pub(crate) async fn standing_of(&self, id: ProjectId) -> Result<Arc<Standing>> {
        if let Some(known) = self.standings.get(self.time.now(), id) {
            return Ok(known);
        }
        let now = self.time.now();
        let standing = self.fold(&folding(id)).await?.unwrap_or_default();
        Ok(self.standings.put(now, id, standing))
    }

    /// The same for who asks for a yes under it: what is guarded has to exist.
    pub(super) async fn opened_standing(&self, project: &str) -> Result<Arc<Standing>> {
        let standing = self.standing(project).await?;
        if standing.revision > 0 {
            return Ok(standing);
        }
        match self.write_standing(project, None, |_| Ok(Vec::new())).await? {
            Change::Done(standing) => Ok(standing),
            Change::Duplicate => Err(Error::Contention),
        }
    }

    /// Changes what holds by what `decide` says of it as it is now. Where there is nothing
    /// to change, nothing is written.
    pub(super) async fn change_standing(
        &self,
        project: &str,
        request: Option<&RequestRecord>,
        decide: impl Fn(&Standing) -> Result<Vec<Event>>,
    ) -> Result<Change<Arc<Standing>>> {
        let known = self.standing(project).await?;
        if known.revision == 0 && decide(&known)?.is_empty() {
            return Ok(Change::Done(known));
        }
        self.write_standing(project, request, decide).await
    }

    /// The same, and opens the stream where nobody did.
    async fn write_standing(
        &self,
        project: &str,
        request: Option<&RequestRecord>,
        decide: impl Fn(&Standing) -> Result<Vec<Event>>,
    ) -> Result<Change<Arc<Standing>>> {
        let opened = Standing::default();
        let with_opening = |state: Option<&Standing>| {
            let events = decide(state.unwrap_or(&opened))?;
            let opening = state.is_none().then_some(Event::Opened);
            Ok(opening.into_iter().chain(events).collect())
        };
        let id = ProjectId::of(project);
        let rows = |_: &Standing, events: &[Event]| -> Vec<RowChange> {
            let audit = events.iter().filter_map(|event| audit::of_policy(project, event));
            audit.chain(events.iter().filter_map(|event| webhook_row(id, event))).collect()
        };
        let now = self.time.now();
        let changed = self.change_with(&folding(id), revision, request, with_opening, rows).await?;
        Ok(match changed {
            Change::Done(standing) => Change::Done(self.standings.put(now, id, standing)),
            Change::Duplicate => Change::Duplicate,
        })
    }
}

/// A webhook's cursor comes and goes with it.
fn webhook_row(project: ProjectId, event: &Event) -> Option<RowChange> {
    match event {
        Event::WebhookPut { webhook } => Some(RowChange::WebhookAdded { webhook: webhook.id, project }),
        Event::WebhookRemoved { webhook, .. } => Some(RowChange::WebhookRemoved(*webhook)),
        _ => None,
    }
}

/// The guard of a commit that relies on what holds.
pub(crate) fn guard(project: ProjectId, standing: &Standing) -> Guard {
    let stream: StreamId = project.policy_stream();
    Guard { stream, head: standing.revision }
}

/// Whether a step may be given out under its grant, as far as is known.
pub(crate) fn redeemable(grant: &StepGrant, standing: &Standing, now: Timestamp) -> bool {
    grant.policy == standing.version
        && grant.environment == standing.settings.environment
        && now < grant.until
}
