//! What policies are asked about.

use super::*;
use crate::model::{EffectKind, Scope, Undo};

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
