//! What holds of all facts, and of all texts.

use proptest::prelude::*;

use super::*;
use crate::model::{EffectKind, Scope, Undo};

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
