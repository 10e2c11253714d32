//! What an approval does, case by case.

use std::collections::BTreeSet;

use super::event::{Assessment, Escalation};
use super::*;
use crate::action::Action;
use crate::context::Ctx;
use crate::digest::Digest;
use crate::id::{ApprovalId, GrantId, SessionId, TaskId};
use crate::key::Role;
use crate::refusal::Refusal;
use crate::stream::Recorded;
use crate::time::{Span, Timestamp};

pub(super) const HOUR: i64 = 3_600_000_000;

pub(super) fn ctx(now: i64) -> Ctx {
    Ctx::new(Timestamp::from_micros(now), [3; 32])
}

pub(super) fn action() -> Action {
    Action::Tool { name: "deploy".into(), arguments: String::new() }
}

pub(super) fn asked(verdict: Verdict, approvals: u32, denials: u32) -> Requested {
    Requested {
        id: ApprovalId::new(&ctx(0), 0),
        project: "default".into(),
        origin: Origin {
            task: TaskId::new(&ctx(0), 0),
            step: 0,
            step_key: "deploy".into(),
            wait: Wait::Gate { number: 1 },
        },
        requester: "key:agent".into(),
        parties: Parties { requester: "rex".into(), owner: "oda".into(), author: "wil".into() },
        agent: String::new(),
        shown: action(),
        digest: action().digest(),
        content: Digest::of_content(b"content"),
        preview: Digest::of_content(b"preview"),
        assessment: Assessment {
            level: Level::High,
            verdict,
            complete: true,
            findings: Vec::new(),
            reasons: vec![Reason { policy: "p".into(), why: "never on fridays".into() }],
            analyser: "1".into(),
            facts: "{}".into(),
        },
        terms: Terms {
            approvals,
            denials,
            roles: BTreeSet::from([Role::Approver]),
            pending: Span::from_micros(4 * HOUR),
            grant: Span::from_micros(HOUR),
            escalation: vec![Escalation {
                after: Span::from_micros(2 * HOUR),
                roles: BTreeSet::from([Role::Admin]),
            }],
        },
        environment: "production".into(),
        policy: 7,
        supersedes: None,
        comment: String::new(),
    }
}

pub(super) fn record(state: Option<Approval>, events: Vec<Event>, now: i64) -> Approval {
    let at = Timestamp::from_micros(now);
    let mut state = state;
    for event in events {
        let sequence = state.as_ref().map_or(1, |state| state.revision + 1);
        state = apply(state, &Recorded { sequence, at, event });
    }
    state.expect("a request comes first")
}

pub(super) fn opened(verdict: Verdict, approvals: u32, denials: u32) -> Approval {
    record(None, open(asked(verdict, approvals, denials), None, &ctx(0)), 0)
}

pub(super) fn person(name: &str, roles: &[Role]) -> Voter {
    Voter { subject: format!("key:{name}"), person: name.to_owned(), roles: roles.iter().copied().collect() }
}

fn approver(name: &str) -> Voter {
    person(name, &[Role::Approver])
}

pub(super) fn redeemer(token: u64) -> Redeemer {
    let (task, session) = (TaskId::new(&ctx(0), 0), SessionId::new(&ctx(0), token));
    Redeemer { task, step: 0, session, token, agent: "deployer".into() }
}

fn vote(by: Voter, vote: Vote) -> Command {
    Command::Vote { by, vote, digest: action().digest(), comment: String::new() }
}

fn redeem(token: u64) -> Command {
    let (digest, environment) = (action().digest(), "production".to_owned());
    Command::Redeem { by: redeemer(token), digest, policy: 7, environment }
}

/// Decides and applies; the state after it.
fn after(state: &Approval, command: Command, now: i64) -> Result<Approval, Refusal> {
    let events = decide(state, command, &ctx(now))?;
    Ok(record(Some(state.clone()), events, now))
}

#[test]
fn policy_people_and_standing_grants_open_the_gate_and_a_no_closes_it() {
    let standing = || Some(GrantId::new(&ctx(0), 0));
    for (verdict, standing, phase) in [
        (Verdict::Auto, None, Phase::Granted),
        (Verdict::Ask, None, Phase::Pending),
        (Verdict::Ask, standing(), Phase::Granted),
        (Verdict::Deny, None, Phase::Denied),
        (Verdict::Deny, standing(), Phase::Denied),
    ] {
        let state = record(None, open(asked(verdict, 1, 1), standing, &ctx(0)), 0);
        assert_eq!(state.phase, phase, "{verdict:?} {standing:?}");
    }
    let denied = opened(Verdict::Deny, 1, 1);
    assert_eq!(denied.reason, "never on fridays");
}

#[test]
fn who_has_a_part_in_it_does_not_decide_whatever_the_role() {
    let state = opened(Verdict::Ask, 1, 1);
    for name in ["rex", "oda", "wil"] {
        for roles in [&[Role::Approver][..], &[Role::Admin, Role::Approver]] {
            for word in [Vote::Approve, Vote::Deny] {
                let said = after(&state, vote(person(name, roles), word), 1);
                assert!(matches!(said, Err(Refusal::NotEligible { .. })), "{name} {said:?}");
            }
        }
    }
}

#[test]
fn roles_count_and_programs_do_not_decide() {
    let state = opened(Verdict::Ask, 1, 1);
    for (roles, allowed) in [
        (&[Role::Approver][..], true),
        (&[Role::Approver, Role::User], true),
        (&[Role::User], false),
        (&[Role::Admin], false),
        (&[Role::Approver, Role::Agent], false),
        (&[Role::Approver, Role::Service], false),
        (&[], false),
    ] {
        let said = after(&state, vote(person("ann", roles), Vote::Approve), 1);
        assert_eq!(said.is_ok(), allowed, "{roles:?} {said:?}");
    }
}

#[test]
fn an_escalation_widens_who_may_decide_and_its_end_is_no_yes() {
    let state = opened(Verdict::Ask, 1, 1);
    assert_eq!(state.next_deadline(), Some(Timestamp::from_micros(2 * HOUR)));
    assert_eq!(after(&state, Command::Tick, 2 * HOUR - 1).unwrap(), state);
    let state = after(&state, Command::Tick, 2 * HOUR).unwrap();
    assert_eq!((state.level, state.phase), (1, Phase::Pending));
    assert_eq!(state.next_deadline(), Some(Timestamp::from_micros(4 * HOUR)));
    assert!(after(&state, vote(person("ada", &[Role::Admin]), Vote::Approve), 3 * HOUR).is_ok());
    let over = after(&state, Command::Tick, 4 * HOUR).unwrap();
    assert_eq!((over.phase, over.next_deadline()), (Phase::Expired, None));
}

#[test]
fn a_late_yes_does_not_count_even_before_anybody_noticed() {
    let state = opened(Verdict::Ask, 1, 1);
    let late = after(&state, vote(approver("ann"), Vote::Approve), 4 * HOUR);
    assert_eq!(late, Err(Refusal::ApprovalEnded { phase: Phase::Expired }));
    let granted = after(&state, vote(approver("ann"), Vote::Approve), HOUR).unwrap();
    assert_eq!(granted.expires_at, Timestamp::from_micros(2 * HOUR));
    assert!(after(&granted, redeem(9), 2 * HOUR - 1).is_ok());
    assert_eq!(after(&granted, redeem(9), 2 * HOUR), Err(Refusal::ApprovalEnded { phase: Phase::Expired }));
    assert_eq!(after(&granted, Command::Tick, 2 * HOUR).unwrap().phase, Phase::Expired);
}

#[test]
fn a_decision_and_a_start_are_bound_to_the_bytes_policy_and_environment() {
    let state = opened(Verdict::Ask, 1, 1);
    let other = Digest::of_content(b"other");
    let blind =
        Command::Vote { by: approver("ann"), vote: Vote::Approve, digest: other, comment: String::new() };
    assert_eq!(after(&state, blind, 1), Err(Refusal::DigestMismatch { expected: action().digest() }));
    let granted = after(&state, vote(approver("ann"), Vote::Approve), 1).unwrap();
    let with = |digest, policy, environment: &str| {
        let by = redeemer(9);
        after(&granted, Command::Redeem { by, digest, policy, environment: environment.into() }, 2)
    };
    let right = action().digest();
    assert_eq!(with(other, 7, "production"), Err(Refusal::DigestMismatch { expected: right }));
    assert_eq!(with(right, 8, "production"), Err(Refusal::ApprovalInvalid { why: Invalid::PolicyChanged }));
    assert_eq!(with(right, 7, "staging"), Err(Refusal::ApprovalInvalid { why: Invalid::EnvironmentChanged }));
    assert_eq!(with(right, 7, "production").unwrap().phase, Phase::Redeemed);
}

#[test]
fn a_grant_is_redeemed_once_and_repeating_it_is_the_same_redemption() {
    let granted = opened(Verdict::Auto, 1, 1);
    let redeemed = after(&granted, redeem(9), 1).unwrap();
    assert_eq!(after(&redeemed, redeem(9), 2).unwrap(), redeemed);
    let second = after(&redeemed, redeem(10), 2);
    assert_eq!(second, Err(Refusal::ApprovalEnded { phase: Phase::Redeemed }));
    let revoke = Command::Revoke { by: approver("ann"), comment: String::new() };
    assert_eq!(after(&redeemed, revoke, 2), Err(Refusal::ApprovalEnded { phase: Phase::Redeemed }));
}

#[test]
fn only_the_lease_that_asked_starts_what_it_asked_for() {
    let mut own = asked(Verdict::Auto, 1, 1);
    own.origin.wait = Wait::Lease { session: redeemer(9).session, token: 9 };
    let granted = record(None, open(own, None, &ctx(0)), 0);
    assert_eq!(after(&granted, redeem(10), 1), Err(Refusal::LeaseStale));
    let started = after(&granted, redeem(9), 1).unwrap();
    // The same session holds a step of another task, and another step of this one,
    // under leases of the same number.
    let elsewhere =
        [Redeemer { task: TaskId::new(&ctx(5), 1), ..redeemer(9) }, Redeemer { step: 1, ..redeemer(9) }];
    for by in elsewhere {
        let (digest, environment) = (action().digest(), "production".to_owned());
        let redeem = Command::Redeem { by, digest, policy: 7, environment };
        for state in [&granted, &started] {
            assert_eq!(after(state, redeem.clone(), 1), Err(Refusal::LeaseStale));
        }
    }
}

#[test]
fn a_person_counts_once_with_two_keys_and_with_two_rights() {
    let state = opened(Verdict::Ask, 2, 2);
    let once = after(&state, vote(approver("ann"), Vote::Approve), 1).unwrap();
    let second_key = Voter { subject: "key:ann-2".into(), ..approver("ann") };
    assert_eq!(after(&once, vote(second_key, Vote::Approve), 2).unwrap(), once);
    let mind = after(&once, vote(approver("ann"), Vote::Deny), 2);
    assert_eq!(mind, Err(Refusal::AlreadyDecided { person: "ann".into() }));
    // What ann has used, nobody can use in ann's place.
    let lend = Command::Delegate { by: approver("ann"), to: "bob".into(), lifetime: None };
    let lent = after(&once, lend, 3).unwrap();
    let twice = after(&lent, vote(person("bob", &[Role::User]), Vote::Approve), 4);
    assert_eq!(twice, Err(Refusal::AlreadyDecided { person: "ann".into() }));
    let own = after(&lent, vote(approver("bob"), Vote::Approve), 4).unwrap();
    assert_eq!(own.phase, Phase::Granted, "bob's own right is another");
}

#[test]
fn a_right_is_lent_to_those_who_may_until_its_end_and_no_further() {
    let state = opened(Verdict::Ask, 1, 1);
    let lend = |by: Voter, to: &str, hours| Command::Delegate {
        by,
        to: to.into(),
        lifetime: Some(Span::from_micros(hours * HOUR)),
    };
    let lent = after(&state, lend(approver("ann"), "bob", 1), 1).unwrap();
    let bob = || person("bob", &[Role::User]);
    assert!(after(&lent, vote(bob(), Vote::Approve), HOUR).is_ok());
    for (command, now) in [
        (vote(bob(), Vote::Approve), HOUR + 1),
        (lend(bob(), "cid", 1), 2),
        (lend(approver("ann"), "oda", 1), 2),
        (lend(approver("ann"), "ann", 1), 2),
        (lend(approver("rex"), "bob", 1), 2),
    ] {
        let said = after(&lent, command, now);
        assert!(matches!(said, Err(Refusal::NotEligible { .. })), "{said:?}");
    }
    // After bob decided in ann's place, ann's own word has no seat left.
    let two = opened(Verdict::Ask, 2, 2);
    let lent = after(&two, lend(approver("ann"), "bob", 1), 1).unwrap();
    let used = after(&lent, vote(bob(), Vote::Approve), 2).unwrap();
    let own = after(&used, vote(approver("ann"), Vote::Approve), 3);
    assert_eq!(own, Err(Refusal::AlreadyDecided { person: "ann".into() }));
}

#[test]
fn only_those_it_belongs_to_withdraw_and_an_edit_ends_it_for_its_successor() {
    let state = opened(Verdict::Ask, 1, 1);
    let withdraw = |by| Command::Withdraw { by, comment: String::new() };
    assert!(matches!(after(&state, withdraw(approver("ann")), 1), Err(Refusal::NotEligible { .. })));
    for by in [person("rex", &[]), person("oda", &[]), person("ann", &[Role::Admin])] {
        assert_eq!(after(&state, withdraw(by), 1).unwrap().phase, Phase::Withdrawn);
    }
    let successor = ApprovalId::new(&ctx(0), 5);
    let edit = |by| Command::Supersede { by, digest: action().digest(), successor };
    assert!(matches!(after(&state, edit(approver("wil")), 1), Err(Refusal::NotEligible { .. })));
    let edited = after(&state, edit(approver("ann")), 1).unwrap();
    assert_eq!((edited.phase, edited.superseded_by), (Phase::Superseded, Some(successor)));
}

#[test]
fn a_report_comes_once_and_after_the_start() {
    let report = || Command::Report { effects: Vec::new(), exit_code: 1, surplus: Vec::new() };
    let granted = opened(Verdict::Auto, 1, 1);
    assert_eq!(after(&granted, report(), 1), Err(Refusal::ApprovalPending));
    let redeemed = after(&granted, redeem(9), 1).unwrap();
    let told = after(&redeemed, report(), 2).unwrap();
    assert_eq!(told.report.as_ref().map(|report| report.exit_code), Some(1));
    assert_eq!(after(&told, report(), 3).unwrap(), told);
}

#[test]
fn the_log_keeps_every_event() {
    let state = opened(Verdict::Ask, 1, 1);
    let mut events = open(asked(Verdict::Ask, 1, 1), None, &ctx(0));
    events.extend(decide(&state, vote(approver("ann"), Vote::Approve), &ctx(1)).unwrap());
    events.extend([
        Event::Expired,
        Event::Canceled,
        Event::Invalidated { why: Invalid::PolicyChanged },
        Event::Granted { by: Grantor::Standing { grant: GrantId::new(&ctx(0), 0) }, until: Timestamp::MAX },
        Event::Redeemed {
            session: redeemer(1).session,
            token: 1,
            agent: "a".into(),
            digest: action().digest(),
        },
    ]);
    let json = serde_json::to_string(&events).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Event>>(&json).unwrap(), events);
}
