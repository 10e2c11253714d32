//! Who may decide.

use super::*;

fn decider(kind: DeciderKind, subject: &str, roles: &[&str]) -> Decider {
    Decider {
        kind,
        subject: subject.to_owned(),
        issuer: "https://id.test".to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    }
}

/// Who, with which roles, does what; and the policy that says no.
type Attempt = (DeciderKind, &'static str, &'static [&'static str], DecideAct, Result<(), &'static str>);

#[test]
fn who_may_decide() {
    use {DecideAct as A, DeciderKind as K};
    let request = RequestFacts {
        project: "acme".to_owned(),
        requester: "reader".to_owned(),
        owner: Some("olga".to_owned()),
        author: Some("edith".to_owned()),
        level: Level::High,
        roles: vec!["approver".to_owned(), "admin".to_owned()],
    };
    let rows: [Attempt; 16] = [
        (K::Human, "anna", &["approver"], A::Approve, Ok(())),
        (K::Human, "anna", &["approver"], A::Deny, Ok(())),
        (K::Human, "anna", &["user"], A::Approve, Err("")),
        (K::Human, "anna", &[], A::Deny, Err("")),
        (K::Human, "reader", &["admin"], A::Approve, Err("not-own-request")),
        (K::Human, "olga", &["admin"], A::Approve, Err("not-own-request")),
        (K::Human, "olga", &["admin"], A::Override, Err("not-own-request")),
        (K::Human, "edith", &["approver"], A::Approve, Err("not-own-request")),
        (K::Human, "edith", &["approver"], A::Deny, Err("not-own-request")),
        (K::Human, "anna", &["approver"], A::Override, Err("")),
        (K::Human, "anna", &["admin"], A::Override, Ok(())),
        (K::Human, "olga", &["admin"], A::Administer, Ok(())),
        (K::Service, "scanner", &["approver"], A::Approve, Err("")),
        (K::Service, "scanner", &["approver"], A::Deny, Ok(())),
        (K::Agent, "writer", &["approver", "admin"], A::Approve, Err("")),
        (K::Agent, "writer", &["approver", "admin"], A::Administer, Err("")),
    ];
    for (kind, subject, roles, act, expected) in rows {
        let said = Policy::shipped().may_decide(&decider(kind, subject, roles), &request, act);
        let said = said.map_err(|reasons| reasons[0].policy.clone());
        assert_eq!(said, expected.map_err(str::to_owned), "{kind:?} {subject} {roles:?} {act:?}");
    }
}

#[test]
fn no_policy_lets_an_agent_approve() {
    let open = policy(
        "@id(\"open\") permit(principal, action in [Action::\"approve\", Action::\"deny\", \
                       Action::\"override\", Action::\"administer\"], resource);",
    );
    let request = RequestFacts {
        project: "acme".to_owned(),
        requester: "reader".to_owned(),
        owner: None,
        author: None,
        level: Level::Low,
        roles: Vec::new(),
    };
    for act in [DecideAct::Approve, DecideAct::Deny, DecideAct::Override, DecideAct::Administer] {
        let agent = decider(DeciderKind::Agent, "writer", &["admin"]);
        assert!(open.may_decide(&agent, &request, act).is_err(), "{act:?}");
        let person = decider(DeciderKind::Human, "anna", &[]);
        assert_eq!(open.may_decide(&person, &request, act), Ok(()), "{act:?}");
    }
}

#[test]
fn a_failing_policy_lets_nobody_decide() {
    let failing = policy(
        "@id(\"open\") permit(principal, action == Action::\"approve\", resource);\n\
                          @id(\"bad\") forbid(principal, action == Action::\"approve\", resource) \
                          when { 9223372036854775807 + 1 > 0 };",
    );
    let request = RequestFacts {
        project: "acme".to_owned(),
        requester: "reader".to_owned(),
        owner: None,
        author: None,
        level: Level::Low,
        roles: Vec::new(),
    };
    let person = decider(DeciderKind::Human, "anna", &["approver"]);
    assert!(failing.may_decide(&person, &request, DecideAct::Approve).is_err());
}
