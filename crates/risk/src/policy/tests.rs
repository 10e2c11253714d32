//! What policies promise.

use proptest::prelude::*;

use super::fault::Fault;
use super::*;
use crate::assess::{Case, assess, form, found};
use crate::model::{Context, EffectKind, Environment, Found, Level, Scope, Undo, Verdict};
use crate::weigh::total;

const ASKER: Asker<'_> = Asker { agent: "reader", agent_type: "coder", project: "acme", kind: "command" };

fn context(environment: Option<Environment>) -> Context {
    Context { environment, ..Context::default() }
}

fn run(command: &str, environment: Option<Environment>) -> Facts {
    let case = Case { id: String::new(), kind: "command".to_owned(), text: command.to_owned(), lang: None };
    Facts::of(&found(&case, &context(environment)), &context(environment), &ASKER)
}

/// Facts of nothing, as a base for others.
fn nothing() -> Facts {
    Facts::of(&Found::default(), &context(None), &ASKER)
}

fn policy(text: &str) -> Policy {
    Policy::compile(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Automatic when low, asked otherwise; with more policies.
fn with(more: &str) -> Policy {
    policy(&format!(
        "@id(\"auto\") permit(principal, action == Action::\"auto_approve\", resource) \
         when {{ context.level == Level::\"low\" }};\n\
         @id(\"ask\") permit(principal, action == Action::\"request\", resource);\n{more}"
    ))
}

fn faults(text: &str) -> Vec<(usize, Fault)> {
    let error = Policy::compile(text).expect_err("a fault");
    error.problems.into_iter().map(|problem| (problem.line, problem.fault)).collect()
}

fn ids(reasons: &[Reason]) -> Vec<&str> {
    reasons.iter().map(|reason| reason.policy.as_str()).collect()
}

#[test]
fn the_shipped_policy_loads_and_its_examples_hold() {
    let policy = policy(statement::DEFAULT);
    assert!(policy.examples().len() > 10);
    assert_eq!(policy.digest(), Policy::shipped().digest());
    assert!(!Policy::shipped().statements.is_empty());
}

#[test]
fn the_documented_file_loads_and_its_examples_hold() {
    let page = include_str!("../../../../docs/how-to/write-a-policy.md");
    let blocks: Vec<&str> =
        page.split("```cedar\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 1);
    assert_eq!(policy(blocks[0]).examples().len(), 5);
    let annotations = annotation::ANNOTATIONS.iter().map(|known| format!("| `@{}(", known.name));
    annotations.for_each(|row| assert!(page.contains(&row), "{row} is missing"));
}

#[test]
fn low_is_automatic_and_the_rest_is_asked() {
    use {Environment as E, Level as L, Verdict as V};
    let rows = [
        ("git status", None, L::Low, V::Auto, 1, 28_800),
        ("cargo build", Some(E::Production), L::Low, V::Auto, 1, 28_800),
        ("curl -X POST https://api.test/items -d x", None, L::Medium, V::Ask, 1, 3_600),
        ("sudo rm -rf /var/lib/x", None, L::High, V::Ask, 1, 600),
        ("sudo rm -rf /var/lib/x", Some(E::Development), L::High, V::Ask, 1, 600),
        ("sudo rm -rf /var/lib/x", Some(E::Staging), L::High, V::Ask, 1, 600),
        ("sudo rm -rf /var/lib/x", Some(E::Production), L::High, V::Ask, 2, 600),
    ];
    for (command, environment, level, verdict, approvals, grant) in rows {
        let judged = Policy::shipped().judge(&run(command, environment));
        assert_eq!((judged.level, judged.verdict), (level, verdict), "{command} {environment:?}");
        assert_eq!((judged.terms.approvals, judged.terms.grant), (approvals, grant), "{command}");
        assert_eq!(judged.errors, Vec::<String>::new());
    }
}

#[test]
fn terms_come_from_the_policies_that_match() {
    let judged = Policy::shipped().judge(&run("sudo rm -rf /var/lib/x", Some(Environment::Production)));
    assert_eq!(ids(&judged.reasons), ["ask-high", "two-for-production"]);
    let terms = &judged.terms;
    assert_eq!((terms.pending, terms.deny_threshold), (86_400, 1));
    assert_eq!(terms.roles, ["approver", "admin"]);
    assert_eq!(terms.escalation, []);
}

#[test]
fn what_was_not_understood_is_never_automatic_unless_a_policy_says_so() {
    let mut facts = nothing();
    facts.complete = false;
    assert_eq!(Policy::shipped().judge(&facts).verdict, Verdict::Ask);
    assert_eq!(with("").judge(&facts).verdict, Verdict::Ask, "its permit does not look at it");
    let bold = "@id(\"bold\") @incomplete(\"auto\") \
                permit(principal, action == Action::\"auto_approve\", resource) when { !context.complete };";
    assert_eq!(with(bold).judge(&facts).verdict, Verdict::Auto);
}

#[test]
fn a_high_level_is_never_automatic_as_shipped() {
    for environment in [None, Some(Environment::Development)] {
        let facts = Facts { environment, ..nothing() }.raised_to(Level::High);
        assert_eq!(Policy::shipped().judge(&facts).verdict, Verdict::Ask);
    }
}

#[test]
fn a_forbid_beats_every_permit_and_every_grant() {
    let rows = [
        ("", Verdict::Auto, Verdict::Auto),
        (
            "@id(\"no\") forbid(principal, action == Action::\"auto_approve\", resource);",
            Verdict::Ask,
            Verdict::Ask,
        ),
        (
            "@id(\"no\") forbid(principal, action == Action::\"request\", resource);",
            Verdict::Deny,
            Verdict::Deny,
        ),
        ("@id(\"no\") forbid(principal, action, resource);", Verdict::Deny, Verdict::Deny),
    ];
    for (more, verdict, granted) in rows {
        let judged = with(more).judge(&run("git status", None));
        assert_eq!((judged.verdict, judged.with_grant(true)), (verdict, granted), "{more}");
    }
    let asked = with("").judge(&run("sudo id", None));
    assert_eq!((asked.with_grant(false), asked.with_grant(true)), (Verdict::Ask, Verdict::Auto));
    let gap = with("").judge(&run("$UNKNOWN", None));
    assert_eq!(gap.with_grant(true), Verdict::Ask, "nobody said yes to what nobody knows");
}

#[test]
fn a_file_that_permits_nothing_denies_everything() {
    let judged = policy("").judge(&run("git status", None));
    assert_eq!((judged.verdict, judged.reasons.len()), (Verdict::Deny, 1));
}

#[test]
fn an_error_while_evaluating_is_never_a_yes() {
    // Fits the schema, and overflows when it is evaluated.
    let overflow = "when { context.targets + 9223372036854775807 > 0 || context.complete };";
    let facts = Facts { targets: 7, ..nothing() };
    let rows = [
        ("permit", "auto_approve", "", Verdict::Ask),
        ("forbid", "auto_approve", "", Verdict::Ask),
        ("permit", "request", "@approvers(\"3\")", Verdict::Ask),
        ("forbid", "request", "", Verdict::Deny),
        ("permit", "raise", "@level(\"high\")", Verdict::Ask),
    ];
    for (effect, action, annotation, verdict) in rows {
        let more = format!(
            "@id(\"bad\") {annotation} {effect}(principal, action == Action::\"{action}\", resource) {overflow}"
        );
        let judged = with(&more).judge(&facts);
        assert_eq!(judged.verdict, verdict, "{effect} {action}");
        assert_ne!(judged.with_grant(true), Verdict::Auto, "{effect} {action}: no grant helps");
        assert_eq!(judged.errors, ["bad"], "{effect} {action}");
        if action == "request" && effect == "permit" {
            assert_eq!(judged.terms.approvals, 3, "what it might have asked for counts");
        }
    }
    assert_eq!(with("").judge(&facts).verdict, Verdict::Auto, "the same facts without the error");
}

#[test]
fn an_agents_word_only_raises() {
    let raise = "@id(\"browsers\") @level(\"high\") @approvers(\"2\") \
                 permit(principal, action == Action::\"raise\", resource) when { context.agent_type == \"coder\" };";
    let judged = with(raise).judge(&run("git status", None));
    assert_eq!((judged.verdict, judged.level, judged.terms.approvals), (Verdict::Ask, Level::High, 2));
    assert_eq!(ids(&judged.reasons), ["ask", "browsers"]);
    for (condition, what) in [
        ("context.agent_type == \"coder\"", "context.agent_type"),
        ("context.kind == Kind::\"git\"", "context.kind"),
        ("!(context.complete && !(context[\"agent_type\"] like \"c*\"))", "context.agent_type"),
        ("[context].contains(context)", "context"),
    ] {
        for action in ["auto_approve", "request"] {
            let text = format!(
                "@id(\"x\") permit(principal, action == Action::\"{action}\", resource) when {{ {condition} }};"
            );
            let expected = Fault::Lowers { what: what.to_owned() };
            assert!(faults(&text).contains(&(1, expected)), "{condition}: {:?}", faults(&text));
        }
    }
    let never = format!("{raise}\n@id(\"no\") forbid(principal, action, resource);");
    assert_eq!(
        with(&never).judge(&run("git status", None)).level,
        Level::High,
        "a forbid of all forbids no raise"
    );
    let narrow = "@id(\"no\") forbid(principal, action == Action::\"auto_approve\", resource) \
                  unless { context.kind == Kind::\"git\" };";
    assert_eq!(with(narrow).judge(&run("git status", None)).verdict, Verdict::Ask);
}

#[test]
fn raised_facts_never_fall() {
    assert_eq!(nothing().raised_to(Level::High).raised_to(Level::Low).level, Level::High);
}

#[test]
fn projects_and_environments_have_policies_of_their_own() {
    let text = "@id(\"quiet\") forbid(principal, action == Action::\"request\", resource in Project::\"acme\") \
                when { context.environment == Environment::\"production\" };";
    let policy = with(text);
    let production = run("git status", Some(Environment::Production));
    assert_eq!(policy.judge(&production).verdict, Verdict::Deny);
    assert_eq!(policy.judge(&run("git status", None)).verdict, Verdict::Auto);
    let other = Facts { project: "other".to_owned(), ..production };
    assert_eq!(policy.judge(&other).verdict, Verdict::Auto);
}

#[test]
fn a_file_loads_only_if_its_examples_hold() {
    let base = "@id(\"ask\") permit(principal, action == Action::\"request\", resource);\n";
    let fails = |line: &str| faults(&format!("{base}\n{line}"));
    let found = fails("//! auto: command: git status");
    assert!(
        matches!(
            found.as_slice(),
            [(3, Fault::ExampleFails { expected: Verdict::Auto, found: Verdict::Ask, .. })]
        ),
        "{found:?}"
    );
    let two = Fault::ExampleApprovals { expected: 2, found: 1 };
    assert_eq!(fails("//! ask approvals=2: command: git status"), [(3, two)]);
    for bad in [
        "maybe: command: ls",
        "auto command ls",
        "auto: shell: ls",
        "auto: command:",
        "ask where=x: command: ls",
        "auto approvals=1: command: ls",
        "ask environment=prod: command: ls",
    ] {
        let found = fails(&format!("//! {bad}"));
        assert!(matches!(found.as_slice(), [(3, Fault::ExampleForm { .. })]), "{bad}: {found:?}");
    }
    let holds = format!(
        "{base}//! ask environment=staging project=x agent=a agent_type=t: code/python: print(1)\n\
         //! ask: http: POST https://api.test/items\n//! | Accept: */*\n//! |\n//! | {{}}\n"
    );
    assert_eq!(policy(&holds).examples().len(), 2);
}

/// A file, a line of it, and what is wrong there.
type Wrong = (&'static str, usize, fn(&Fault) -> bool);

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let rows: [Wrong; 16] = [
        (
            "\n@id(\"a\") @twice(\"x\") permit(principal, action == Action::\"request\", resource);",
            2,
            |fault| matches!(fault, Fault::UnknownAnnotation { name } if name == "twice"),
        ),
        ("permit(principal, action == Action::\"request\", resource);", 1, |fault| *fault == Fault::NoId),
        ("@id(\"A b\") permit(principal, action == Action::\"request\", resource);", 1, |fault| {
            matches!(fault, Fault::BadId { .. })
        }),
        ("@id(\"a\") permit(principal, action, resource);", 1, |fault| *fault == Fault::EveryAction),
        ("@id(\"a\") permit(principal, action == Action::\"raise\", resource);", 1, |fault| {
            *fault == Fault::EmptyRaise
        }),
        ("@id(\"a\") forbid(principal, action == Action::\"raise\", resource);", 1, |fault| {
            *fault == Fault::NeverRaise
        }),
        (
            "@id(\"a\") @approvers(\"2\") forbid(principal, action == Action::\"request\", resource);",
            1,
            |fault| *fault == Fault::Misplaced { name: "approvers" },
        ),
        (
            "@id(\"a\") @level(\"high\") permit(principal, action == Action::\"request\", resource);",
            1,
            |fault| *fault == Fault::Misplaced { name: "level" },
        ),
        (
            "@id(\"a\") permit(principal == ?principal, action == Action::\"request\", resource);",
            1,
            |fault| *fault == Fault::Template,
        ),
        (
            "@id(\"a\")\npermit(principal, action == Action::\"request\",\n  resource) when { nonsense };",
            3,
            |fault| matches!(fault, Fault::Syntax(_)),
        ),
        (
            "@id(\"a\")\npermit(principal, action == Action::\"request\", resource)\nwhen { context.levl == \"low\" };",
            3,
            |fault| matches!(fault, Fault::Schema(why) if why.contains("levl")),
        ),
        (
            "@id(\"a\")\npermit(principal, action == Action::\"request\", resource)\nwhen { context.level == Level::\"lo\" };",
            3,
            |fault| matches!(fault, Fault::Schema(why) if why.contains("lo")),
        ),
        (
            "@id(\"a\")\nforbid(principal, action == Action::\"request\", resource)\nwhen { context.acts.contains(Act::\"delete:hom\") };",
            3,
            |fault| matches!(fault, Fault::Schema(_)),
        ),
        ("@id(\"a\") forbid(principal, action == Action::\"ask\", resource);", 1, |fault| {
            matches!(fault, Fault::Schema(_))
        }),
        ("@id(\"a\") permit(principal is Agent, action == Action::\"approve\", resource);", 1, |fault| {
            matches!(fault, Fault::Schema(_))
        }),
        (
            "@id(\"a\") forbid(principal, action, resource);\n@id(\"a\") forbid(principal, action, resource);",
            2,
            |fault| *fault == Fault::SameId { id: "a".to_owned(), first: 1 },
        ),
    ];
    for (text, line, expected) in rows {
        let found = faults(text);
        assert!(found.iter().any(|(at, fault)| *at == line && expected(fault)), "{text}: {found:?}");
        for (_, fault) in found {
            assert!(!fault.to_string().is_empty() && !fault.fix().is_empty());
        }
    }
}

#[test]
fn hostile_files_end_as_an_error() {
    let condition = |inner: &str| {
        format!("@id(\"a\") forbid(principal, action == Action::\"request\", resource) when {{ {inner} }};")
    };
    let deep = [
        condition(&format!("{}true{}", "(".repeat(10_000), ")".repeat(10_000))),
        condition(&"!".repeat(10_000)),
        condition(&format!("context{}", ".a".repeat(900))),
        condition(&vec!["true"; 900].join(" && ")),
        condition(&vec!["1"; 900].join(" + ")),
        condition(&format!("{}true{}", "if true then ".repeat(400), " else false".repeat(400))),
        "@".repeat(300_000),
        "\"".to_owned(),
    ];
    for text in deep {
        // Whether it loads does not matter; that it comes back does.
        let _ = Policy::compile(&text);
    }
}

#[test]
fn a_digest_is_of_the_text() {
    let (one, two) = (with(""), with(" "));
    assert_eq!(one.digest(), with("").digest());
    assert_ne!(one.digest(), two.digest());
}

#[test]
fn explanations_name_every_policy_and_its_part() {
    let facts = run("sudo rm -rf /var/lib/x", Some(Environment::Production));
    let explained = Policy::shipped().explain(&facts);
    let part = |id: &str| {
        explained.policies.iter().find(|said| said.policy == id).map(|said| said.part).expect("a policy")
    };
    assert_eq!(part("ask-high"), Part::Determining);
    assert_eq!(part("two-for-production"), Part::Determining);
    assert_eq!(part("low-is-automatic"), Part::Not);
    assert_eq!(part("ask-low"), Part::Not);
    assert_eq!(explained.judgement, Policy::shipped().judge(&facts));
    let forbid = "@id(\"no\") forbid(principal, action == Action::\"request\", resource);";
    let explained = with(forbid).explain(&run("git status", None));
    let parts: Vec<(&str, Part)> =
        explained.policies.iter().map(|said| (said.policy.as_str(), said.part)).collect();
    assert_eq!(parts, [("auto", Part::Matched), ("ask", Part::Matched), ("no", Part::Determining)]);
    let bad = "@id(\"bad\") permit(principal, action == Action::\"raise\", resource) \
               when { context.targets + 9223372036854775807 > 0 || true };";
    let bad = bad.replace("permit", "@level(\"high\") permit");
    let explained = with(&bad).explain(&Facts { targets: 1, ..nothing() });
    assert_eq!(explained.policies.last().map(|said| said.part), Some(Part::Failed));
}

#[test]
fn simulation_tells_what_would_change() {
    let stricter = with(
        "@id(\"no-net\") forbid(principal, action == Action::\"request\", resource) \
                         when { context.effects.contains(Effect::\"network\") };\n\
                         @id(\"two\") @approvers(\"2\") permit(principal, action == Action::\"request\", resource) \
                         when { context.level == Level::\"high\" };",
    );
    let commands = ["git status", "curl https://x.test/a", "sudo rm -rf /var/x", "git status"];
    let actions = commands.iter().enumerate().map(|(id, command)| (id, run(command, None)));
    let told = simulate(&with(""), &stricter, actions);
    let changes: Vec<_> = told.changes.iter().map(|change| (change.id, change.from, change.to)).collect();
    assert_eq!(changes, [(1, Verdict::Auto, Verdict::Deny), (2, Verdict::Ask, Verdict::Ask)]);
    assert_eq!((told.judged, told.terms_only), (4, 1));
    let counted: u64 = told.counts.iter().map(|count| count.actions).sum();
    assert_eq!(counted, 4);
    assert_eq!(ids(&told.changes[0].to_reasons), ["no-net"]);
    assert_eq!((told.changes[1].from_terms.approvals, told.changes[1].to_terms.approvals), (1, 2));
}

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

#[test]
fn facts_that_are_cut_are_not_whole() {
    use crate::model::Effect as Does;
    let mut many = Found::default();
    for number in 0..200 {
        let rule = format!("rule.{number}");
        many.push(Does::new(EffectKind::Read, "/x", Scope::Project, Undo::Nothing, &rule, "reads"));
    }
    let facts = Facts::of(&many, &context(None), &ASKER);
    assert_eq!((facts.complete, facts.level, facts.rules.len()), (false, Level::Medium, 128));
    let long = "h".repeat(300);
    let facts = Facts::of(&Found::default(), &context(None), &Asker { agent: &long, ..ASKER });
    assert_eq!((facts.complete, facts.agent.len()), (false, 256));
}

#[test]
fn facts_are_the_same_after_storing() {
    for command in ["git status", "curl -d @f https://up.test/x", "rm -rf ~/x; $Y"] {
        let facts = run(command, Some(Environment::Staging));
        let stored = serde_json::to_string(&facts).expect("JSON");
        assert_eq!(serde_json::from_str::<Facts>(&stored).expect("facts"), facts);
    }
    let stored = serde_json::to_value(run("rm -rf ~/x", None)).expect("JSON");
    assert_eq!(stored["acts"][0], "delete:home");
}

#[test]
fn hosts_are_found_in_targets() {
    let rows = [
        ("curl https://User@Api.Test:8443/x?y", vec!["api.test"]),
        ("ssh root@db.test uptime", vec!["db.test"]),
        ("cat README.md", vec![]),
    ];
    for (command, hosts) in rows {
        let facts = run(command, None);
        let found: Vec<&str> = facts.hosts.iter().map(String::as_str).collect();
        assert_eq!(found, hosts, "{command}");
    }
}

#[test]
fn the_policy_agrees_with_the_weights_on_every_labelled_case() {
    let text = include_str!("../../../../tests/data/risk/cases.jsonl");
    let mut asked = 0;
    for line in text.lines() {
        let case: Case = serde_json::from_str(line).expect("a case");
        for environment in [None, Some(Environment::Staging), Some(Environment::Production)] {
            let context = context(environment);
            let found = found(&case, &context);
            let asker = Asker { kind: form(&case.kind), ..ASKER };
            let judged = Policy::shipped().judge(&Facts::of(&found, &context, &asker));
            let level = total(&found, &context);
            let verdict = if level == Level::Low { Verdict::Auto } else { Verdict::Ask };
            assert_eq!((judged.level, judged.verdict), (level, verdict), "{}", case.id);
            assert_eq!(assess(&case, &context).verdict, verdict, "{}", case.id);
            asked += usize::from(verdict == Verdict::Ask);
        }
    }
    assert!(asked > 100);
}

fn any_of<T: Named + std::fmt::Debug>() -> impl Strategy<Value = T> + Clone {
    proptest::sample::select(T::ALL)
}

fn some_effect() -> impl Strategy<Value = crate::model::Effect> {
    (any_of::<EffectKind>(), any_of::<Scope>(), any_of::<Undo>(), any::<bool>()).prop_map(
        |(kind, scope, undo, certain)| {
            let effect = crate::model::Effect::new(kind, "it", scope, undo, "test.rule", "a test");
            if certain { effect } else { effect.possible() }
        },
    )
}

fn some_facts() -> impl Strategy<Value = Facts> {
    let act = (any_of::<EffectKind>(), any_of::<Scope>()).prop_map(|(kind, scope)| Act { kind, scope });
    let environment = proptest::option::of(any_of::<Environment>());
    let acts = proptest::collection::btree_set(act, 0..6);
    (any_of::<Level>(), any::<bool>(), environment, acts, any_of::<Undo>(), any_of::<Kind>(), 0..50_u32)
        .prop_map(|(level, complete, environment, acts, undo, kind, targets)| Facts {
            level,
            complete,
            environment,
            acts,
            undo,
            kind,
            targets,
            ..nothing()
        })
}

proptest! {
    #[test]
    fn more_risk_never_lowers_the_verdict(facts in some_facts(), other in some_facts()) {
        let mut more = facts.clone().raised_to(other.level);
        more.complete &= other.complete;
        more.environment = more.environment.max(other.environment);
        more.acts.extend(other.acts);
        more.undo = more.undo.max(other.undo);
        more.targets = more.targets.max(other.targets);
        let (less, more) = (Policy::shipped().judge(&facts), Policy::shipped().judge(&more));
        prop_assert!(more.verdict >= less.verdict);
        prop_assert!(more.level >= less.level);
        prop_assert!(more.terms.approvals >= less.terms.approvals);
        prop_assert!(more.terms.grant <= less.terms.grant);
        prop_assert!(!more.grantable || less.grantable);
    }

    #[test]
    fn more_effects_and_a_graver_environment_never_lower_the_verdict(
        effects in proptest::collection::vec(some_effect(), 0..5),
        more in proptest::collection::vec(some_effect(), 0..3),
        environments in (proptest::option::of(any_of::<Environment>()), proptest::option::of(any_of::<Environment>())),
    ) {
        let (less, graver) = (environments.0.min(environments.1), environments.0.max(environments.1));
        let found = |effects: &[crate::model::Effect]| Found { effects: effects.to_vec(), unresolved: Vec::new() };
        let judge = |found: &Found, environment| {
            let context = context(environment);
            Policy::shipped().judge(&Facts::of(found, &context, &ASKER))
        };
        let before = judge(&found(&effects), less);
        let after = judge(&found(&[effects, more].concat()), graver);
        prop_assert!(after.verdict >= before.verdict && after.level >= before.level);
        prop_assert!(after.terms.approvals >= before.terms.approvals);
    }

    #[test]
    fn the_same_facts_are_judged_the_same(facts in some_facts()) {
        let again = policy(statement::DEFAULT);
        prop_assert_eq!(Policy::shipped().judge(&facts), again.judge(&facts));
        prop_assert_eq!(Policy::shipped().explain(&facts), again.explain(&facts));
    }

    #[test]
    fn any_text_comes_back_as_a_policy_or_as_faults(text in "[@a-z\"(){};:=/! .\\n,|&]{0,400}") {
        let _ = Policy::compile(&text);
    }
}
