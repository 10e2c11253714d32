//! What an event does to an approval. `apply` never fails and never decides.

use std::sync::Arc;

use crate::stream::Recorded;
use crate::time::Timestamp;

use super::command::Redeemer;
use super::event::{Event, Grantor, Invalid, Origin, Requested};
use super::state::{Approval, Delegation, Phase, Report, Voted};

/// The approval after its first event, if that is a request.
pub fn opened(first: &Recorded<Event>) -> Option<Approval> {
    match &first.event {
        Event::Requested(asked) => Some(open(asked, first.sequence, first.at)),
        _ => None,
    }
}

fn open(asked: &Requested, sequence: u64, at: Timestamp) -> Approval {
    Approval {
        phase: Phase::Pending,
        created_at: at,
        since: at,
        expires_at: at.plus(asked.terms.pending),
        votes: Vec::new(),
        delegations: Vec::new(),
        level: 0,
        granted_by: None,
        redeemed_by: None,
        superseded_by: None,
        reason: String::new(),
        report: None,
        revision: sequence,
        asked: Arc::new(asked.clone()),
    }
}

/// The state after one more event; `None` before the first.
pub fn apply(state: Option<Approval>, recorded: &Recorded<Event>) -> Option<Approval> {
    let Some(mut approval) = state else {
        return opened(recorded);
    };
    let at = recorded.at;
    approval.revision = recorded.sequence;
    match &recorded.event {
        // An approval is opened once; `opened` has dealt with it.
        Event::Requested(_) => {}
        Event::Voted { vote, subject, person, role, delegated_by, comment } => approval.votes.push(Voted {
            vote: *vote,
            subject: subject.clone(),
            person: person.clone(),
            role: *role,
            delegated_by: delegated_by.clone(),
            comment: comment.clone(),
            at,
        }),
        Event::Delegated { from, to, until } => {
            approval.delegations.push(Delegation { from: from.clone(), to: to.clone(), until: *until });
        }
        Event::Escalated { level } => approval.level = *level,
        Event::Granted { by, until } => {
            approval.granted_by = Some(*by);
            approval.expires_at = *until;
            let reason = match by {
                Grantor::Policy => "policy grants it",
                Grantor::People => "approved",
                Grantor::Standing { .. } => "a standing grant covers it",
            };
            enter(&mut approval, Phase::Granted, at, reason);
        }
        Event::Denied { by_people: true, .. } => enter(&mut approval, Phase::Denied, at, "people said no"),
        Event::Denied { reason, .. } => enter(&mut approval, Phase::Denied, at, reason),
        Event::Expired => {
            let reason = match approval.phase {
                Phase::Granted => "it was not started in time",
                _ => "nobody decided in time",
            };
            enter(&mut approval, Phase::Expired, at, reason);
        }
        Event::Withdrawn { by, comment } => {
            enter(&mut approval, Phase::Withdrawn, at, &said("withdrawn", by, comment));
        }
        Event::Superseded { by, editor } => {
            approval.superseded_by = Some(*by);
            enter(&mut approval, Phase::Superseded, at, &said("edited", editor, ""));
        }
        Event::Invalidated { why } => {
            let reason = match why {
                Invalid::PolicyChanged => "the policy has changed since",
                Invalid::EnvironmentChanged => "the declared environment has changed since",
                Invalid::AgentSuspended => "the agent was suspended since",
            };
            enter(&mut approval, Phase::Invalidated, at, reason);
        }
        Event::Revoked { by, comment } => {
            enter(&mut approval, Phase::Revoked, at, &said("revoked", by, comment));
        }
        Event::Canceled => enter(&mut approval, Phase::Canceled, at, "its step is over"),
        Event::Redeemed { session, token, agent, .. } => {
            let Origin { task, step, .. } = approval.asked.origin;
            let (session, token, agent) = (*session, *token, agent.clone());
            approval.redeemed_by = Some(Redeemer { task, step, session, token, agent });
            enter(&mut approval, Phase::Redeemed, at, "");
        }
        Event::Reported { effects, exit_code, surplus } => {
            let (effects, surplus) = (effects.clone(), surplus.clone());
            approval.report = Some(Report { effects, exit_code: *exit_code, surplus, at });
        }
    }
    Some(approval)
}

fn enter(approval: &mut Approval, phase: Phase, at: Timestamp, reason: &str) {
    approval.phase = phase;
    approval.since = at;
    reason.clone_into(&mut approval.reason);
}

fn said(what: &str, by: &str, comment: &str) -> String {
    match comment {
        "" => format!("{what} by {by}"),
        _ => format!("{what} by {by}: {comment}"),
    }
}
