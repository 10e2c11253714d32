//! Variables of a script.
//!
//! The evaluator keeps what they were before a branch, a substitution, a command; copies
//! are shared until one of them is changed, and all together hold a bounded amount of text.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::stream::UNKNOWN;
use crate::work;

/// Bytes of all values; what comes on top is not known.
const HELD_MAX: usize = 512 * 1024;
/// Units of work of copying one variable.
const COPY: usize = 40;

type Values = Rc<[String]>;

#[derive(Clone, Debug, Default)]
pub struct Vars {
    map: Rc<BTreeMap<String, Values>>,
    held: usize,
}

impl Vars {
    pub fn get(&self, name: &str) -> Option<&[String]> {
        let values = self.map.get(name)?;
        work::spend(size(values));
        Some(values)
    }

    pub fn insert(&mut self, name: &str, values: Vec<String>) {
        let before = self.map.get(name).map_or(0, |values| size(values));
        let room = self.held - before.min(self.held);
        let values = match room.saturating_add(size(&values)) > HELD_MAX {
            true => vec![UNKNOWN.to_string()],
            false => values,
        };
        self.held = room + size(&values);
        if Rc::strong_count(&self.map) > 1 {
            work::spend(self.map.len() * COPY);
        }
        Rc::make_mut(&mut self.map).insert(name.to_owned(), values.into());
    }

    pub fn one(&mut self, name: &str, value: String) {
        self.insert(name, vec![value]);
    }

    /// Whether nothing was set since the other was copied from this, or this from it.
    pub fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.map, &other.map)
    }

    /// After a branch that may not have been taken: what it set or changed is not known.
    pub fn join(&mut self, before: &Self) {
        if self.same(before) {
            return;
        }
        work::spend(self.map.len() * COPY);
        let differs = |(name, values): (&String, &Values)| {
            let old = before.map.get(name);
            let same = old.is_some_and(|old| Rc::ptr_eq(old, values) || old == values);
            (!same).then(|| name.clone())
        };
        let changed: Vec<String> = self.map.iter().filter_map(differs).collect();
        for name in changed {
            self.one(&name, UNKNOWN.to_string());
        }
    }
}

fn size(values: &[String]) -> usize {
    values.iter().map(|value| value.len() + 24).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_branch_set_or_changed_is_not_known_after_it() {
        let mut vars = Vars::default();
        vars.one("kept", "a".to_owned());
        vars.one("changed", "a".to_owned());
        let before = vars.clone();
        vars.one("changed", "b".to_owned());
        vars.one("new", "c".to_owned());
        vars.join(&before);
        let value = |name: &str| vars.get(name).and_then(|values| values.first().cloned());
        assert_eq!(value("kept").as_deref(), Some("a"));
        assert_eq!((value("changed"), value("new")), (Some(UNKNOWN.to_string()), Some(UNKNOWN.to_string())));
    }

    #[test]
    fn all_values_together_are_bounded() {
        let mut vars = Vars::default();
        for number in 0..100 {
            vars.one(&number.to_string(), "x".repeat(16 * 1024));
        }
        assert!(vars.held <= HELD_MAX);
        assert_eq!(vars.get("99"), Some([UNKNOWN.to_string()].as_slice()));
    }
}
