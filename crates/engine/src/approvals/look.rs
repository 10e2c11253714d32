//! Reading approvals: one, a page, how many; and what is masked, for those who say why.

use std::sync::Arc;

use quarterdeck_core::action::Action;
use quarterdeck_core::approval::Approval;
use quarterdeck_core::{ApprovalId, CommitId, ProjectId, Timestamp};
use quarterdeck_risk::preview::Preview;
use quarterdeck_store::rows::ApprovalFilter;
use quarterdeck_store::{Commit, Outcome};

use super::assess::{Judged, Who};
use crate::audit;
use crate::auth::Principal;
use crate::cursor::{Page, filter_digest, page_size, page_token, read_page_token};
use crate::engine::Engine;
use crate::error::{Error, Noun, Result};

/// An approval and what people are shown of it.
#[derive(Clone, Debug)]
pub struct Shown {
    pub approval: Approval,
    pub preview: Preview,
}

impl Engine {
    /// Reads one approval, with its preview.
    pub async fn get_approval(&self, caller: &Principal, id: &str) -> Result<Shown> {
        let shared = &self.0;
        let approval = shared.visible_approval(caller, id).await?;
        let asked = Arc::clone(&approval.asked);
        let action = shared.stored_action(asked.content, asked.digest).await?;
        let standing = shared.standing(&asked.project).await?;
        // As it was shown: in the environment that it was assessed in.
        let mut then = (*standing).clone();
        then.settings.environment.clone_from(&asked.environment);
        let context = super::assess::context(&then);
        let found = quarterdeck_risk::action::found(&action, &context);
        let preview = super::assess::preview(&action, &found, &context);
        Ok(Shown { approval, preview })
    }

    /// One page of a project's approvals, newest first.
    pub async fn list_approvals(
        &self,
        caller: &Principal,
        project: &str,
        filter: ApprovalFilter,
        size: u32,
        token: &str,
    ) -> Result<Page<Approval>> {
        let project = caller.project(project)?;
        self.0.project(&project).await?;
        if let Some(task) = filter.task {
            let found = self.0.some_version(task).await?;
            if found.project != project {
                return Err(Error::NotFound(Noun::Task));
            }
        }
        let own = filter_digest("approvals", |c| {
            c.text(&project).text(&format!("{filter:?}"));
        });
        let before = read_page_token(own, token)?.map(ApprovalId::from_uuid);
        let size = page_size(size, 50);
        let id = ProjectId::of(&project);
        let (ids, last) = self.0.store.list_approvals(id, &filter, before, size).await?;
        let items = self.0.approvals(&ids).await?;
        let next = last.map(|last| page_token(own, last.as_uuid())).unwrap_or_default();
        Ok(Page { items, next })
    }

    /// Pending approvals of a project: low, medium, high.
    pub async fn count_approvals(&self, caller: &Principal, project: &str) -> Result<[u64; 3]> {
        let project = caller.project(project)?;
        self.0.project(&project).await?;
        Ok(self.0.store.count_pending(ProjectId::of(&project)).await?)
    }

    /// The action without masks. Answered once the look is in the audit.
    pub async fn reveal_action(
        &self,
        caller: &Principal,
        id: &str,
        reason: &str,
    ) -> Result<(Action, Timestamp)> {
        let shared = &self.0;
        let approval = shared.visible_approval(caller, id).await?;
        let action = shared.stored_action(approval.asked.content, approval.asked.digest).await?;
        let commit = Commit {
            id: CommitId::new(&shared.time.ctx(), 0),
            appends: Vec::new(),
            unchanged: Vec::new(),
            valid_until: None,
            request: None,
            payloads: Vec::new(),
            rows: vec![audit::of_reveal(&approval, caller, &quarterdeck_risk::redact::text(reason))],
        };
        match shared.committer.commit(commit).await? {
            Outcome::Done { at, .. } => Ok((action, at)),
            Outcome::Failed(error) => Err(error.into()),
            _ => Err(Error::Contention),
        }
    }

    /// What the server understands of an action, and what policy would make of it.
    pub async fn assess_action(&self, caller: &Principal, project: &str, action: &Action) -> Result<Judged> {
        let project = caller.project(project)?;
        self.0.project(&project).await?;
        let standing = self.0.standing(&project).await?;
        self.0.judge(action, Who { project: &project, agent: "", capability: "" }, &standing)
    }
}
