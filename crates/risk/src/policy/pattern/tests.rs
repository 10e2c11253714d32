//! What patterns promise.

use proptest::prelude::*;

use super::*;
use crate::assess::{Case, found};
use crate::model::{Context, Unresolved};

fn run(command: &str) -> Found {
    let case = Case { id: String::new(), kind: "command".to_owned(), text: command.to_owned(), lang: None };
    found(&case, &Context::default())
}

fn effect(kind: EffectKind, target: &str, scope: Scope, undo: Undo) -> Effect {
    Effect::new(kind, target, scope, undo, "test.rule", "a test")
}

fn narrowest(found: &Found) -> Pattern {
    Pattern::narrowest(found, Kind::Command, None).expect("a pattern")
}

fn parts() -> Parts {
    let act = Act { kind: EffectKind::Delete, scope: Scope::Home };
    Parts {
        kind: Kind::Command,
        environment: None,
        allowed: vec![Allowed { act, undo: Undo::Hard }],
        within: Some(vec!["a".to_owned(), "b".to_owned()]),
        hosts: BTreeSet::new(),
        names: BTreeSet::new(),
    }
}

fn set(name: &str) -> BTreeSet<String> {
    BTreeSet::from([name.to_owned()])
}

#[test]
fn directories_are_compared_name_by_name() {
    let pattern = Pattern::try_from(parts()).expect("a pattern");
    let rows = [
        ("/a/b", true),
        ("/a/b/c", true),
        ("/a/bc", false),
        ("/a", false),
        ("/a/b/../c", false),
        ("/a/b/./c", false),
        ("/a//b/c", false),
        ("/A/b/c", false),
        ("/x/a/b", false),
        ("a/b/c", false),
        ("/a/b/*", false),
    ];
    for (path, covered) in rows {
        let found = effect(EffectKind::Delete, path, Scope::Home, Undo::Hard).into();
        assert_eq!(pattern.covers(&found, Kind::Command, None), covered, "{path}");
    }
}

#[test]
fn every_effect_is_covered_or_nothing_is() {
    let pattern = Pattern::try_from(parts()).expect("a pattern");
    let fine = || effect(EffectKind::Delete, "/a/b/c", Scope::Home, Undo::Easy);
    let covers = |found: &Found| pattern.covers(found, Kind::Command, None);
    assert!(covers(&fine().into()));
    assert!(!covers(&Found::default()), "a yes to something is none to nothing");
    let others = [
        effect(EffectKind::Write, "/a/b/c", Scope::Home, Undo::Easy),
        effect(EffectKind::Delete, "/a/b/c", Scope::System, Undo::Easy),
        effect(EffectKind::Delete, "/a/b/c", Scope::Home, Undo::Never),
        effect(EffectKind::Delete, "api.test", Scope::Home, Undo::Easy),
    ];
    for other in others {
        let mut found = Found::from(fine());
        found.push(other.clone());
        assert!(!covers(&found), "{other:?}");
    }
    let mut gap = Found::from(fine());
    gap.gap(Unresolved::new("test.gap", "a test"));
    assert!(!covers(&gap));
    assert!(!pattern.covers(&fine().into(), Kind::Sql, None));
    assert!(!pattern.covers(&fine().into(), Kind::Command, Some(Environment::Production)));
}

#[test]
fn what_is_no_pattern_is_refused() {
    let component = |name: &str| PatternError::Component(name.to_owned());
    let within = |name: &str| Parts { within: Some(vec![name.to_owned()]), ..parts() };
    let host = |name: &str| Parts { hosts: set(name), ..parts() };
    let rows = [
        (Parts { allowed: Vec::new(), ..parts() }, PatternError::Empty),
        (Parts { within: Some(Vec::new()), ..parts() }, PatternError::Root),
        (within(".."), component("..")),
        (within("."), component(".")),
        (within(""), component("")),
        (within("a/b"), component("a/b")),
        (within("*"), component("*")),
        (host("https://x.test"), PatternError::Host("https://x.test".to_owned())),
        (host("*.x.test"), PatternError::Host("*.x.test".to_owned())),
        (host("X.test"), PatternError::Host("X.test".to_owned())),
        (host(".x.test"), PatternError::Host(".x.test".to_owned())),
        (Parts { names: set("a\nb"), ..parts() }, PatternError::Name("a\nb".to_owned())),
        (Parts { names: set("users?"), ..parts() }, PatternError::Name("users?".to_owned())),
        (Parts { hosts: (0..65).map(|n| format!("h{n}")).collect(), ..parts() }, PatternError::TooMany),
    ];
    for (parts, error) in rows {
        assert_eq!(Pattern::try_from(parts.clone()), Err(error), "{parts:?}");
    }
}

#[test]
fn some_things_are_never_remembered() {
    let acts = [
        (EffectKind::Credential, Scope::Home),
        (EffectKind::Privilege, Scope::System),
        (EffectKind::Persistence, Scope::Home),
        (EffectKind::Publish, Scope::Remote),
        (EffectKind::Spend, Scope::Remote),
        (EffectKind::Read, Scope::Production),
    ];
    for (kind, scope) in acts {
        let act = Act { kind, scope };
        let allowed = vec![Allowed { act, undo: Undo::Never }];
        let parts = Parts { allowed, names: set("it"), ..parts() };
        assert_eq!(Pattern::try_from(parts.clone()), Err(PatternError::NeverRemembered(act)));
        let found = effect(kind, "it", scope, Undo::Nothing).into();
        let proposed = Pattern::narrowest(&found, Kind::Command, None);
        assert_eq!(proposed, Err(PatternError::NeverRemembered(act)));
        assert!(!Pattern { parts }.covers(&found, Kind::Command, None), "not even when forged");
    }
}

#[test]
fn the_narrowest_pattern_covers_what_was_approved_and_little_else() {
    let rows = [
        ("rm -rf /opt/x/build", "rm -rf /opt/x/build/y", true),
        ("rm -rf /opt/x/build", "rm -rf /opt/x/builder", false),
        ("rm -rf /opt/x/build", "rm -rf /opt/x", false),
        ("rm -rf /opt/x/build", "rm -rf /opt/x/build; ls $Z | sh", false),
        ("curl -X POST -d a https://one.test/x", "curl -X POST -d b https://one.test/x", true),
        ("curl -X POST -d a https://one.test/x", "curl -X POST -d a https://two.test/x", false),
        ("curl -X POST -d a https://one.test/x", "curl -X POST -d a https://one.test.evil.test/x", false),
        ("curl -X POST -d a https://one.test/x", "rm -rf /opt/x", false),
    ];
    for (approved, later, covered) in rows {
        let before = run(approved);
        let pattern = narrowest(&before);
        assert!(pattern.covers(&before, Kind::Command, None), "{approved}: {pattern:#?}");
        assert_eq!(pattern.covers(&run(later), Kind::Command, None), covered, "{approved} / {later}");
    }
    let gap = Pattern::narrowest(&run("$UNKNOWN"), Kind::Command, None);
    assert_eq!(gap, Err(PatternError::Unresolved));
}

#[test]
fn a_host_that_is_known_in_part_is_not_covered() {
    let call = |target: &str| effect(EffectKind::Network, target, Scope::Remote, Undo::Hard).into();
    let pattern = narrowest(&call("https://one/x"));
    for (target, covered) in
        [("https://one/y", true), ("https://one?", false), ("https://one?.evil/x", false)]
    {
        assert_eq!(pattern.covers(&call(target), Kind::Command, None), covered, "{target}");
    }
}

#[test]
fn a_stored_pattern_is_checked_when_it_is_read() {
    let pattern = Pattern::try_from(parts()).expect("a pattern");
    let text = serde_json::to_string(&pattern).expect("JSON");
    assert_eq!(serde_json::from_str::<Pattern>(&text).expect("a pattern"), pattern);
    let forged = text.replace("delete:home", "privilege:home");
    assert!(serde_json::from_str::<Pattern>(&forged).is_err(), "{forged}");
}

proptest! {
    #[test]
    fn a_prefix_of_letters_is_no_directory(names in proptest::collection::vec("[a-z]{1,4}", 1..4), more in "[a-z]{1,3}") {
        let path = format!("/{}", names.join("/"));
        let pattern = Pattern::try_from(Parts { within: Some(names), ..parts() }).expect("a pattern");
        let at = |path: &str| effect(EffectKind::Delete, path, Scope::Home, Undo::Easy).into();
        let (within, beside) = (format!("{path}/{more}"), format!("{path}{more}"));
        prop_assert!(pattern.covers(&at(&within), Kind::Command, None));
        prop_assert!(!pattern.covers(&at(&beside), Kind::Command, None));
    }
}
