//! What a body says, where it is JSON, lines of JSON, or a form.

use serde_json::Value;
use url::form_urlencoded;

/// Deepest value and most values that are looked at.
const DEEP: u8 = 24;
const VALUES_MAX: usize = 10_000;

/// Keys with their values, from all levels, in order.
#[derive(Debug, Default)]
pub struct Body {
    pub pairs: Vec<(String, String)>,
    /// Nothing could be made of it.
    pub opaque: bool,
}

impl Body {
    pub fn of(text: &str) -> Self {
        let mut body = Self::default();
        let text = text.trim();
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            body.collect("", &value, DEEP);
        } else if text.starts_with('{') && body.lines(text) {
        } else if text.contains('=') && !text.contains(['{', '<', '\n']) {
            body.pairs = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        } else {
            body.opaque = !text.is_empty();
        }
        body
    }

    /// JSON a line, as bulk interfaces take it.
    fn lines(&mut self, text: &str) -> bool {
        text.lines().filter(|line| !line.trim().is_empty()).all(|line| {
            match serde_json::from_str::<Value>(line) {
                Ok(value) => {
                    self.collect("", &value, DEEP);
                    true
                }
                Err(_) => false,
            }
        })
    }

    fn collect(&mut self, key: &str, value: &Value, deep: u8) {
        let Some(deep) = deep.checked_sub(1) else {
            self.opaque = true;
            return;
        };
        if self.pairs.len() > VALUES_MAX {
            self.opaque = true;
            return;
        }
        match value {
            Value::Object(members) => {
                if !key.is_empty() {
                    self.pairs.push((key.to_owned(), String::new()));
                }
                members.iter().for_each(|(key, value)| self.collect(key, value, deep));
            }
            Value::Array(values) => values.iter().for_each(|value| self.collect(key, value, deep)),
            Value::String(text) => self.pairs.push((key.to_owned(), text.clone())),
            other => self.pairs.push((key.to_owned(), other.to_string())),
        }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}
