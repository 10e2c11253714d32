//! Texts that mean something to this server: ids, tokens, names and cursors of the
//! caller's project and of another one, gathered from the server's own answers.

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use crate::dice::Dice;

/// Whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Own,
    Foreign,
}

/// Texts of one project by what they are.
pub type Known = BTreeMap<String, Vec<String>>;

/// Texts of both.
#[derive(Default)]
pub struct Words {
    pub own: Known,
    pub foreign: Known,
}

/// Fields of requests, and what the same thing is called in answers.
const CALLED: [(&str, &str); 5] = [
    ("held_leases", "lease_token"),
    ("retry_of", "task_id"),
    ("after", "step_key"),
    ("name", "project"),
    ("capabilities", "capability"),
];

/// Fields of answers, and what the same thing is called in requests.
const ASKED: [(&str, &str); 2] = [("next_page_token", "page_token"), ("cursor", "resume_after")];

impl Words {
    /// What a field of this name may hold of this side.
    pub fn of(&self, side: Side, field: &str) -> &[String] {
        let known = match side {
            Side::Own => &self.own,
            Side::Foreign => &self.foreign,
        };
        let called = CALLED.iter().find(|(name, _)| *name == field).map(|(_, called)| *called);
        let singular = field.strip_suffix('s');
        let names = [called, Some(field), singular];
        names.into_iter().flatten().find_map(|name| known.get(name)).map_or(&[], Vec::as_slice)
    }

    /// Whether a field of this name names something that belongs to a project.
    pub fn names_something(&self, field: &str) -> bool {
        !self.of(Side::Foreign, field).is_empty()
    }

    /// Any text of any kind.
    pub fn any(&self, side: Side, dice: &mut Dice) -> Option<String> {
        let known = match side {
            Side::Own => &self.own,
            Side::Foreign => &self.foreign,
        };
        let all: Vec<&String> = known.values().flatten().collect();
        (!all.is_empty()).then(|| (*dice.pick(&all)).clone())
    }
}

/// Takes all texts out of an answer, but those that hold `marker` and secrets.
pub fn gather(known: &mut Known, answer: &impl ReflectMessage, marker: &str) {
    gather_from(known, &answer.transcode_to_dynamic(), marker);
}

fn gather_from(known: &mut Known, message: &DynamicMessage, marker: &str) {
    let of = snake(message.descriptor().name());
    for (field, value) in message.fields() {
        let name = match field.name() {
            "id" | "key" => format!("{of}_{}", field.name()),
            "name" => of.clone(),
            name => ASKED
                .iter()
                .find(|(answered, _)| *answered == name)
                .map_or(name, |(_, asked)| *asked)
                .to_owned(),
        };
        gather_value(known, &name, value, marker);
    }
}

fn gather_value(known: &mut Known, name: &str, value: &Value, marker: &str) {
    match value {
        Value::String(text) if text.is_empty() || text.contains(marker) || name == "secret" => {}
        Value::String(text) => {
            let texts = known.entry(name.to_owned()).or_default();
            if !texts.contains(text) {
                texts.push(text.clone());
            }
        }
        // Digests; other bytes are content.
        Value::Bytes(bytes) if bytes.len() == 32 => {
            gather_value(known, name, &Value::String(hex(bytes)), marker);
        }
        Value::Message(inner) => gather_from(known, inner, marker),
        Value::List(items) => {
            let name = name.strip_suffix('s').unwrap_or(name);
            items.iter().for_each(|item| gather_value(known, name, item, marker));
        }
        _ => {}
    }
}

/// Bytes among texts.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that such a text stands for.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    digits.map(|digits| {
        digits.chunks(2).map(|pair| pair.iter().fold(0, |sum, digit| sum * 16 + digit) as u8).collect()
    })
}

/// `ListTasksRequest` becomes `list_tasks_request`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// A text of the same form that names nothing: other digits and letters at its end.
pub fn absent(text: &str, dice: &mut Dice) -> String {
    let length = text.chars().count();
    let other = |(place, letter): (usize, char)| {
        if place + 9 < length {
            return letter;
        }
        // Letters and digits that are in every alphabet in which ids are written.
        match letter {
            '0'..='9' => char::from(*dice.pick(b"0123456789")),
            'a'..='z' => char::from(*dice.pick(b"abcdef")),
            'A'..='Z' => char::from(*dice.pick(b"ABCDEF")),
            other => other,
        }
    };
    text.chars().enumerate().map(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quarterdeck_client::api::orchestration::v1::{Assign, DependencyOutput, ListTasksResponse, Task};

    #[test]
    fn answers_give_words_for_the_fields_of_requests() {
        let mut words = Words::default();
        let task = |id: &str| Task { id: id.to_owned(), display_name: "a MARK b".into(), ..Task::default() };
        let list =
            ListTasksResponse { tasks: vec![task("tsk_1"), task("tsk_2")], next_page_token: "p".into() };
        gather(&mut words.foreign, &list, "MARK");
        let dependencies = vec![DependencyOutput { step_key: "a".into(), output: None }];
        let assign = Assign { lease_token: "l".into(), dependencies, ..Assign::default() };
        gather(&mut words.foreign, &assign, "MARK");
        for (field, expected) in [
            ("task_id", &["tsk_1", "tsk_2"][..]),
            ("retry_of", &["tsk_1", "tsk_2"]),
            ("page_token", &["p"]),
            ("held_leases", &["l"]),
            ("step_keys", &["a"]),
            ("display_name", &[]),
        ] {
            assert_eq!(words.of(Side::Foreign, field), expected, "{field}");
            assert!(words.of(Side::Own, field).is_empty());
        }
    }

    #[test]
    fn what_is_absent_looks_alike() {
        let mut dice = Dice::of(1, "absent", 0);
        let id = "tsk_01j9zq0aaaaaaaaaaaaaaaaaaa";
        let other = absent(id, &mut dice);
        assert_ne!(other, id);
        assert_eq!((other.len(), &other[..20]), (id.len(), &id[..20]));
    }
}
