//! What an operation on a path does.

use super::table::{Facts, Rule};
use super::{Operation, doubts};
use crate::model::{Context, Effect, EffectKind, Found, Scope, Undo, Unresolved};

/// What the operation on the path does.
///
/// Invariant: at least one effect or gap, whatever the path.
pub fn operation(operation: Operation, path: &str, context: &Context) -> Found {
    let facts = Facts::of(path, context);
    let mut found = doubts(path);
    if facts.harmless && operation != Operation::Delete {
        found.push(plain(
            EffectKind::Read,
            &facts,
            Undo::Nothing,
            "path.harmless",
            "does nothing to anybody",
        ));
        return found;
    }
    match operation {
        Operation::Read => read(&facts, &mut found),
        Operation::Write | Operation::Append => write(operation, &facts, &mut found),
        Operation::Delete => delete(&facts, &mut found),
    }
    if facts.place.scope == Scope::Unknown && operation != Operation::Read {
        found.gap(Unresolved::new("path.unknown", "where the path leads depends on the machine"));
    }
    found
}

fn read(facts: &Facts, found: &mut Found) {
    match facts.secret {
        Some(rule) => found.push(ruled(EffectKind::Credential, facts, Undo::Nothing, rule)),
        None if device(facts) && facts.place.path.starts_with("/dev/") => {
            found.push(plain(EffectKind::Read, facts, Undo::Hard, "path.device", "reads a whole device"));
        }
        None => found.push(plain(EffectKind::Read, facts, Undo::Nothing, "path.read", "reads a file")),
    }
}

fn write(operation: Operation, facts: &Facts, found: &mut Found) {
    special(facts, Undo::Hard, found);
    let undo = match (device(facts), facts.place.rebuildable, operation) {
        (true, ..) => Undo::Never,
        (_, true, _) => Undo::Easy,
        // More lines at the end of a data file can be taken away again.
        (_, false, Operation::Append) if facts.place.scope == Scope::Project && facts.secret.is_none() => {
            Undo::Easy
        }
        _ => Undo::Hard,
    };
    found.push(plain(EffectKind::Write, facts, undo, rule_of("write", facts), why_of("writes", facts)));
}

fn delete(facts: &Facts, found: &mut Found) {
    if facts.harmless {
        let (rule, why) = ("path.delete.outside", "deletes a device that every program needs");
        found.push(Effect::new(EffectKind::Delete, &facts.place.path, Scope::System, Undo::Hard, rule, why));
        return;
    }
    special(facts, Undo::Hard, found);
    let undo = match facts.place.rebuildable {
        true => Undo::Easy,
        false if facts.place.scope == Scope::Project && !facts.whole => Undo::Hard,
        false => Undo::Never,
    };
    found.push(plain(EffectKind::Delete, facts, undo, rule_of("delete", facts), why_of("deletes", facts)));
}

/// What changing a place of secrets, a login file or a guard does beside the change. A key
/// that is made in a place for scratch opens nothing.
fn special(facts: &Facts, undo: Undo, found: &mut Found) {
    if let Some(rule) = facts.secret.filter(|_| facts.place.scope != Scope::Temp) {
        found.push(ruled(EffectKind::Credential, facts, undo, rule));
    }
    if let Some(rule) = facts.persist {
        found.push(ruled(EffectKind::Persistence, facts, undo, rule));
    }
    if let Some(rule) = facts.guard {
        found.push(ruled(EffectKind::Write, facts, undo, rule));
    }
}

/// Disks, memory, and the kernel's own switches.
fn device(facts: &Facts) -> bool {
    ["/dev/", "/sys/", "/proc/sys"].iter().any(|head| facts.place.path.starts_with(head))
        && facts.place.scope == Scope::System
        && (facts.place.path.starts_with("/dev/") || !facts.place.path.ends_with('/'))
        && !facts.place.path.starts_with("/dev/pts")
}

fn ruled(kind: EffectKind, facts: &Facts, undo: Undo, rule: &Rule) -> Effect {
    plain(kind, facts, undo, &rule.rule, &rule.why)
}

fn plain(kind: EffectKind, facts: &Facts, undo: Undo, rule: &str, why: &str) -> Effect {
    Effect::new(kind, &facts.place.path, facts.place.scope, undo, rule, why)
}

fn rule_of(verb: &str, facts: &Facts) -> &'static str {
    match (verb, facts.place.scope, facts.kept.is_some() || facts.whole) {
        ("write", Scope::Project, true) => "path.write.kept",
        ("write", Scope::Project | Scope::Temp, _) => "path.write",
        ("write", ..) => "path.write.outside",
        (_, Scope::Project, true) => "path.delete.kept",
        (_, Scope::Project | Scope::Temp, _) => "path.delete",
        _ => "path.delete.outside",
    }
}

fn why_of(verb: &str, facts: &Facts) -> &'static str {
    match (verb, facts.place.rebuildable) {
        ("writes", true) => "writes what version control or a build brings back",
        ("writes", false) => "overwrites what nothing is known to bring back",
        (_, true) => "deletes what version control or a build brings back",
        _ => "deletes what nothing is known to bring back",
    }
}
