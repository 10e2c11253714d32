//! What actions get.

use super::*;
use crate::assess::{assess, form};
use crate::model::Verdict;
use crate::weigh::total;

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

#[test]
fn the_policy_agrees_with_the_weights_on_every_labelled_case() {
    let text = include_str!("../../../../../tests/data/risk/cases.jsonl");
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
