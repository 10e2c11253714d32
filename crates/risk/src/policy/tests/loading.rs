//! Which files load, and what is said of the others.

use super::*;
use crate::model::Verdict;

#[test]
fn the_shipped_policy_loads_and_its_examples_hold() {
    let policy = policy(statement::DEFAULT);
    assert!(policy.examples().len() > 10);
    assert_eq!(policy.digest(), Policy::shipped().digest());
    assert!(!Policy::shipped().statements.is_empty());
}

#[test]
fn the_documented_file_loads_and_its_examples_hold() {
    let page = include_str!("../../../../../docs/how-to/write-a-policy.md");
    let blocks: Vec<&str> =
        page.split("```cedar\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 1);
    assert_eq!(policy(blocks[0]).examples().len(), 5);
    let annotations = annotation::ANNOTATIONS.iter().map(|known| format!("| `@{}(", known.name));
    annotations.for_each(|row| assert!(page.contains(&row), "{row} is missing"));
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
