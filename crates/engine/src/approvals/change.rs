//! Changing approvals: load, decide, append, try again; and telling of it.

use std::sync::Arc;

use bytes::Bytes;
use quarterdeck_core::approval::{self, Approval, Command, Event, Phase, Requested, Wait};
use quarterdeck_core::stream::Recorded;
use quarterdeck_core::{ApprovalId, CommitId, Ctx, Digest, GrantId, ProjectId, Span, StreamId, Timestamp};
use quarterdeck_store::rows::{ApprovalNow, ApprovalOpened, RowChange, StepRef};
use quarterdeck_store::{Append, Commit, Guard, Outcome, RequestRecord};

use crate::audit;
use crate::auth::Principal;
use crate::bus::Hint;
use crate::engine::Shared;
use crate::error::{Error, Noun, Result};
use crate::events::decode_row;
use crate::record::Change;

const TRIES: u32 = 5;
/// Rows of an approval that are read at most; far above what they grow to.
const ROWS_MAX: u32 = 1_000;

/// What is to be done in one commit.
#[derive(Default)]
pub(super) struct Plan {
    /// Commands to approvals that exist.
    pub commands: Vec<(Approval, Command)>,
    /// Approvals to open.
    pub opens: Vec<(Requested, Option<GrantId>)>,
    pub unchanged: Vec<Guard>,
    pub payloads: Vec<(Digest, Bytes)>,
    /// More rows, such as entries of the audit.
    pub rows: Vec<RowChange>,
}

/// One approval's part of a commit.
struct Part {
    before: Option<Approval>,
    events: Vec<Event>,
}

impl Part {
    fn expected(&self) -> u64 {
        self.before.as_ref().map_or(0, |before| before.revision)
    }

    /// The approval after it, were it written at `at`.
    fn after(&self, at: Timestamp) -> Option<Approval> {
        let recorded = (self.expected() + 1..).zip(self.events.iter().cloned());
        recorded.fold(self.before.clone(), |state, (sequence, event)| {
            approval::apply(state, &Recorded { sequence, at, event })
        })
    }

    /// Before this the events must be written: what they end has an end of its own.
    fn valid_until(&self) -> Option<Timestamp> {
        let timed = self.events.iter().any(|event| {
            matches!(
                event,
                Event::Voted { .. }
                    | Event::Redeemed { .. }
                    | Event::Superseded { .. }
                    | Event::Delegated { .. }
            )
        });
        self.before.as_ref().filter(|_| timed).map(|before| before.expires_at)
    }
}

impl Shared {
    /// The approval as the database has it now.
    pub(crate) async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>> {
        let mut state = None;
        for row in self.store.load(id.stream(), 0, ROWS_MAX).await? {
            for event in decode_row::<Event>(&row)? {
                state = approval::apply(state, &event);
            }
        }
        Ok(state)
    }

    /// Several at once, in the order asked; those that do not exist are left out.
    pub(crate) async fn approvals(&self, ids: &[ApprovalId]) -> Result<Vec<Approval>> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(500) {
            let streams: Vec<StreamId> = ids.iter().map(|id| id.stream()).collect();
            let rows = self.store.load_short(&streams).await?;
            for id in ids {
                let mut state = None;
                for row in rows.iter().filter(|row| row.stream == id.stream()) {
                    for event in decode_row::<Event>(row)? {
                        state = approval::apply(state, &event);
                    }
                }
                found.extend(state);
            }
        }
        Ok(found)
    }

    /// An approval that the caller may see.
    pub(crate) async fn visible_approval(&self, caller: &Principal, id: &str) -> Result<Approval> {
        let id: ApprovalId = id.parse().map_err(|_| Error::NotFound(Noun::Approval))?;
        let found = self.approval(id).await?;
        found
            .filter(|approval| caller.scope.covers(&approval.asked.project))
            .ok_or(Error::NotFound(Noun::Approval))
    }

    /// Carries out what `plan` says of the state as it is now, in one commit; again
    /// where others were faster. Answers the approvals after it, those opened last.
    pub(super) async fn change_approvals<F: Future<Output = Result<Plan>> + Send>(
        self: &Arc<Self>,
        project: ProjectId,
        request: Option<&RequestRecord>,
        plan: impl Fn() -> F + Send + Sync,
    ) -> Result<Change<Vec<Approval>>> {
        let mut not_before = Timestamp::default();
        for attempt in 0..TRIES {
            let plan = plan().await?;
            let ctx = self.time.ctx();
            let ctx = Ctx::new(ctx.now.max(not_before), ctx.entropy);
            let (parts, commit) = self.commit_of_plan(project, plan, request, &ctx)?;
            let after = |at| parts.iter().filter_map(|part| part.after(at)).collect::<Vec<_>>();
            if parts.iter().all(|part| part.events.is_empty()) {
                return Ok(Change::Done(after(ctx.now)));
            }
            let valid_until = commit.valid_until;
            match self.committer.commit(commit).await? {
                Outcome::Done { at, .. } => {
                    let approvals = after(at);
                    self.announce_approvals(&approvals);
                    return Ok(Change::Done(approvals));
                }
                Outcome::Duplicate => return Ok(Change::Duplicate),
                Outcome::Failed(error) => return Err(error.into()),
                // The database's clock is the one that counts.
                Outcome::Stale => not_before = valid_until.unwrap_or_default(),
                Outcome::Conflict => {
                    crate::metrics::conflict();
                    self.standings.forget(project);
                    self.time.sleep(self.time.jitter(Span::from_millis(2 << attempt))).await;
                }
            }
        }
        Err(Error::Contention)
    }

    fn commit_of_plan(
        &self,
        project: ProjectId,
        plan: Plan,
        request: Option<&RequestRecord>,
        ctx: &Ctx,
    ) -> Result<(Vec<Part>, Commit)> {
        let mut parts = Vec::with_capacity(plan.commands.len() + plan.opens.len());
        for (before, command) in plan.commands {
            let events = approval::decide(&before, command, ctx)?;
            parts.push(Part { before: Some(before), events });
        }
        for (asked, standing) in plan.opens {
            parts.push(Part { before: None, events: approval::open(asked, standing, ctx) });
        }
        let (mut appends, mut rows) = (Vec::new(), plan.rows);
        for part in parts.iter().filter(|part| !part.events.is_empty()) {
            let Some(after) = part.after(ctx.now) else { continue };
            let append = Append::new(after.id().stream(), project, part.expected(), &part.events).map_err(
                |error| Error::Internal(format!("an approval's event cannot be written: {error}")),
            )?;
            appends.push(append);
            rows.extend(part.before.is_none().then(|| opened_row(&after)));
            rows.push(RowChange::ApprovalPut(now_row(&after)));
            rows.extend(part.events.iter().map(|event| audit::of_approval(&after, event)));
        }
        let commit = Commit {
            id: CommitId::new(ctx, 0),
            appends,
            unchanged: plan.unchanged,
            valid_until: parts.iter().filter_map(Part::valid_until).min(),
            request: request.cloned(),
            payloads: plan.payloads,
            rows,
        };
        Ok((parts, commit))
    }

    /// Tells of approvals that were changed here.
    pub(crate) fn announce_approvals(self: &Arc<Self>, approvals: &[Approval]) {
        let mut hints = Vec::with_capacity(approvals.len());
        for approval in approvals {
            let project = ProjectId::of(&approval.asked.project);
            hints.push(Hint::approval(approval.id(), project));
            if let Some(due) = approval.next_deadline() {
                self.next_due(due);
            }
            crate::metrics::approval(approval.phase.word());
            self.approval_moved(approval.id(), project);
            if let Wait::Gate { .. } = approval.asked.origin.wait
                && approval.phase != Phase::Pending
                && approval.phase != Phase::Redeemed
            {
                self.settle_later(step_of(approval));
            }
        }
        self.tell(hints);
    }

    /// Wakes who waits for an approval, or watches its project, here.
    pub(crate) fn approval_moved(&self, id: ApprovalId, project: ProjectId) {
        self.hub.wake(project);
        self.waits.wake(id);
    }

    /// Records that something was refused. Best effort: a refusal stands without it.
    pub(super) async fn audit_refusal(
        &self,
        caller: &Principal,
        approval: &Approval,
        what: &str,
        why: &Error,
    ) {
        if !matches!(why, Error::Refused(_)) {
            return;
        }
        let commit = Commit {
            id: CommitId::new(&self.time.ctx(), 0),
            appends: Vec::new(),
            unchanged: Vec::new(),
            valid_until: None,
            request: None,
            payloads: Vec::new(),
            rows: vec![audit::of_refusal(approval, caller, what, &why.to_string())],
        };
        if let Err(error) = self.committer.commit(commit).await {
            tracing::warn!(%error, approval = %approval.id(), "a refusal cannot be audited");
        }
    }
}

/// The step that wants an approval's action.
pub(crate) fn step_of(approval: &Approval) -> StepRef {
    StepRef { task: approval.asked.origin.task, step: approval.asked.origin.step }
}

fn opened_row(approval: &Approval) -> RowChange {
    RowChange::ApprovalOpened(ApprovalOpened {
        approval: approval.id(),
        project: ProjectId::of(&approval.asked.project),
        task: approval.asked.origin.task,
        agent: approval.asked.agent.clone(),
        level: approval.asked.assessment.level,
    })
}

pub(crate) fn now_row(approval: &Approval) -> ApprovalNow {
    let (gate, token) = match approval.asked.origin.wait {
        Wait::Gate { number } => (number, 0),
        Wait::Lease { token, .. } => (0, token),
    };
    ApprovalNow {
        approval: approval.id(),
        project: ProjectId::of(&approval.asked.project),
        level: approval.asked.assessment.level,
        phase: approval.phase,
        step: step_of(approval),
        gate,
        token,
        due: approval.next_deadline(),
    }
}
