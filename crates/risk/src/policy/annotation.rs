//! Annotations: what a policy carries besides its condition.

use std::collections::BTreeSet;

use super::fault::{Fault, shown};
use super::names::Named as _;
use super::terms::{Escalation, Obligations};
use crate::model::Level;

/// On which policies an annotation has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Any,
    /// Permits of `request` and `raise`.
    Asked,
    Raise,
    Auto,
}

/// An annotation that exists.
pub struct Known {
    pub name: &'static str,
    pub place: Place,
    /// How it is written.
    pub form: &'static str,
}

/// All of them; others are refused, so that a slip of the pen is no silent permit.
pub const ANNOTATIONS: [Known; 10] = [
    Known { name: "id", place: Place::Any, form: "@id(\"some-name\")" },
    Known { name: "reason", place: Place::Any, form: "@reason(\"why, in 1 to 500 letters\")" },
    Known { name: "level", place: Place::Raise, form: "@level(\"medium\") or @level(\"high\")" },
    Known { name: "incomplete", place: Place::Auto, form: "@incomplete(\"auto\")" },
    Known { name: "approvers", place: Place::Asked, form: "@approvers(\"2\"), from 1 to 20" },
    Known { name: "roles", place: Place::Asked, form: "@roles(\"approver,admin\"), one of them or both" },
    Known { name: "deny_threshold", place: Place::Asked, form: "@deny_threshold(\"1\"), from 1 to 20" },
    Known { name: "pending", place: Place::Asked, form: "@pending(\"8h\"), from 1s to 30d" },
    Known { name: "grant", place: Place::Asked, form: "@grant(\"10m\"), from 1s to 7d" },
    Known {
        name: "escalate",
        place: Place::Asked,
        form: "@escalate(\"30m:approver;2h:admin\"): later and later, 8 at most, before the pending life \
               ends, to `approver` or `admin`",
    },
];

const APPROVERS_MAX: u32 = 20;
/// Roles of those who decide.
const ROLES: [&str; 2] = ["approver", "admin"];
const LEVELS_MAX: usize = 8;
const REASON_MAX: usize = 500;
const ID_MAX: usize = 64;
const MINUTE: u64 = 60;
const DAY: u64 = 24 * 3600;

/// What a policy's annotations say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    pub id: Option<String>,
    pub reason: Option<String>,
    /// The least level, for a permit of `raise`.
    pub level: Option<Level>,
    /// Even what was not wholly understood may be automatic.
    pub incomplete: bool,
    pub obligations: Obligations,
}

impl Annotations {
    /// Reads them all, or says what is wrong with each.
    pub fn read<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> (Self, Vec<Fault>) {
        let mut all = Self::default();
        let mut faults = Vec::new();
        for (name, value) in pairs {
            let Some(known) = ANNOTATIONS.iter().find(|known| known.name == name) else {
                faults.push(Fault::UnknownAnnotation { name: shown(name) });
                continue;
            };
            if known.name == "id" && identifier(value, ID_MAX).is_none() {
                faults.push(Fault::BadId { id: shown(value) });
            } else if all.set(known.name, value).is_none() {
                faults.push(Fault::BadAnnotation { name: known.name, value: shown(value) });
            }
        }
        if !all.consistent() {
            let value = "..".to_owned();
            faults.push(Fault::BadAnnotation { name: "escalate", value });
        }
        (all, faults)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let asked = &mut self.obligations;
        match name {
            "id" => self.id = Some(identifier(value, ID_MAX)?),
            "reason" => self.reason = Some(reason(value)?),
            "level" => self.level = Some(Level::named(value).filter(|level| *level > Level::Low)?),
            "incomplete" => self.incomplete = (value == "auto").then_some(true)?,
            "approvers" => asked.approvals = Some(number(value, APPROVERS_MAX)?),
            "roles" => asked.roles = Some(roles(value)?),
            "deny_threshold" => asked.deny_threshold = Some(number(value, APPROVERS_MAX)?),
            "pending" => asked.pending = Some(span(value, 1, 30 * DAY)?),
            "grant" => asked.grant = Some(span(value, 1, 7 * DAY)?),
            "escalate" => asked.escalation = escalation(value)?,
            _ => return None,
        }
        Some(())
    }

    /// Levels of escalation that can never be reached are mistakes.
    fn consistent(&self) -> bool {
        let asked = &self.obligations;
        let reached = |pending| asked.escalation.iter().all(|level| level.after_seconds < pending);
        asked.pending.is_none_or(reached)
    }
}

fn identifier(text: &str, longest: usize) -> Option<String> {
    let letters =
        |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"-_.".contains(&letter);
    let fits = (1..=longest).contains(&text.len()) && text.bytes().all(letters);
    fits.then(|| text.to_owned())
}

fn reason(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= REASON_MAX && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn number(text: &str, most: u32) -> Option<u32> {
    digits(text).and_then(|number| u32::try_from(number).ok()).filter(|number| (1..=most).contains(number))
}

/// Digits only: `parse` alone takes a sign as well.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|letter| letter.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `90s`, `10m`, `8h`, `2d`, in seconds.
fn span(text: &str, least: u64, most: u64) -> Option<u64> {
    let unit = [('s', 1), ('m', MINUTE), ('h', 60 * MINUTE), ('d', DAY)];
    let (number, seconds) =
        unit.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, seconds)))?;
    digits(number)?.checked_mul(*seconds).filter(|span| (least..=most).contains(span))
}

fn roles(text: &str) -> Option<BTreeSet<String>> {
    let known = |role: &str| ROLES.contains(&role).then(|| role.to_owned());
    text.split(',').map(|role| known(role.trim())).collect()
}

fn escalation(text: &str) -> Option<Vec<Escalation>> {
    let level = |level: &str| {
        let (after, names) = level.trim().split_once(':')?;
        let after_seconds = span(after.trim(), 1, 30 * DAY)?;
        Some(Escalation { after_seconds, roles: roles(names)?.into_iter().collect() })
    };
    let levels: Option<Vec<Escalation>> = text.split(';').map(level).collect();
    levels.filter(|levels| {
        levels.len() <= LEVELS_MAX && levels.is_sorted_by(|one, two| one.after_seconds < two.after_seconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_have_bounds() {
        for (text, expected) in [("90s", Some(90)), ("8h", Some(28_800)), ("30d", Some(30 * DAY))] {
            assert_eq!(span(text, MINUTE, 30 * DAY), expected, "{text}");
        }
        for text in ["", "h", "8", "-1h", "+1h", "59s", "31d", "8 h", "8H", "99999999999999999999d", "1h30m"]
        {
            assert_eq!(span(text, MINUTE, 30 * DAY), None, "{text}");
        }
        assert_eq!(number("20", 20), Some(20));
        for text in ["0", "21", "+2", "-1", "2.0", ""] {
            assert_eq!(number(text, 20), None, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let rows = [
            ("aprovers", "2", Fault::UnknownAnnotation { name: "aprovers".to_owned() }),
            ("id", "No Name", Fault::BadId { id: "No Name".to_owned() }),
            ("approvers", "0", Fault::BadAnnotation { name: "approvers", value: "0".to_owned() }),
            ("roles", "a,,b", Fault::BadAnnotation { name: "roles", value: "a,,b".to_owned() }),
            ("level", "low", Fault::BadAnnotation { name: "level", value: "low".to_owned() }),
            ("incomplete", "yes", Fault::BadAnnotation { name: "incomplete", value: "yes".to_owned() }),
            (
                "escalate",
                "2h:admin;1h:admin",
                Fault::BadAnnotation { name: "escalate", value: "2h:admin;1h:admin".to_owned() },
            ),
            ("reason", " ", Fault::BadAnnotation { name: "reason", value: " ".to_owned() }),
        ];
        for (name, value, fault) in rows {
            assert_eq!(Annotations::read([(name, value)].into_iter()).1, [fault], "{name} {value}");
        }
    }

    #[test]
    fn levels_that_never_come_are_refused() {
        let late = [("pending", "1h"), ("escalate", "1h:admin")];
        let strange = [("roles", "dba")];
        let fine = [("roles", "approver"), ("pending", "1h"), ("escalate", "10m:approver;30m:admin")];
        assert_eq!(Annotations::read(late.into_iter()).1.len(), 1);
        assert_eq!(Annotations::read(strange.into_iter()).1.len(), 1);
        let (read, faults) = Annotations::read(fine.into_iter());
        assert_eq!((faults.len(), read.obligations.escalation.len()), (0, 2));
    }
}
