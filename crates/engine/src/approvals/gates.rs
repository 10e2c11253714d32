//! Steps that wait for a yes before they are given to an agent.
//!
//! `settle_gate` takes a gate as far as it goes: it asks where nobody was asked, and
//! tells the task what came of it. It may run anywhere, any number of times: the
//! approval of a gate has one id, and the task takes a word about a gate once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use quarterdeck_core::approval::decide::outdated;
use quarterdeck_core::approval::{Approval, Command as Say, Origin, Parties, Phase, Requested, Wait};
use quarterdeck_core::plan::StepIndex;
use quarterdeck_core::policy::Standing;
use quarterdeck_core::task::{Command, FailureCode, Phase as StepPhase, StepGrant, Task};
use quarterdeck_core::{ApprovalId, ProjectId};
use quarterdeck_store::rows::StepRef;

use super::assess::{Judged, Who};
use super::change::Plan;
use super::standing::guard;
use crate::aggregate::Op;
use crate::engine::Shared;
use crate::error::{Error, Noun, Result};
use crate::record::Change;

/// Edits of one action that are followed to the last.
const EDITS_MAX: usize = 100;

/// Gates that are being settled here.
#[derive(Default)]
pub(crate) struct Gates(Mutex<BTreeSet<StepRef>>);

impl Gates {
    fn enter(&self, at: StepRef) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(at)
    }

    fn leave(&self, at: StepRef) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&at);
    }
}

impl Shared {
    /// Settles a gate in the background. What fails is tried again by the sweeper.
    pub(crate) fn settle_later(self: &Arc<Self>, at: StepRef) {
        let shared = Arc::clone(self);
        self.time.spawn(async move {
            if let Err(error) = shared.settle_gate(at).await {
                tracing::debug!(task = %at.task, step = at.step, %error, "a gate is settled later");
            }
        });
    }

    /// Takes a gate as far as it goes.
    pub(crate) async fn settle_gate(self: &Arc<Self>, at: StepRef) -> Result<()> {
        // One at a time here: a second look finds what the first has done.
        if !self.gates.enter(at) {
            return Ok(());
        }
        let result = self.settle(at).await;
        self.gates.leave(at);
        match result {
            Err(Error::Refused(_) | Error::NotFound(Noun::Task)) => Ok(()),
            result => result,
        }
    }

    async fn settle(self: &Arc<Self>, at: StepRef) -> Result<()> {
        let task = self.current(at.task).await?;
        let Some(step) = task.step(at.step).filter(|_| !task.ended()) else { return Ok(()) };
        let Some(first) = step.gate(at.task, at.step) else { return Ok(()) };
        let approval = match (self.last_edit(first).await?, &step.phase) {
            (None, StepPhase::Gated) => self.open_gate(&task, at.step, first).await?,
            (Some(approval), StepPhase::Gated | StepPhase::Ready) => approval,
            _ => return Ok(()),
        };
        let command = match approval.phase {
            Phase::Granted => match self.check_grant(&task, at.step, &approval).await? {
                Some(command) => command,
                None => return Ok(()),
            },
            phase => match shut(at.step, step.gates, phase, &approval) {
                Some(command) => command,
                None => return Ok(()),
            },
        };
        self.ask(at.task, Op::Do(command), Vec::new(), None).await.map(drop)
    }

    /// The approval, or the one that took its place last.
    async fn last_edit(&self, first: ApprovalId) -> Result<Option<Approval>> {
        let mut found = self.approval(first).await?;
        for _ in 0..EDITS_MAX {
            match found.as_ref().and_then(|approval| approval.superseded_by) {
                Some(next) => found = self.approval(next).await?,
                None => break,
            }
        }
        Ok(found)
    }

    /// Asks for a yes to a step's action.
    async fn open_gate(self: &Arc<Self>, task: &Task, index: StepIndex, id: ApprovalId) -> Result<Approval> {
        let spec = task.spec(index).ok_or(Error::NotFound(Noun::Step))?;
        let declared =
            spec.action.as_ref().ok_or_else(|| Error::Internal("a gate without an action".into()))?;
        let gate = task.step(index).map_or(0, |step| step.gates);
        let action = self.stored_action(declared.content, declared.digest).await?;
        let project = ProjectId::of(&task.project);
        let opened = self
            .change_approvals(project, None, || async {
                if let Some(there) = self.approval(id).await? {
                    return Ok(Plan { commands: vec![(there, Say::Tick)], ..Plan::default() });
                }
                let standing = self.opened_standing(&task.project).await?;
                let who = Who { project: &task.project, agent: "", capability: &spec.capability };
                let judged = self.judge(&action, who, &standing)?;
                let asked = requested(id, task, index, gate, &judged, &standing);
                Ok(Plan {
                    opens: vec![(asked, judged.covered_by)],
                    unchanged: vec![guard(project, &standing)],
                    payloads: vec![judged.content],
                    ..Plan::default()
                })
            })
            .await?;
        match opened {
            Change::Done(approvals) => approvals.into_iter().next().ok_or(Error::NotFound(Noun::Approval)),
            Change::Duplicate => Err(Error::Contention),
        }
    }

    /// What a standing grant of an approval means for its step: the gate opens, or
    /// the grant holds no more.
    async fn check_grant(
        self: &Arc<Self>,
        task: &Task,
        index: StepIndex,
        approval: &Approval,
    ) -> Result<Option<Command>> {
        let Some(step) = task.step(index) else { return Ok(None) };
        let project = ProjectId::of(&task.project);
        self.standings.forget(project);
        let standing = self.standing(&task.project).await?;
        let why = outdated(approval, standing.version, &standing.settings.environment);
        let over = self.time.now() >= approval.expires_at;
        if why.is_some() || over {
            let say = why.map_or(Say::Tick, |why| Say::Invalidate { why });
            let ended = self.say_to(approval.id(), say).await?;
            return Ok(ended.and_then(|ended| shut(index, step.gates, ended.phase, &ended)));
        }
        let known = step.grant.as_ref().is_some_and(|grant| grant.head == approval.revision);
        Ok((!known).then(|| Command::OpenGate {
            step: index,
            gate: step.gates,
            grant: Box::new(grant_of(approval)),
        }))
    }

    /// Says something to one approval, whoever else does; the approval after it.
    pub(crate) async fn say_to(self: &Arc<Self>, id: ApprovalId, say: Say) -> Result<Option<Approval>> {
        let Some(known) = self.approval(id).await? else { return Ok(None) };
        let project = ProjectId::of(&known.asked.project);
        let changed = self
            .change_approvals(project, None, || async {
                let now = self.approval(id).await?.ok_or(Error::NotFound(Noun::Approval))?;
                Ok(Plan { commands: vec![(now, say.clone())], ..Plan::default() })
            })
            .await?;
        match changed {
            Change::Done(approvals) => Ok(approvals.into_iter().next()),
            Change::Duplicate => Ok(None),
        }
    }

    /// Ends approvals whose gate or lease is over, does what time asks for, and
    /// settles gates that hints forgot.
    pub(crate) async fn sweep_approvals(self: &Arc<Self>, slow: bool, most: u32) -> Result<()> {
        let now = self.time.now();
        let due = self.store.due_approvals(now.plus(super::SOON), most).await?;
        let (due, later): (Vec<_>, Vec<_>) = due.into_iter().partition(|(_, at)| *at <= now);
        if let Some(&(_, next)) = later.first() {
            self.next_due(next);
        }
        let ticks = due.into_iter().map(|(id, _)| self.say_to(id, Say::Tick));
        each(futures::future::join_all(ticks).await)?;
        if !slow {
            return Ok(());
        }
        for at in self.store.unsettled_gates(None, most).await? {
            self.settle_later(at);
        }
        let orphans = self.store.orphaned_approvals(None, most).await?;
        each(futures::future::join_all(orphans.into_iter().map(|id| self.say_to(id, Say::Cancel))).await)
    }
}

fn each<T>(results: Vec<Result<T>>) -> Result<()> {
    for result in results {
        match result {
            // Ended by somebody else in between.
            Ok(_) | Err(Error::Refused(_) | Error::NotFound(_) | Error::Contention) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What the end of an approval means for the step at its gate; nothing while it waits.
fn shut(step: StepIndex, gate: u32, phase: Phase, approval: &Approval) -> Option<Command> {
    let message = format!("{}: {}", approval.id(), approval.reason);
    let code = match phase {
        Phase::Pending | Phase::Granted | Phase::Redeemed | Phase::Superseded => return None,
        Phase::Invalidated => return Some(Command::Regate { step, gate, message }),
        Phase::Denied => FailureCode::ApprovalDenied,
        Phase::Expired => FailureCode::ApprovalTimeout,
        Phase::Withdrawn | Phase::Revoked | Phase::Canceled => FailureCode::ApprovalWithdrawn,
    };
    Some(Command::ShutGate { step, gate, code, message })
}

fn requested(
    id: ApprovalId,
    task: &Task,
    index: StepIndex,
    gate: u32,
    judged: &Judged,
    standing: &Standing,
) -> Requested {
    Requested {
        id,
        project: task.project.clone(),
        origin: Origin {
            task: task.id,
            step: index,
            step_key: task.spec(index).map(|spec| spec.key.clone()).unwrap_or_default(),
            wait: Wait::Gate { number: gate },
        },
        requester: task.created_by.clone(),
        parties: Parties {
            requester: task.owner.clone(),
            owner: task.owner.clone(),
            author: task.owner.clone(),
        },
        agent: String::new(),
        shown: judged.shown.clone(),
        digest: judged.digest,
        content: judged.content.0,
        preview: judged.preview.digest(),
        assessment: judged.assessment.clone(),
        terms: judged.terms.clone(),
        environment: standing.settings.environment.clone(),
        policy: standing.version,
        supersedes: None,
        comment: String::new(),
    }
}

/// A grant as the task keeps it.
fn grant_of(approval: &Approval) -> StepGrant {
    StepGrant {
        approval: approval.id(),
        head: approval.revision,
        until: approval.expires_at,
        digest: approval.asked.digest,
        content: approval.asked.content,
        policy: approval.asked.policy,
        environment: approval.asked.environment.clone(),
        level: approval.asked.assessment.level,
    }
}
