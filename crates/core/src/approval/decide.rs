//! Turning commands into events, or refusals.
//!
//! An empty list of events means: nothing to do, and that is fine. Times are the
//! decision's; what must hold when it is written is the commit's `valid_until`.

use crate::canary::{Mistake, planted};
use crate::context::Ctx;
use crate::digest::Digest;
use crate::id::GrantId;
use crate::refusal::Refusal;
use crate::time::Timestamp;

use super::command::{Command, Redeemer, Voter};
use super::event::{Event, Grantor, Invalid, Requested, Verdict, Vote, Wait};
use super::seat::{barred, seat};
use super::state::{Approval, Phase};

/// Delegations of one approval.
pub const DELEGATIONS_MAX: usize = 20;

/// Opens an approval: granted or denied at once where policy, or a standing grant,
/// says so. A standing grant is no answer to a policy's no.
pub fn open(asked: Requested, standing: Option<GrantId>, ctx: &Ctx) -> Vec<Event> {
    let until = ctx.now.plus(asked.terms.grant);
    let reasons = asked.assessment.reasons.iter().map(|reason| reason.why.as_str());
    let end = match (asked.assessment.verdict, standing) {
        (Verdict::Deny, _) => {
            let reason = reasons.collect::<Vec<_>>().join("; ");
            Some(Event::Denied { by_people: false, reason })
        }
        (Verdict::Auto, _) => Some(Event::Granted { by: Grantor::Policy, until }),
        (Verdict::Ask, Some(grant)) => Some(Event::Granted { by: Grantor::Standing { grant }, until }),
        (Verdict::Ask, None) => None,
    };
    [Event::Requested(Box::new(asked))].into_iter().chain(end).collect()
}

/// Decides on a command to an approval.
pub fn decide(approval: &Approval, command: Command, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
    match command {
        Command::Vote { by, vote, digest, comment } => voted(approval, &by, vote, digest, comment, ctx),
        Command::Delegate { by, to, lifetime } => {
            pending(approval, ctx)?;
            let own = seat(approval, &by, ctx.now)?;
            if own.lent_by.is_some() {
                let why = "a right that was lent cannot be lent on".to_owned();
                return Err(Refusal::NotEligible { why });
            }
            barred(approval, &to)?;
            if to == by.person || approval.delegations.len() >= DELEGATIONS_MAX {
                let why = format!("name another person; at most {DELEGATIONS_MAX} are delegated to");
                return Err(Refusal::NotEligible { why });
            }
            let until = lifetime.map_or(approval.expires_at, |lifetime| ctx.now.plus(lifetime));
            Ok(vec![Event::Delegated { from: by.person, to, until: until.min(approval.expires_at) }])
        }
        Command::Supersede { by, digest, successor } => {
            pending(approval, ctx)?;
            same(approval, digest)?;
            seat(approval, &by, ctx.now)?;
            Ok(vec![Event::Superseded { by: successor, editor: by.subject }])
        }
        Command::Withdraw { by, comment } => match approval.phase {
            Phase::Withdrawn => Ok(Vec::new()),
            _ => {
                pending(approval, ctx)?;
                own(approval, &by)?;
                Ok(vec![Event::Withdrawn { by: by.subject, comment }])
            }
        },
        Command::Revoke { by, comment } => match approval.phase {
            Phase::Revoked => Ok(Vec::new()),
            Phase::Granted => Ok(vec![Event::Revoked { by: by.subject, comment }]),
            phase => Err(Refusal::ApprovalEnded { phase }),
        },
        Command::Redeem { by, digest, policy, environment } => {
            redeemed(approval, by, digest, policy, &environment, ctx)
        }
        Command::Report { effects, exit_code, surplus } => match approval.phase {
            Phase::Redeemed if approval.report.is_some() => Ok(Vec::new()),
            Phase::Redeemed => Ok(vec![Event::Reported { effects, exit_code, surplus }]),
            Phase::Pending | Phase::Granted => Err(Refusal::ApprovalPending),
            phase => Err(Refusal::ApprovalEnded { phase }),
        },
        Command::Invalidate { why } => {
            Ok(alive(approval).then_some(Event::Invalidated { why }).into_iter().collect())
        }
        Command::Cancel => Ok(alive(approval).then_some(Event::Canceled).into_iter().collect()),
        Command::Tick => Ok(tick(approval, ctx.now)),
    }
}

fn voted(
    approval: &Approval,
    by: &Voter,
    vote: Vote,
    digest: Digest,
    comment: String,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    same(approval, digest)?;
    // One's own word again has no effect, also once it is over.
    if let Some(before) = approval.votes.iter().find(|before| before.person == by.person) {
        return match before.vote == vote {
            true => Ok(Vec::new()),
            false => Err(Refusal::AlreadyDecided { person: by.person.clone() }),
        };
    }
    pending(approval, ctx)?;
    let seat = seat(approval, by, ctx.now)?;
    let owner = seat.owner(by);
    let used = approval.votes.iter().any(|voted| {
        voted.person == owner || voted.delegated_by.as_deref().is_some_and(|lender| lender == owner)
    });
    if used {
        return Err(Refusal::AlreadyDecided { person: owner.to_owned() });
    }
    let word = Event::Voted {
        vote,
        subject: by.subject.clone(),
        person: by.person.clone(),
        role: seat.role,
        delegated_by: seat.lent_by,
        comment,
    };
    let terms = &approval.asked.terms;
    let votes = approval.count(vote) + 1;
    let end = match vote {
        Vote::Approve if votes >= terms.approvals => {
            Some(Event::Granted { by: Grantor::People, until: ctx.now.plus(terms.grant) })
        }
        Vote::Deny if votes >= terms.denials => {
            Some(Event::Denied { by_people: true, reason: String::new() })
        }
        _ => None,
    };
    Ok([word].into_iter().chain(end).collect())
}

fn redeemed(
    approval: &Approval,
    by: Redeemer,
    digest: Digest,
    policy: u64,
    environment: &str,
    ctx: &Ctx,
) -> Result<Vec<Event>, Refusal> {
    same(approval, digest)?;
    let origin = &approval.asked.origin;
    if (by.task, by.step) != (origin.task, origin.step) && !planted(Mistake::AnyLeaseStarts) {
        return Err(Refusal::LeaseStale);
    }
    match approval.phase {
        Phase::Redeemed if approval.redeemed_by.as_ref() == Some(&by) => return Ok(Vec::new()),
        Phase::Pending => return Err(Refusal::ApprovalPending),
        Phase::Granted => {}
        phase => return Err(Refusal::ApprovalEnded { phase }),
    }
    if ctx.now >= approval.expires_at && !planted(Mistake::GrantOutlivesItsTime) {
        return Err(Refusal::ApprovalEnded { phase: Phase::Expired });
    }
    if let Wait::Lease { session, token } = origin.wait
        && (session, token) != (by.session, by.token)
        && !planted(Mistake::AnyLeaseStarts)
    {
        return Err(Refusal::LeaseStale);
    }
    if let Some(why) = outdated(approval, policy, environment) {
        return Err(Refusal::ApprovalInvalid { why });
    }
    let Redeemer { session, token, agent, .. } = by;
    Ok(vec![Event::Redeemed { session, token, agent, digest }])
}

/// Why what it was granted under holds no more.
pub fn outdated(approval: &Approval, policy: u64, environment: &str) -> Option<Invalid> {
    if approval.asked.policy != policy {
        return Some(Invalid::PolicyChanged);
    }
    (approval.asked.environment != environment).then_some(Invalid::EnvironmentChanged)
}

fn tick(approval: &Approval, now: Timestamp) -> Vec<Event> {
    if approval.phase.ended() {
        return Vec::new();
    }
    let lives_on = approval.phase == Phase::Granted && planted(Mistake::GrantOutlivesItsTime);
    if approval.expires_at <= now && !lives_on {
        return vec![Event::Expired];
    }
    if approval.phase != Phase::Pending {
        return Vec::new();
    }
    let levels = approval.asked.terms.escalation.iter();
    let due = levels.take_while(|level| approval.created_at.plus(level.after) <= now).count() as u32;
    (approval.level + 1..=due).map(|level| Event::Escalated { level }).collect()
}

fn alive(approval: &Approval) -> bool {
    !approval.phase.ended()
}

/// Still waits for people at `ctx.now`.
fn pending(approval: &Approval, ctx: &Ctx) -> Result<(), Refusal> {
    match approval.phase {
        Phase::Pending if ctx.now < approval.expires_at => Ok(()),
        Phase::Pending => Err(Refusal::ApprovalEnded { phase: Phase::Expired }),
        phase => Err(Refusal::ApprovalEnded { phase }),
    }
}

fn same(approval: &Approval, digest: Digest) -> Result<(), Refusal> {
    match approval.asked.digest == digest || planted(Mistake::DigestNotCompared) {
        true => Ok(()),
        false => Err(Refusal::DigestMismatch { expected: approval.asked.digest }),
    }
}

/// Requester, owner, or somebody who administers.
fn own(approval: &Approval, by: &Voter) -> Result<(), Refusal> {
    let parties = &approval.asked.parties;
    let party = [&parties.requester, &parties.owner].into_iter().any(|party| *party == by.person);
    match party || by.roles.contains(&crate::key::Role::Admin) {
        true => Ok(()),
        false => Err(Refusal::NotEligible {
            why: "only who asked, who owns the task, and administrators take a request back".to_owned(),
        }),
    }
}
